"""A run over 2 and 3 ranks: the curve of one process, the same bits every time, and one decision on all of them."""

import atexit
import functools
import math
import multiprocessing
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from headrace.batching.batches import Split, open_split
from headrace.blocks import Ragged
from headrace.errors import InputError, StageError
from headrace.experiments.config import Training
from headrace.experiments.reading import check_experiment
from headrace.models.base import ModelSpec, Shapes
from headrace.provenance.digests import content_of
from headrace.registry import restore
from headrace.schedulers.base import Cause
from headrace.stores.layout import Layout
from headrace.training import distributed, loop
from headrace.training.distributed import ALONE, Ranks, SharedBatchNorm, SharedStop, join, leave
from headrace.training.loop import RunFailedError, Trained, begin, train
from headrace.tries.stopping import NEVER, Stop, StoppedError

NUM_SAMPLES = 72
BATCH_SIZE = 30
"""Of 72 samples: 30, 30 and 12, all to be shared out over 2 and 3 ranks."""
RELATIVE = 2e-5
"""By which curves may differ from those of one process, and weights in terms of the largest."""
TIMEOUT_S = 60
FOLDER = tempfile.mkdtemp()
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
Data = Mapping[str, Split]

SMALL = {"kind": "fnn", "hidden": (8, 8), "dropout": 0.0}
CASES: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "classification": ("classification", (6,), SMALL),
    "regression": ("regression", (6,), SMALL),
    "batch norm": ("classification", (4, 4), {"kind": "cnn", "channels": (3, 4), "hidden": 4, "blocks": "residual"}),
    "ragged": ("classification", (2,), {"kind": "rnn", "hidden": 4}),
    "attention": ("classification", (2,), {"kind": "transformer", "width": 8, "heads": 2, "layers": 1, "dropout": 0.0}),
    "dropout": ("classification", (6,), {**SMALL, "dropout": 0.5}),
    "noise": ("density", (6,), {"kind": "vae", "hidden": 8, "latent": 2}),
}
RAGGED = frozenset({"ragged", "attention"})
OUTPUTS = {"classification": 3, "regression": 1, "density": 0}


def draw(case: str, num_samples: int, seed: int) -> dict[str, Any]:
    """Inputs and, but for a density, targets."""
    task, shape, _ = CASES[case]
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 6, num_samples) if case in RAGGED else np.ones(num_samples, np.int64)
    values = generator.uniform(size=(int(lengths.sum()), *shape)).astype(np.float32)
    inputs = Ragged(values, lengths) if case in RAGGED else values
    signal = np.add.reduceat(values.reshape(len(values), -1).sum(axis=1), np.cumsum(lengths) - lengths) / lengths
    if task == "classification":
        return {"inputs": inputs, "target": np.searchsorted(np.quantile(signal, [0.2, 0.6]), signal).astype(np.int64)}
    target = {"target": (3000 + 700 * signal[:, None]).astype(np.float32)} if task == "regression" else {}
    return {"inputs": inputs, **target}


@functools.cache
def write_data(case: str, num_samples: int = NUM_SAMPLES) -> Path:
    """An artifact with the splits of a case."""
    arrays = {"train": draw(case, num_samples, 1), "validation": draw(case, 30, 2)}
    return _write(Path(tempfile.mkdtemp(dir=FOLDER)), arrays, num_samples + 30)


def _write(folder: Path, arrays: Mapping[str, Mapping[str, Any]], num_rows: int) -> Path:
    from sample_stores import write_artifact

    return write_artifact(folder, arrays, Layout(num_rows, 50, 10))


def run_case(
    case: str, folder: Path, ranks: Ranks = ALONE, *, num_samples: int = NUM_SAMPLES, stop: Stop = NEVER, **keys: Any
) -> Trained:
    task, shape, family = CASES[case]
    settings = {"epochs": 3, "batch_size": BATCH_SIZE, "learning_rate": 0.01, "device": "cpu", **keys}
    training = Training(world_size=ranks.world_size, **settings)
    data = {name: open_split(write_data(case, num_samples), name) for name in ("train", "validation")}
    shapes = Shapes(shape, OUTPUTS[task], task, layout="ragged" if case in RAGGED else "dense")
    return train(restore("models", family, ModelSpec), shapes, training, 3, data, folder, stop, ranks)


def content(trained: Trained) -> tuple[Any, ...]:
    """All that a run leaves behind but what it took."""
    weights = {name: value.numpy().tobytes() for name, value in trained.weights.items()}
    return weights, content_of(trained.curves), trained.best_epoch


