"""The typed parts of an experiment file: frozen, nothing extra, nothing coerced.

A string below a field is that field's documentation: the JSON schema and configs/README.md are generated from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=60)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveInt = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Rate = Annotated[float, Field(ge=0, lt=1)]


MAX_POINTS = 100_000


def _plain(value: Any) -> Any:
    """A value that a sweep may hold: what JSON can say."""
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(f"should be a finite number, text, true, false or a list of them, not {value}")


Plain = Annotated[Any, AfterValidator(_plain)]


class Frozen(BaseModel):
    """The base of all that stands in an experiment file."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class Kind(Frozen):
    """The parameters of one kind. Every file of a kinds' folder holds one subclass, named `Spec`."""

    kind: Name
    """Which kind this is: the name of the file that defines it."""


class Split(Frozen):
    """How the samples are divided into the three splits."""

    by: Literal["auto", "stratified", "random", "grouped", "time", "source"] = "auto"
    """`stratified` keeps the share of every class; `random` ignores classes; `grouped` keeps all samples with the same
    value of `column` together; `time` puts the earliest samples into training and the latest into test, in the order
    of `column` or else of the rows; `source` does as `column` (train, validation, test) or the data themselves say.
    `auto` is the data's own division where they have one, else `stratified` where there are classes, else `random`."""
    train: Fraction = 0.7
    """Share of the samples that models and preprocessing are fitted on."""
    validation: Fraction = 0.15
    """Share of the samples that choose the best epoch."""
    test: Fraction = 0.15
    """Share of the samples that the reported metrics come from."""
    seed: Seed = 0
    """Seed of the shuffle."""
    column: str | None = None
    """The column that `grouped`, `time` or `source` goes by; it is no input then."""
    borders: tuple[PositiveInt, PositiveInt] | None = None
    """With `time`, in the place of shares: the row that validation begins with and the row that test begins with,
    counted from 0."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + validation + test must sum to 1, not {total:g}")
        if self.column is not None and self.by not in ("grouped", "time", "source"):
            raise ValueError(f"column: means nothing with by: {self.by}; allowed with grouped, time, source")
        if self.by == "grouped" and self.column is None:
            raise ValueError("column: is needed with by: grouped")
        if self.borders is not None:
            if self.by not in ("time", "source") or (self.by == "source" and self.column is not None):
                raise ValueError(f"borders: means nothing with by: {self.by}; allowed with time")
            if self.borders[0] >= self.borders[1]:
                raise ValueError("borders: the first must lie below the second")
        return self


class Download(Frozen):
    """Published data, by address and content."""

    address: Annotated[str, StringConstraints(pattern=r"^(https?|ftp)://[^\s]+$")]
    """Where the file is, as `https://...`."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the file as it is published. Another content is refused."""
    unpack: bool = False
    """Unpack a .zip or .tar archive (also .tar.gz, .tar.bz2, .tar.xz)."""


class Training(Frozen):
    """How a model is trained. Every key but `seeds` may be swept; a model may override any of them."""

    epochs: PositiveInt = 10
    """Passes over the training split."""
    batch_size: PositiveInt = 128
    """Samples a step."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """The update rule; `sgd` has a momentum of 0.9."""
    learning_rate: PositiveFloat = 1e-3
    """Step size of the optimizer; the largest one of a schedule."""
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """How the learning rate goes on after the warm-up: as it is, or down to 0 with the last step, by half a cosine or
    along a line."""
    warmup_epochs: NonNegativeFloat = 0.0
    """Epochs, or a part of one, in which the learning rate rises along a line from 0."""
    weight_decay: NonNegativeFloat = 0.0
    """L2 penalty, decoupled with `adamw`."""
    gradient_clip: PositiveFloat | None = None
    """The largest Euclidean norm of the gradient of all weights together; longer ones are scaled down to it."""
    accumulate: PositiveInt = 1
    """Parts that the batch of a step is computed in, one after the other: the same step, in less memory."""
    class_weights: Literal["equal", "balanced"] = "equal"
    """In a classification: whether samples count alike, or classes do, by 1 / their share of the training split."""
    label_smoothing: Rate = 0.0
    """In a classification: share of every target that is spread over all classes."""
    average: Rate = 0.0
    """Decay of a moving average of the weights over steps, as 0.99; the average is what is validated and kept. 0: the
    weights themselves are."""
    early_stopping: PositiveInt | None = None
    """Epochs without a lower validation loss after which a run ends."""
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    """Of products and convolutions: `bf16` and `fp16` where torch deems them safe (fp16 with scaled losses), weights
    stay float32; `tf32` on GPUs that have it. Part of a run's identity, since it changes bits."""
    compile: Literal["auto", "never", "always"] = "never"
    """Whether torch compiles the model, which takes from 8 to 44 s a run; `auto` does where it can pay: on a GPU, for
    at least 20,000 steps."""
    seeds: tuple[Seed, ...] = (0,)
    """One run for every seed: it decides the initial weights, the order of the samples and all noise."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; `auto` takes a GPU where there is one. Part of a run's identity, since it changes bits."""
    threads: PositiveInt = 1
    """CPU threads of one training run, or of each of its ranks. Part of a run's identity, since it changes bits."""
    world_size: PositiveInt = 1
    """Processes that train one run together, its ranks: each computes an equal share of every batch, on a CPU core or a
    GPU of its own, and the gradients are averaged. What is left over at the end of an epoch, fewer samples than there
    are ranks, waits for another epoch. Part of a run's identity, since it changes bits."""

    @model_validator(mode="after")
    def _seeds_are_distinct(self) -> Self:
        if not self.seeds:
            raise ValueError("seeds is empty; give at least one seed")
        twice = sorted({seed for seed in self.seeds if self.seeds.count(seed) > 1})
        if twice:
            raise ValueError(f"seeds has {twice[0]} twice; every seed may appear once")
        return self

    def contradiction(self) -> str | None:
        """What is wrong with the keys taken together; asked once a model's own and a sweep's are among them."""
        if self.warmup_epochs and self.warmup_epochs >= self.epochs:
            return f"warmup_epochs: {self.warmup_epochs:g} leaves nothing of {self.epochs} epochs; allowed: less"
        if self.accumulate > self.batch_size:
            return f"accumulate: {self.accumulate} parts of {self.batch_size} samples; allowed: at most one a sample"
        return self._not_shared_out() if self.world_size > 1 else None

    def _not_shared_out(self) -> str | None:
        """Why several ranks cannot train so."""
        num, own = self.world_size, self.batch_size // self.world_size
        if self.batch_size % num:
            return f"world_size: {num} ranks cannot share batches of {self.batch_size} equally; allowed: its divisors"
        if self.accumulate > own:
            return f"accumulate: {self.accumulate} parts of {own} samples a rank; allowed: at most one a sample"
        if self.compile != "never":
            return f"compile: {self.compile} was not tried with world_size {num}; allowed: never"
        return None


