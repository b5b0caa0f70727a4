"""What the predictions of a trained run rest on, for some samples, and whether that depends on what was learnt.

Two ways to say it, integrated gradients and occlusion, stand beside each other. Neither is proof: maps may look
sensible and yet say no more than what the samples look like. So the same maps are made with random weights too (Adebayo
et al. 2018, "Sanity Checks for Saliency Maps"): those that training began with, and others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from headrace.batching.batches import Split, move
from headrace.inference.attributions import integrate_gradients
from headrace.inference.chosen import pick_rows, read_rows
from headrace.inference.occlusion import Patches, add_up, cut_patches, occlude, spread
from headrace.inference.trained import Outputs, TrainedRun
from headrace.judging.rank_correlation import correlate_ranks
from headrace.training.generators import kept_generators

METHODS = ("integrated_gradients", "occlusion")
START, RANDOM = "start", "random"
"""Weights that stand against the trained ones: those that training began with, and others drawn as they were."""
NUM_RANDOM = 2
"""Times that other weights are drawn."""
MAX_SHOWN = 12
"""Samples that pictures are kept of."""
MAX_SIDE = 64
"""Pixels of a side to which a picture is reduced: a report goes into a mail."""
MAX_NUMBERS = 2**20
"""Inputs that are explained at once, over all samples."""
MAX_TOGETHER = 64
"""Samples that are explained at once."""
RGB = 3
REACHED = 0.99
LEVELS = 127
"""Of colour, to each side of 0."""


@dataclass
class Found:
    """What was found so far, sample by sample."""

    correlations: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    """By method and weights, of the values and of their sizes alone; with other random weights a pair a draw."""
    agreements: list[float] = field(default_factory=list)
    missed: float = 0.0
    """Sum of what the integrals miss, in absolute value."""
    explained: float = 0.0
    """Sum of what they should explain."""
    sizes: list[np.ndarray] = field(default_factory=list)
    """(batch, methods, patches) absolute values."""
    feature_sizes: list[np.ndarray] = field(default_factory=list)
    """(batch, features) of sequences: absolute values of the gradients' shares, summed over the steps."""
    shown: list[Outputs] = field(default_factory=list)


