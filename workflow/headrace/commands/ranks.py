"""rank: one of the processes that train a run together, as torchrun starts it."""

from __future__ import annotations

import argparse
import os
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.commands.base import Add
from headrace.errors import InputError, StageError

if TYPE_CHECKING:
    from headrace.running.jobs import Task
    from headrace.training.outcomes import Outcome
    from headrace.tries.stopping import Stop


def register(add: Add) -> None:
    """Its options; the environment that torchrun gives says the rest."""
    command = add("rank", run_rank, "one rank of a training run, as the stage train has it started by torchrun")
    command.add_argument("receipt", type=Path, metavar="RECEIPT", help="ARTIFACTS/.receipts/train/JOB.ok")
    command.add_argument("run_id", metavar="ID", help="the run, one of that job")
    command.add_argument("--into", type=Path, required=True, metavar="FOLDER", help="where the first rank writes")
    command.add_argument("--store", metavar="FILE", help="where the ranks meet, if not where torchrun says")
    command.add_argument("--parent", type=int, metavar="PID", help="the process to end with, if it is here")
    command.add_argument("--ends-at", type=float, metavar="S", help="when the job's time is over, since the epoch")


def run_rank(options: argparse.Namespace) -> int:
    """Train, and leave word of how it ended: the processes around this one only see that it did."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    missing = [name for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE") if not os.environ.get(name, "").isdecimal()]
    if missing:
        raise InputError(f"{missing[0]} is not set: ranks are started by torchrun, and that by `headrace train`")
    from headrace.running.pool import end_with

    # Before what takes seconds to import: whoever starts this one may be killed meanwhile.
    end_with(options.parent or os.getppid())
    from headrace.logs import logger, name_in_log
    from headrace.running.jobs import Job
    from headrace.stages.train import words_of
    from headrace.tries.stopping import Stop

    stop = Stop(options.ends_at)
    stop.listen()
    rank = int(os.environ["RANK"])
    job = Job(options.receipt, stop)
    tasks = [task for task in job.tasks if task.id == options.run_id]
    if not tasks:
        raise InputError(f"{options.receipt}: has no run {options.run_id}")
    name_in_log(f"{options.run_id} rank {rank}")
    # What all ranks have to say, the first one says.
    logger.setLevel("INFO" if rank == 0 else "WARNING")
    outcome = _train(tasks[0], options, stop, rank)
    outcome.write(words_of(tasks[0]))
    # Who lost the others leaves them the time to say why: torchrun ends all ranks when one fails.
    return 0 if outcome.error is None or outcome.by_peer else 1


def _train(task: Task, options: argparse.Namespace, stop: Stop, rank: int) -> Outcome:
    from headrace.running.jobs import Making
    from headrace.stages.train import open_data, train_one
    from headrace.training import distributed
    from headrace.training.outcomes import Outcome
    from headrace.tries.stopping import StoppedError

    device, work, joined = task.spec["training"]["device"], Making(options.into), False
    try:
        distributed.take_device(device, int(os.environ["LOCAL_RANK"]))
        ranks = distributed.join(rank, int(os.environ["WORLD_SIZE"]), device, options.store)
        joined = True
        train_one(task, work, open_data(task), stop, ranks)
    except StoppedError as error:
        return Outcome(rank, time.time(), error=str(error), cause=error.cause)
    except (StageError, InputError) as error:
        return Outcome(rank, time.time(), error=str(error), by_system=isinstance(error.__cause__, OSError))
    except Exception as error:
        traceback.print_exc()
        message = f"{task.id} rank {rank}: {type(error).__name__}: {' '.join(str(error).split())}"
        lost = joined and distributed.is_of_connection(error)
        return Outcome(rank, time.time(), error=message, by_system=lost or isinstance(error, OSError), by_peer=lost)
    if work.failure is None:
        distributed.leave()
    return Outcome(rank, time.time(), failure=work.failure, execution=work.execution)
