"""Every model family: shapes, gradients, learning, storage, and blindness to the batch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from headrace import stores
from headrace.config import Training
from headrace.datasets.base import DataInfo
from headrace.experiment import ModelKeys
from headrace.models.base import ModelSpec, Shapes
from headrace.registry import list_kinds, load_kind

FAMILIES = list_kinds("models")
TASKS = {"classification": 3, "regression": 2, "density": 0}
INPUTS = {
    "table": ((12,), ("feature",)),
    "sequences": ((6, 5), ("step", "feature")),
    "images": ((8, 8), ("height", "width")),
    "colours": ((8, 8, 3), ("height", "width", "channel")),
}
NUM_SAMPLES = 32


@dataclass
class Case:
    """A family with data that it can read."""

    spec: ModelSpec
    shapes: Shapes
    inputs: Tensor
    target: Tensor

    def build(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return self.spec.build(self.shapes)

    def loss(self, module: nn.Module) -> Tensor:
        return self.spec.loss(module(self.inputs), self.inputs, self.target, self.shapes.task)

    def predict(self, module: nn.Module, inputs: Tensor | None = None) -> dict[str, Tensor]:
        module.eval()
        inputs = self.inputs if inputs is None else inputs
        with torch.no_grad():
            return self.spec.predict(module(inputs), inputs, self.shapes.task)


def make_case(spec: ModelSpec, task: str, shape: tuple[int, ...]) -> Case:
    generator = np.random.default_rng(7)
    # Four patterns with a few spots of noise: something that any family can learn, in [0, 1].
    patterns = (generator.uniform(size=(4, *shape)) > 0.5).astype(np.float32)
    which = np.arange(NUM_SAMPLES) % 4
    noise = generator.uniform(size=(NUM_SAMPLES, *shape)) > 0.95
    inputs = torch.from_numpy(np.abs(patterns[which] - noise).astype(np.float32))
    outputs = TASKS[task]
    if task == "classification":
        target = torch.from_numpy(which % outputs)
    else:
        target = torch.from_numpy(generator.normal(size=(4, outputs))[which].astype(np.float32))
    return Case(spec, Shapes(shape, outputs, task), inputs, target)


def reads(spec: ModelSpec, task: str, inputs: str) -> bool:
    classes = ("a", "b", "c") if task == "classification" else ()
    num_targets = 2 if task == "regression" else 0
    try:
        spec.check(DataInfo((task,), 90, *INPUTS[inputs], classes, (30,) * len(classes), num_targets, True))
    except ValueError:
        return False
    return True


def cases() -> Iterator[Any]:
    for family in FAMILIES:
        for task in load_kind("models", family).tasks:  # type: ignore[attr-defined]
            for inputs in INPUTS:
                if may_read(family, task, inputs):
                    yield pytest.param((family, task, inputs), id=f"{family}-{task}-{inputs}")


def may_read(family: str, task: str, inputs: str) -> bool:
    """A family with required parameters is asked when its tests run, with an example of them."""
    try:
        return reads(load_kind("models", family).model_validate({"kind": family}), task, inputs)  # type: ignore[arg-type]
    except ValidationError:
        return True


@pytest.fixture(params=cases())
def case(request: pytest.FixtureRequest, make_example: Callable[..., Any]) -> Case:
    torch.set_num_threads(1)
    family, task, inputs = request.param
    spec = make_example("models", family)
    shape, _ = INPUTS[inputs]
    if not reads(spec, task, inputs):
        pytest.skip(f"{family} does not read {inputs}")
    return make_case(spec, task, shape)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_reads_something_for_each_of_its_tasks(family: str, make_example: Callable[..., Any]) -> None:
    spec = make_example("models", family)
    assert spec.tasks
    assert set(spec.tasks) <= set(TASKS)
    for task in spec.tasks:
        assert any(reads(spec, task, inputs) for inputs in INPUTS), f"{family} refuses all of {list(INPUTS)} for {task}"


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
    else:
        assert outputs["neg_elbo"].shape == outputs["reconstruction"].shape == (NUM_SAMPLES,)
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

    before, optimizer = judge(), torch.optim.Adam(module.parameters(), lr=5e-3)
    for _ in range(120):
        module.train()
        optimizer.zero_grad()
        case.loss(module).backward()
        optimizer.step()
    # The divergence of a density is a price that is paid for good.
    assert judge() < (0.7 if case.shapes.task == "density" else 0.5) * before


def test_the_same_seed_builds_the_same_weights(case: Case) -> None:
    one, same, other = (case.build(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_weights_survive_storage(case: Case, tmp_path: Path) -> None:
    module = case.build()
    arrays = {name: value.numpy() for name, value in module.state_dict().items()}
    stores.save_arrays(tmp_path / "weights.safetensors", arrays)
    back = case.build(seed=5)
    loaded = stores.load_arrays(tmp_path / "weights.safetensors")
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
        parts = [case.predict(module, part) for part in case.inputs.split(size)]
        for name, values in whole.items():
            together = torch.cat([part[name] for part in parts])
            assert torch.allclose(together, values, rtol=1e-5, atol=1e-5), name


def test_the_loss_is_a_mean_over_the_batch(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    module = case.build().eval()
    halves = [
        case.spec.loss(module(case.inputs[rows]), case.inputs[rows], case.target[rows], case.shapes.task)
        for rows in (slice(0, 16), slice(16, 32))
    ]
    assert torch.allclose(case.loss(module), torch.stack(halves).mean(), rtol=1e-5)


def test_a_module_can_be_built_without_memory(case: Case) -> None:
    with torch.device("meta"):
        module = case.spec.build(case.shapes)
    assert all(parameter.is_meta for parameter in module.parameters())
    assert sum(parameter.numel() for parameter in module.parameters()) > 0


def test_parameters_survive_json(case: Case) -> None:
    assert type(case.spec).model_validate_json(case.spec.model_dump_json()) == case.spec