def explain(run: TrainedRun, data: Split, asked: Mapping[str, Any], seed: int) -> tuple[Outputs, dict[str, Any]]:
    """Pictures for the report, and what is said of them: how far both methods agree and depend on what was learnt.

    `asked` has samples, steps, patches and a seed; `seed` is the run's. Explained is the logit of the likeliest class
    or the number, in its units. With other weights it is the same output. The baseline is 0. No generator moves.
    """
    shapes = run.shapes
    targets = np.concatenate([*data.targets()]) if shapes.outputs else np.empty((len(data), 0))
    rows = pick_rows(targets[:, 0], asked["samples"], are_classes=shapes.task == "classification")
    inputs = read_rows(data, rows)
    patches = cut_patches(shapes.inputs, is_sequence=shapes.is_sequence, most=asked["patches"])
    is_shown = np.zeros(len(rows), bool)
    is_shown[np.unique(np.linspace(0, len(rows) - 1, MAX_SHOWN).round().astype(np.int64))] = True
    found = Found()
    together = max(1, min(MAX_TOGETHER, MAX_NUMBERS // max(1, shapes.num_inputs)))
    for start in range(0, len(rows), together):
        some = slice(start, start + together)
        part = move(inputs[some], run.device)
        assert isinstance(part, Tensor)
        # One at a time, and again for every part: as they were, and in the memory of one.
        others = draw_modules(run, seed, asked["seed"])
        _add_part(found, run, others, part, patches, asked["steps"], is_shown[some])
    pictures = {name: np.concatenate([each[name] for each in found.shown]) for name in found.shown[0]}
    pictures |= {"explained_row": rows[is_shown], "explained_target": targets[rows[is_shown], 0]}
    if patches.kind == "windows":
        pictures["explained_sample"] = _shade(pictures["explained_sample"])
    else:
        pictures["explained_edge"] = np.array([*(place[0].start for place in patches.places), shapes.inputs[0]])
        pictures["explained_mean"] = np.concatenate(found.sizes).mean(axis=0)
    if found.feature_sizes:
        pictures["explained_feature_mean"] = np.concatenate(found.feature_sizes).mean(axis=0)
    return pictures, _say(found, patches, asked, len(rows))


def draw_modules(run: TrainedRun, seed: int, drawn_by: int) -> Iterator[tuple[str, nn.Module]]:
    """The run's network with the weights that training began with, then with others drawn as they were."""
    seeds = [int(each) for each in np.random.SeedSequence([drawn_by, seed]).generate_state(NUM_RANDOM, np.uint64)]
    for name, own in [(START, seed), *((RANDOM, each) for each in seeds)]:
        with kept_generators(run.device):
            torch.manual_seed(own)
            module = run.family.build(run.shapes)
        yield name, module.to(run.device).eval()


@dataclass(frozen=True)
class Maps:
    """What some predictions rest on, on the CPU, in the units of the module's outputs."""

    shares: Tensor
    """(batch, ...) by integrated gradients."""
    drops: Tensor
    """(batch, patches) by occlusion."""
    error: Tensor
    """(batch,) what the shares sum to beyond what they explain."""


def attribute(module: nn.Module, inputs: Tensor, chosen: Tensor, patches: Patches, num_steps: int) -> Maps:
    """Explain the outputs `chosen` (batch, 1) for inputs (batch, ...) by both methods, against a baseline of 0."""
    baseline = torch.zeros_like(inputs)
    shares, error = integrate_gradients(module, inputs, baseline, num_steps, chosen)
    return Maps(shares.cpu(), occlude(module, inputs, baseline, patches, chosen), error.cpu())


def _add_part(
    found: Found,
    run: TrainedRun,
    others: Iterable[tuple[str, nn.Module]],
    inputs: Tensor,
    patches: Patches,
    num_steps: int,
    is_shown: np.ndarray,
) -> None:
    """Explain some samples with the trained weights and with the others."""
    with torch.no_grad():
        outputs = run.module(inputs)
        chosen = outputs.argmax(dim=1, keepdim=True)
    maps = attribute(run.module, inputs, chosen, patches, num_steps)
    for weights, module in others:
        by_chance = attribute(module, inputs, chosen, patches, num_steps)
        for method, one, other in zip(
            METHODS, (maps.shares, maps.drops), (by_chance.shares, by_chance.drops), strict=True
        ):
            pairs = zip(one.numpy(), other.numpy(), strict=True)
            compared = [(correlate_ranks(*pair), correlate_ranks(*map(np.abs, pair))) for pair in pairs]
            found.correlations.setdefault((method, weights), []).extend(compared)
    sums = add_up(maps.shares, patches)
    found.agreements += [correlate_ranks(*pair) for pair in zip(sums.numpy(), maps.drops.numpy(), strict=True)]
    found.missed += float(maps.error.abs().sum())
    found.explained += float((maps.shares.flatten(1).sum(dim=1) - maps.error).abs().sum())
    factor = 1.0 if run.scale is None else float(run.scale[1][0])
    found.sizes.append(factor * torch.stack([sums, maps.drops], dim=1).abs().numpy())
    if run.shapes.is_sequence:
        found.feature_sizes.append(factor * maps.shares.abs().sum(dim=1).numpy())
    keep = torch.from_numpy(is_shown)
    shown = Maps(maps.shares[keep], maps.drops[keep], maps.error[keep])
    found.shown.append(_show(run, inputs.cpu()[keep], outputs.cpu()[keep], shown, patches))


def _show(run: TrainedRun, inputs: Tensor, outputs: Tensor, maps: Maps, patches: Patches) -> Outputs:
    """What the report shows of some samples, in the units of the data."""
    factor, kept = 1.0, {"explained_output": outputs.argmax(dim=1).numpy()}
    if run.scale is not None:
        mean, deviation = (float(part[0]) for part in run.scale)
        factor, kept = deviation, {"explained_output": outputs[:, 0].double().numpy() * deviation + mean}
    if patches.kind == "spans":
        both = torch.stack([add_up(maps.shares, patches), maps.drops], dim=1)
        return {**kept, "explained_share": (factor * both).numpy().astype(np.float32)}
    flat = maps.shares if maps.shares.dim() == 3 else maps.shares.sum(dim=3)
    both = torch.stack([flat, spread(maps.drops, patches, run.shapes.inputs)], dim=1)
    return kept | _draw(inputs.numpy(), (factor * both).numpy())


def _draw(inputs: np.ndarray, maps: np.ndarray) -> Outputs:
    """Inputs (batch, height, width) or with channels, and maps (batch, methods, height, width), as small pictures.

    A pixel of a map is the mean of those that it stands for, in steps of `reach` / LEVELS. A share REACHED of the
    pixels lies within `reach` (batch, methods), the others are cut off there: a single one would leave all else pale.
    What is not finite is 0.
    """
    if inputs.ndim == 4 and inputs.shape[3] != RGB:
        inputs = inputs.mean(axis=3)
    inputs, maps = _reduce(inputs, 1), np.nan_to_num(_reduce(maps, 2), posinf=0.0, neginf=0.0)
    sizes = np.abs(maps).reshape(*maps.shape[:2], -1)
    reach = np.quantile(sizes, REACHED, axis=2) if len(sizes) else np.zeros(sizes.shape[:2])
    reach = np.where(reach > 0, reach, sizes.max(axis=2))
    levels = np.rint((maps / np.where(reach > 0, reach, 1.0)[:, :, None, None]).clip(-1, 1) * LEVELS)
    return {"explained_sample": inputs, "explained_map": levels.astype(np.int8), "explained_reach": reach}


def _reduce(images: np.ndarray, first: int) -> np.ndarray:
    """Means over blocks of pixels, so that no side is longer than MAX_SIDE; `first` is the axis of the height."""
    longest = max(images.shape[first : first + 2])
    for axis in (first, first + 1):
        length = images.shape[axis]
        count = length if longest <= MAX_SIDE else max(1, length * MAX_SIDE // longest)
        if count < length:
            edges = np.array([length * i // count for i in range(count)])
            sizes = np.diff([*edges, length]).reshape(-1, *[1] * (images.ndim - axis - 1))
            images = np.add.reduceat(images, edges, axis=axis) / sizes
    return images


def _shade(images: np.ndarray) -> np.ndarray:
    """From the smallest number of all to the largest as uint8, from black to white; what is not finite is black."""
    finite = images[np.isfinite(images)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    shares = (images.astype(np.float64) - low) / (high - low or 1.0)
    return np.rint(np.nan_to_num(shares, nan=0.0, posinf=0.0, neginf=0.0) * 255).astype(np.uint8)


def _say(found: Found, patches: Patches, asked: Mapping[str, Any], num_samples: int) -> dict[str, Any]:
    """As JSON; null where there is no number."""
    checks = [
        {"method": method, "weights": weights, "correlation": _mean(first), "correlation_of_sizes": _mean(second)}
        for (method, weights), pairs in found.correlations.items()
        for first, second in [zip(*pairs, strict=True)]
    ]
    return {
        "methods": METHODS,
        "samples": num_samples,
        "steps": asked["steps"],
        "patches": {
            "kind": patches.kind,
            "number": len(patches.places),
            "size": patches.size,
            "stride": patches.stride,
        },
        "completeness_error": _ratio(found.missed, found.explained),
        "agreement": _mean(found.agreements),
        "checks": checks,
    }


def _mean(values: Iterable[float]) -> float | None:
    """Over the samples whose attributions have an order."""
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else None


def _ratio(missed: float, explained: float) -> float | None:
    ratio = missed / explained if explained else math.nan
    return ratio if math.isfinite(ratio) else None
