"""Samples changed at random: how often what happens, to whom, and that no block border matters."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from headrace.datasets.base import DataInfo
from sample_fits import Sample, dense_sample, step


def changed(values: np.ndarray, num_train: int | None = None, borders: tuple[int, ...] = (), **parameters: Any) -> Any:
    sample, spec = dense_sample(values, num_train), step("augment", **parameters)
    return sample.apply(spec, spec.fit(sample.fit_data()), borders)


def labelled_images(rows: int, height: int, width: int) -> np.ndarray:
    """Every pixel says where it is: 1 + row * width + column."""
    return np.tile(np.arange(1.0, 1 + height * width, dtype=np.float32).reshape(height, width), (rows, 1, 1))


def noise(rows: int, width: int, **parameters: Any) -> np.ndarray:
    found: np.ndarray = changed(np.zeros((rows, width), np.float32), noise=1.0, **parameters)
    return found


# Noise


def test_noise_is_normal() -> None:
    drawn = noise(4000, 50).reshape(-1).astype(np.float64)
    # Five standard errors of each moment of a normal distribution.
    error = 5 / np.sqrt(drawn.size)
    assert abs(drawn.mean()) < error
    assert abs((drawn**2).mean() - 1) < error * np.sqrt(2)
    assert abs((drawn**3).mean()) < error * np.sqrt(15)
    assert abs((drawn**4).mean() - 3) < error * np.sqrt(96)
    assert stats.kstest(drawn, "norm").pvalue > 1e-3


def test_noise_is_drawn_for_every_sample_and_every_number() -> None:
    drawn = noise(2000, 37)
    assert len(np.unique(drawn)) > 0.99 * drawn.size
    between_numbers = np.corrcoef(drawn.T)[np.triu_indices(37, 1)]
    between_samples = np.corrcoef(drawn[:200])[np.triu_indices(200, 1)]
    assert np.abs(between_numbers).max() < 6 / np.sqrt(2000)
    assert np.abs(between_samples).max() < 6 / np.sqrt(37)
    assert abs((drawn[1:] * drawn[:-1]).mean()) < 5 / np.sqrt(drawn.size)
    assert drawn.var(axis=0) == pytest.approx(np.ones(37), abs=6 * np.sqrt(2 / 2000))


def test_noise_has_the_deviation_and_is_added() -> None:
    values = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32)
    added = changed(values, noise=0.25, seed=3) - values
    assert added == pytest.approx(0.25 * noise(500, 8, seed=3), abs=1e-6)


def test_seeds_draw_different_noise() -> None:
    one, same, other = noise(300, 8, seed=1), noise(300, 8, seed=1), noise(300, 8, seed=2)
    assert np.array_equal(one, same)
    assert abs(np.corrcoef(one.reshape(-1), other.reshape(-1))[0, 1]) < 5 / np.sqrt(one.size)


def test_seeds_may_be_as_large_as_they_are_allowed_to_be() -> None:
    assert not np.array_equal(noise(20, 3, seed=2**63 - 1), noise(20, 3, seed=2**62 - 1))


@given(
    shape=st.lists(st.integers(2, 5), min_size=2, max_size=3),
    borders=st.lists(st.integers(0, 40), max_size=6),
    num_train=st.integers(1, 40),
    border=st.sampled_from(["reflect", "zeros"]),
    flip=st.sampled_from(["none", "horizontal", "vertical", "both"]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
@settings(deadline=None, max_examples=40)
def test_the_blocks_do_not_matter_and_other_splits_stay(
    shape: list[int], borders: list[int], num_train: int, border: str, flip: str, dtype: Any
) -> None:
    values = np.random.default_rng(0).normal(size=(40, *shape)).astype(dtype)
    before = values.copy()
    parameters: dict[str, Any] = {"crop": 1, "border": border, "flip": flip, "noise": 0.1, "seed": 5}
    whole = changed(values, num_train, **parameters)
    cut = changed(values, num_train, tuple(sorted(borders)), **parameters)
    assert whole.dtype == np.float32
    assert np.array_equal(whole, cut)
    assert np.array_equal(whole[num_train:], values[num_train:].astype(np.float32))
    assert (whole[:num_train] != values[:num_train].astype(np.float32)).any(axis=tuple(range(1, values.ndim))).all()
    # A row's draw depends on neither how many rows there are for training, nor the blocks of the fit.
    assert np.array_equal(changed(values, 40, **parameters)[:num_train], whole[:num_train])
    assert np.array_equal(values, before)


# Where images are cut, and how they are flipped


def moved(image: np.ndarray, crop: int, border: str, down: int, right: int) -> np.ndarray:
    """One of the images that are cut out of a padded one."""
    mode: Any = "reflect" if border == "reflect" else "constant"
    widths = [(crop, crop), (crop, crop), *[(0, 0)] * (image.ndim - 2)]
    padded = np.pad(image, widths, mode=mode)
    cut: np.ndarray = padded[down : down + image.shape[0], right : right + image.shape[1]]
    return cut


@pytest.mark.parametrize("border", ["reflect", "zeros"])
@pytest.mark.parametrize("crop", [1, 2, 3])
def test_images_are_cut_out_of_padded_ones_at_every_place_alike(border: str, crop: int) -> None:
    images = labelled_images(4000, 6, 5)
    found = changed(images, crop=crop, border=border)
    places = 2 * crop + 1
    expected = {
        moved(images[0], crop, border, down, right).tobytes(): (down, right)
        for down in range(places)
        for right in range(places)
    }
    assert len(expected) == places**2
    counts = np.zeros((places, places), int)
    for image in found:
        counts[expected[np.ascontiguousarray(image).tobytes()]] += 1
    assert stats.chisquare(counts.reshape(-1)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("flip", "axes"),
    [("horizontal", [(), (1,)]), ("vertical", [(), (0,)]), ("both", [(), (0,), (1,), (0, 1)])],
)
def test_images_are_flipped_by_chance(flip: str, axes: list[tuple[int, ...]]) -> None:
    images = labelled_images(2000, 3, 4)
    expected = [np.flip(images[0], axis) for axis in axes]
    found = changed(images, flip=flip)
    counts = [int((found == one).all(axis=(1, 2)).sum()) for one in expected]
    assert sum(counts) == 2000
    assert stats.chisquare(counts).pvalue > 1e-3


def test_all_channels_of_an_image_move_together() -> None:
    images = labelled_images(200, 6, 5)
    channels = np.stack([images, -images], axis=-1)
    parameters: dict[str, Any] = {"crop": 2, "border": "zeros", "flip": "both", "seed": 4}
    found, alone = changed(channels, **parameters), changed(images, **parameters)
    assert np.array_equal(found[..., 0], alone)
    assert np.array_equal(found[..., 1], -alone)


def test_noise_says_nothing_of_how_an_image_is_flipped() -> None:
    # Both draw four numbers for an image of 2 x 2: were they the same, each sign of the noise would tell a flip.
    images = labelled_images(2000, 2, 2)
    quiet, noisy = (changed(images, flip="both", noise=deviation) for deviation in (0.0, 0.01))
    assert np.abs(noisy - quiet).max() < 0.1
    flipped = np.stack([quiet[:, 0, 0] > 2, quiet[:, 0, 0] % 2 == 0], axis=1)
    signs = (noisy - quiet).reshape(-1, 4) > 0
    assert flipped.mean(axis=0) == pytest.approx([0.5, 0.5], abs=0.06)
    assert np.abs(np.corrcoef(flipped.T, signs.T)[:2, 2:]).max() < 5 / np.sqrt(2000)


def test_one_image_says_nothing_of_the_next() -> None:
    corners = changed(labelled_images(4000, 6, 5), crop=2, border="zeros", flip="both")[:, 2, 2]
    assert abs(np.corrcoef(corners[1:], corners[:-1])[0, 1]) < 5 / np.sqrt(4000)


@pytest.mark.parametrize(("bits", "deviations", "corner"), [(0, -8.2, [2, 1]), (2**64 - 1, 8.2, [19, 20])])
def test_the_rarest_draws_are_as_good_as_any(
    monkeypatch: pytest.MonkeyPatch, bits: int, deviations: float, corner: list[int]
) -> None:
    class Extreme:
        def __init__(self, **how: int) -> None: ...

        def random_raw(self, size: int) -> np.ndarray:
            return np.full(size, bits, np.uint64)

    monkeypatch.setattr(np.random, "Philox", Extreme)
    assert noise(2, 3) == pytest.approx(np.full((2, 3), deviations), abs=0.1)
    # The least draw shifts an image down and right by all that is allowed and flips it twice; the most, up and left.
    found = changed(labelled_images(2, 4, 5), crop=3, border="zeros", flip="both")
    assert found[:, 0, :2].tolist() == [corner] * 2
    assert np.count_nonzero(found) == 4


# What is described


def info_of(*shape: int) -> DataInfo:
    dims = ("height", "width", "channel")[: len(shape)]
    return DataInfo(tasks=("density",), num_samples=9, shape=shape, dims=dims, unit_interval=True)


def test_only_noise_leaves_the_unit_interval() -> None:
    assert step("augment", crop=1, flip="both").describe(info_of(4, 4), 9).unit_interval
    assert not step("augment", noise=0.1).describe(info_of(4), 9).unit_interval


def test_training_rows_are_counted_over_all_blocks() -> None:
    sample: Sample = dense_sample(np.zeros((50, 3), np.float32), 37)
    assert step("augment", noise=1.0).fit(sample.fit_data(5))["num_train"].tolist() == [37]


@pytest.mark.parametrize(
    ("parameters", "info", "message"),
    [
        ({}, info_of(4, 4), r"kind: augment has nothing to do; give crop, flip or noise"),
        ({"crop": 1}, info_of(4), r"crop: needs images \(height, width\) .*, not .* \(4,\); allowed here: noise"),
        ({"flip": "both"}, info_of(4), r"flip: needs images \(height, width\) .*; allowed here: noise"),
        ({"crop": 4}, info_of(9, 4, 3), r"crop: 4 is too much for images of 9 x 4; allowed: 0 to 3"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(parameters: dict[str, Any], info: DataInfo, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        step("augment", **parameters).describe(info, 9)
