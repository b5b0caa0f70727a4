"""What an experiment found out, as plain data: what the report, the table and the crate are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace.findings.shown import Explanation, LatentMap, Traversals
from headrace.judging.calibration import Reliability
from headrace.judging.group_metrics import GroupScores
from headrace.judging.ranking import Curve
from headrace.tries.usage import StageUsage

SCALING = "scaling.json"
"""The file beside a report in which `headrace scaling` keeps what it measured."""

SEALED = frozenset({"done", "failed"})
"""What runs and steps can be that have come to an end."""


@dataclass(frozen=True)
class MetricValue:
    """One metric of one run on one split, with its bootstrap interval over the samples of that split."""

    metric: str
    split: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class CorruptedValue(MetricValue):
    """One metric of one run on inputs that were made worse."""

    corruption: str
    """How, as `noise`."""
    strength: float


@dataclass(frozen=True)
class CorruptionKind:
    """What a way to make inputs worse says of itself."""

    about: str
    unit: str
    """What a strength is."""
    needs: str
    """Inputs that it fits."""


@dataclass(frozen=True)
class DatasetResult:
    """A dataset as it was sharded."""

    name: str
    kind: str
    tasks: tuple[str, ...]
    num_samples: int
    split_sizes: Mapping[str, int]
    sample_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    num_shards: int
    tasks_by_worker: Mapping[str, int]
    """How many shards each Dask worker wrote."""
    digest: str
    artifact: str
    licence: str
    source: str
    split: Mapping[str, Any] = field(default_factory=dict)
    """How the samples were divided, as the experiment says it."""
    shard_digests: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of what every shard holds, by array and place, as `inputs/0`."""


@dataclass(frozen=True)
class RunResult:
    """One run: one model family, one point of the sweep, one seed, on one dataset."""

    id: str
    dataset: str
    family: str
    """The model's kind."""
    model: str
    """The model's name in the experiment file; the kind unless named."""
    features: str
    task: str
    seed: int
    point: Mapping[str, Any]
    """The swept parameters and this run's values of them."""
    status: str
    """`done`, `failed`, or how far it has come: `running`, `not begun` or `not finished`."""
    reason: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """All parameters of the family and of its training."""
    shapes: Mapping[str, Any] = field(default_factory=dict)
    """What the model was built for: inputs, outputs, task and, where it isn't dense, layout."""
    artifact: str = ""
    """Where the trained model lies; "" where there is none."""
    device: str = ""
    """What it was trained on: `cpu`, or a GPU's name."""
    flops_per_sample: int | None = None
    """Floating-point operations of one training step a sample, forwards and backwards."""
    metrics: Sequence[MetricValue] = ()
    resampled: np.ndarray | None = None
    """(resamples,) the task's main metric on every bootstrap resample of the test split, which are the same ones for
    all that is judged on it; None where nobody has kept them."""
    corrupted: Sequence[CorruptedValue] = ()
    """Metrics on inputs made worse, where that was asked for."""
    uncorrupted: Mapping[str, str] = field(default_factory=dict)
    """By the kind of corruption that it was left out of: what it reads, which does not fit."""
    curves: Sequence[Mapping[str, float]] = ()
    """One mapping per epoch: epoch, train_loss, validation_loss, learning_rate, seconds and validation metrics."""
    best_epoch: int | None = None
    num_parameters: int | None = None
    seconds: float | None = None
    cpu_s: float | None = None
    """CPU time of its training, over all ranks; of the last process alone where it was resumed."""
    confusion: np.ndarray | None = None
    """(classes, classes) counts on the test split; rows are the true classes."""
    reliability: Reliability | None = None
    """Confidence beside accuracy on the test split."""
    roc: Curve | None = None
    """Of the test split: hits over false alarms; of several classes their average."""
    precision_recall: Curve | None = None
    """Of the test split: precision over recall; of several classes their average."""
    groups: GroupScores | None = None
    """Scores on the test split by group, where the dataset names a column of groups."""
    reconstructions: tuple[np.ndarray, np.ndarray] | None = None
    """Some test inputs and their reconstructions, each (samples, height, width), in [0, 1]."""
    traversals: Traversals | None = None
    latent_map: LatentMap | None = None
    explanation: Explanation | None = None
    unexplained: str = ""
    """What keeps attributions from meaning anything here, as `reads codes`; "" for nothing."""


