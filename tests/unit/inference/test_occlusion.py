"""Occlusion against a linear model, whose output loses exactly what is hidden, and against windows cut by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headrace.inference import occlusion
from headrace.inference.attributions import integrate_gradients
from headrace.inference.occlusion import MAX_NUMBERS, MAX_ROWS, add_up, cut_patches, occlude, spread
from headrace.models.base import Shapes
from headrace.registry import load_kind


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small products are slower on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def linear(*shape: int, outputs: int = 3) -> tuple[torch.nn.Module, torch.Tensor]:
    """A linear model and its weights (outputs, ...)."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(int(np.prod(shape)), outputs))
    return module.double(), module[1].weight.detach().view(outputs, *shape)


def draw(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=shape))


def largest(module: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    return module(inputs).argmax(dim=1, keepdim=True)


@pytest.mark.parametrize(
    ("shape", "is_sequence", "most"),
    [((7,), False, 256), ((5, 4), False, 256), ((5, 4, 3), False, 256), ((9, 1), True, 256)],
)
def test_of_a_linear_model_a_hidden_input_costs_its_weight_times_its_way_from_the_baseline(shape, is_sequence, most):
    """As it is hidden by both methods, which must agree then."""
    module, weight = linear(*shape)
    inputs, baseline = draw(6, *shape), torch.full((6, *shape), 0.3, dtype=torch.float64)
    chosen = largest(module, inputs)
    patches = cut_patches(shape, is_sequence=is_sequence, most=most)
    assert patches.size == 1
    drops = occlude(module, inputs, baseline, patches, chosen)
    by_hand = weight[chosen[:, 0]] * (inputs - baseline)
    channels = tuple(range(1 + len(patches.places[0]), by_hand.dim()))
    expected = by_hand.sum(dim=channels) if channels else by_hand
    np.testing.assert_allclose(drops.view(expected.shape).numpy(), expected.numpy(), atol=1e-12)
    shares, _ = integrate_gradients(module, inputs, baseline, 4, chosen)
    np.testing.assert_allclose(add_up(shares, patches).numpy(), drops.numpy(), atol=1e-12)
    np.testing.assert_allclose(spread(drops, patches, shape).numpy(), expected.numpy(), atol=1e-12)


def test_the_output_that_is_chosen_is_explained_and_not_the_largest():
    module, weight = linear(5)
    inputs, chosen = draw(4, 5), torch.tensor([[2], [0], [1], [1]])
    patches = cut_patches((5,), is_sequence=False, most=256)
    drops = occlude(module, inputs, torch.zeros_like(inputs), patches, chosen)
    np.testing.assert_allclose(drops.numpy(), (weight[chosen[:, 0]] * inputs).numpy(), atol=1e-12)


def test_windows_cost_the_sum_of_what_they_hide_and_a_pixel_is_the_mean_over_its_windows():
    module, weight = linear(6, 5)
    inputs = draw(2, 6, 5)
    chosen = largest(module, inputs)
    # Of 3 x 3 windows a pixel apart there would be 12, of larger ones 2 apart fewer.
    patches = cut_patches((6, 5), is_sequence=False, most=12)
    assert (patches.kind, patches.size, patches.stride, len(patches.places)) == ("windows", 3, 1, 12)
    drops = occlude(module, inputs, torch.zeros_like(inputs), patches, chosen)
    shares = (weight[chosen[:, 0]] * inputs).numpy()
    places = [(row, column) for row in range(4) for column in range(3)]
    expected = np.stack([shares[:, r : r + 3, c : c + 3].sum(axis=(1, 2)) for r, c in places], axis=1)
    np.testing.assert_allclose(drops.numpy(), expected, atol=1e-12)
    over = [i for i, (row, column) in enumerate(places) if row <= 2 < row + 3 and column <= 4 < column + 3]
    found = spread(drops, patches, (6, 5)).numpy()
    np.testing.assert_allclose(found[:, 2, 4], expected[:, over].mean(axis=1) / 9, atol=1e-12)


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.booleans(),
    st.integers(1, 300),
)
def test_patches_cover_every_input_and_are_no_more_than_allowed(shape, is_sequence, most):
    patches = cut_patches(shape, is_sequence=is_sequence, most=most)
    assert len(patches.places) <= most
    covered = np.zeros(shape, int)
    for place in patches.places:
        covered[place] += 1
        assert covered[place].size > 0
        assert all(side.stop - side.start <= patches.size for side in place)
    assert covered.min() >= 1
    if patches.kind == "spans":
        assert covered.max() == 1
        assert len(patches.places) == min(shape[0], most)