@pytest.fixture(autouse=True)
def saved_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SAVE_S", 0.0)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Import once, for all that is forked, what torch imports with the first step."""
    run_case("dropout", tmp_path_factory.mktemp("warm"), epochs=1)


# Ranks


def _live(work: Callable[[Ranks], Any], rank: int, world_size: int, store: Path, sender: Connection) -> None:
    ranks = join(rank, world_size, "cpu", str(store))
    try:
        sender.send(work(ranks))
    except (StageError, ValueError, RunFailedError) as error:
        sender.send(f"{type(error).__name__}: {error}")
    leave()


def over_ranks(world_size: int, work: Callable[[Ranks], Any]) -> list[Any]:
    """What the work gives on every rank, each a process forked from this one."""
    torch.set_num_threads(1)
    context = multiprocessing.get_context("fork")
    store = Path(tempfile.mkdtemp(dir=FOLDER)) / "store"
    receivers, processes = [], []
    for rank in range(world_size):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_live, args=(work, rank, world_size, store, sender))
        with warnings.catch_warnings():
            # Newer Pythons warn of a fork beside threads; these were left behind by whatever was tested before.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        sender.close()
        receivers.append(receiver)
        processes.append(process)
    try:
        assert all(receiver.poll(TIMEOUT_S) for receiver in receivers), "a rank did not answer"
        return [receiver.recv() for receiver in receivers]
    finally:
        for process, receiver in zip(processes, receivers, strict=True):
            process.join(TIMEOUT_S)
            process.kill()
            process.join()
            receiver.close()


def test_ranks_add_up_in_their_order_wherever_a_gradient_lies() -> None:
    def work(ranks: Ranks) -> tuple[list[float], list[float]]:
        value = (1e8, 1.0, -1e8)[ranks.rank]
        module = nn.Linear(7, 1, bias=False)
        wrapped = ranks.wrap(module)
        (wrapped(torch.full((1, 7), value))).sum().backward()
        return module.weight.grad[0].tolist(), ranks.total(torch.full((2,), value)).tolist()

    # In single precision 1e8 + 1 is 1e8; by any other order the sum of the three would be 1.
    assert over_ranks(3, work) == [([0.0] * 7, [0.0] * 2)] * 3


def test_what_the_first_rank_says_holds() -> None:
    def work(ranks: Ranks) -> dict[str, float]:
        ranks.wait()
        return ranks.agree({"loss": 0.1 + ranks.rank, "accuracy": math.pi * ranks.rank})

    assert over_ranks(2, work) == [{"loss": 0.1, "accuracy": 0.0}] * 2
    assert ALONE.agree({"loss": 0.3}) == {"loss": 0.3}


def test_every_rank_begins_with_the_same_weights_and_draws_noise_of_its_own() -> None:
    def work(ranks: Ranks) -> tuple[bytes, float]:
        task, shape, family = CASES["dropout"]
        training = Training(batch_size=BATCH_SIZE, device="cpu", world_size=ranks.world_size)
        data = open_split(write_data("dropout"), "train")
        run = begin(restore("models", family, ModelSpec), Shapes(shape, 3, task), training, 3, data, ranks)
        weights = b"".join(value.detach().numpy().tobytes() for value in run.module.parameters())
        return weights, float(torch.rand(1))

    (one, first), (two, second) = over_ranks(2, work)
    assert one == two
    assert first != second


