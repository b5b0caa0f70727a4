"""What training costs: many tiny runs in one job, and one run beside a bare loop; then the quickstart as a whole.

`make bench NAME=train`. CPU seconds are those of all processes that were started. Everybody trains the same networks on
the same rows for the same epochs, with Adam, one thread a process, and looks at the validation split after each epoch;
we also save, check, seal and digest. `quickstart.py` says who is met on the quickstart.
Lightning is found where `PYTHONPATH` says.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import contenders
import numpy as np
import quickstart
from loops import BATCH, timed, train_bare, train_lightning

ROUNDS = 5
TINY_RUNS, TINY_PEERS = 48, 4
"""Of ours in one job, and of theirs in processes of their own: the cost of a run is compared."""
PACKAGES = ("headrace", "torch", "numpy", "lightning")
ROWS, FEATURES, CLASSES = 12_800, 64, 10
EPOCHS = 10
"""Of 100 steps each."""
STEPS = {"steps of 0.5 ms": (64, (128, 128), 10, 1.3), "steps of 5 ms": (784, (768, 512), 2, 1.05)}
"""Features, hidden units, epochs of 100 steps, and how many times as long as a bare loop we may take."""
MODEL = {"hidden": (128, 128), "dropout": 0.0}


def say(**line: Any) -> None:
    """One line of figures."""
    print(json.dumps({"bench": "train", **line}), flush=True)


def make_rows(num_features: int, rows: int = ROWS) -> dict[str, dict[str, np.ndarray]]:
    """Classes around centres, split in two."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(CLASSES, num_features)).astype(np.float32)
    splits = {}
    for name, count in (("train", rows), ("validation", rows // 5)):
        target = generator.integers(0, CLASSES, count)
        inputs = centres[target] + generator.standard_normal((count, num_features), dtype=np.float32)
        splits[name] = {"inputs": inputs, "target": target.astype(np.int64)}
    return splits


# Many tiny runs


def experiment(folder: Path) -> dict[str, Any]:
    """48 seeds of one small network on rows in a file."""
    splits = make_rows(FEATURES)
    parts = [splits["train"], splits["validation"], make_rows(FEATURES, ROWS // 2)["validation"]]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in ("inputs", "target")}
    np.savez(folder / "rows.npz", **rows)
    share = ROWS / len(rows["target"])
    split = {"by": "random", "train": share, "validation": share / 5, "test": 1 - 1.2 * share}
    return {
        "name": "tiny",
        "datasets": {
            "rows": {
                "kind": "npz",
                "path": str(folder / "rows.npz"),
                "inputs": "inputs",
                "target": "target",
                "split": split,
            }
        },
        "models": [{"kind": "fnn", **MODEL, "hidden": list(MODEL["hidden"])}],
        "training": {"epochs": EPOCHS, "batch_size": BATCH, "seeds": list(range(TINY_RUNS)), "device": "cpu"},
    }


class Ours:
    """One job of the workflow, with its rows sharded."""

    def __init__(self, folder: Path) -> None:
        from headrace.experiments import yaml_files
        from headrace.experiments.reading import check_experiment
        from headrace.planning.artifacts import receipt_path
        from headrace.planning.plan import Plan, Site

        site = Site(folder / "artifacts", folder / "results", TINY_RUNS, "cpu")
        plan = Plan(check_experiment(yaml_files.tuples(experiment(folder)), (), site.artifacts), site)
        plan.write_specs()
        self.folder = folder
        jobs = {job.stage: receipt_path(site.artifacts, job.stage, job.id) for job in plan.jobs}
        self.receipt = jobs["train"]
        timed(self.command(jobs["shard"], "--workers", "2"), folder)

    def command(self, receipt: Path, *options: str) -> list[str]:
        return [sys.executable, "-m", "headrace", receipt.parent.name, str(receipt), *options]

    def run(self) -> tuple[float, float]:
        """Train all, from nothing."""
        for path in (self.folder / "artifacts/train", self.receipt):
            subprocess.run(["rm", "-rf", str(path)], check=True)
        return timed(self.command(self.receipt, "--cores", "2"), self.folder)


def bench_tiny(rounds: int) -> None:
    """CPU seconds of a run: in a job of 48, and in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = Ours(folder)
        for split, arrays in make_rows(FEATURES).items():
            np.savez(folder / f"{split}.npz", **arrays)
        found: dict[str, list[float]] = {"headrace": [], "bare": [], "lightning": []}
        why: dict[str, str] = {}
        for _ in range(rounds):
            found["headrace"].append(ours.run()[1] / TINY_RUNS)
            for peer in ("bare", "lightning"):
                if peer in why:
                    continue
                command = [sys.executable, __file__, "--serve", peer, str(folder)]
                try:
                    cost = sum(timed([*command, str(seed)], folder)[1] for seed in range(TINY_PEERS))
                except RuntimeError as error:
                    why[peer] = str(error)
                    continue
                found[peer].append(cost / TINY_PEERS)
    goals = {"bare": 5.0, "lightning": 8.0}
    for peer, goal in goals.items():
        line = {"case": "48 tiny runs", "against": f"a process for each run ({peer})", "goal": goal}
        if peer in why:
            say(**line, ratio=None, why=why[peer])
            continue
        ratio = statistics.median(b / a for a, b in zip(found["headrace"], found[peer], strict=True))
        medians = {
            key: round(statistics.median(found[who]), 3) for key, who in (("ours", "headrace"), ("theirs", peer))
        }
        say(**line, ratio=round(ratio, 2), **medians, unit="CPU s/run", rounds=rounds)


def build(num_features: int, hidden: tuple[int, ...]) -> Any:
    """The network that everybody trains."""
    from headrace.models.base import ModelSpec, Shapes
    from headrace.registry import restore

    spec = restore("models", {"kind": "fnn", **MODEL, "hidden": hidden}, ModelSpec)
    return spec, Shapes((num_features,), CLASSES, "classification")


# One run


def train_ours(folder: Path, hidden: tuple[int, ...], epochs: int) -> list[float]:
    """From shards, saved as always; gives the seconds of every epoch."""
    from headrace.batching.batches import open_split
    from headrace.experiments.config import Training
    from headrace.training.loop import train

    data = {name: open_split(folder / "artifact", name) for name in ("train", "validation")}
    (num_features,) = next(data["train"].in_order(1)).inputs.shape[1:]
    spec, shapes = build(num_features, hidden)
    training = Training(epochs=epochs, batch_size=BATCH, device="cpu")
    with tempfile.TemporaryDirectory() as checkpoint:
        return [row["seconds"] for row in train(spec, shapes, training, 0, data, Path(checkpoint)).curves]


def bench_one(case: str, rounds: int) -> None:
    """Seconds of an epoch, the first one of a process left out."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from headrace.stores.layout import choose_layout
    from sample_stores import write_artifact

    num_features, hidden, epochs, limit = STEPS[case]
    splits = make_rows(num_features)
    with tempfile.TemporaryDirectory() as name:
        rows = sum(len(split["target"]) for split in splits.values())
        write_artifact(Path(name, "artifact"), splits, choose_layout(rows, 4 * num_features))
        calls: dict[str, Callable[[], list[float]]] = {
            "ours": lambda: train_ours(Path(name), hidden, epochs + 1),
            "theirs": lambda: train_bare(splits, build(num_features, hidden), epochs + 1, 0),
        }
        found: dict[str, list[float]] = {who: [] for who in calls}
        for _ in range(rounds):
            for who, call in calls.items():
                found[who].append(statistics.median(call()[1:]) / (ROWS / BATCH) * 1e3)
    ratio = statistics.median(b / a for a, b in zip(found["ours"], found["theirs"], strict=True))
    medians = {who: round(statistics.median(values), 3) for who, values in found.items()}
    say(
        case=case,
        against="a bare loop",
        ratio=round(ratio, 3),
        goal=round(1 / limit, 3),
        **medians,
        unit="ms/step",
        rounds=rounds,
    )


def main() -> None:
    """Print the machine, then a line for everyone that we are compared with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", nargs=3, metavar=("PEER", "FOLDER", "SEED"), help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="*", default=[*STEPS, "tiny", "quickstart"], help="cases to run")
    given = parser.parse_args()
    if given.serve:
        peer, folder, seed = given.serve
        splits = {name: dict(np.load(Path(folder) / f"{name}.npz")) for name in ("train", "validation")}
        train = {"bare": train_bare, "lightning": train_lightning}[peer]
        train(splits, build(FEATURES, MODEL["hidden"]), EPOCHS, int(seed))
        return
    contenders.say_machine(PACKAGES)
    for case in STEPS:
        if case in given.only:
            bench_one(case, given.rounds)
    if "tiny" in given.only:
        bench_tiny(given.rounds)
    if "quickstart" in given.only:
        quickstart.bench(given.rounds, list(quickstart.GOALS))


if __name__ == "__main__":
    main()
