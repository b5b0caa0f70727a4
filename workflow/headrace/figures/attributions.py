"""Whether attributions depend on what was learnt: numbers over the seeds, and sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.figures.comparisons import Candidate
from headrace.figures.numbers import format_mean, format_number
from headrace.findings.shown import Explanation
from headrace.judging.statistics import summarise

LOW = 0.5
"""A rank correlation below it is low: the ranks of two maps share less than a quarter of their variance then."""
LARGE_ERROR = 0.05
"""What integrated gradients may miss of a difference: Sundararajan et al. 2017, section 5, ask for 5 %."""
WEIGHTS = ("start", "random")
NAMES = {"integrated_gradients": "integrated gradients", "occlusion": "occlusion"}
YES, SIGNS, NO, UNKNOWN = "yes", "by their signs alone", "NO", "not known"
CLAIMS = {
    YES: "{who} {pass} the check: the attributions depend on what was learnt. With {weights} they come in another "
    "order, by rank correlations of {correlations}, and so do their sizes alone, by {sizes}: all below {low}.",
    SIGNS: "{who} {pass} the check by the signs alone. With {weights} the attributions come in another order, by rank "
    "correlations of {correlations}, below {low}; but not their sizes, by {sizes}. How strongly an input counts "
    "follows from the sample and the architecture; only whether it counts for or against tells of what was learnt.",
    NO: "{who} {fail} the check: with {weights} the attributions come in much the same order, by rank correlations of "
    "{correlations}, not below {low}. They tell little of what was learnt.",
    UNKNOWN: "{who} cannot be checked: of no sample do attributions differ among its inputs.",
}
FEW = 10
"""Inputs below which chance alone makes large rank correlations."""
NO_ERROR = 1e-4
"""A share that is not told apart from none."""

Cell = dict[str, Any]


@dataclass(frozen=True)
class CheckedMethod:
    """One method of one candidate, over its seeds."""

    name: str
    cells: Sequence[Cell]
    """Rank correlations with the weights of the start and with others, then those of sizes alone."""
    verdict: str
    """Whether the attributions depend on what was learnt: YES, SIGNS, NO or UNKNOWN."""
    weights: str
    """Those with which the attributions are most alike: one of WEIGHTS."""
    correlation: float
    """The mean over the seeds with these."""
    correlation_of_sizes: float
    """The higher one of both weights."""


def find_explained(candidate: Candidate) -> list[Explanation]:
    """Return what is known of every seed that counts."""
    return [run.explanation for run in candidate.counted if run.explanation is not None]


def check_methods(candidate: Candidate) -> list[CheckedMethod]:
    """Return a row for each method; [] where no seed was explained."""
    found = find_explained(candidate)
    return [_check_method(method, found) for method in (found[0].methods if found else ())]


def _check_method(method: str, found: Sequence[Explanation]) -> CheckedMethod:
    own = {
        weights: [
            check for each in found for check in each.checks if (check.method, check.weights) == (method, weights)
        ]
        for weights in WEIGHTS
    }
    signed = {weights: [check.correlation for check in some] for weights, some in own.items()}
    sizes = {weights: [check.correlation_of_sizes for check in some] for weights, some in own.items()}
    weights, correlation = _find_highest(signed)
    _, of_sizes = _find_highest(sizes)
    return CheckedMethod(
        name=NAMES.get(method, method),
        cells=[make_cell(values) for each in (signed, sizes) for values in each.values()],
        verdict=_judge(correlation, of_sizes),
        weights=weights,
        correlation=correlation,
        correlation_of_sizes=of_sizes,
    )


def _judge(correlation: float, of_sizes: float) -> str:
    """Judge what a reader sees: rounded."""
    if math.isnan(correlation):
        return UNKNOWN
    if round(correlation, 2) >= LOW:
        return NO
    return SIGNS if round(of_sizes, 2) >= LOW else YES


def _find_highest(values: Mapping[str, Sequence[float]]) -> tuple[str, float]:
    """Return the weights whose mean over the seeds is the highest, and that mean; nan where there is none."""
    means = {weights: summarise([v for v in each if math.isfinite(v)]).mean for weights, each in values.items()}
    finite = {weights: mean for weights, mean in means.items() if math.isfinite(mean)}
    worst = max(finite, key=lambda weights: finite[weights], default=WEIGHTS[0])
    return worst, finite.get(worst, math.nan)


def say_checks(methods: Sequence[CheckedMethod]) -> list[tuple[str, str]]:
    """Return every verdict with a sentence on the methods that it holds for."""
    alike: dict[str, list[CheckedMethod]] = {}
    for method in methods:
        alike.setdefault(method.verdict, []).append(method)
    return [(verdict, _say_verdict(verdict, some)) for verdict, some in alike.items()]


def _say_verdict(verdict: str, methods: Sequence[CheckedMethod]) -> str:
    who = " and ".join(method.name for method in methods)
    is_plural = len(methods) > 1 or who.endswith("s")
    began = all(method.weights == WEIGHTS[0] for method in methods)
    words = {
        "who": who[:1].upper() + who[1:],
        "pass": "pass" if is_plural else "passes",
        "fail": "fail" if is_plural else "fails",
        "weights": "the weights that training began with" if began else "random weights",
        "correlations": " and ".join(format_correlation(method.correlation) for method in methods),
        "sizes": " and ".join(format_correlation(method.correlation_of_sizes) for method in methods),
        "low": f"{LOW:g}",
    }
    sentence = CLAIMS[verdict].format(**words)
    return sentence if len(methods) > 1 else sentence.replace("by rank correlations of", "by a rank correlation of")


def say_agreement(found: Sequence[Explanation]) -> str:
    """Return how far the methods agree, as a mean over the seeds; "" where there is no number."""
    agreement = summarise([each.agreement for each in found if math.isfinite(each.agreement)]).mean
    if not math.isfinite(agreement):
        return ""
    return f"The two methods agree with a rank correlation of {format_correlation(agreement)} over the parts hidden."


def say_chance(found: Explanation) -> str:
    """Return how far a rank correlation of two orders of few inputs is from 0 by chance; "" where they are many."""
    number, are_features = found.num_patches, found.patch_kind == "spans" and found.feature_means is None
    if not are_features or found.patch_size > 1 or not 1 < number < FEW:
        return ""
    # The standard deviation of Spearman's rank correlation of lists that have nothing to do with each other.
    return f"Of {number} inputs, two orders by chance have rank correlations of ± {1 / math.sqrt(number - 1):.2f}."


def say_error(found: Sequence[Explanation]) -> tuple[bool, str]:
    """Return whether integrated gradients miss too much, in the worst seed, and what they miss."""
    errors = [each.completeness_error for each in found]
    worst = max((error for error in errors if math.isfinite(error)), default=math.nan)
    if not math.isfinite(worst):
        return False, ""
    share = f"{format_number(100 * worst, 2)} %" if worst >= NO_ERROR else f"less than {100 * NO_ERROR:g} %"
    if worst <= LARGE_ERROR:
        return False, f"Integrated gradients miss {share} of the differences that they sum to."
    return True, (
        f"Integrated gradients miss {share} of the differences that they should sum to, more than "
        f"{100 * LARGE_ERROR:g} %: their {found[0].num_steps} steps are too few for this model; raise "
        "evaluation.attributions.steps."
    )


def make_cell(values: Iterable[float]) -> Cell:
    """A value that is not defined for some seed leaves the mean of the others."""
    seeds = list(values)
    summary = summarise([value for value in seeds if math.isfinite(value)])
    _, deviation = format_mean(summary.mean, summary.standard_deviation)
    return {
        "mean": format_correlation(summary.mean),
        "deviation": "" if not deviation else f"{summary.standard_deviation:.2f}",
        "seeds": [(value, format_correlation(value)) for value in seeds],
    }


def format_correlation(value: float) -> str:
    """Write it with two decimals; more mean nothing over a dozen samples."""
    return f"{value:.2f}".replace("-0.00", "0.00") if math.isfinite(value) else "–"


def describe_patches(found: Explanation, is_sequence: bool) -> str:
    """Return what occlusion hides at a time, as `one feature at a time (30 of them)`."""
    if found.patch_kind == "windows" and found.patch_size > 1:
        apart = f", {found.patch_stride} apart" if found.patch_stride < found.patch_size else ""
        return f"windows of {found.patch_size} × {found.patch_size} pixels{apart} ({found.num_patches} of them)"
    unit = "pixel" if found.patch_kind == "windows" else "step" if is_sequence else "feature"
    if found.patch_size == 1:
        return f"one {unit} at a time ({found.num_patches} of them)"
    return f"up to {found.patch_size} {unit}s at a time ({found.num_patches} groups)"
