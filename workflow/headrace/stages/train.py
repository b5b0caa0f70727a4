"""Train: the runs of a job, several at a time; a run that fails is sealed as failed, and the rest go on."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from headrace.batching.batches import Split, open_split
from headrace.errors import StageError
from headrace.experiments.config import Training
from headrace.logs import logger
from headrace.models.base import ModelSpec, Shapes
from headrace.provenance import checkpoints
from headrace.provenance.manifests import write_json
from headrace.registry import restore
from headrace.running.jobs import Job, Making, Task, making, versions
from headrace.running.places import cores_of, deal_gpus, num_children
from headrace.running.pool import Pool
from headrace.running.processes import describe
from headrace.schedulers.base import find_own_job
from headrace.stores.arrays import save_arrays
from headrace.training.distributed import ALONE, Ranks, is_of_connection
from headrace.training.launch import launch
from headrace.training.loop import RunFailedError, Trained, begin, train
from headrace.training.outcomes import RankDiedError
from headrace.tries.stopping import Stop

COMPUTES = (
    "batching.ahead",
    "batching.batches",
    "batching.epochs",
    "batching.windows",
    "blocks",
    "models.base",
    "provenance.checkpoints",
    "stores.arrays",
    "stores.foreign",
    "stores.groups",
    "stores.layout",
    "stores.reading",
    "stores.shards",
    "stores.writing",
    "training.distributed",
    "training.generators",
    "training.loop",
    "training.optimization",
    "training.run",
    "training.targets",
)

Data = dict[str, Split]


def run(job: Job) -> None:
    """Train what is not sealed yet, as many runs at a time as there are cores or GPUs for."""
    alone, over_ranks = list[Task](), list[Task]()
    for task in job.pending():
        (over_ranks if task.spec["training"]["world_size"] > 1 else alone).append(task)
    if over_ranks:
        run_over_ranks(job, over_ranks)
    if alone:
        run_alone(job, alone)


def run_alone(job: Job, tasks: Sequence[Task]) -> None:
    """Train runs of one process each."""
    gpus = deal_gpus(visible_gpus(), job.runs_per_gpu) if tasks[0].spec["training"]["device"] == "cuda" else []
    if len(gpus) == 1:
        # In the process that holds it already.
        data = open_data(tasks[0])
        for task in tasks:
            job.stop.check(f"{task.id} was not begun")
            seal(task, data, job.stop)
        return
    places = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus] or [{}] * num_children(settings_of(tasks), job.cores)
    if gpus or sys.platform != "linux":
        pool = Pool(partial(work_alone, job.stop.ends_at), job.stop, places, "spawn")
    else:
        data = open_data(tasks[0])
        warm_up(tasks[0], data)
        pool = Pool(partial(seal, data=data, stop=job.stop), job.stop, places)
    run_pool(pool, tasks)


def run_over_ranks(job: Job, tasks: Sequence[Task]) -> None:
    """Train runs of several ranks each; the process of each in the pool starts them and waits."""
    own = find_own_job()
    nodes = own[1].nodes if own else ()
    if len(nodes) < 2 and job.cores < (needed := cores_of(settings_of(tasks))):
        logger.warning(
            "runs over ranks need %d cores, and this job has %d: their ranks wait for each other", needed, job.cores
        )
    # A GPU, and a port where ranks of several nodes meet, serve one run at a time.
    on_gpu = tasks[0].spec["training"]["device"] == "cuda"
    places = 1 if on_gpu or len(nodes) > 1 else num_children(settings_of(tasks), job.cores)
    work = partial(seal_over_ranks, job.receipt.resolve(), job.stop.ends_at, nodes)
    run_pool(Pool(work, job.stop, [{}] * places, "fork" if sys.platform == "linux" else "spawn"), tasks)


def run_pool(pool: Pool[Task], tasks: Sequence[Task]) -> None:
    """Do all of them, and seal those that cannot be done."""
    dead = pool.run(tasks)
    for task in tasks:
        if task.id in dead:
            seal_dead(task, dead[task.id])


def settings_of(tasks: Sequence[Task]) -> list[Mapping[str, Any]]:
    """How each of some runs is trained."""
    return [task.spec["training"] for task in tasks]


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


def seal_over_ranks(receipt: Path, ends_at: float | None, nodes: Sequence[str], task: Task) -> None:
    """Let ranks train a run, and seal what the first of them left. One that died takes this process along."""
    stop = Stop(ends_at)
    stop.listen()
    try:
        with making(task) as work:
            options = ["--into", str(work.folder.resolve())] + ([] if ends_at is None else ["--ends-at", str(ends_at)])
            arguments = ["rank", str(receipt), task.id, *options]
            ended = launch(arguments, task.spec["training"]["world_size"], words_of(task), stop, nodes)
            work.failure = ended.failure
            work.execution |= ended.execution
    except RankDiedError as error:
        logger.error("train %s: %s", task.id, error)
        if error.code > 0:
            sys.exit(error.code)
        if error.code != -signal.SIGKILL:
            signal.signal(-error.code, signal.SIG_DFL)
        os.kill(os.getpid(), -error.code)
    checkpoints.clear(task.checkpoints)


def words_of(task: Task) -> Path:
    """Where the ranks of a run tell how they ended."""
    return task.checkpoints / "ranks"


def seal_dead(task: Task, code: int) -> None:
    """A run whose process died twice. Raises StageError when it was killed, which nobody does but for memory."""
    if code == -signal.SIGKILL:
        raise StageError(f"{task.id}: its process was killed twice, as happens out of memory")
    with making(task) as work:
        work.failure = f"its process ended twice with {describe(code)}"
    checkpoints.clear(task.checkpoints)


def train_one(task: Task, work: Making, data: Data, stop: Stop, ranks: Ranks = ALONE) -> None:
    """One run; whatever goes wrong in it becomes its result. Of several ranks only the first writes.

    That the connection to other ranks broke is no result: it is raised as it is.
    """
    training, cpu_before_s = training_of(task), time.process_time()
    if training.device == "cuda" and not torch.cuda.is_available():
        raise StageError(
            f"train {task.id}: planned for a GPU and finds none; give the job one, or plan with --config device=cpu"
        )
    try:
        spec, shapes = spec_of(task), shapes_of(task)
        trained = train(spec, shapes, training, task.spec["seed"], data, task.checkpoints, stop, ranks)
    except RunFailedError as error:
        work.failure = str(error)
        if ranks.is_first:
            write_json(work.folder / "curves.json", error.curves)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if ranks.are_several and is_of_connection(error):
            raise
        if "out of memory" in str(error) or "not enough memory" in str(error):
            raise StageError(f"{task.id}: out of memory: {' '.join(str(error).split())}"[:500]) from error
        logger.error("%s", traceback.format_exc())
        work.failure = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
    else:
        if ranks.is_first:
            write(work, trained)
        work.execution["cpu_s"] = round(time.process_time() - cpu_before_s, 3)
        work.execution["resumed_from_epoch"] = trained.resumed_from
        work.execution["device"] = torch.cuda.get_device_name() if training.device == "cuda" else "cpu"
        if training.device == "cuda":
            work.execution["cuda"] = torch.version.cuda or ""
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
