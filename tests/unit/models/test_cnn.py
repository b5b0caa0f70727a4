"""The convolutional family: stages of both kinds, over pixels and along steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from headrace.batching.batches import Batch
from headrace.datasets.base import DataInfo
from headrace.experiments.config import Training
from headrace.layers.convolutions import ChannelsFirst, FlatChannelsLast, ResidualBlock
from headrace.models.base import ModelSpec, Shapes
from headrace.registry import restore
from headrace.stores.arrays import load_arrays, save_arrays
from headrace.training.run import Run

IMAGES = Shapes((8, 9), 3, "classification")
SEQUENCES = Shapes((9, 5), 3, "classification", is_sequence=True)


def cnn(**parameters: Any) -> ModelSpec:
    return restore("models", {"kind": "cnn", "channels": [4, 4], "hidden": 6, **parameters}, ModelSpec)


def build(shapes: Shapes, **parameters: Any) -> nn.Module:
    torch.manual_seed(0)
    return cnn(**parameters).build(shapes)


def info_of(shape: tuple[int, ...], dims: tuple[str, ...]) -> DataInfo:
    return DataInfo(("classification",), 9, shape, dims)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_plain_stages_are_convolution_relu_and_pooling() -> None:
    torch.manual_seed(0)
    expected = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 2 * 2, 6),
        nn.ReLU(),
        nn.Linear(6, 3),
    )
    inputs = torch.randn(5, 8, 9)
    assert torch.allclose(build(IMAGES)(inputs), expected(inputs[:, None]), atol=1e-6)


def test_sequences_are_convolved_along_their_steps() -> None:
    torch.manual_seed(0)
    expected = nn.Sequential(
        nn.Conv1d(5, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Flatten(),
        nn.Linear(4 * 4, 6),
        nn.ReLU(),
        nn.Linear(6, 3),
    )
    inputs = torch.randn(7, 9, 5)
    assert torch.allclose(build(SEQUENCES, channels=[4])(inputs), expected(inputs.transpose(1, 2)), atol=1e-6)


@pytest.mark.parametrize(
    ("shapes", "parameters", "expected"),
    [
        (IMAGES, {}, (9 + 1) * 4 + (36 + 1) * 4 + 17 * 6 + 21),
        (SEQUENCES, {}, (15 + 1) * 4 + (12 + 1) * 4 + 9 * 6 + 21),
        # Convolutions without constants, a scale and a shift a channel, and a shortcut where channels are more.
        (IMAGES, {"blocks": "residual"}, (36 + 144 + 4 + 3 * 8) + (144 + 144 + 2 * 8) + 17 * 6 + 21),
        (SEQUENCES, {"blocks": "residual"}, (60 + 48 + 20 + 3 * 8) + (48 + 48 + 2 * 8) + 9 * 6 + 21),
        (IMAGES, {"convolve": "steps"}, (27 + 1) * 4 + (12 + 1) * 4 + 9 * 6 + 21),
        (SEQUENCES, {"convolve": "pixels"}, (9 + 1) * 4 + (36 + 1) * 4 + (4 * 2 + 1) * 6 + 21),
    ],
)
def test_the_number_of_parameters_is_known(shapes: Shapes, parameters: dict[str, Any], expected: int) -> None:
    assert count(build(shapes, **parameters)) == expected


@pytest.mark.parametrize("dimensions", [1, 2])
def test_a_residual_block_that_adds_nothing_passes_its_inputs_on(dimensions: int) -> None:
    block = ResidualBlock(4, 4, 3, dimensions)
    last = block.residual[-1]
    assert isinstance(last, nn.BatchNorm1d | nn.BatchNorm2d)
    nn.init.zeros_(last.weight)
    inputs = torch.randn(5, 4, *(6, 7)[:dimensions])
    assert torch.equal(block(inputs), inputs.relu())


def test_a_residual_block_is_what_the_paper_says() -> None:
    torch.manual_seed(0)
    block = ResidualBlock(2, 4, 3)
    inputs = torch.randn(5, 2, 6, 7)
    first, _, _, second, _ = block.residual
    shortcut = block.shortcut[0]  # type: ignore[index]

    def normalise(values: Tensor) -> Tensor:
        """By the batch's own moments, of each channel."""
        mean, variance = values.mean(dim=(0, 2, 3), keepdim=True), values.var(dim=(0, 2, 3), keepdim=True, correction=0)
        return (values - mean) / (variance + 1e-5).sqrt()

    residual = normalise(second(normalise(first(inputs)).relu()))
    assert torch.allclose(block(inputs), (residual + normalise(shortcut(inputs))).relu(), atol=1e-5)


