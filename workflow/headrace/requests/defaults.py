"""What the jobs of a plan ask for by default: memory, time and cores, from what is known before anything has run.

There is one number for a rule, the largest that one of its jobs needs, because a profile overrides rule by rule.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, cast

from headrace.datasets.base import DataInfo
from headrace.experiments.splits import planned_sizes
from headrace.models.base import NEXT_STEP
from headrace.planning.artifacts import Artifact, Job
from headrace.planning.plan import Plan
from headrace.planning.runs import Run
from headrace.preprocessing.base import StepSpec
from headrace.registry import load_kind
from headrace.requests.feature_sizes import MIB, FeatureSize, count_mib
from headrace.requests.rules import jobs_by_rule, list_rules
from headrace.running.places import cores_of, num_children

DASK_WORKERS = 2
DASK_WORKER_MEM_MB = 1024
"""A shard holds at most 32 MiB, and a worker a few of them beside 300 MiB of libraries."""

MEM_MB_STEP = 512
RUNTIME_STEP_MIN = 30
MIN_RUNTIME_MIN = 60
MAX_RUNTIME_MIN = 24 * 60
"""A job that needs longer is ended by the scheduler, submitted again, and goes on from its last epoch."""

PLAIN_MIB = 1024
"""A stage that works on arrays (250 MiB measured), the two Snakemake processes around it, and buffers."""
TORCH_MIB = 1536
"""A stage that uses torch (500 MiB measured), the two Snakemake processes around it, and a model of ordinary size."""
CHILD_MIB = 512
"""A run beside others that were forked from the same process, whose libraries and data it shares (131 MiB measured)."""
CUDA_MIB = 2560
"""What the libraries of a GPU add in the memory of the node."""
TRAINING_MIB_PER_S = 1.0
"""Training inputs that the slowest family takes in a second on one slow core."""
DRAWN_MIB_PER_S = 20.0
"""Inputs that an autoencoder decodes in a second for one draw of its bound, with convolutions, on one slow core."""
EXPLAINED_TIMES = 4
"""Sets of weights that predictions are explained with: trained, of the start, and `explanations.NUM_RANDOM` others."""
DASK_MIB_PER_S = 50.0
"""What the workers read, transform and write together on a busy shared file system."""
HOLD_WHOLE = frozenset({"matrix_market", "mnist5k"})
"""Kinds of datasets that cannot be read in parts."""
JUDGED_TOGETHER = 1024
"""Samples in a batch that is validated or evaluated."""
RESAMPLED_PER_S = 2e7
"""Samples that a second of bootstrapping counts."""
RANKED_PER_S = 1e8
"""Samples x classes that a second of bootstrapping ranks, up to `ranking.MAX_RESAMPLED_CLASSES`."""
MAX_RANKED = 100
ARRAYS_OF_NODES = 4
"""Arrays in float64 with the features of all nodes that a step on a graph holds at once."""
PASSES_PER_STEP = 10
"""Over the training split, to fit one preprocessing step."""

ROOM = ("threads", "gpu", "runs_per_gpu", "nodes")
"""Resources that decide how many runs a job trains at a time."""

Requests = dict[str, dict[str, int]]
"""Rule -> mem_mb (MiB, as schedulers read it), runtime (minutes), threads."""

Stated = Mapping[str, Mapping[str, int | str]]
"""Rule -> what a profile or a command line states for it, as `requests.profiles` reads it."""

WITHOUT_PLAN: Mapping[str, Mapping[str, int]] = {
    "shard": {"mem_mb": 4096, "runtime": 60, "threads": DASK_WORKERS},
    "preprocess": {"mem_mb": 4096, "runtime": 60, "threads": DASK_WORKERS},
    "train": {"mem_mb": 4096, "runtime": 240, "threads": 1},
    "evaluate": {"mem_mb": 4096, "runtime": 60, "threads": 1},
}
"""For rules of which a plan has no job."""

VARIABLE = "HEADRACE_REQUESTS"
"""Carries the main process's numbers to those that Snakemake starts elsewhere, which have no plan."""


