"""The importance-weighted bound, against the exact evidence of a linear Gaussian model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from headrace.batching.batches import Batch
from headrace.inference.bounds import bound_by_importance
from headrace.inference.trained import TrainedRun
from headrace.models.base import ModelSpec, Shapes
from headrace.provenance.manifests import read_json
from headrace.registry import restore
from headrace.running.workers import Workers
from sample_runs import make_runs

WEIGHTS = np.array([[1.0, 2.0], [2.0, -1.0], [0.5, 0.0], [0.0, 1.5]])
"""Of the decoder, columns at right angles: then the true posterior has no correlations."""
CENTRE = np.array([0.3, -1.0, 2.0, 0.0])


class LinearGaussian(nn.Module):
    """x = W z + c + noise of variance 1, and a posterior that is exact or `off` by so much in its mean."""

    def __init__(self, off: float = 0.0) -> None:
        super().__init__()
        self.off, self.weights, self.centre = off, torch.from_numpy(WEIGHTS), torch.from_numpy(CENTRE)

    def encode(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        precision = 1 + (self.weights**2).sum(0)
        mean = (inputs.double() - self.centre) @ self.weights / precision
        return mean + self.off, -precision.log().expand_as(mean)

    def cost(self, latent: Tensor, inputs: Tensor) -> Tensor:
        gaussian = torch.distributions.Normal(latent @ self.weights.T + self.centre, 1.0)
        return -gaussian.log_prob(inputs.double()).sum(1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As a stage has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def bound(module: nn.Module, inputs: Tensor, num_draws: int, seed: int = 0, batch_size: int = 1000) -> np.ndarray:
    family = restore("models", {"kind": "vae", "likelihood": "gaussian"}, ModelSpec)
    run = TrainedRun(family, Shapes(inputs.shape[1:], 0, "density"), module, torch.device("cpu"), None, {})
    found = bound_by_importance(run, batches(inputs, batch_size), num_draws=num_draws, seed=seed)
    assert found is not None
    return found


def batches(inputs: Tensor, batch_size: int) -> Iterator[Batch]:
    return (Batch(part, None) for part in inputs.split(batch_size))


def make_samples(count: int) -> Tensor:
    noise = np.random.default_rng(0)
    samples = noise.normal(size=(count, 2)) @ WEIGHTS.T + CENTRE + noise.normal(size=(count, 4))
    return torch.from_numpy(samples.astype(np.float32))


def evidence(inputs: Tensor) -> np.ndarray:
    exact = multivariate_normal(CENTRE, WEIGHTS @ WEIGHTS.T + np.eye(4)).logpdf(inputs.double().numpy())
    return np.asarray(exact)


@pytest.mark.parametrize("num_draws", [1, 2, 50])
def test_it_is_the_evidence_where_the_posterior_is_exact(num_draws: int) -> None:
    samples = make_samples(40)
    assert bound(LinearGaussian(), samples, num_draws) == pytest.approx(-evidence(samples), rel=1e-9)


def test_it_falls_from_the_evidence_bound_towards_the_evidence() -> None:
    samples, module = make_samples(3000), LinearGaussian(off=0.4)
    exact = -evidence(samples).mean()
    found = {count: bound(module, samples, count).mean() for count in (1, 5, 50, 200)}
    # One draw is the usual bound: the gap is the divergence of the posterior, half its precision times the error.
    gap = 0.5 * 0.4**2 * (1 + (WEIGHTS**2).sum(axis=0)).sum()
    assert found[1] == pytest.approx(exact + gap, abs=0.1)
    assert found[1] > found[5] > found[50] > found[200] > exact - 0.01
    assert found[200] == pytest.approx(exact, abs=0.02)


def test_it_follows_from_the_seed_and_moves_no_other_generator() -> None:
    samples, module = make_samples(20), LinearGaussian(off=0.4)
    before = torch.get_rng_state()
    first = bound(module, samples, 3, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.tolist() == bound(module, samples, 3, seed=5).tolist()
    assert first.tolist() != bound(module, samples, 3, seed=6).tolist()
    assert len(bound(module, samples, 3, batch_size=7)) == 20


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("architecture", ["dense", "convolutional"])
def test_an_autoencoder_is_bounded_by_its_own_terms(architecture: str, likelihood: str) -> None:
    kind = {"kind": "vae", "hidden": 9, "latent": 3, "channels": [4, 5]}
    family = restore("models", kind | {"architecture": architecture, "likelihood": likelihood}, ModelSpec)
    torch.manual_seed(0)
    inputs = torch.rand(6, 8, 7).round()
    module = family.build(Shapes((8, 7), 0, "density")).eval()
    many = bound(module, inputs, 60)
    with torch.no_grad():
        single = [family.predict(module(inputs), inputs, "density")["neg_elbo"].double().numpy() for _ in range(60)]
    assert many.mean() < np.mean(single)
    assert many == pytest.approx(np.mean(single, axis=0), rel=0.1)


def test_models_without_a_latent_space_and_no_draws_have_none() -> None:
    samples = make_samples(3)
    family = restore("models", {"kind": "fnn"}, ModelSpec)
    shapes = Shapes((4,), 2, "classification")
    run = TrainedRun(family, shapes, family.build(shapes), torch.device("cpu"), None, {})
    assert bound_by_importance(run, batches(samples, 2), num_draws=5, seed=0) is None
    run = dataclasses.replace(run, module=LinearGaussian())
    assert bound_by_importance(run, batches(samples, 2), num_draws=0, seed=0) is None


@pytest.mark.parametrize("draws", [0, 4])
def test_evaluation_tells_it_of_the_test_split(
    tmp_path: Path, one_worker: Workers, monkeypatch: pytest.MonkeyPatch, draws: int
) -> None:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(variable, "1")
    experiment: dict[str, Any] = {
        "name": "bounds",
        "datasets": {"images": {"kind": "synthetic_images", "num_samples": 60, "height": 6, "width": 6}},
        "models": [{"kind": "vae", "hidden": 8, "latent": 3, "likelihood": "gaussian"}],
        "training": {"epochs": 2, "batch_size": 32, "device": "cpu"},
        "evaluation": {"bootstrap": 5, "importance_draws": draws},
    }
    made = make_runs(tmp_path, one_worker, experiment)
    rows = read_json(made.evaluation("vae") / "metrics.json")
    found = {(row["split"], row["metric"]): row["value"] for row in rows}
    assert (("test", "neg_iw_bound") in found) == (draws > 0)
    assert ("validation", "neg_iw_bound") not in found
    if draws:
        assert found["test", "neg_iw_bound"] < found["test", "neg_elbo"] + 0.5
