"""One run over several processes, its ranks: gradients summed in one order, and what all of them must decide alike.

Each rank computes its share of every batch (`batches`). What is said below of several ranks costs a single one nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from headrace.errors import StageError
from headrace.schedulers.base import Cause
from headrace.tries.stopping import Stop

if TYPE_CHECKING:
    from torch._C._distributed_c10d import GradBucket

PATIENCE = timedelta(minutes=10)
"""How long a rank waits for the others before it gives up; one that died is noticed at once."""
CAUSES: tuple[Cause | None, ...] = (None, "time limit", "preemption")
"""Why to stop, the weightier the later."""


@dataclass(frozen=True)
class Ranks:
    """The processes that train a run together, as one of them sees them."""

    rank: int = 0
    world_size: int = 1

    @property
    def are_several(self) -> bool:
        """Whether there is anybody to wait for."""
        return self.world_size > 1

    @property
    def is_first(self) -> bool:
        """Whether this one writes what the run leaves."""
        return self.rank == 0

    def gather(self, own: Tensor) -> Tensor:
        """(world_size, ...) what every rank has of one shape, in their order."""
        if not self.are_several:
            return own.unsqueeze(0)
        rows = own.new_empty((self.world_size, *own.shape))
        dist.all_gather(list(rows), own.contiguous())
        return rows

    def total(self, own: Tensor) -> Tensor:
        """The sum over all ranks, added up in their order."""
        return sum_rows(self.gather(own))

    def agree(self, own: Mapping[str, float]) -> dict[str, float]:
        """The first rank's numbers, on all of them: machines of two kinds may round differently."""
        if not self.are_several:
            return dict(own)
        numbers = torch.tensor(list(own.values()), dtype=torch.float64)
        dist.broadcast(numbers, 0)
        return dict(zip(own, numbers.tolist(), strict=True))

    def wait(self) -> None:
        """Until all have come here."""
        self.gather(torch.zeros(1))

    def usable(self, num_samples: int) -> int:
        """Samples of an epoch that can be shared out equally."""
        return num_samples // self.world_size * self.world_size

    def wrap(self, module: Any) -> Any:
        """The module as it is called in training: with gradients that are means over all ranks."""
        if not self.are_several:
            return module
        wrapped = DistributedDataParallel(module)
        # Torch compares annotations, and ours are text.
        wrapped.register_comm_hook(self.world_size, lambda size, bucket: mean_in_order(size, bucket))
        return wrapped

    def accumulating(self, wrapped: Any, *, is_last: bool) -> AbstractContextManager[Any]:
        """For one part of a batch: gradients are exchanged after its last part."""
        return wrapped.no_sync() if self.are_several and not is_last else nullcontext()

    def seed_noise(self, seed: int) -> None:
        """Let every rank draw noise of its own, once all have drawn the same initial weights."""
        if self.are_several:
            (own,) = np.random.SeedSequence([seed, self.rank]).generate_state(1, np.uint64)
            torch.manual_seed(int(own) >> 1)


ALONE = Ranks()


def sum_rows(rows: Tensor) -> Tensor:
    """(rows, ...) to their sum, one row after the other."""
    total = rows[0].clone()
    for row in rows[1:]:
        total += row
    return total