def default_requests(plan: Plan | None, stated: Stated | None = None) -> Requests:
    """What every rule asks for unless a profile says otherwise; without a plan, what `share_requests` left.

    Of what is `stated`, threads, GPUs and runs on each of these count: what a training job does at a time.

    Memory in MiB, rounded up to 512. Data are counted as they are stored, in float32 where they are trained on:

        shard       1024 + 40 bytes a sample (which row goes where)     + two Dask workers in the same job
                    and the dataset itself, twice, for kinds that hold it whole
        preprocess  1024 + the states of its steps, which are small     + two Dask workers in the same job
        train       1536 + the training and validation splits, 512 of each at most, and two windows of 256 at most;
                    as often as a run has ranks
                    for each further run that is trained at the same time, forked: 512 and its own windows;
                    one that is spawned, for a GPU, or has ranks: as much as the first
        evaluate    1536 + the validation and test splits likewise, and 4 x what is predicted for them,
                    and 4 x 10,000 training samples, 64 at most, for what needs no training
        train and evaluate on a GPU: 2560 more
        train and evaluate where the next step is predicted: what is said of all steps of 1024 samples, three times

    Time in minutes, generous, from one hour to one day in steps of half an hour:

        shard       30 + the dataset at 50 MiB/s
        preprocess  30 + the dataset, and 10 passes over it for each step, at 50 MiB/s
        train       30 + runs x epochs x (training and validation splits) at 1 MiB/s
        evaluate    30 + runs x (1 + strengths of noise) x (validation and test splits) at 1 MiB/s, and 20 million
                    resampled samples a second; of up to 100 classes, 100 million resampled samples x classes a second
                    too; where the next step is predicted, the training split once more
    """
    requests = {rule: dict(WITHOUT_PLAN[rule.partition("_")[0]]) for rule in list_rules()}
    if plan is None:
        for word in os.environ.get(VARIABLE, "").split():
            rule, key, number = word.split(":")
            if rule in requests:
                requests[rule][key] = int(number)
        return requests
    sizes = Sizes(plan)
    for rule, jobs in jobs_by_rule(plan).items():
        each = [sizes.request(job) for job in jobs]
        requests[rule] = {key: max(request[key] for request in each) for key in requests[rule]}
        if rule.startswith("train_"):
            room = {"threads": requests[rule]["threads"], **(stated or {}).get(rule, {})}
            mib = max(sizes.training_mib(job, room) for job in jobs)
            requests[rule]["mem_mb"] = _round_up(mib, MEM_MB_STEP)
    return requests


def share_requests(requests: Requests) -> None:
    """Let processes that this one submits find the same numbers: there, too, a job is told what it has asked for."""
    # Neither commas nor quotes: PBS would take them for its own.
    words = [f"{rule}:{key}:{number}" for rule, own in requests.items() for key, number in own.items()]
    os.environ[VARIABLE] = " ".join(words)


