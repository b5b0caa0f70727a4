"""What the benches of training share: the time of commands, and the loops of peers."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import contenders

BATCH = 128
Network = tuple[Any, Any]
"""A family's spec and the shapes of its inputs and outputs."""


def cpu_seconds() -> float:
    """Of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Wall-clock and CPU seconds of a command."""
    environment = {**os.environ, **dict.fromkeys(contenders.THREADS, "1")}
    start, before = time.perf_counter(), cpu_seconds()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(" ".join(done.stderr.split())[-300:])
    return time.perf_counter() - start, cpu_seconds() - before


def together(commands: list[list[str]], at_a_time: int, folder: Path) -> tuple[float, float]:
    """Wall-clock and CPU seconds of several commands."""
    start, before = time.perf_counter(), cpu_seconds()
    with ThreadPoolExecutor(at_a_time) as pool:
        list(pool.map(lambda command: timed(command, folder), commands))
    return time.perf_counter() - start, cpu_seconds() - before


def train_bare(splits: dict[str, Any], network: Any, epochs: int, seed: int, rate: float = 1e-3) -> list[float]:
    """A plain loop over arrays in memory; gives the seconds of every epoch."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    spec, shapes = network
    module = spec.build(shapes)
    optimizer = torch.optim.Adam(module.parameters(), lr=rate, fused=True)
    tensors = {name: tuple(torch.from_numpy(split[part]) for part in split) for name, split in splits.items()}
    inputs, target = tensors["train"]
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        module.train()
        order, total = torch.randperm(len(inputs)), torch.zeros(())
        for first in range(0, len(inputs), BATCH):
            rows = order[first : first + BATCH]
            optimizer.zero_grad()
            loss = spec.loss(module(inputs[rows]), inputs[rows], target[rows], shapes.task)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach() * len(rows)
        module.eval()
        with torch.no_grad():
            seen, wanted = tensors["validation"]
            outputs = module(seen)
            float(spec.loss(outputs, seen, wanted, shapes.task))
            if shapes.task == "classification":
                float((outputs.argmax(dim=1) == wanted).float().mean())
        seconds.append(time.perf_counter() - start)
    return seconds


def train_lightning(splits: dict[str, Any], network: Any, epochs: int, seed: int, rate: float = 1e-3) -> None:
    """The same by PyTorch Lightning, with its loggers, bars and checkpoints off."""
    import lightning
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(1)
    lightning.seed_everything(seed)
    spec, shapes = network

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.module = spec.build(shapes)

        def training_step(self, batch: Any, number: int) -> Any:
            return spec.loss(self.module(batch[0]), *batch, shapes.task)

        def validation_step(self, batch: Any, number: int) -> None:
            self.log("validation_loss", spec.loss(self.module(batch[0]), *batch, shapes.task))

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=rate, fused=True)

    def load(split: str, size: int) -> Any:
        tensors = [torch.from_numpy(splits[split][part]) for part in splits[split]]
        return DataLoader(TensorDataset(*tensors), size, shuffle=split == "train")

    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), load("train", BATCH), load("validation", 1024))
