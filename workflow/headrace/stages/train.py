"""Train: the runs of a job, several at a time; a run that fails is sealed as failed, and the rest go on."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import torch

from headrace import checkpoints
from headrace.batches import Split, open_split
from headrace.config import Training
from headrace.errors import StageError
from headrace.jobs import Job, Making, Task, making, versions
from headrace.logs import logger
from headrace.models.base import ModelSpec, Shapes
from headrace.pool import Pool, describe
from headrace.provenance import write_json
from headrace.registry import restore
from headrace.stores.arrays import save_arrays
from headrace.training.loop import RunFailedError, Trained, begin, train
from headrace.tries.stopping import Stop

COMPUTES = (
    "ahead",
    "batches",
    "blocks",
    "checkpoints",
    "epochs",
    "models.base",
    "stores.arrays",
    "stores.foreign",
    "stores.groups",
    "stores.layout",
    "stores.reading",
    "stores.shards",
    "stores.writing",
    "training.generators",
    "training.loop",
    "training.optimization",
    "training.run",
    "training.targets",
    "windows",
)

Data = dict[str, Split]


def run(job: Job) -> None:
    """Train what is not sealed yet, as many runs at a time as there are cores or GPUs for."""
    tasks = list(job.pending())
    if not tasks:
        return
    gpus = visible_gpus() if tasks[0].spec["training"]["device"] == "cuda" else []
    if len(gpus) == 1:
        # In the process that holds it already.
        data = open_data(tasks[0])
        for task in tasks:
            job.stop.check(f"{task.id} was not begun")
            seal(task, data, job.stop)
        return
    places = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus] or [{}] * num_children(tasks, job.cores)
    if gpus or sys.platform != "linux":
        pool = Pool(partial(work_alone, job.stop.ends_at), job.stop, places, "spawn")
    else:
        data = open_data(tasks[0])
        warm_up(tasks[0], data)
        pool = Pool(partial(seal, data=data, stop=job.stop), job.stop, places)
    dead = pool.run(tasks)
    for task in tasks:
        if task.id in dead:
            seal_dead(task, dead[task.id])


def num_children(tasks: Sequence[Task], cores: int) -> int:
    """Runs that are trained at a time; each takes its threads."""
    threads: int = max(task.spec["training"]["threads"] for task in tasks)
    return max(1, cores // threads)


def open_data(task: Task) -> Data:
    """What is trained and validated on: all runs of a job read the same features."""
    return {split: open_split(task.input_folder("features"), split) for split in ("train", "validation")}


def warm_up(task: Task, data: Data) -> None:
    """Do once, for all the runs to be forked, what takes longest in a small one: read, and import for a first step."""
    for split in data.values():
        split.load()
    versions()
    training = training_of(task)
    with suppress(Exception):
        # Whatever is wrong with it, the run itself will say.
        run = begin(spec_of(task), shapes_of(task), training.model_copy(update={"threads": 1}), 0, data["train"])
        batches = data["train"].in_order(min(8, training.batch_size))
        run.step(next(batches))
        # Its threads must have ended before a process is forked.
        batches.close()


def work_alone(ends_at: float | None, task: Task) -> None:
    """Train a run in a process that knows nothing yet."""
    stop = Stop(ends_at)
    stop.listen()
    seal(task, open_data(task), stop)


def seal(task: Task, data: Data, stop: Stop) -> None:
    """Train a run and seal what it left."""
    with making(task) as work:
        train_one(task, work, data, stop)
    checkpoints.clear(task.checkpoints)


def seal_dead(task: Task, code: int) -> None:
    """A run whose process died twice. Raises StageError when it was killed, which nobody does but for memory."""
    if code == -signal.SIGKILL:
        raise StageError(f"{task.id}: its process was killed twice, as happens out of memory")
    with making(task) as work:
        work.failure = f"its process ended twice with {describe(code)}"
    checkpoints.clear(task.checkpoints)


def train_one(task: Task, work: Making, data: Data, stop: Stop) -> None:
    """One run; whatever goes wrong in it becomes its result."""
    training = training_of(task)
    if training.device == "cuda" and not torch.cuda.is_available():
        raise StageError(
            f"train {task.id}: planned for a GPU and finds none; give the job one, or plan with --config device=cpu"
        )
    try:
        spec, shapes = spec_of(task), shapes_of(task)
        trained = train(spec, shapes, training, task.spec["seed"], data, task.checkpoints, stop)
    except RunFailedError as error:
        work.failure = str(error)
        write_json(work.folder / "curves.json", error.curves)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if "out of memory" in str(error) or "not enough memory" in str(error):
            raise StageError(f"{task.id}: out of memory: {' '.join(str(error).split())}"[:500]) from error
        logger.error("%s", traceback.format_exc())
        work.failure = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
    else:
        write(work, trained)
        work.execution["resumed_from_epoch"] = trained.resumed_from
        work.execution["device"] = torch.cuda.get_device_name() if training.device == "cuda" else "cpu"
    if work.failure:
        logger.error("train %s failed: %s", task.id, work.failure)


def training_of(task: Task) -> Training:
    """How the run is trained."""
    return Training.model_validate({**task.spec["training"], "seeds": (task.spec["seed"],)})


def spec_of(task: Task) -> ModelSpec:
    """The run's model family with its parameters."""
    return restore("models", task.spec["family"], ModelSpec)


def shapes_of(task: Task) -> Shapes:
    """What the run's model is built for."""
    return Shapes(**{**task.spec["shapes"], "inputs": tuple(task.spec["shapes"]["inputs"])})


def visible_gpus() -> list[str]:
    """The GPUs of this job, as CUDA_VISIBLE_DEVICES names them; one where there is none, for an error that says so."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(i) for i in range(max(1, torch.cuda.device_count()))]


def write(work: Making, trained: Trained) -> None:
    """Weights, curves and what is needed to read the predictions."""
    arrays = {name: value.numpy() for name, value in trained.weights.items()}
    save_arrays(work.folder / "weights.safetensors", arrays)
    write_json(work.folder / "curves.json", trained.curves)
    summary = {"best_epoch": trained.best_epoch, "num_parameters": trained.num_parameters}
    if trained.target_scale is not None:
        mean, deviation = trained.target_scale
        summary |= {"target_mean": mean.tolist(), "target_deviation": deviation.tolist()}
    write_json(work.folder / "summary.json", summary)
