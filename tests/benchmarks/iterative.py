"""How fast k-means, PageRank and a logistic regression come to the same error, against scikit-learn, scipy and others.

`make bench NAME=iterative`; `--small` for a minute's worth; peers are found where `PYTHONPATH` says. Data are written
once: to a Headrace store for us, to `.npy` and `.npz` files for the others. Everybody is timed from those files, which
lie in the page cache, to the answer; interpreters, imports and clusters are up by then. Everybody runs with the first
of its settings that is exact enough. We run as our stages do: two workers of one thread each, one BLAS thread; Dask-ML
has the same workers, the others come as they are.

k-means: points around as many centres as are asked for, from the same starting points for all; the error is that of the
inertia, relative to what scikit-learn finds in float64 when no label changes any more. PageRank: edges between nodes of
which a few are much sought after; the error is the sum of all absolute differences from ranks computed to 1e-13.
Logistic regression: two classes, with a penalty; the error is that of the loss, relative to a Newton method's.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import contenders
import numpy as np
from contenders import Contender, Found

ROUNDS = 5
PACKAGES = ("headrace", "numpy", "scipy", "scikit-learn", "dask", "networkx", "dask-ml")
WORKER_MIB = 4096
SCRIPT = str(Path(__file__))
Settings = Mapping[str, Any]
Solve = Callable[[Path, Settings], Found]


def say(**line: Any) -> None:
    """One line of figures."""
    print(json.dumps({"bench": "iterative", **line}), flush=True)


def timed(work: Callable[[], Any], error: Callable[[Any], float]) -> Found:
    """How long the work takes, and how wrong what it gives is."""
    start = time.perf_counter()
    found = work()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_mib": contenders.peak_mib(), "error": error(found)}


# Ours


def write_store(path: Path, blocks: Mapping[str, Any]) -> None:
    """As a stage would leave it, all rows for training."""
    from headrace.stores import groups
    from headrace.stores.layout import Variable, choose_layout
    from headrace.stores.writing import write_shard

    variables, row_bytes, num_rows = {}, 0.0, 0
    for name, block in blocks.items():
        num_rows, dense = block.shape[0], isinstance(block, np.ndarray)
        row_bytes += block[0].nbytes if dense else 8 + 8 * block.nnz / num_rows
        dims = tuple(f"{name}_{i}" for i in range(block.ndim - 1))
        variables[name] = Variable(dims, tuple(block.shape[1:]), block.dtype.name, "dense" if dense else "sparse")
    layout = choose_layout(num_rows, row_bytes)
    groups.create(path, variables, layout, {"train": num_rows}, {})
    for shard in range(layout.num_shards):
        write_shard(path, shard, {name: block[layout.rows(shard)] for name, block in blocks.items()})
    groups.finish(path)


@contextmanager
def our_data(folder: Path) -> Iterator[Any]:
    """Row blocks that two workers read, with everything imported that a pass over them takes."""
    from headrace.chains import open_blocks
    from headrace.clusters.base import Place
    from headrace.clusters.local import Spec
    from headrace.linalg.progress import Progress
    from headrace.preprocessing.base import FitData
    from headrace.stores.reading import Store

    with Spec(kind="local", workers=2, worker_memory_mib=WORKER_MIB).open(Place(folder, folder)) as workers:
        workers.client.run(import_all)
        store, progress = Store(folder / "data.zarr"), Progress()

        def blocks(*names: str) -> Any:
            rows = slice(0, store.layout.num_rows)
            kept: dict[str, Any] = {"resident_mib": WORKER_MIB // 2, "step": "bench", "traffic": progress.traffic}
            return open_blocks(store, names, rows, (), workers, **kept) if set(names) <= set(store.variables) else None

        labelled, adjacency = blocks("inputs", "target"), blocks("adjacency")
        yield FitData(blocks("inputs"), progress, labelled, blocks("inputs"), adjacency)


def import_all() -> None:
    """What a worker needs. Runs in a worker."""
    import scipy.sparse  # noqa: F401

    import headrace.chains
    import headrace.linalg.compiled
    import headrace.linalg.compiled_distances
    import headrace.linalg.linear_fits
    import headrace.linalg.lloyd  # noqa: F401


def our_fit(kind: str, data: Any, **parameters: Any) -> Mapping[str, np.ndarray]:
    """The state of a step."""
    from headrace.preprocessing.base import StepSpec
    from headrace.registry import restore

    state: Mapping[str, np.ndarray] = restore("preprocessing", {"kind": kind, **parameters}, StepSpec).fit(data)
    return state


@contextmanager
def two_workers() -> Iterator[Any]:
    """For Dask-ML."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,  # type: ignore[no-untyped-call]
        Client(cluster) as client,  # type: ignore[no-untyped-call]
    ):
        yield client


