"""The typed `evaluation` of an experiment file, with a key for every kind of corruption that there is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Self, cast

from pydantic import Field, create_model, model_validator

from headrace.experiments.config import Fraction, Frozen, Name, Seed
from headrace.registry import list_kinds, load_kind


class Corruption(Frozen):
    """How the inputs of the test split are made worse, to see what is left of every metric: strengths of each kind."""

    @property
    def strengths(self) -> Mapping[str, list[float]]:
        """By kind, the smallest first."""
        # The keys are those of the kinds that there are, which `corruption_type` puts in.
        return {kind: sorted(given) for kind, given in self.model_dump(exclude_none=True).items()}


class Attributions(Frozen):
    """What predictions rest on, for some samples of the test split of every run."""

    samples: Annotated[int, Field(ge=1, le=1000)] = 12
    """Samples to explain: as many of each class, or evenly over the numbers to predict. The report shows 12 at most."""
    steps: Annotated[int, Field(ge=2, le=10_000)] = 64
    """Points between baseline and sample at which integrated gradients are taken; more where the report says that their
    sum misses much."""
    patches: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Parts of a sample at most that occlusion hides one after the other: windows of an image, steps of a sequence,
    features. Where there are more, windows are larger, and steps or features are hidden in groups."""
    seed: Seed = 0
    """Seed of the random weights that attributions are held against."""


class Evaluation(Frozen):
    """What is computed from the predictions on the test split."""

    bootstrap: Annotated[int, Field(ge=0, le=1_000_000)] = 1000
    """Resamples of the test split behind every interval; 0 for no intervals."""
    confidence: Fraction = 0.95
    """Coverage of the intervals."""
    seed: Seed = 0
    """Seed of the resampling."""
    baseline: Name | None = None
    """Name of the model that the others are compared with."""
    importance_draws: Annotated[int, Field(ge=0, le=100_000)] = 50
    """Draws behind `neg_iw_bound`, what a test sample costs an autoencoder by importance weighting (Burda et al. 2016):
    the more, the tighter a bound, each for the time of one decoding; 0 for none."""
    corruption: Corruption | None = None
    """Judge classification and regression once more on test inputs made worse, as in `{noise: [0.1, 0.5], blur: [1]}`.
    It is done to the features that a model reads, behind all preprocessing. A model whose features do not fit a kind is
    left out of it, and the report says so; a kind that fits no model is refused. Densities are left out: a sample made
    worse is another sample."""
    attributions: Attributions | None = None
    """Show what predictions rest on, as in `{samples: 12}`, by integrated gradients and by occlusion, and whether that
    depends on what was learnt. Only for models of dense measurements that predict classes or one number."""


class _Some(Corruption):
    @model_validator(mode="after")
    def _names_a_kind(self) -> Self:
        if not self.strengths:
            raise ValueError(f"is empty; allowed: {', '.join(type(self).model_fields)}")
        return self


@cache
def corruption_type() -> type[Corruption]:
    """`Corruption` with every kind as a key."""
    fields: dict[str, Any] = {}
    for kind in list_kinds("corruptions"):
        spec = load_kind("corruptions", kind)
        strengths = spec.model_fields["strengths"]
        said = f"{' '.join((spec.__doc__ or '').split())} {strengths.description}"
        fields[kind] = (strengths.rebuild_annotation() | None, Field(default=None, description=said))
    found: Any = create_model("Corruption", __base__=_Some, __doc__=Corruption.__doc__, **fields)
    return cast(type[Corruption], found)


@cache
def evaluation_type() -> type[Evaluation]:
    """`Evaluation` with every kind of corruption."""
    said = Evaluation.model_fields["corruption"].description
    field: Any = (corruption_type() | None, Field(default=None, description=said))
    found: Any = create_model("Evaluation", __base__=Evaluation, __doc__=Evaluation.__doc__, corruption=field)
    return cast(type[Evaluation], found)
