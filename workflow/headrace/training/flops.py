"""Floating-point operations of training, counted once from shapes."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.backends import mkldnn
from torch.utils._python_dispatch import TorchDispatchMode

from headrace.logs import logger
from headrace.models.base import NEXT_STEP, ModelSpec, Shapes
from headrace.registry import restore
from headrace.training.generators import kept_generators

NUM_SAMPLES = 2
"""Counted together: batch normalisation needs more than one."""
LIMIT_S = 1.0
"""CPU time after which counting is given up: some 10 to 50 ms are common, long recurrences take more."""

MAX_PARAMETERS = 25_000_000
"""Of a model that is counted: another one with its gradients takes 8 bytes each, for which nobody has asked."""


def flops_per_sample(family: ModelSpec, shapes: Shapes, num_parameters: int = 0) -> int | None:
    """Operations of one training step, forwards and backwards, a sample; None where shapes do not tell.

    What counts are products of matrices, convolutions and attention, a multiplication and an addition for two, by the
    formulas of torch.utils.flop_counter. A step of zeros is made for it on CPU, once for all seeds; no generator moves.
    """
    flops: int | None = _count(family.model_dump_json(), shapes) if num_parameters <= MAX_PARAMETERS else None
    return flops


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """As torch's own FlopCounterMode, in a tenth of its time: it neither attributes to modules nor decomposes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        from torch.utils.flop_counter import flop_registry

        self.total = 0
        self._formulas, self._ends_at = flop_registry, time.thread_time() + LIMIT_S

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here, and to say so to torch would import its compiler, which takes over a second."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if time.thread_time() > self._ends_at:
            raise RuntimeError(f"it takes more than {LIMIT_S} s")
        given = kwargs or {}
        made = func(*args, **given)
        formula = self._formulas.get(func.overloadpacket)
        if formula is not None:
            self.total += int(formula(*args, **given, out_val=made))
        return made


@functools.cache
def _count(parameters: str, shapes: Shapes) -> int | None:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    family, target = restore("models", json.loads(parameters), ModelSpec), _target(shapes)
    if target is None or shapes.layout == "ragged":
        return None
    inputs = torch.zeros(NUM_SAMPLES, *shapes.inputs, dtype=torch.int64 if shapes.num_codes else torch.float32)
    try:
        # What oneDNN does in one go, as an LSTM, and fused attention on CPU have no formulas; their products have.
        one_by_one = mkldnn.flags(False, None, None, None)
        with kept_generators(torch.device("cpu")), one_by_one, sdpa_kernel(SDPBackend.MATH):
            module = family.build(shapes)
            with _Counter() as counter:
                family.loss(module(inputs), inputs, target, shapes.task).backward()  # type: ignore[no-untyped-call]
    except Exception as error:
        # A number beside the results is worth no failed evaluation.
        logger.info("operations of %s are not counted: %s", family.kind, " ".join(str(error).split())[:200])
        return None
    return int(counter.total) // NUM_SAMPLES


def _target(shapes: Shapes) -> Tensor | None:
    """Codes, numbers or nothing, as the task wants them; None for a task that is not known here."""
    return {
        "classification": torch.zeros(NUM_SAMPLES, dtype=torch.int64),
        "regression": torch.zeros(NUM_SAMPLES, shapes.outputs),
        "density": torch.empty(0),
        NEXT_STEP: torch.empty(0),
    }.get(shapes.task)
