"""Train: the runs of a job, one after the other; a run that fails is sealed as failed, and the rest go on."""

from __future__ import annotations

import traceback

import torch

from headrace import checkpoints, stores
from headrace.batches import SplitData, read_split
from headrace.config import Training
from headrace.errors import StageError
from headrace.jobs import Job, Making, Task, making
from headrace.logs import logger
from headrace.models.base import ModelSpec, Shapes
from headrace.provenance import write_json
from headrace.registry import restore
from headrace.training import RunFailedError, Trained, train
from headrace.tries.stopping import Stop

COMPUTES = ("batches", "stores", "checkpoints", "training", "models.base")

Data = dict[str, SplitData]


def run(job: Job) -> None:
    """Train what is not sealed yet."""
    data: Data = {}
    for task in job.pending():
        # All runs of a job read the same features.
        data = data or {split: read_split(task.input_folder("features"), split) for split in ("train", "validation")}
        job.stop.check(f"{task.id} was not begun")
        with making(task) as work:
            train_one(task, work, data, job.stop)
        checkpoints.clear(task.checkpoints)


def train_one(task: Task, work: Making, data: Data, stop: Stop) -> None:
    """One run; whatever goes wrong in it becomes its result."""
    training = Training.model_validate({**task.spec["training"], "seeds": (task.spec["seed"],)})
    if training.device == "cuda" and not torch.cuda.is_available():
        raise StageError(
            f"train {task.id}: planned for a GPU and finds none; give the job one, or plan with --config device=cpu"
        )
    shapes = Shapes(**{**task.spec["shapes"], "inputs": tuple(task.spec["shapes"]["inputs"])})
    spec = restore("models", task.spec["family"], ModelSpec)
    try:
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


def write(work: Making, trained: Trained) -> None:
    """Weights, curves and what is needed to read the predictions."""
    arrays = {name: value.numpy() for name, value in trained.weights.items()}
    stores.save_arrays(work.folder / "weights.safetensors", arrays)
    write_json(work.folder / "curves.json", trained.curves)
    summary = {"best_epoch": trained.best_epoch, "num_parameters": trained.num_parameters}
    if trained.target_scale is not None:
        mean, deviation = trained.target_scale
        summary |= {"target_mean": mean.tolist(), "target_deviation": deviation.tolist()}
    write_json(work.folder / "summary.json", summary)
