"""Every model family: shapes, gradients, learning, storage, and blindness to the batch."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from headrace.batching.batches import Batch, Padded, move
from headrace.datasets.base import DataInfo
from headrace.experiments.config import Training
from headrace.experiments.experiment import ModelKeys
from headrace.inference.exporting import make_program, trace
from headrace.inference.trained import TrainedRun
from headrace.models.base import ModelSpec, Shapes, is_sequence
from headrace.registry import list_kinds, load_kind
from headrace.stores.arrays import load_arrays, save_arrays
from headrace.training import optimization
from headrace.training.run import Run

FAMILIES = list_kinds("models")
NUM_SAMPLES = 32
NUM_CODES = 6
TASKS = {"classification": 3, "regression": 2, "density": 0, "next_step": NUM_CODES}
LENGTHS = (3, 7, 1, 5)
"""Steps of the four patterns, where samples differ in length."""


@dataclass(frozen=True)
class Form:
    """Inputs that a family may read."""

    shape: tuple[int, ...]
    dims: tuple[str, ...]
    layout: Literal["dense", "ragged", "sparse"] = "dense"
    num_codes: int = 0
    tasks: tuple[str, ...] = tuple(TASKS)
    """What there are data of this form for."""


FORMS = {
    "table": Form((12,), ("feature",)),
    "sparse": Form((12,), ("feature",), "sparse"),
    "sequences": Form((6, 5), ("step", "feature")),
    "images": Form((8, 8), ("height", "width")),
    "colours": Form((8, 8, 3), ("height", "width", "channel")),
    "codes": Form((), (), "ragged", NUM_CODES),
    "windows": Form((9,), ("step",), "dense", NUM_CODES, ("next_step",)),
    "numbers": Form((), (), "ragged"),
    "measurements": Form((5,), ("feature",), "ragged"),
}
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "cnn": {"residual": {"blocks": "residual", "channels": (8, 8), "hidden": 32}},
    "rnn": {
        "bidirectional": {"cell": "lstm", "hidden": 24, "layers": 2, "bidirectional": True, "dropout": 0.1},
        "max": {"cell": "vanilla", "hidden": 24, "read": "max"},
        "mean": {"hidden": 24, "layers": 2, "dropout": 0.1, "read": "mean"},
    },
    "transformer": {
        "token": {"width": 24, "heads": 2, "layers": 1, "read": "token", "dropout": 0.0},
        "learned": {"width": 24, "heads": 3, "layers": 1, "position": "learned"},
    },
    "vae": {
        "gaussian": {"likelihood": "gaussian", "hidden": 100, "beta": 0.5},
        "convolutional": {"architecture": "convolutional", "channels": (16, 32), "hidden": 100},
        "convolutional-gaussian": {
            "architecture": "convolutional",
            "likelihood": "gaussian",
            "channels": (16, 32),
            "hidden": 100,
        },
    },
}
"""Parameters of a family that make another network of it than the defaults do; tried on the first of its tasks."""


@dataclass
class Case:
    """A family with data that it can read."""

    spec: ModelSpec
    shapes: Shapes
    inputs: Tensor | Padded
    target: Tensor

    def build(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return self.spec.build(self.shapes)

    def loss(self, module: nn.Module, rows: slice = slice(None)) -> Tensor:
        inputs = take(self.inputs, rows)
        return self.spec.loss(module(inputs), inputs, self.target[rows], self.shapes.task)

    def predict(self, module: nn.Module, rows: slice = slice(None)) -> dict[str, Tensor]:
        module.eval()
        inputs = take(self.inputs, rows)
        with torch.no_grad():
            return self.spec.predict(module(inputs), inputs, self.shapes.task)


def take(inputs: Tensor | Padded, rows: slice) -> Tensor | Padded:
    """Some of the samples, filled up to the longest among them, as in a batch of their own."""
    if isinstance(inputs, Tensor):
        return inputs[rows]
    lengths = inputs.lengths[rows]
    return Padded(inputs.values[rows, : int(lengths.max())], lengths)


def make_case(spec: ModelSpec, task: str, form: Form) -> Case:
    generator = np.random.default_rng(7)
    which = np.arange(NUM_SAMPLES) % 4
    # Four patterns with a few spots of noise: something that any family can learn, in [0, 1].
    shape = (max(LENGTHS), *form.shape) if form.layout == "ragged" else form.shape
    patterns = (generator.uniform(size=(4, *shape)) > 0.5).astype(np.float32)
    noise = generator.uniform(size=(NUM_SAMPLES, *shape)) > 0.95
    values = np.abs(patterns[which] - noise).astype(np.float32)
    if form.num_codes:
        values = (values + which[:, None]).astype(np.int64)
    inputs = cut(values, which) if form.layout == "ragged" else torch.from_numpy(values)
    outputs = TASKS[task]
    if task == "classification":
        target = torch.from_numpy(which % outputs)
    else:
        target = torch.from_numpy(generator.normal(size=(4, outputs))[which].astype(np.float32))
    shapes = Shapes(form.shape, outputs, task, form.layout, form.num_codes, is_sequence(info_of(form, task)))
    return Case(spec, shapes, inputs, target)


def cut(values: np.ndarray, which: np.ndarray) -> Padded:
    """Every sample to the length of its pattern."""
    lengths = np.array(LENGTHS)[which]
    values[np.arange(max(LENGTHS)) >= lengths[:, None]] = 0
    return Padded(torch.from_numpy(values), torch.from_numpy(lengths))


def info_of(form: Form, task: str) -> DataInfo:
    classes = ("a", "b", "c") if task == "classification" else ()
    info = DataInfo((task,), 90, form.shape, form.dims, classes, (30,) * len(classes), 2 if task == "regression" else 0)
    return replace(info, unit_interval=True, layout=form.layout, num_codes=form.num_codes)


def reads(spec: ModelSpec, task: str, form: str) -> bool:
    if FORMS[form].layout not in spec.reads or task not in FORMS[form].tasks:
        return False
    try:
        spec.check(info_of(FORMS[form], task))
    except ValueError:
        return False
    return True


def cases() -> Iterator[Any]:
    for family in FAMILIES:
        spec: Any = load_kind("models", family)
        for variant in ("", *VARIANTS.get(family, {})):
            for task in spec.tasks[:1] if variant else spec.tasks:
                for form in FORMS:
                    if may_read(family, variant, task, form):
                        name = f"{family}-{variant}" if variant else family
                        yield pytest.param((family, variant, task, form), id=f"{name}-{task}-{form}")


def may_read(family: str, variant: str, task: str, form: str) -> bool:
    """A family with required parameters is asked when its tests run, with an example of them."""
    parameters = VARIANTS[family][variant] if variant else {}
    try:
        return reads(load_kind("models", family).model_validate({"kind": family, **parameters}), task, form)  # type: ignore[arg-type]
    except ValidationError:
        return True


def ragged_cases() -> Iterator[Any]:
    """Tracing takes a second: variants are tried on one form, and one form on numbers that are brought back."""
    for parameters in cases():
        ((_, variant, task, form),) = parameters.values
        if FORMS[form].layout == "ragged" and (
            (task == "classification" and (form == "measurements" or not variant))
            or (task, form) == ("regression", "codes")
        ):
            yield parameters


@pytest.fixture(params=cases())
def case(request: pytest.FixtureRequest, make_example: Callable[..., Any]) -> Case:
    torch.set_num_threads(1)
    family, variant, task, form = request.param
    spec = make_example("models", family, **(VARIANTS[family][variant] if variant else {}))
    if not reads(spec, task, form):
        pytest.skip(f"{family} does not read {form}")
    return make_case(spec, task, FORMS[form])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_reads_something_for_each_of_its_tasks(family: str, make_example: Callable[..., Any]) -> None:
    spec = make_example("models", family)
    assert spec.tasks
    assert set(spec.tasks) <= set(TASKS)
    for task in spec.tasks:
        assert any(reads(spec, task, form) for form in FORMS), f"{family} refuses all of {list(FORMS)} for {task}"


@pytest.mark.parametrize("family", FAMILIES)
def test_no_parameter_shares_its_name_with_a_key_of_training_or_of_the_entry(family: str) -> None:
    own = set(load_kind("models", family).model_fields) - {"kind"}
    assert own & (set(Training.model_fields) | set(ModelKeys.model_fields)) == set()


def test_predictions_have_the_promised_shapes(case: Case) -> None:
    outputs = case.predict(case.build())
    if case.shapes.task == "classification":
        assert outputs["probabilities"].shape == (NUM_SAMPLES, 3)
        assert torch.allclose(outputs["probabilities"].sum(dim=1), torch.ones(NUM_SAMPLES), atol=1e-5)
    elif case.shapes.task == "regression":
        assert outputs["prediction"].shape == (NUM_SAMPLES, 2)
    elif case.shapes.task == "next_step":
        inputs = case.inputs
        lengths = torch.full((NUM_SAMPLES,), inputs.shape[1]) if isinstance(inputs, Tensor) else inputs.lengths
        assert outputs["nats"].shape == (NUM_SAMPLES,)
        assert torch.equal(outputs["steps"], lengths - 1)
        assert torch.equal(outputs["nats"] > 0, lengths > 1)
    else:
        assert outputs["neg_elbo"].shape == outputs["reconstruction"].shape == (NUM_SAMPLES,)
        assert isinstance(case.inputs, Tensor)
        assert outputs["mean"].shape == case.inputs.shape
        assert (outputs["neg_elbo"] >= outputs["reconstruction"] - 1e-3).all()
    assert all(torch.isfinite(values).all() for values in outputs.values())


def test_the_loss_is_finite_and_reaches_every_parameter(case: Case) -> None:
    module = case.build()
    loss = case.loss(module)
    assert loss.shape == ()
    assert torch.isfinite(loss)
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_a_family_can_learn_a_few_samples_by_heart(case: Case) -> None:
    module = case.build()

    def judge() -> float:
        module.eval()
        torch.manual_seed(1)
        with torch.no_grad():
            return float(case.loss(module))

    # The divergence of a density is a price that is paid for good, and below its peak a Gaussian's cannot come.
    is_gaussian = getattr(case.spec, "likelihood", "") == "gaussian"
    least = math.log(math.sqrt(2 * math.pi)) * case.shapes.num_inputs if is_gaussian else 0.0
    wanted = least + (0.7 if case.shapes.task == "density" else 0.5) * (judge() - least)
    optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)
    for step in range(1, 201):
        module.train()
        optimizer.zero_grad()
        case.loss(module).backward()
        optimizer.step()
        if step % 10 == 0 and judge() < wanted:
            return
    pytest.fail(f"a loss of {judge()} after {step} steps; wanted: {wanted}")


def test_the_same_seed_builds_the_same_weights(case: Case) -> None:
    one, same, other = (case.build(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_weights_survive_storage(case: Case, tmp_path: Path) -> None:
    module = case.build()
    # Once in training, so that what is counted there, as by batch normalisation, is no longer as it was built.
    case.loss(module)
    arrays = {name: value.numpy() for name, value in module.state_dict().items()}
    save_arrays(tmp_path / "weights.safetensors", arrays)
    back = case.build(seed=5)
    loaded = load_arrays(tmp_path / "weights.safetensors")
    back.load_state_dict({name: torch.from_numpy(value) for name, value in loaded.items()})
    torch.manual_seed(3)
    expected = case.predict(module)
    torch.manual_seed(3)
    found = case.predict(back)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_predictions_do_not_depend_on_the_batch(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    # Noise would differ with the batch; without it the rest must not.
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    module = case.build()
    whole = case.predict(module)
    for size in (1, 5):
        parts = [case.predict(module, slice(i, i + size)) for i in range(0, NUM_SAMPLES, size)]
        for name, values in whole.items():
            together = torch.cat([part[name] for part in parts])
            assert torch.allclose(together, values, rtol=1e-5, atol=1e-5), name


@pytest.mark.parametrize("case", list(ragged_cases()), indirect=True)
def test_a_program_takes_sequences_of_any_number_and_length(case: Case) -> None:
    inputs, module = case.inputs, case.build().eval()
    assert isinstance(inputs, Padded)
    scale = (np.array([1.0, -2.0]), np.array([3.0, 0.5])) if case.shapes.task == "regression" else None
    run = TrainedRun(case.spec, case.shapes, module, torch.device("cpu"), scale, {})
    program, example = make_program(run)
    written = trace(program, example).module()
    assert torch.equal(inputs.lengths[:6], torch.tensor([*LENGTHS, *LENGTHS[:2]]))
    # Patterns of 3, 7, 1 and 5 steps: alone, in batches of few and of many, none as long as what was traced.
    for rows in (slice(0, 1), slice(2, 3), slice(0, 2), slice(1, NUM_SAMPLES)):
        batch = take(inputs, rows)
        assert isinstance(batch, Padded)
        assert batch.values.shape[:2] != example[0].shape[:2]
        (outputs,) = case.predict(module, rows).values()
        wanted = outputs if scale is None else outputs.numpy() * scale[1] + scale[0]
        np.testing.assert_allclose(written(*batch), wanted, rtol=1e-5, atol=1e-6)


def test_the_loss_is_a_mean_over_the_batch(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    module = case.build().eval()
    halves = [case.loss(module, rows) for rows in (slice(0, 16), slice(16, 32))]
    assert torch.allclose(case.loss(module), torch.stack(halves).mean(), rtol=1e-5)


def test_a_module_can_be_built_and_take_a_step_without_memory(case: Case) -> None:
    with torch.device("meta"):
        module = case.spec.build(case.shapes)
    assert all(tensor.is_meta for tensor in (*module.parameters(), *module.buffers()))
    assert sum(parameter.numel() for parameter in module.parameters()) > 0
    device = torch.device("meta")
    inputs = move(case.inputs, device)
    loss = case.spec.loss(module(inputs), inputs, case.target.to(device), case.shapes.task)
    assert loss.is_meta
    assert loss.shape == ()
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.is_meta for parameter in module.parameters())


@pytest.mark.parametrize("chosen", [{}, {"gradient_clip": 1.0, "average": 0.9, "accumulate": 2}], ids=["plain", "all"])
def test_no_step_of_the_loop_waits_for_the_device(
    case: Case, chosen: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device `meta` has no numbers: whoever asks for one, as `item`, `cpu` and `if` do, gets an error."""

    def plain(module: nn.Module, training: Training) -> torch.optim.Optimizer:
        return torch.optim.Adam(module.parameters(), foreach=False)

    # The fused rules do not know this device.
    monkeypatch.setattr(optimization, "build_optimizer", plain)
    training = Training(batch_size=NUM_SAMPLES).model_copy(update={**chosen, "device": "meta"})
    run = Run(case.spec, case.shapes, training, seed=0, num_samples=NUM_SAMPLES)
    batch = Batch(move(case.inputs, torch.device("meta")), case.target.to("meta"))
    losses = [run.step(batch) for _ in range(2)]
    assert all(loss.is_meta and loss.shape == () for loss in losses)


@pytest.mark.parametrize("wait", [Tensor.item, bool, Tensor.cpu, float])
def test_a_step_that_waits_would_be_found(wait: Callable[[Tensor], Any]) -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        wait(torch.ones((), device="meta"))


@pytest.mark.parametrize(
    ("family", "variant"), [(family, variant) for family in FAMILIES for variant in ("", *VARIANTS.get(family, {}))]
)
def test_parameters_survive_json(family: str, variant: str, make_example: Callable[..., Any]) -> None:
    spec = make_example("models", family, **(VARIANTS[family][variant] if variant else {}))
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec
