"""The autoencoder, against closed forms and torch's distributions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence

from headrace.datasets.base import DataInfo
from headrace.models.base import ModelSpec, Shapes
from headrace.registry import restore

NONE = torch.empty(0)
IMAGES = Shapes((6, 7), 0, "density")
VARIANTS: dict[str, dict[str, Any]] = {
    f"{architecture} {likelihood}": {"architecture": architecture, "likelihood": likelihood}
    for architecture in ("dense", "convolutional")
    for likelihood in ("bernoulli", "gaussian")
}


def vae(**parameters: Any) -> ModelSpec:
    return restore("models", {"kind": "vae", "hidden": 9, "latent": 3, "channels": [4, 5], **parameters}, ModelSpec)


def build(spec: ModelSpec, shapes: Shapes = IMAGES) -> Any:
    torch.manual_seed(0)
    return spec.build(shapes)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_bound_is_made_of_what_torchs_distributions_say(variant: str) -> None:
    spec = vae(**VARIANTS[variant])
    module, inputs = build(spec).double(), torch.rand(4, 6, 7).double().round()
    outputs = mean, log_variance, decoded = module(inputs)
    found = spec.predict(outputs, inputs, "density")
    likelihood = Bernoulli(logits=decoded) if "bernoulli" in variant else Normal(decoded, 1.0)
    reconstruction = -likelihood.log_prob(inputs.flatten(1)).sum(dim=1)
    divergence = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(dim=1)
    assert torch.allclose(found["reconstruction"], reconstruction)
    assert torch.allclose(found["neg_elbo"], reconstruction + divergence)
    assert torch.allclose(found["mean"].flatten(1), likelihood.mean)
    assert torch.allclose(spec.loss(outputs, inputs, NONE, "density"), found["neg_elbo"].mean())


def set_linear(layers: nn.Sequential, weight: Tensor, bias: Tensor) -> None:
    """A network of one hidden layer that is linear where its inputs are not huge: no unit is ever off."""
    first, second = (layer for layer in layers if isinstance(layer, nn.Linear))
    offset = torch.full_like(first.bias, 1e3)
    first.weight.data = torch.eye(*first.weight.shape, dtype=torch.float64)
    first.bias.data = offset
    second.weight.data = torch.zeros_like(second.weight)
    second.weight.data[:, : weight.shape[1]] = weight
    second.bias.data = bias - second.weight @ offset


@torch.no_grad()
def test_the_bound_is_tight_where_the_posterior_is_exact() -> None:
    """Of a linear decoder with orthogonal columns the true posterior is a diagonal Gaussian, and its evidence a
    Gaussian's density (probabilistic principal components: Tipping and Bishop 1999)."""
    spec = vae(likelihood="gaussian", latent=2, hidden=4)
    module = build(spec, Shapes((4,), 0, "density")).double()
    weights = torch.tensor([[1.0, 2.0], [2.0, -1.0], [0.5, 0.0], [0.0, 1.5]], dtype=torch.float64)
    centre = torch.tensor([0.3, -1.0, 2.0, 0.0], dtype=torch.float64)
    precision = 1 + (weights**2).sum(dim=0)
    to_mean = weights.T / precision[:, None]
    set_linear(module.decoder, weights, centre)
    set_linear(
        module.encoder,
        torch.cat([to_mean, torch.zeros_like(to_mean)]),
        torch.cat([-to_mean @ centre, -precision.log()]),
    )
    samples = torch.randn(3, 4, dtype=torch.float64)
    evidence = MultivariateNormal(centre, weights @ weights.T + torch.eye(4, dtype=torch.float64))
    repeated = samples.repeat_interleave(40_000, dim=0)
    found = spec.predict(module(repeated), repeated, "density")["neg_elbo"].view(3, -1).mean(dim=1)
    assert found.numpy() == pytest.approx(-evidence.log_prob(samples).numpy(), abs=0.03)
    # Any other posterior is worse.
    module.encoder[-1].bias.data[:2] += 0.5
    worse = spec.predict(module(repeated), repeated, "density")["neg_elbo"].view(3, -1).mean(dim=1)
    assert (worse > found + 0.1).all()