def test_batch_normalisation_sees_the_whole_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(12, 3, 4, 4, generator=generator) * 3 + 1
    factors = torch.randn(12, 3, 4, 4, generator=generator)

    def steps(norm: nn.Module, rows: slice) -> list[torch.Tensor]:
        own = inputs[rows].clone().requires_grad_()
        for _ in range(2):
            output = norm(own)
        (output * factors[rows]).sum().backward()
        state = [value.clone() for name, value in norm.state_dict().items() if "running" in name]
        return [output.detach(), own.grad, *state, norm.eval()(own).detach()]

    def work(ranks: Ranks) -> list[torch.Tensor]:
        rows = slice(ranks.rank * 12 // ranks.world_size, (ranks.rank + 1) * 12 // ranks.world_size)
        model = distributed.share_batch_norms(nn.Sequential(nn.BatchNorm2d(3)), ranks)
        assert isinstance(model[0], SharedBatchNorm)
        return [value.numpy() for value in steps(model[0], rows)]

    output, gradient, mean, variance, judged = (value.numpy() for value in steps(nn.BatchNorm2d(3), slice(None)))
    for world_size in (2, 3):
        found = over_ranks(world_size, work)
        for i, wanted in enumerate([output, gradient, None, None, judged]):
            if wanted is not None:
                np.testing.assert_allclose(np.concatenate([one[i] for one in found]), wanted, rtol=1e-4, atol=1e-5)
        for one in found:
            np.testing.assert_allclose(one[2], mean, rtol=1e-5)
            np.testing.assert_allclose(one[3], variance, rtol=1e-5)


# The curve of one process


SETTINGS: dict[str, dict[str, Any]] = {
    "classification": {
        "class_weights": "balanced",
        "label_smoothing": 0.1,
        "gradient_clip": 0.05,
        "accumulate": 2,
        "schedule": "cosine",
        "warmup_epochs": 0.5,
        "average": 0.5,
    },
    "regression": {"optimizer": "sgd", "weight_decay": 0.01},
    # The gradient of a constant that a normalisation takes away is nothing but rounding, which Adam makes a step of.
    "batch norm": {"optimizer": "sgd"},
    "ragged": {"optimizer": "adamw"},
    "attention": {"optimizer": "sgd"},
}


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("case", SETTINGS)
def test_ranks_give_the_curve_and_the_weights_of_one_process(case: str, world_size: int, tmp_path: Path) -> None:
    alone = run_case(case, tmp_path / "alone", **SETTINGS[case])

    def work(ranks: Ranks) -> tuple[dict[str, np.ndarray], list[dict[str, float]], int]:
        trained = run_case(case, tmp_path / "ranks", ranks, **SETTINGS[case])
        weights = {name: value.numpy() for name, value in trained.weights.items()}
        return weights, trained.curves, trained.best_epoch

    found = over_ranks(world_size, work)
    for weights, curves, best_epoch in found:
        assert best_epoch == alone.best_epoch
        for row, wanted in zip(curves, alone.curves, strict=True):
            for name in ("train_loss", "validation_loss", "gradient_norm", "learning_rate"):
                assert row[name] == pytest.approx(wanted[name], rel=RELATIVE), name
        assert weights.keys() == alone.weights.keys()
        for name, value in alone.weights.items():
            largest = float(value.abs().max())
            np.testing.assert_allclose(weights[name], value.numpy(), rtol=0, atol=RELATIVE * max(largest, 0.1))
    for weights, _, _ in found[1:]:
        assert all(np.array_equal(value, found[0][0][name]) for name, value in weights.items())


def test_what_cannot_be_shared_out_waits_for_another_epoch(tmp_path: Path) -> None:
    def work(ranks: Ranks) -> list[int]:
        data = open_split(write_data("dropout", 65), "train")
        batches = data.epoch(BATCH_SIZE, 0, 1, rank=ranks.rank, world_size=ranks.world_size)
        run_case("dropout", tmp_path, ranks, num_samples=65)
        return [len(batch) for batch in batches]

    assert over_ranks(3, work) == [[10, 10, 1]] * 3


# The same bits


class StopAfter(Stop):
    """Told to stop after so many looks."""

    def __init__(self, looks: int, cause: Cause = "preemption") -> None:
        super().__init__()
        self.looks, self.why = looks, cause

    @property
    def cause(self) -> Cause | None:
        self.looks -= 1
        return self.why if self.looks < 0 else None


@pytest.mark.parametrize(("case", "world_size"), [("dropout", 2), ("noise", 3), ("batch norm", 3)])
def test_interrupted_ranks_go_on_with_the_same_bits(case: str, world_size: int, tmp_path: Path) -> None:
    def whole(folder: Path, ranks: Ranks) -> tuple[Any, ...]:
        return content(run_case(case, folder, ranks))

    def stopped(looks: int, folder: Path, ranks: Ranks) -> tuple[str, Cause]:
        # Only the last rank is told; all of them must stop before the same batch.
        stop = StopAfter(looks) if ranks.rank == ranks.world_size - 1 else NEVER
        try:
            run_case(case, folder, ranks, stop=stop)
        except StoppedError as error:
            return str(error), error.cause
        raise AssertionError("was not stopped")

    uninterrupted = over_ranks(world_size, partial(whole, tmp_path / "whole"))
    assert uninterrupted == [uninterrupted[0]] * world_size
    assert over_ranks(world_size, partial(whole, tmp_path / "again")) == uninterrupted
    # One look when the ranks meet, then one a batch: in the middle of the first epoch, and between two.
    for looks in (3, 4):
        folder = tmp_path / f"after-{looks}"
        done, batches = divmod(looks - 1, 3)
        said = f"saved after epoch {done} of 3 and {batches} batches"
        for message, cause in over_ranks(world_size, partial(stopped, looks, folder)):
            assert said in message
            assert cause == "preemption"
        assert over_ranks(world_size, partial(whole, folder)) == uninterrupted


def test_noise_of_other_ranks_is_other_noise_so_the_number_of_ranks_is_identity(tmp_path: Path) -> None:
    def work(ranks: Ranks) -> tuple[Any, ...]:
        return content(run_case("dropout", tmp_path / str(ranks.world_size), ranks))

    assert over_ranks(2, work)[0] != over_ranks(3, work)[0]


def test_the_weightiest_reason_to_stop_and_one_clock_hold_on_all_ranks() -> None:
    def work(ranks: Ranks) -> tuple[Cause | None, Cause | None, float, float]:
        causes: tuple[Cause, ...] = ("time limit", "preemption", "time limit")
        stop = SharedStop(StopAfter(2, causes[ranks.rank]), ranks)
        before, first = stop.clock(), stop.cause
        return first, stop.cause, before, stop.clock()

    found = over_ranks(3, work)
    assert found == [found[0]] * 3
    first, then, before, after = found[0]
    assert (first, then) == (None, "preemption")
    assert 0 < before <= after < math.inf


# What is refused


def test_ranks_that_see_different_checkpoints_do_not_go_on(tmp_path: Path) -> None:
    run_case("dropout", tmp_path / "0", epochs=1)

    def work(ranks: Ranks) -> None:
        run_case("dropout", tmp_path / f"of-{ranks.rank}", ranks)

    def make(ranks: Ranks) -> None:
        run_case("dropout", tmp_path / "of-0", ranks, epochs=1)

    over_ranks(2, make)
    for error in over_ranks(2, work):
        assert error.startswith("StageError: ")
        assert error.endswith("the ranks do not see the same checkpoint: [[1, 0], [0, 0]]")


def test_fewer_samples_than_ranks_are_refused(tmp_path: Path) -> None:
    for error in over_ranks(3, lambda ranks: run_case("dropout", tmp_path, ranks, num_samples=2)):
        assert error == "ValueError: world_size: 2 training samples cannot be shared out over 3 ranks"


def test_a_connection_that_broke_is_told_from_a_mistake() -> None:
    def work(ranks: Ranks) -> tuple[bool, ...]:
        if not ranks.is_first:
            return ()
        found = []
        for meet in (ranks.wait, lambda: ranks.agree({"loss": 0.1}), lambda: SharedStop(NEVER, ranks)):
            try:
                meet()
            except RuntimeError as error:
                found.append(distributed.is_of_connection(error))
        return tuple(found)

    assert over_ranks(2, work) == [(True,) * 3, ()]
    assert not distributed.is_of_connection(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not distributed.is_of_connection(ValueError("/gloo/"))
    assert distributed.is_of_connection(dist.DistBackendError("NCCL error: unhandled system error"))


def test_a_loss_that_is_lost_ends_the_run_on_every_rank_alike(tmp_path: Path) -> None:
    def work(ranks: Ranks) -> None:
        run_case("regression", tmp_path, ranks, optimizer="sgd", learning_rate=1e30)

    (one, two) = over_ranks(2, work)
    assert one == two
    assert one.startswith("RunFailedError: the loss was not finite in epoch 1")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"world_size": 3}, "world_size: 3 ranks cannot share batches of 128 equally; allowed: its divisors"),
        (
            {"world_size": 2, "accumulate": 65},
            "accumulate: 65 parts of 64 samples a rank; allowed: at most one a sample",
        ),
        ({"world_size": 2, "compile": "auto"}, "compile: auto was not tried with world_size 2; allowed: never"),
        ({"world_size": 0}, "world_size: should be greater than 0"),
    ],
)
def test_what_ranks_cannot_do_is_one_line_of_the_check(keys: dict[str, Any], message: str) -> None:
    experiment = {"name": "a", "datasets": {"tumours": {"kind": "breast_cancer"}}, "models": [{"kind": "fnn", **keys}]}
    with pytest.raises(InputError) as refused:
        check_experiment(experiment)
    assert len(refused.value.problems) == 1
    assert message in refused.value.problems[0]


def test_a_single_process_joins_nobody(tmp_path: Path) -> None:
    assert not ALONE.are_several
    run_case("dropout", tmp_path)
    assert not dist.is_initialized()
    assert os.environ["GLOO_SOCKET_IFNAME"] == "lo"