def in_blocks(path: Path) -> Any:
    """An array on disk, as Dask reads it best."""
    import dask.array as da

    values = np.load(path, mmap_mode="r")
    rows = -(-len(values) // 8)
    blocks = [
        da.from_delayed(read_rows(path, first, rows), values[first : first + rows].shape, values.dtype)
        for first in range(0, len(values), rows)
    ]
    return da.concatenate(blocks).persist()


def read_rows(path: Path, first: int, rows: int) -> Any:
    """A block of them, when it is asked for."""
    import dask

    return dask.delayed(lambda: np.load(path, mmap_mode="r")[first : first + rows].copy())()


# k-means


def make_points(folder: Path, settings: Settings) -> Found:
    from sklearn.cluster import KMeans

    generator = np.random.default_rng(0)
    rows, columns, clusters = settings["rows"], settings["columns"], settings["clusters"]
    centres = generator.normal(size=(clusters, columns))
    values = centres[generator.integers(0, clusters, rows)] + generator.normal(size=(rows, columns))
    values = values.astype(np.float32)
    start = values[generator.choice(rows, clusters, replace=False)]
    np.save(folder / "values.npy", values)
    np.save(folder / "start.npy", start)
    write_store(folder / "data.zarr", {"inputs": values})
    exact = KMeans(clusters, init=start.astype(float), n_init=1, tol=0, max_iter=1000).fit(values.astype(float))
    np.save(folder / "exact.npy", np.array([exact.inertia_]))
    return {"iterations": int(exact.n_iter_)}


def inertia_error(folder: Path, centres: np.ndarray) -> float:
    """Computed anew, for all alike."""
    from scipy.spatial.distance import cdist

    values, inertia = np.load(folder / "values.npy"), 0.0
    for first in range(0, len(values), 10_000):
        inertia += float(cdist(values[first : first + 10_000], centres, "sqeuclidean").min(axis=1).sum())
    return float(abs(inertia / np.load(folder / "exact.npy")[0] - 1))


def our_kmeans(folder: Path, settings: Settings) -> Found:
    from headrace.linalg.distances import Points
    from headrace.linalg.lloyd import lloyd

    with our_data(folder) as data:

        def work() -> np.ndarray:
            start = np.load(folder / "start.npy").astype(np.float64)
            more = {"tolerance": settings["tol"], "max_iterations": 1000, "progress": data.progress}
            return lloyd(Points.of(data.inputs), lambda: start, **more).centres

        return timed(work, partial(inertia_error, folder))


def sklearn_kmeans(folder: Path, settings: Settings) -> Found:
    from sklearn.cluster import KMeans

    def work() -> Any:
        values, start = np.load(folder / "values.npy"), np.load(folder / "start.npy")
        return KMeans(len(start), init=start, n_init=1, max_iter=1000, **settings).fit(values).cluster_centers_

    return timed(work, partial(inertia_error, folder))


def dask_ml_kmeans(folder: Path, settings: Settings) -> Found:
    from dask_ml.cluster import KMeans

    with two_workers():

        def work() -> Any:
            start = np.load(folder / "start.npy")
            model = KMeans(len(start), init=start, max_iter=1000, **settings)
            return np.asarray(model.fit(in_blocks(folder / "values.npy")).cluster_centers_)

        return timed(work, partial(inertia_error, folder))


# PageRank


def make_graph(folder: Path, settings: Settings) -> Found:
    from scipy.sparse import csr_array, save_npz

    generator, nodes, edges = np.random.default_rng(0), settings["nodes"], settings["edges"]
    sources = generator.integers(0, nodes, edges, dtype=np.int32)
    targets = (nodes * generator.random(edges) ** 3).astype(np.int32)
    targets = generator.permutation(nodes).astype(np.int32)[targets]
    adjacency = csr_array((np.ones(edges, np.float32), (sources, targets)), shape=(nodes, nodes))
    adjacency.sum_duplicates()
    save_npz(folder / "adjacency.npz", adjacency, compressed=False)
    write_store(folder / "data.zarr", {"inputs": np.zeros((nodes, 1), np.float32), "adjacency": adjacency})
    np.save(folder / "exact.npy", power_iteration(folder, 1e-13))
    return {"stored": int(adjacency.nnz)}


def rank_error(folder: Path, ranks: np.ndarray) -> float:
    return float(np.abs(ranks / ranks.sum() - np.load(folder / "exact.npy")).sum())


def our_pagerank(folder: Path, settings: Settings) -> Found:
    with our_data(folder) as data:

        def work() -> np.ndarray:
            return our_fit("pagerank", data, tolerance=settings["tol"])["nodes"][:, 0].astype(np.float64)

        return timed(work, partial(rank_error, folder))


def power_iteration(folder: Path, tol: float) -> np.ndarray:
    """What one writes with scipy: the same sums as ours."""
    from scipy.sparse import diags_array, load_npz

    adjacency = load_npz(folder / "adjacency.npz").astype(np.float64)
    degrees, nodes = adjacency.sum(axis=1), adjacency.shape[0]
    follow = (diags_array(np.divide(1, degrees, out=np.zeros(nodes), where=degrees > 0)) @ adjacency).T.tocsr()
    ranks, stranded, change = np.full(nodes, 1 / nodes), degrees == 0, np.inf
    while change > tol:
        before = ranks
        ranks = 0.85 * (follow @ before + before[stranded].sum() / nodes) + 0.15 / nodes
        change = float(np.abs(ranks - before).sum())
    return ranks


def scipy_pagerank(folder: Path, settings: Settings) -> Found:
    return timed(lambda: power_iteration(folder, settings["tol"]), partial(rank_error, folder))


def networkx_pagerank(folder: Path, settings: Settings) -> Found:
    """Its graph is made before the clock starts: that takes it longer than the ranks."""
    import networkx as nx
    from scipy.sparse import load_npz

    graph = nx.from_scipy_sparse_array(load_npz(folder / "adjacency.npz"), create_using=nx.DiGraph)
    nodes = graph.number_of_nodes()

    def work() -> dict[int, float]:
        ranks: dict[int, float] = nx.pagerank(graph, tol=settings["tol"] / nodes, max_iter=1000)
        return ranks

    return timed(work, lambda ranks: rank_error(folder, np.array([ranks[i] for i in range(nodes)])))


# Logistic regression


def make_classes(folder: Path, settings: Settings) -> Found:
    from sklearn.linear_model import LogisticRegression

    generator, rows, columns = np.random.default_rng(0), settings["rows"], settings["columns"]
    values = generator.normal(size=(rows, columns)).astype(np.float32)
    values[:, 1:] += 0.7 * values[:, :-1]
    logits = values @ generator.normal(size=columns).astype(np.float32) / np.sqrt(columns) + 0.1
    target = (generator.random(rows) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    np.save(folder / "values.npy", values)
    np.save(folder / "target.npy", target)
    write_store(folder / "data.zarr", {"inputs": values, "target": target})
    exact = LogisticRegression(C=strength(rows), solver="newton-cholesky", tol=1e-10).fit(values.astype(float), target)
    loss = loss_of(folder, exact.coef_[0], exact.intercept_[0])
    np.save(folder / "exact.npy", np.array([loss]))
    return {"loss": loss}


PENALTY = 1e-3
"""Times half the squared weights of a single vector for both classes, beside the mean loss of a row."""


def strength(rows: int) -> float:
    """What scikit-learn and Dask-ML multiply the sum of all losses by."""
    return 1 / (PENALTY * rows)


def loss_of(folder: Path, weights: np.ndarray, intercept: float) -> float:
    """Mean loss and penalty, in float64."""
    values, target = np.load(folder / "values.npy"), np.load(folder / "target.npy")
    logits = values @ np.asarray(weights, np.float64) + intercept
    return float(np.logaddexp(0, np.where(target == 1, -logits, logits)).mean() + PENALTY / 2 * (weights**2).sum())


def loss_error(folder: Path, found: tuple[np.ndarray, float]) -> float:
    return float(abs(loss_of(folder, *found) / np.load(folder / "exact.npy")[0] - 1))


def our_regression(folder: Path, settings: Settings) -> Found:
    with our_data(folder) as data:

        def work() -> tuple[np.ndarray, float]:
            # Each class has weights of its own here, and both together are penalised as the difference is by others.
            state = our_fit("logistic_features", data, tolerance=settings["tol"], penalty=2 * PENALTY)
            return state["weights"][:, 1] - state["weights"][:, 0], float(np.diff(state["intercept"])[0])

        return timed(work, partial(loss_error, folder))


def sklearn_regression(folder: Path, settings: Settings) -> Found:
    from sklearn.linear_model import LogisticRegression

    def work() -> tuple[np.ndarray, float]:
        values, target = np.load(folder / "values.npy"), np.load(folder / "target.npy")
        model = LogisticRegression(C=strength(len(values)), max_iter=10_000, **settings).fit(values, target)
        return model.coef_[0], float(model.intercept_[0])

    return timed(work, partial(loss_error, folder))


def dask_ml_regression(folder: Path, settings: Settings) -> Found:
    from dask_ml.linear_model import LogisticRegression

    with two_workers():

        def work() -> tuple[np.ndarray, float]:
            values, target = in_blocks(folder / "values.npy"), in_blocks(folder / "target.npy")
            model = LogisticRegression(C=strength(len(values)), max_iter=10_000, **settings).fit(values, target)
            return np.asarray(model.coef_).reshape(-1), float(np.asarray(model.intercept_).reshape(-1)[0])

        return timed(work, partial(loss_error, folder))


# All of them

TOLS = [{"tol": tol} for tol in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10)]
LBFGS = [{"solver": "lbfgs", **settings} for settings in TOLS]


@dataclass(frozen=True)
class Case:
    """A problem, who solves it, and how exactly."""

    full: Settings
    small: Settings
    exact: float
    make: Solve
    contenders: Mapping[str, tuple[Solve, str, Sequence[Settings]]]
    """The function, the package and the settings to try, the quickest first."""
    bound: str
    """What limits us."""


CASES = {
    "kmeans": Case(
        {"rows": 1_000_000, "columns": 32, "clusters": 50},
        {"rows": 50_000, "columns": 16, "clusters": 20},
        1e-3,
        make_points,
        {
            "headrace": (our_kmeans, "headrace", TOLS),
            "sklearn KMeans": (sklearn_kmeans, "scikit-learn", TOLS),
            "dask_ml KMeans": (dask_ml_kmeans, "dask-ml", TOLS),
        },
        "distances are computed in float32, but what they decide is added up in float64; every pass is a round trip",
    ),
    "pagerank": Case(
        {"nodes": 1_000_000, "edges": 10_000_000},
        {"nodes": 50_000, "edges": 500_000},
        1e-7,
        make_graph,
        {
            "headrace": (our_pagerank, "headrace", TOLS),
            "scipy": (scipy_pagerank, "scipy", TOLS),
            "networkx.pagerank": (networkx_pagerank, "networkx", TOLS),
        },
        "in every step the ranks of all nodes go to workers and back, encrypted, for two operations an edge",
    ),
    "logistic": Case(
        {"rows": 1_000_000, "columns": 50},
        {"rows": 50_000, "columns": 20},
        1e-6,
        make_classes,
        {
            "headrace": (our_regression, "headrace", TOLS),
            "sklearn LogisticRegression lbfgs": (sklearn_regression, "scikit-learn", LBFGS),
            "dask_ml LogisticRegression lbfgs": (dask_ml_regression, "dask-ml", LBFGS),
        },
        "sums are taken in float64, with a weight vector for each class",
    ),
}


def bench_case(name: str, case: Case, sizes: Settings, rounds: int) -> None:
    """Ours and theirs in turns."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made = Contender(f"{name}: make", "headrace").call(SCRIPT, folder, sizes)
        say(case=name, against=None, ratio=None, **sizes, **made)
        us, *others = (
            Contender(f"{name}: {who}", package, settings, 1 if who == "headrace" else None)
            for who, (_, package, settings) in case.contenders.items()
        )
        contenders.run_in_turns([us, *others], SCRIPT, folder, rounds, case.exact)
    for other in others:
        line = contenders.compare(us, other)
        if line["ratio"] is not None:
            line |= {"error": us.median("error"), "their_error": other.median("error")}
            line |= {"settings": us.chosen, "their_settings": other.chosen}
            line |= {"bound": case.bound} if line["ratio"] < 1 else {}
        say(case=name, goal=1.0, unit="s", **{**line, "against": other.name.partition(": ")[2]})


def main() -> None:
    """Print the machine, then a line for everyone that we are compared with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", nargs=3, metavar=("NAME", "FOLDER", "SETTINGS"), help=argparse.SUPPRESS)
    parser.add_argument("--small", action="store_true", help="a minute's worth")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="*", default=list(CASES), help="cases to run")
    given = parser.parse_args()
    if given.serve:
        called, folder, settings = given.serve[0], Path(given.serve[1]), json.loads(given.serve[2])
        name, _, who = called.partition(": ")
        solve = CASES[name].make if who == "make" else CASES[name].contenders[who][0]
        contenders.serve(lambda: solve(folder, settings))
        return
    contenders.say_machine(PACKAGES)
    for name, case in CASES.items():
        if name in given.only:
            bench_case(name, case, case.small if given.small else case.full, given.rounds)


if __name__ == "__main__":
    main()