@pytest.mark.parametrize("architecture", ["dense", "convolutional"])
def test_beta_weighs_the_divergence_in_the_loss_and_changes_no_metric(architecture: str) -> None:
    one, four = vae(architecture=architecture), vae(architecture=architecture, beta=4.0)
    inputs = torch.rand(5, 6, 7)
    outputs = build(one)(inputs)
    told, same = (spec.predict(outputs, inputs, "density") for spec in (one, four))
    assert all(torch.equal(told[name], same[name]) for name in told)
    divergence = (told["neg_elbo"] - told["reconstruction"]).mean()
    more = four.loss(outputs, inputs, NONE, "density") - one.loss(outputs, inputs, NONE, "density")
    assert torch.allclose(more, 3 * divergence, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 17), st.integers(4, 17), st.sampled_from([0, 1, 3]), st.integers(1, 3))
def test_convolutions_give_images_of_the_size_that_they_read(height: int, width: int, depth: int, stages: int) -> None:
    shape = (height, width, depth) if depth else (height, width)
    spec = vae(architecture="convolutional", channels=[4, 3, 2][:stages])
    dims = ("height", "width", "channel")[: len(shape)]
    spec.check(DataInfo(("density",), 9, shape, dims, unit_interval=True))
    module, inputs = build(spec, Shapes(shape, 0, "density")), torch.rand(2, *shape)
    assert [part.shape for part in module.encode(inputs)] == [(2, 3), (2, 3)]
    assert module.decode(torch.randn(2, 3)).shape == inputs.shape
    assert spec.predict(module(inputs), inputs, "density")["mean"].shape == inputs.shape


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_decoded_from_the_posterior_is_the_mean_predicted(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    spec, inputs = vae(**VARIANTS[variant]), torch.rand(4, 6, 7, 3)
    module = build(spec, Shapes((6, 7, 3), 0, "density"))
    mean, log_variance = module.encode(inputs)
    outputs = module(inputs)
    assert torch.equal(outputs[0], mean)
    assert torch.equal(outputs[1], log_variance)
    decoded = module.decode(mean)
    assert torch.equal(decoded, spec.predict(outputs, inputs, "density")["mean"])
    if "bernoulli" in variant:
        assert ((decoded > 0) & (decoded < 1)).all()


def test_an_image_is_decoded_where_its_pixels_were() -> None:
    """One transposed convolution whose kernel is one at its centre sets every second pixel, and no other."""
    spec = vae(architecture="convolutional", likelihood="gaussian", channels=[2])
    module = build(spec, Shapes((5, 4, 2), 0, "density"))
    twice = next(layer for layer in module.decoder if isinstance(layer, nn.ConvTranspose2d))
    for parameter in twice.parameters():
        nn.init.zeros_(parameter)
    for channel in range(2):
        nn.init.ones_(twice.weight[channel, channel, 1, 1])
    latent = torch.randn(1, 3)
    small = module.decoder[:5](latent)
    decoded = module.decode(latent)
    assert torch.equal(decoded[0, ::2, ::2].movedim(-1, 0), small[0])
    assert not decoded[0, 1::2].any()
    assert not decoded[0, :, 1::2].any()


def test_the_number_of_parameters_is_known() -> None:
    dense = sum(parameter.numel() for parameter in build(vae()).parameters())
    assert dense == (42 + 1) * 9 + (9 + 1) * 6 + (3 + 1) * 9 + (9 + 1) * 42
    # 6 x 7 pixels become 3 x 4, then 2 x 2.
    encoder = (9 + 1) * 4 + (36 + 1) * 5 + (20 + 1) * 9 + (9 + 1) * 6
    decoder = (3 + 1) * 9 + (9 + 1) * 20 + (45 * 4 + 4) + (36 + 1)
    convolutional = build(vae(architecture="convolutional"))
    assert sum(parameter.numel() for parameter in convolutional.parameters()) == encoder + decoder


def test_what_cannot_be_read_is_refused() -> None:
    images = DataInfo(("density",), 9, (6, 7), ("height", "width"))
    with pytest.raises(ValueError, match="likelihood: bernoulli needs inputs in"):
        vae().check(images)
    convolutional = vae(architecture="convolutional", likelihood="gaussian")
    convolutional.check(images)
    for shape, dims in (((42,), ("feature",)), ((3, 9), ("height", "width")), ((9, 9), ("step", "feature"))):
        with pytest.raises(ValueError, match="architecture: convolutional needs images"):
            convolutional.check(DataInfo(("density",), 9, shape, dims))
    with pytest.raises(ValueError, match="beta"):
        vae(beta=0.0)