class Sizes:
    """The data behind the jobs of a plan, in numbers."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._data: dict[tuple[str, str], FeatureSize] = {}

    def request(self, job: Job) -> dict[str, int]:
        """What one job needs."""
        by_stage: dict[str, Callable[[Job], dict[str, int]]] = {
            "shard": self._shard,
            "preprocess": self._preprocess,
            "train": self._train,
            "evaluate": self._evaluate,
        }
        return by_stage[job.stage](job)

    def _shard(self, job: Job) -> dict[str, int]:
        info, mib = self._infos[job.id], self._dataset_mib[job.id]
        # Each of the three splits is a pass over the source.
        seconds = 3 * mib / DASK_MIB_PER_S
        held = 40 * info.num_samples / MIB + (2 * mib if (job.artifacts[0].spec["kind"] in HOLD_WHOLE) else 0)
        return _request(PLAIN_MIB + held + DASK_WORKERS * DASK_WORKER_MEM_MB, seconds, threads=DASK_WORKERS)

    def _preprocess(self, job: Job) -> dict[str, int]:
        (artifact,) = job.artifacts
        shards, kinds = artifact.inputs["shards"].id, [step["kind"] for step in artifact.spec["steps"]]
        passes = 1 + PASSES_PER_STEP * len(kinds)
        seconds = passes * self._dataset_mib[shards] / DASK_MIB_PER_S
        info = self._infos[shards]
        on_graph = any("graph" in cast(type[StepSpec], load_kind("preprocessing", kind)).needs for kind in kinds)
        held = on_graph * ARRAYS_OF_NODES * 8 * info.num_samples * info.num_features / MIB
        return _request(PLAIN_MIB + held + DASK_WORKERS * DASK_WORKER_MEM_MB, seconds, threads=DASK_WORKERS)

    def _train(self, job: Job) -> dict[str, int]:
        mib = self._behind(job.artifacts[0]).of("train", "validation")
        training = [artifact.spec["training"] for artifact in job.artifacts]
        seconds = sum(keys["epochs"] for keys in training) * mib / TRAINING_MIB_PER_S
        threads = cores_of(training)
        return _request(self.training_mib(job, {"threads": threads}), seconds, threads=threads)

    def training_mib(self, job: Job, room: Mapping[str, int | str]) -> float:
        """Of all runs that a job trains at a time, where its rule has these resources of `ROOM`."""
        data, training = self._behind(job.artifacts[0]), [artifact.spec["training"] for artifact in job.artifacts]
        own = data.windows("train", "validation") + max(self._said_of_steps(artifact) for artifact in job.artifacts)
        first = _torch_mib(training) + data.kept("train", "validation") + own
        threads, gpus, runs_per_gpu, nodes = (max(1, n) if isinstance(n := room.get(key), int) else 1 for key in ROOM)
        on_gpu = any(keys["device"] == "cuda" for keys in training)
        needed = [0.0]
        # Runs over ranks come first, and then those of one process each: never both at a time.
        if alone := [keys for keys in training if keys["world_size"] == 1]:
            num = min(len(alone), gpus * runs_per_gpu if on_gpu else num_children(alone, threads))
            needed.append(num * first if on_gpu else first + (num - 1) * (CHILD_MIB + own))
        if over_ranks := [keys for keys in training if keys["world_size"] > 1]:
            num = 1 if on_gpu or nodes > 1 else min(len(over_ranks), num_children(over_ranks, threads))
            needed.append(num * first * max(keys["world_size"] for keys in over_ranks))
        return max(needed)

    def _evaluate(self, job: Job) -> dict[str, int]:
        data = self._behind(job.artifacts[0].inputs["run"])
        mib = data.of("validation", "test")
        resampled = job.artifacts[0].spec["bootstrap"] * (data.samples["validation"] + data.samples["test"])
        passes = len(job.artifacts) * (1 + sum(map(len, job.artifacts[0].spec.get("corruption", {}).values())))
        runs = [artifact.inputs["run"] for artifact in job.artifacts if "run" in artifact.inputs]
        training = [run.spec["training"] for run in runs]
        run = job.artifacts[0].inputs["run"]
        shapes = run.spec["shapes"]
        ranked = resampled * shapes["outputs"] if shapes["task"] == "classification" else 0
        judging = resampled / RESAMPLED_PER_S + (ranked / RANKED_PER_S if shapes["outputs"] <= MAX_RANKED else 0)
        seconds = passes * (mib / TRAINING_MIB_PER_S + judging)
        outputs = 2 if shapes["task"] == NEXT_STEP else shapes["outputs"] or math.prod(shapes["inputs"])
        predicted = 8 * outputs * (data.samples["validation"] + data.samples["test"]) / MIB
        held = (
            data.kept("validation", "test")
            + data.windows("validation", "test")
            # Beside a forecast lie what it is held against, and the errors of that.
            + (6 if "shards" in job.artifacts[0].inputs else 4) * predicted
            + self._said_of_steps(run)
        )
        draws = job.artifacts[0].spec.get("importance_draws", 0)
        seconds += len(runs) * draws * data.of("test") / DRAWN_MIB_PER_S
        if asked := job.artifacts[0].spec.get("attributions"):
            # A gradient takes twice as long as a prediction.
            predictions = asked["samples"] * (3 * asked["steps"] + asked["patches"]) * EXPLAINED_TIMES
            seconds += len(runs) * predictions * 4 * math.prod(shapes["inputs"]) / MIB / TRAINING_MIB_PER_S
        if len(runs) < len(job.artifacts):
            held += data.neighbours()
            # Only codes are all counted.
            seconds += data.of("train") / TRAINING_MIB_PER_S if shapes["task"] == NEXT_STEP else 0.0
        return _request(_torch_mib(training) + held, seconds, threads=max(keys["threads"] for keys in training))

    def _said_of_steps(self, train: Artifact) -> float:
        """MiB of a number for every code after every step of a batch, with the logarithm and the gradient of each."""
        shapes, batch_size = train.spec["shapes"], train.spec["training"]["batch_size"]
        if shapes["task"] != NEXT_STEP:
            return 0.0
        numbers: int = max(JUDGED_TOGETHER, batch_size) * self._behind(train).steps * shapes["outputs"]
        return 3 * 4 * numbers / MIB

    @cached_property
    def _infos(self) -> Mapping[str, DataInfo]:
        """What the datasets behind the shards hold, by the shards' id."""
        return {artifact.id: self._plan.experiment.infos[name] for name, artifact in self._plan.shards.items()}

    @cached_property
    def _dataset_mib(self) -> Mapping[str, float]:
        """Of the datasets behind the shards, by the shards' id."""
        return {shards: count_mib(info, info.num_samples) for shards, info in self._infos.items()}

    @cached_property
    def _runs(self) -> Mapping[str, Run]:
        return {run.train.id: run for run in self._plan.runs}

    def _behind(self, train: Artifact) -> FeatureSize:
        """What a run reads."""
        run = self._runs[train.id]
        key = (run.dataset, run.features)
        if key not in self._data:
            experiment = self._plan.experiment
            samples = planned_sizes(experiment.infos[run.dataset], experiment.datasets[run.dataset].split)
            info = experiment.features_info(*key)
            mib = {split: count_mib(info, size) for split, size in samples.items()}
            self._data[key] = FeatureSize(mib, samples, info.longest or math.prod(info.shape[:1]))
        return self._data[key]


def _torch_mib(training: Iterable[Mapping[str, Any]]) -> int:
    return TORCH_MIB + CUDA_MIB * any(keys["device"] == "cuda" for keys in training)


def _request(mib: float, seconds: float, *, threads: int) -> dict[str, int]:
    minutes = MIN_RUNTIME_MIN / 2 + seconds / 60
    runtime = min(MAX_RUNTIME_MIN, max(MIN_RUNTIME_MIN, _round_up(minutes, RUNTIME_STEP_MIN)))
    return {"mem_mb": _round_up(mib, MEM_MB_STEP), "runtime": runtime, "threads": threads}


def _round_up(value: float, step: int) -> int:
    return math.ceil(value / step) * step