def mean_in_order(world_size: int, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """The mean of the ranks' gradients, added up in their order whatever bucket a gradient is in.

    A ring adds each part of a bucket in another order, and buckets are cut anew after the first step: a run that was
    interrupted would go on with other bits. Each rank sums one part here, and as much is sent as around a ring.
    """
    flat = bucket.buffer()
    part = -(-len(flat) // world_size)
    sent = functional.pad(flat, (0, part * world_size - len(flat)))
    received = torch.empty_like(sent)
    dist.all_to_all_single(received, sent)
    mean = sum_rows(received.view(world_size, part)) / world_size
    dist.all_gather(list(received.view(world_size, part)), mean)
    devices: list[torch.device | int | str] = [flat.device] if flat.device.type == "cuda" else []
    future: torch.futures.Future[Tensor] = torch.futures.Future(devices=devices)
    future.set_result(received[: len(flat)])
    return future


class SharedStop(Stop):
    """A stop of which all ranks hear before the same batch, and a clock that all of them read alike."""

    def __init__(self, own: Stop, ranks: Ranks) -> None:
        super().__init__(own.ends_at)
        self._own, self._ranks = own, ranks
        self._agreed: Cause | None = None
        self._clock_s = -math.inf
        self._look()

    @property
    def cause(self) -> Cause | None:
        """Why any of the ranks must stop. All of them have to ask equally often."""
        if self._agreed is None:
            self._look()
        return self._agreed

    def clock(self) -> float:
        """Seconds on the first rank's clock when `cause` was asked last."""
        return self._clock_s

    def _look(self) -> None:
        now = time.monotonic() if self._ranks.is_first else -math.inf
        seen = torch.tensor([CAUSES.index(self._own.cause), now], dtype=torch.float64)
        dist.all_reduce(seen, op=dist.ReduceOp.MAX)
        self._agreed, self._clock_s = CAUSES[int(seen[0])], float(seen[1])


def take_device(device: str, local_rank: int) -> None:
    """Take the GPU that is this rank's own. Raises StageError where there are not enough."""
    if device == "cuda":
        num_gpus = torch.cuda.device_count()
        if num_gpus <= local_rank:
            raise StageError(
                f"a rank finds no GPU of its own among {num_gpus}; give the job one a rank, or plan with "
                "--config device=cpu"
            )
        torch.cuda.set_device(local_rank)


def join(rank: int, world_size: int, device: str, store: str | None) -> Ranks:
    """Meet the other ranks: through a file `store` that all see, or where torchrun's environment says."""
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    method = "env://" if store is None else f"file://{store}"
    dist.init_process_group(backend, init_method=method, rank=rank, world_size=world_size, timeout=PATIENCE)
    return Ranks(rank, world_size)


def is_of_connection(error: BaseException) -> bool:
    """Whether it tells that the connection to other ranks broke, which is never a rank's own mistake."""
    # Gloo raises a plain RuntimeError that begins with its source file.
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "/gloo/" in str(error))


def leave() -> None:
    """Part from the other ranks."""
    dist.destroy_process_group()


class _Total(torch.autograd.Function):
    """The sum over all ranks, of values and of gradients."""

    @staticmethod
    def forward(context: Any, own: Tensor, ranks: Ranks) -> Tensor:
        context.ranks = ranks
        return ranks.total(own)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return context.ranks.total(gradient), None


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation by the mean and variance over the shares of all ranks, which are equally large.

    Torch's own SyncBatchNorm does this on GPUs alone.
    """

    def __init__(self, own: nn.modules.batchnorm._BatchNorm, ranks: Ranks) -> None:
        super().__init__(own.num_features, own.eps, own.momentum, own.affine, own.track_running_stats)
        self.load_state_dict(own.state_dict())
        self.ranks = ranks

    def _check_input_dim(self, input: Tensor) -> None:
        return None

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels, ...) to the same shape."""
        if not self.training:
            output: Tensor = super().forward(input)
            return output
        over = [0, *range(2, input.dim())]
        values = input.float()
        mean = self._mean(values.mean(over, keepdim=True))
        centred = values - mean
        variance = self._mean(centred.square().mean(over, keepdim=True))
        self._count(mean.detach().flatten(), variance.detach().flatten(), values.numel() // self.num_features)
        output = centred * (variance + self.eps).rsqrt()
        if self.affine:
            shape = (1, -1, *(1 for _ in range(2, input.dim())))
            output = output * self.weight.view(shape) + self.bias.view(shape)
        return output.to(input.dtype)

    def _mean(self, own: Tensor) -> Tensor:
        total: Tensor = _Total.apply(own, self.ranks)  # type: ignore[no-untyped-call]
        return total / self.ranks.world_size

    def _count(self, mean: Tensor, variance: Tensor, num_own: int) -> None:
        """Keep the running mean and the running unbiased variance, as batch normalisation does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        num = num_own * self.ranks.world_size
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (num / max(1, num - 1)), share)


def share_batch_norms(module: nn.Module, ranks: Ranks) -> nn.Module:
    """The module, whose batch normalisations see the whole batch and not a rank's share of it."""
    if not ranks.are_several:
        return module
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return SharedBatchNorm(module, ranks)
    for name, child in module.named_children():
        setattr(module, name, share_batch_norms(child, ranks))
    return module
