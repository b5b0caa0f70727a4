"""Integrated gradients against integrals of another kind, against what the paper proves, and against chance."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import spearmanr

from headrace.inference.attributions import integrate_gradients
from headrace.models.base import Shapes
from headrace.registry import load_kind

SMALL = {
    "linear": {},
    "fnn": {"hidden": [16, 8]},
    "cnn": {"channels": [4], "hidden": 8},
    "rnn": {"hidden": 6},
    "transformer": {"width": 8, "heads": 2, "layers": 1},
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small products are slower on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(kind: str, shape: tuple[int, ...], outputs: int = 3, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    shapes = Shapes(inputs=shape, outputs=outputs, task="classification", is_sequence=kind in ("rnn", "transformer"))
    parameters = {"kind": kind, **SMALL[kind]}
    return load_kind("models", kind).model_validate_json(json.dumps(parameters)).build(shapes).eval()


def draw(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=shape).astype(np.float32))


def test_a_linear_model_is_taken_apart_exactly() -> None:
    module, inputs, baseline = build("linear", (5,)), draw(7, 5), torch.full((7, 5), 0.3)
    shares, error = integrate_gradients(module, inputs, baseline, num_steps=2)
    (weight,) = (p for p in module.parameters() if p.ndim == 2)
    chosen = module(inputs).argmax(dim=1)
    expected = weight[chosen].double() * (inputs - baseline).double()
    np.testing.assert_allclose(shares.numpy(), expected.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(error.numpy(), 0, atol=1e-6)


def test_a_smooth_network_has_the_integrals_of_scipy() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double()
    first, second = (layer for layer in module if isinstance(layer, torch.nn.Linear))
    (w1, b1), (w2, _) = ((layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in (first, second))
    inputs, baseline = draw(4, 3).double(), torch.zeros(4, 3, dtype=torch.float64)
    shares, _ = integrate_gradients(module, inputs, baseline)
    for row, x in enumerate(inputs.numpy()):
        output = int(module(inputs)[row].argmax())
        for i in range(3):

            def slope(along: float, i: int = i, x: np.ndarray = x, output: int = output) -> float:
                """The derivative of w2 . tanh(w1 x + b1) by hand."""
                return float((w2[output] * (1 - np.tanh(w1 @ (along * x) + b1) ** 2)) @ w1[:, i])

            assert shares[row, i].item() == pytest.approx(x[i] * quad(slope, 0, 1)[0], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("kind", "shape"), [("fnn", (12,)), ("cnn", (8, 8)), ("rnn", (6, 3)), ("transformer", (6, 3))])
def test_shares_sum_to_the_difference_that_they_explain(kind: str, shape: tuple[int, ...]) -> None:
    module, inputs = build(kind, shape), 2 * draw(10, *shape)
    baseline = torch.zeros_like(inputs)
    shares, error = integrate_gradients(module, inputs, baseline)
    assert shares.shape == inputs.shape
    with torch.no_grad():
        outputs = module(inputs)
        chosen = outputs.argmax(dim=1, keepdim=True)
        difference = (outputs.gather(1, chosen) - module(baseline).gather(1, chosen))[:, 0].double()
    found = shares.flatten(1).sum(dim=1)
    np.testing.assert_allclose(found.numpy(), difference.numpy(), atol=0.02 * float(difference.abs().max()))
    np.testing.assert_allclose(error.numpy(), (found - difference).numpy(), atol=1e-6)
    coarse = integrate_gradients(module, inputs, baseline, num_steps=2)[1]
    assert error.abs().mean() <= coarse.abs().mean()


def test_an_input_that_stays_at_the_baseline_has_no_share() -> None:
    inputs = draw(5, 12)
    inputs[:, 3] = 0
    shares, _ = integrate_gradients(build("fnn", (12,)), inputs, torch.zeros_like(inputs))
    assert (shares[:, 3] == 0).all()
    assert (shares[:, 4] != 0).any()


def test_shares_follow_what_was_learnt_and_go_when_the_weights_do() -> None:
    """The check of Adebayo et al. 2018, "Sanity Checks for Saliency Maps": other weights, other maps."""
    inputs = draw(512, 20)
    target = (inputs[:, 0] + inputs[:, 1] > 0).long()
    module = build("fnn", (20,), outputs=2)
    optimizer = torch.optim.Adam(module.parameters(), 0.02)
    for _ in range(80):
        loss = torch.nn.functional.cross_entropy(module(inputs), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    shares = {
        "learnt": module,
        "again": build("fnn", (20,), outputs=2),
        "random": build("fnn", (20,), outputs=2, seed=5),
    }
    sizes = {
        name: integrate_gradients(net, inputs, torch.zeros_like(inputs))[0].abs().mean(dim=0).numpy()
        for name, net in shares.items()
    }
    assert set(np.argsort(sizes["learnt"])[-2:]) == {0, 1}
    assert sizes["learnt"][:2].sum() > 0.5 * sizes["learnt"].sum()
    for name in ("again", "random"):
        assert sizes[name][:2].sum() < 0.3 * sizes[name].sum()
        assert spearmanr(sizes["learnt"][2:], sizes[name][2:]).statistic < 0.7