@pytest.mark.parametrize("shapes", [IMAGES, SEQUENCES, Shapes((4, 4), 3, "classification")])
def test_a_batch_of_one_sample_can_be_learned_from(shapes: Shapes) -> None:
    module = build(shapes, blocks="residual")
    module(torch.randn(1, *shapes.inputs)).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in module.parameters() if parameter.grad is not None)


class Samples:
    """A split of a few samples in memory."""

    def __init__(self, shapes: Shapes) -> None:
        generator = torch.Generator().manual_seed(0)
        self.inputs = 3 + torch.randn((40, *shapes.inputs), generator=generator)
        self.target = torch.arange(40) % 3

    def __len__(self) -> int:
        return 40

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        yield Batch(self.inputs, self.target)


@pytest.mark.parametrize("shapes", [IMAGES, SEQUENCES])
def test_validation_judges_by_running_statistics_moves_none_and_they_are_stored(shapes: Shapes, tmp_path: Path) -> None:
    data: Any = Samples(shapes)
    torch.manual_seed(0)
    run = Run(cnn(blocks="residual"), shapes, Training(device="cpu"), seed=0, num_samples=64)
    for _ in range(5):
        run.step(Batch(data.inputs, data.target))
    before = {name: value.clone() for name, value in run.module.state_dict().items()}
    found = run.validate(data)
    assert all(torch.equal(value, before[name]) for name, value in run.module.state_dict().items())
    run.remember(1, found["validation_loss"])
    counters = [name for name in run.best_weights if name.endswith("num_batches_tracked")]
    assert counters
    assert all(run.best_weights[name].dtype == torch.int64 and run.best_weights[name] == 5 for name in counters)
    assert any(name.endswith("running_mean") and value.any() for name, value in run.best_weights.items())
    # As the train stage writes them and the evaluate stage reads them.
    path = tmp_path / "weights.safetensors"
    save_arrays(path, {name: value.numpy() for name, value in run.best_weights.items()})
    other = Run(cnn(blocks="residual"), shapes, Training(device="cpu"), seed=1, num_samples=64)
    assert other.validate(data) != found
    other.module.load_state_dict({name: torch.from_numpy(value) for name, value in load_arrays(path).items()})
    assert other.validate(data) == found
    assert all(torch.equal(value, before[name]) for name, value in other.module.state_dict().items())


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 3)])
def test_images_come_back_flat_in_the_order_in_which_they_are_stored(shape: tuple[int, ...]) -> None:
    images = torch.randn(4, *shape)
    assert torch.equal(FlatChannelsLast()(ChannelsFirst()(images)), images.flatten(1))


def test_images_and_sequences_are_read_and_tables_are_not() -> None:
    cnn().check(info_of((8, 8), ("height", "width")))
    cnn().check(info_of((8, 8, 3), ("height", "width", "channel")))
    cnn().check(info_of((8, 1), ("time", "feature")))
    with pytest.raises(ValueError, match=r"cnn reads images .*and sequences \(step, feature\)"):
        cnn().check(info_of((8,), ("feature",)))
    with pytest.raises(ValueError, match="convolve: steps needs sequences"):
        cnn(convolve="steps").check(info_of((8, 8, 3), ("height", "width", "channel")))


def test_what_is_convolved_over_decides_how_small_inputs_may_be() -> None:
    with pytest.raises(ValueError, match="channels: 2 poolings are too many for an image"):
        cnn().check(info_of((8, 1), ("latitude", "longitude")))
    with pytest.raises(ValueError, match="channels: 2 poolings are too many for a sequence of 3 steps"):
        cnn().check(info_of((3, 8), ("step", "feature")))
    cnn(convolve="steps").check(info_of((8, 1), ("axis_1", "axis_2")))
    with pytest.raises(ValueError, match="too many for an image"):
        cnn(convolve="pixels").check(info_of((8, 1), ("step", "feature")))
