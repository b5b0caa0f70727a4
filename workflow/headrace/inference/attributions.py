"""What a prediction rests on: integrated gradients, a share of it for every input.

Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks": the gradient of the prediction is averaged along
the straight line from a baseline to the sample, and multiplied by the way that each input went.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from headrace.batching.batches import move
from headrace.errors import InputError
from headrace.inference.trained import BATCH_SIZE, Outputs, TrainedRun
from headrace.planning.runs import find_obstacle

if TYPE_CHECKING:
    from headrace.inference.new_data import Part

NUM_STEPS = 64
"""Points on the line. Between them a network may bend; how much that costs is told as `attribution_error`."""


def refuse_run(run: TrainedRun) -> None:
    """Raise InputError where shares of a prediction have no meaning, or none that could be written."""
    obstacle = find_obstacle(asdict(run.shapes))
    if obstacle:
        raise InputError(f"--attribute: the run {obstacle}; allowed: dense measurements, and classes or one number")


def attribute_all(run: TrainedRun, parts: Iterable[Part], num_steps: int = NUM_STEPS) -> Iterator[Outputs]:
    """Batch by batch `attribution` (batch, ...) float32, in the shape of the inputs, and `attribution_error` (batch,).

    Of a classification the shares are of the logit of the likeliest class, of a regression of the number, in its units.
    They sum to the prediction's difference from that at the baseline, but for the error. The baseline is 0, which is
    the mean of the training split behind `standardize`.
    """
    factor = 1.0 if run.scale is None else float(run.scale[1][0])
    for part in parts:
        for batch in part.data.in_order(BATCH_SIZE):
            inputs = move(batch.inputs, run.device)
            assert isinstance(inputs, Tensor)
            shares, error = integrate_gradients(run.module, inputs, torch.zeros_like(inputs), num_steps)
            found = {"attribution": shares * factor, "attribution_error": error * factor}
            yield {name: values.cpu().numpy().astype(np.float32) for name, values in found.items()}


def integrate_gradients(
    module: torch.nn.Module,
    inputs: Tensor,
    baseline: Tensor,
    num_steps: int = NUM_STEPS,
    chosen: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Shares of every input in an output, (batch, ...) float64, and what is left over, (batch,).

    `inputs` and `baseline` are (batch, ...); the module gives (batch, outputs), of which `chosen` (batch, 1) int64 are
    taken apart, or the largest ones. The integral is taken at the nodes of Gauss and Legendre. What is left over is the
    sum of the shares less f(inputs) - f(baseline), which the paper calls completeness: with an exact integral it is 0.
    """
    # Outside training, the recurrent layers of cuDNN know no gradient; torch's own do.
    with torch.backends.cudnn.flags(enabled=False, deterministic=True):
        with torch.no_grad():
            outputs = module(inputs)
            chosen = outputs.argmax(dim=1, keepdim=True) if chosen is None else chosen
            ends = [values.gather(1, chosen)[:, 0].double() for values in (outputs, module(baseline))]
        nodes, weights = np.polynomial.legendre.leggauss(num_steps)
        mean = torch.zeros_like(inputs, dtype=torch.float64)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            point = torch.lerp(baseline, inputs, float(node)).requires_grad_()
            (gradient,) = torch.autograd.grad(module(point).gather(1, chosen).sum(), point)
            mean += float(weight) * gradient.double()
    shares = mean * (inputs.double() - baseline.double())
    return shares, shares.flatten(1).sum(dim=1) - (ends[0] - ends[1])
