"""The linear model family, against formulas and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression

from headrace.models.base import ModelSpec, Shapes
from headrace.registry import restore


def linear(**parameters: object) -> ModelSpec:
    return restore("models", {"kind": "linear", **parameters}, ModelSpec)


@pytest.mark.parametrize("bias", [True, False])
def test_outputs_are_weighted_sums_of_the_flattened_inputs(bias: bool) -> None:
    module = linear(bias=bias).build(Shapes((3, 4), 2, "regression"))
    state = {name.rsplit(".", 1)[-1]: value for name, value in module.state_dict().items()}
    assert state.keys() == ({"weight", "bias"} if bias else {"weight"})
    inputs = torch.randn(5, 3, 4)
    expected = inputs.reshape(5, 12) @ state["weight"].T + (state["bias"] if bias else 0)
    assert torch.allclose(module(inputs), expected, atol=1e-6)


def test_without_a_bias_zeros_give_zeros() -> None:
    module = linear(bias=False).build(Shapes((7,), 3, "classification"))
    assert not module(torch.zeros(2, 7)).any()


def train(module: torch.nn.Module, spec: ModelSpec, inputs: np.ndarray, target: torch.Tensor, task: str) -> np.ndarray:
    """To the minimum of the loss; what is predicted there."""
    rows = torch.from_numpy(inputs)
    optimizer = torch.optim.LBFGS(module.parameters(), max_iter=500, tolerance_grad=1e-9, tolerance_change=0)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = spec.loss(module(rows), rows, target, task)
        loss.backward()
        return loss

    optimizer.step(closure)
    (values,) = spec.predict(module(rows), rows, task).values()
    return values.detach().numpy()


def test_the_minimum_of_its_loss_is_softmax_regression() -> None:
    generator = np.random.default_rng(0)
    target = np.arange(120) % 3
    inputs = generator.normal(size=(120, 4)) + 0.5 * generator.normal(size=(3, 4))[target]
    spec = linear()
    module = spec.build(Shapes((4,), 3, "classification")).double()
    found = train(module, spec, inputs, torch.from_numpy(target), "classification")
    expected = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(inputs, target).predict_proba(inputs)
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("bias", [True, False])
def test_the_minimum_of_its_loss_is_least_squares(bias: bool) -> None:
    generator = np.random.default_rng(0)
    inputs, target = generator.normal(size=(60, 4)) + 1, generator.normal(size=(60, 2)) + 2
    spec = linear(bias=bias)
    module = spec.build(Shapes((4,), 2, "regression")).double()
    found = train(module, spec, inputs, torch.from_numpy(target), "regression")
    expected = LinearRegression(fit_intercept=bias).fit(inputs, target).predict(inputs)
    assert found == pytest.approx(expected, abs=1e-5)


def test_it_reads_dense_and_sparse_inputs_for_classes_and_numbers() -> None:
    spec = linear()
    assert spec.reads == ("dense", "sparse")
    assert spec.tasks == ("classification", "regression")


def test_a_bias_is_true_or_false() -> None:
    with pytest.raises(ValueError, match="bias"):
        linear(bias="maybe")