class RandomSweep(Frozen):
    """Points drawn at random, the same ones for the same seed."""

    samples: PositiveInt
    """How many points to draw."""
    seed: Seed = 0
    """Seed of the draw."""
    parameters: Mapping[str, Distribution]
    """What to draw, and from where: `{uniform: [low, high]}`, `{log_uniform: [low, high]}`,
    `{integer: [low, high]}` (both ends included) or `{choice: [a, b, c]}`."""


class Distribution(Frozen):
    """Where a random sweep draws one parameter from: exactly one of these."""

    uniform: tuple[float, float] | None = None
    """Uniform between two numbers."""
    log_uniform: tuple[PositiveFloat, PositiveFloat] | None = None
    """Uniform in the logarithm, between two positive numbers."""
    integer: tuple[int, int] | None = None
    """Whole numbers between two ends, both included."""
    choice: tuple[Plain, ...] | None = None
    """One of the values given."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of uniform, log_uniform, integer, choice")
        bounds = getattr(self, given[0])
        if given[0] == "choice":
            if not bounds:
                raise ValueError("choice is empty; give at least one value")
        elif not bounds[0] < bounds[1]:
            raise ValueError(f"{given[0]} needs its first number below its second")
        elif not math.isfinite(float(bounds[1]) - float(bounds[0])):
            raise ValueError(f"{given[0]} spans more than a number can hold")
        return self


class Sweep(Frozen):
    """Which parameters of a model or of its training are varied. Several of the three are multiplied."""

    grid: Mapping[str, tuple[Plain, ...]] | None = None
    """Every combination of the values listed."""
    zip: Mapping[str, tuple[Plain, ...]] | None = None
    """The first values together, then the second ones, and so on; all lists are of one length."""
    random: RandomSweep | None = None
    """Points drawn at random."""

    @model_validator(mode="after")
    def _nothing_empty_nothing_twice(self) -> Self:
        if not (self.grid or self.zip or (self.random and self.random.parameters)):
            raise ValueError("the sweep is empty; give grid, zip or random with at least one parameter")
        for way, lists in (("grid", self.grid or {}), ("zip", self.zip or {})):
            for parameter, values in lists.items():
                if not values:
                    raise ValueError(f"{way}.{parameter} is empty; give at least one value")
        for parameter, values in (self.grid or {}).items():
            for i, value in enumerate(values):
                if value in values[:i]:
                    raise ValueError(f"grid.{parameter} has {value!r} twice; every value may appear once")
        if len({len(values) for values in (self.zip or {}).values()}) > 1:
            raise ValueError("the lists under zip differ in length; they are walked together")
        names = [*(self.grid or {}), *(self.zip or {}), *(self.random.parameters if self.random else {})]
        twice = [name for i, name in enumerate(names) if name in names[:i]]
        if twice:
            raise ValueError(f"{twice[0]} is swept twice; a parameter belongs to one of grid, zip and random")
        points = math.prod(len(values) for values in (self.grid or {}).values())
        points *= len(next(iter((self.zip or {"": ("",)}).values())))
        points *= self.random.samples if self.random else 1
        if points > MAX_POINTS:
            raise ValueError(f"the sweep has {points} points; allowed: {MAX_POINTS}")
        return self


RandomSweep.model_rebuild()