@dataclass(frozen=True)
class ReferenceResult:
    """What a predictor without training reaches for one task on one dataset."""

    name: str
    """As `most_frequent`."""
    dataset: str
    task: str
    features: str
    """Those that it may have read."""
    about: str
    """What it was made from."""
    metrics: Sequence[MetricValue]
    resampled: np.ndarray | None = None
    """As of a run."""


@dataclass(frozen=True)
class FitTrace:
    """How the fit of an iterative step went, for one feature set of one dataset."""

    dataset: str
    features: str
    step: int
    """Its place in the chain, from 0."""
    kind: str
    measure: str
    """What `value` and the trace hold."""
    value: float
    """At the end, computed once more from the data."""
    tolerance: float
    converged: bool
    iterations: int
    max_iterations: int
    bounds_value: bool = True
    """Whether the tolerance bounds `value`, and not something else, as the change of an objective."""
    trace: Sequence[Mapping[str, float]] = ()
    """One mapping per iteration: iteration, value, seconds since the fit began, bytes_moved to workers and back."""

    @property
    def name(self) -> str:
        """As its files are called: place and kind."""
        return f"{self.step}-{self.kind}"

    @property
    def seconds(self) -> float | None:
        """What all iterations took; None where there was none."""
        return self.trace[-1]["seconds"] if self.trace else None

    @property
    def bytes_moved(self) -> float | None:
        """What all iterations moved; None where there was none."""
        return self.trace[-1]["bytes_moved"] if self.trace else None


@dataclass(frozen=True)
class Environment:
    """Software and machine that artifacts were made with; those that agree in all of it share one."""

    versions: Mapping[str, str]
    """Of Python and of packages, by name."""
    host: str = ""
    platform: str = ""
    num_cpus: int | None = None
    device: str = ""
    """What was trained on: `cpu`, or a GPU's name; "" where nothing was trained."""
    cuda: str = ""
    """The version of CUDA that PyTorch was built for, where a GPU was trained on."""


@dataclass(frozen=True)
class Results:
    """Everything the report shows."""

    experiment: str
    description: str
    datasets: Sequence[DatasetResult]
    runs: Sequence[RunResult]
    resolved_yaml: str
    plan_digest: str
    short_yaml: str = ""
    """The experiment file with nothing in it that is so by default; "" where nobody has written it."""
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    """How runs were judged, as the experiment says it: bootstrap, confidence, seed and baseline."""
    repository: Mapping[str, Any] | None = None
    """Where the workflow began: commit, num_changed and num_unknown files; None where that is not known."""
    baseline: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the process that writes the report: what the artifacts were made with is in `environments`."""
    environments: Sequence[Environment] = ()
    """Those of all artifacts, each once."""
    commands: Sequence[str] = ()
    """Shell lines that rerun the experiment."""
    usage: Sequence[StageUsage] = ()
    """What the jobs of each stage asked for and used."""
    steps: Sequence[Mapping[str, Any]] = ()
    """One entry per artifact, in order of the stages: stage, id, artifact (path), digest, inputs (ids), start, end
    (ISO 8601), seconds, status, reason, environment (its place in `environments`; None where that is not known)."""
    traces: Sequence[FitTrace] = ()
    """One for every iterative step of every feature set that is there, in the order of the plan."""
    references: Sequence[ReferenceResult] = ()
    """What needs no training, as far as it was judged."""
    families: Mapping[str, str] = field(default_factory=dict)
    """A sentence about every kind of model."""
    corruptions: Mapping[str, CorruptionKind] = field(default_factory=dict)
    """Every way in which inputs were made worse, in the order in which a report shows them."""
    features: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """The steps of every chain of preprocessing, each with its kind and parameters."""
    scaling: Mapping[str, Any] | None = None
    """What `headrace scaling` measured: made (identities of the artifacts), rounds, cluster, num_cpus, and seconds by
    stage and number of workers.
    """
