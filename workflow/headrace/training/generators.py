"""The same bits every time: torch's switches, and the generators that a run draws from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


def make_deterministic(threads: int, *, tf32: bool = False) -> None:
    """Ask torch for the same bits every time, of products in float32 or, on GPUs that have it, in TF32."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32


def generator_states(device: torch.device) -> dict[str, Tensor]:
    """The states of all generators that a run draws from."""
    states = {"cpu": torch.get_rng_state()}
    return {**states, "cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else states


def set_generator_states(device: torch.device, states: Mapping[str, Tensor]) -> None:
    """Put the generators where they were."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


@contextmanager
def kept_generators(device: torch.device) -> Iterator[None]:
    """Draw freely inside; outside nothing has moved."""
    states = generator_states(device)
    try:
        yield
    finally:
        set_generator_states(device, states)