def test_usual_images_have_some_two_hundred_windows():
    sizes = {side: cut_patches((side, side), is_sequence=False, most=256) for side in (8, 28, 32, 64, 224)}
    assert {side: (found.size, found.stride, len(found.places)) for side, found in sizes.items()} == {
        8: (1, 1, 64),
        28: (4, 2, 169),
        32: (4, 2, 225),
        64: (8, 4, 225),
        224: (28, 14, 225),
    }


def test_a_prediction_that_reads_nothing_loses_nothing_and_nan_is_not_hidden():
    inputs = draw(3, 4)
    patches = cut_patches((4,), is_sequence=False, most=256)
    chosen = torch.zeros(3, 1, dtype=torch.int64)
    constant = torch.nn.Sequential(torch.nn.Linear(4, 2)).double()
    torch.nn.init.zeros_(constant[0].weight)
    assert (occlude(constant, inputs, torch.zeros_like(inputs), patches, chosen) == 0).all()
    torch.nn.init.constant_(constant[0].weight, torch.nan)
    assert occlude(constant, inputs, torch.zeros_like(inputs), patches, chosen).isnan().all()


@pytest.mark.parametrize(("samples", "shape"), [(3, (600, 700)), (40, (5, 7)), (700, (3,)), (2, (1100, 1000))])
def test_memory_is_bounded_however_large_and_many_samples_are(samples, shape, monkeypatch):
    """What the network is given at once, and that the cuts change no number."""
    given_at_once: list[torch.Size] = []
    module, weight = linear(*shape, outputs=2)
    module.float().register_forward_pre_hook(lambda _, inputs: given_at_once.append(inputs[0].shape))
    inputs = draw(samples, *shape).float()
    patches = cut_patches(shape, is_sequence=False, most=9)
    chosen = torch.ones(samples, 1, dtype=torch.int64)
    drops = occlude(module, inputs, torch.zeros_like(inputs), patches, chosen)
    assert max(size.numel() for size in given_at_once) <= max(MAX_NUMBERS, inputs[0].numel())
    assert max(size[0] for size in given_at_once) <= MAX_ROWS
    shares = weight[1].float() * inputs
    np.testing.assert_allclose(drops.numpy(), add_up(shares, patches).numpy(), atol=2e-3)
    monkeypatch.setattr(occlusion, "MAX_ROWS", 1)
    few = slice(0, 2)
    again = occlude(module, inputs[few], torch.zeros_like(inputs[few]), patches, chosen[few])
    np.testing.assert_allclose(again.numpy(), drops[few].numpy(), atol=2e-3)


@pytest.mark.parametrize("kind", ["fnn", "cnn", "rnn", "transformer"])
def test_every_family_loses_what_the_hidden_sample_says(kind):
    """Against samples that are hidden by hand, one at a time."""
    small = {"fnn": {"hidden": [8]}, "cnn": {"channels": [3], "hidden": 8}, "rnn": {"hidden": 5}}
    parameters = {"kind": kind, **small.get(kind, {"width": 8, "heads": 2, "layers": 1})}
    shapes = Shapes(inputs=(6, 4), outputs=3, task="classification", is_sequence=kind in ("rnn", "transformer"))
    torch.manual_seed(0)
    module = load_kind("models", kind).model_validate_json(json.dumps(parameters)).build(shapes).eval()
    inputs = draw(3, 6, 4).float()
    chosen = largest(module, inputs)
    patches = cut_patches(shapes.inputs, is_sequence=shapes.is_sequence, most=6)
    drops = occlude(module, inputs, torch.zeros_like(inputs), patches, chosen)
    for i, place in enumerate(patches.places):
        hidden = inputs.clone()
        hidden[(slice(None), *place)] = 0
        with torch.no_grad():
            expected = (module(inputs) - module(hidden)).gather(1, chosen)[:, 0]
        np.testing.assert_allclose(drops[:, i].numpy(), expected.numpy(), atol=1e-5)
    assert len({float(value) for value in drops.flatten()}) > 3
