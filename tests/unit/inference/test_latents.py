"""Pictures of a latent space, against the module itself and torch's distributions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.distributions import Normal, kl_divergence

from headrace.batching.batches import Batch
from headrace.findings.pictures import read_map, read_traversals
from headrace.inference import latents
from headrace.inference.latents import MAX_MAPPED, MAX_SIDE, NUM_DIMENSIONS, NUM_STEPS, picture_latents
from headrace.inference.trained import TrainedRun
from headrace.models.base import ModelSpec, Shapes
from headrace.provenance.digests import PICTURES
from headrace.provenance.manifests import read_manifest
from headrace.provenance.verification import verify_artifact
from headrace.registry import restore
from headrace.running.workers import Workers
from headrace.stores.arrays import load_arrays
from sample_runs import make_runs

IMAGES = Shapes((5, 6), 0, "density")
EXPERIMENT: dict[str, Any] = {
    "name": "pictures",
    "datasets": {"images": {"kind": "synthetic_images", "num_samples": 90, "height": 8, "width": 8}},
    "models": [{"kind": "vae", "hidden": 8, "latent": 3, "likelihood": "gaussian"}],
    "training": {"epochs": 2, "batch_size": 64, "seeds": [3], "device": "cpu"},
    "evaluation": {"bootstrap": 5},
}


def trained(shapes: Shapes = IMAGES, **parameters: Any) -> TrainedRun:
    """A run with the weights that it began with."""
    kind = {"kind": "vae", "hidden": 9, "latent": 8, **parameters}
    family = restore("models", kind, ModelSpec)
    torch.manual_seed(0)
    return TrainedRun(family, shapes, family.build(shapes).eval(), torch.device("cpu"), None, {})


def batches(*sizes: int, shape: tuple[int, ...] = IMAGES.inputs) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(1)
    for size in sizes:
        yield Batch(torch.rand(size, *shape, generator=generator), None)


@pytest.mark.parametrize("architecture", ["dense", "convolutional"])
def test_dimensions_are_those_with_the_largest_divergence_of_all_samples(architecture: str) -> None:
    run = trained(architecture=architecture)
    found = picture_latents(run, batches(7, 2))
    inputs = torch.cat([batch.inputs for batch in batches(7, 2)])
    mean, log_variance = (part.double() for part in run.module.encode(inputs))
    wanted = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).mean(0).detach().numpy()
    assert found["dimension"].tolist() == np.argsort(-wanted)[:NUM_DIMENSIONS].tolist()
    assert np.allclose(found["divergence"], np.sort(wanted)[::-1][:NUM_DIMENSIONS])


def test_every_picture_is_what_the_decoder_gives_for_one_moved_dimension() -> None:
    run = trained()
    found = picture_latents(run, batches(7))
    assert found["step"].tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert found["picture"].shape == (NUM_DIMENSIONS, NUM_STEPS, 5, 6)
    latent = torch.zeros(1, 8)
    latent[0, int(found["dimension"][2])] = -2.0
    wanted = run.module.decode(latent).detach().numpy()[0] * 255
    assert np.abs(found["picture"][2, 1] - wanted).max() <= 0.51
    middle = found["picture"][:, 3]
    assert (middle == middle[0]).all()


def test_pictures_are_the_same_again_and_draw_no_noise() -> None:
    run, state = trained(), torch.get_rng_state()
    first = picture_latents(run, batches(7, 3))
    torch.manual_seed(5)
    moved = torch.get_rng_state()
    again = picture_latents(run, batches(7, 3))
    assert torch.equal(torch.get_rng_state(), moved)
    assert not torch.equal(state, moved)
    for name, values in first.items():
        assert np.array_equal(values, again[name]), name


def test_there_are_as_many_dimensions_as_the_space_has() -> None:
    assert picture_latents(trained(latent=2), batches(3))["picture"].shape[0] == 2


def test_what_is_not_finite_is_black_and_what_is_too_bright_white(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(likelihood="gaussian")
    values = torch.tensor([torch.nan, torch.inf, -torch.inf, 7.0, 0.5]).repeat(6)
    monkeypatch.setattr(run.module, "decode", lambda latent: values.reshape(1, 5, 6).expand(len(latent), 5, 6))
    assert picture_latents(run, batches(3))["picture"][0, 0].ravel()[:5].tolist() == [0, 255, 0, 255, 128]


@pytest.mark.parametrize(
    "shapes",
    [
        Shapes((6,), 0, "density"),
        Shapes((5, 6), 0, "density", is_sequence=True),
        Shapes((5, 6, 3), 0, "density"),
        Shapes((2, MAX_SIDE + 1), 0, "density"),
    ],
)
def test_what_is_no_small_grey_image_is_not_pictured(shapes: Shapes) -> None:
    found = picture_latents(trained(shapes), batches(3, shape=shapes.inputs))
    assert set(found) == {"place", "explained"}


def test_a_model_without_a_latent_space_is_not_pictured() -> None:
    family = restore("models", {"kind": "fnn"}, ModelSpec)
    shapes = Shapes((5, 6), 2, "classification")
    run = TrainedRun(family, shapes, family.build(shapes).eval(), torch.device("cpu"), None, {})
    assert picture_latents(run, batches(3)) == {}


def test_evaluation_leaves_pictures_that_the_report_reads(
    tmp_path: Path, one_worker: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(variable, "1")
    made = make_runs(tmp_path, one_worker, EXPERIMENT)
    folder = made.evaluation("vae")
    found = read_traversals(folder / PICTURES)
    assert found is not None
    assert found.pictures.shape == (3, latents.NUM_STEPS, 8, 8)
    assert 0 <= found.pictures.min() < found.pictures.max() <= 1
    assert (np.diff(found.divergences) <= 0).all()
    manifest = read_manifest(folder)
    assert manifest is not None
    assert {part for part in manifest["outputs"] if part.startswith(PICTURES)} == {
        f"{PICTURES}/{name}" for name in load_arrays(folder / PICTURES)
    }
    assert list(verify_artifact(folder)) == []


def test_nothing_is_read_where_nothing_was_drawn(tmp_path: Path) -> None:
    assert read_traversals(tmp_path / PICTURES) is None


@pytest.mark.parametrize("sizes", [(40,), (700, 700, 100)])
def test_a_map_shows_the_principal_components_of_the_posterior_means(sizes: tuple[int, ...]) -> None:
    run = trained()
    found = picture_latents(run, batches(*sizes))
    means = run.module.encode(torch.cat([batch.inputs for batch in batches(*sizes)]))[0].detach().double().numpy()
    components = PCA(2).fit(means)
    chosen = np.unique(np.linspace(0, len(means) - 1, MAX_MAPPED).round().astype(int))
    wanted = components.transform(means)[chosen]
    signs = np.sign(components.components_[[0, 1], np.abs(components.components_).argmax(axis=1)])
    assert found["place"].shape == (min(sum(sizes), MAX_MAPPED), 2)
    assert np.allclose(found["place"], wanted * signs, atol=1e-4 * np.abs(wanted).max())
    assert np.allclose(found["explained"], components.explained_variance_ratio_)
    assert "mapped_target" not in found


def test_samples_on_a_map_keep_their_classes() -> None:
    parts = [Batch(batch.inputs, torch.arange(len(batch.inputs)) + 10 * i) for i, batch in enumerate(batches(5, 3))]
    found = picture_latents(trained(), parts)
    assert found["mapped_target"].tolist() == [0, 1, 2, 3, 4, 10, 11, 12]


@pytest.mark.parametrize("shapes", [Shapes((5, 6), 2, "classification"), Shapes((4,), 0, "density", num_codes=7)])
def test_what_has_no_latent_space_has_no_map(shapes: Shapes) -> None:
    run = trained()
    assert picture_latents(dataclasses.replace(run, shapes=shapes), batches(3)) == {}


def test_one_dimension_or_one_place_makes_no_map() -> None:
    assert set(picture_latents(trained(latent=1), batches(9))) == {"dimension", "divergence", "step", "picture"}
    alike = [Batch(torch.ones(4, 5, 6), None)]
    assert "place" not in picture_latents(trained(), alike)


@pytest.mark.parametrize("architecture", ["dense", "convolutional"])
def test_every_sample_is_read_and_encoded_once(monkeypatch: pytest.MonkeyPatch, architecture: str) -> None:
    run, sizes = trained(architecture=architecture), []
    encode = run.module.encode
    monkeypatch.setattr(run.module, "encode", lambda inputs: sizes.append(len(inputs)) or encode(inputs))
    found = picture_latents(run, batches(7, 2))
    assert sizes == [7, 2]
    assert {"picture", "place"} <= set(found)
    # To the bit what two passes give: float64 sums of what the batches give, in their order.
    with torch.no_grad():
        posteriors = [[part.double() for part in encode(batch.inputs)] for batch in batches(7, 2)]
    total = sum((0.5 * (m**2 + v.exp() - 1 - v)).sum(0).numpy() for m, v in posteriors)
    assert found["divergence"].tolist() == np.sort(total / 9)[::-1][:NUM_DIMENSIONS].tolist()


def test_a_file_without_a_map_has_none(tmp_path: Path) -> None:
    assert read_map(tmp_path / PICTURES) is None
