"""How fast singular values and vectors of a sparse matrix are found, to the same error, and in how much memory.

`make bench NAME=svd`; `--small` for a minute's worth. The matrix is written once: to a Headrace store of sparse shards
for us, to `.npz` files for the others. Everybody is timed from those files, which lie in the page cache, to singular
values and vectors; interpreters, imports and our cluster are up by then. Everybody runs with the first of its settings
that brings all singular values within 1e-5 of what ARPACK finds with a tolerance of 1e-10. We run as our stages do:
two workers of one thread each, one BLAS thread; the others as they come.

Each row of the matrix has 50 entries, exponentially distributed: half of them in the columns of one of 128 topics,
which has 400 columns and is chosen with a probability that falls like 1 / (topic + 5), and half anywhere. So some 64
singular values stand out from a flat rest, and decay. Entries that meet are added.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import contenders
import numpy as np
from contenders import Contender, Found

ROUNDS = 3
RANK = 64
EXACT = 1e-5
PER_ROW, TOPICS, OF_TOPIC = 50, 128, 400
PACKAGES = ("headrace", "numpy", "scipy", "scikit-learn", "dask", "numba")
CASES = {"1000000x50000": (1_000_000, 50_000, 64), "200000x20000": (200_000, 20_000, 64)}
"""Rows, columns, and how many singular values."""
SMALL = {"40000x4000": (40_000, 4_000, 16)}
WEAK = (80_000, 20_000, (10, 40, 160))
"""Rows of a block, columns, and how many blocks."""
SMALL_WEAK = (20_000, 4_000, (10, 40))
WEAK_PASSES, WEAK_RANK = 10, 64
WORKER_MIB = 4096
OURS = [{"tolerance": tolerance} for tolerance in (1e-4, 1e-5, 1e-6, 1e-7)]
ARPACK = [{"dtype": dtype, "tol": tol} for tol in (1e-1, 1e-2, 1e-4, 1e-8) for dtype in ("float32", "float64")]
PASSES = (6, 12, 24, 48, 96)


def say(**line: Any) -> None:
    """One line of figures."""
    print(json.dumps({"bench": "svd", **line}), flush=True)


# The matrix


def make_rows(num_rows: int, num_columns: int, shard: int) -> Any:
    """(num_rows, num_columns) float32 CSR."""
    from scipy.sparse import csr_array

    topics = np.random.default_rng(0)
    own = min(OF_TOPIC, num_columns // 8)
    members = np.stack([topics.choice(num_columns, own, replace=False) for _ in range(TOPICS)])
    weights = 1 / (np.arange(TOPICS) + 5)
    generator = np.random.default_rng([1, shard])
    topic = generator.choice(TOPICS, num_rows, p=weights / weights.sum())
    half = PER_ROW // 2
    columns = np.empty((num_rows, PER_ROW), np.int32)
    columns[:, :half] = members[topic[:, None], generator.integers(0, own, (num_rows, half))]
    columns[:, half:] = generator.integers(0, num_columns, (num_rows, PER_ROW - half))
    values = generator.exponential(size=columns.size).astype(np.float32)
    borders = np.arange(num_rows + 1, dtype=np.int32) * PER_ROW
    rows = csr_array((values, columns.reshape(-1), borders), shape=(num_rows, num_columns))
    rows.sum_duplicates()
    return rows


def write_store(path: Path, num_columns: int, layout: Any) -> None:
    """As a stage would leave it."""
    from headrace.stores import groups
    from headrace.stores.layout import Variable
    from headrace.stores.writing import write_shard

    variable = Variable(("column",), (num_columns,), "float32", "sparse")
    groups.create(path, {"inputs": variable}, layout, {"train": layout.num_rows}, {})
    for shard in range(layout.num_shards):
        rows = layout.rows(shard)
        write_shard(path, shard, {"inputs": make_rows(rows.stop - rows.start, num_columns, shard)})
    groups.finish(path)


def make_blocks(folder: Path, settings: dict[str, Any]) -> Found:
    """A store alone, of so many blocks."""
    from headrace.stores.layout import choose_layout

    rows = settings["rows_per_block"]
    layout = choose_layout(rows * settings["num_blocks"], 1, rows)
    write_store(folder / "data.zarr", settings["num_columns"], layout)
    return {"blocks": layout.num_shards}


def make(folder: Path, settings: dict[str, Any]) -> Found:
    """The store, the same rows whole and in parts, and the singular values."""
    from scipy.sparse import save_npz, vstack
    from scipy.sparse.linalg import svds

    from headrace.stores.layout import choose_layout
    from headrace.stores.reading import Store

    layout = choose_layout(settings["num_rows"], PER_ROW * 8 + 8)
    write_store(folder / "data.zarr", settings["num_columns"], layout)
    store = Store(folder / "data.zarr")
    blocks = [store.read("inputs", layout.rows(shard)) for shard in range(layout.num_shards)]
    (folder / "parts").mkdir()
    for shard, block in enumerate(blocks):
        save_npz(folder / "parts" / f"{shard:04d}.npz", block, compressed=False)
    matrix = vstack(blocks, format="csr")
    save_npz(folder / "matrix.npz", matrix, compressed=False)
    values = svds(matrix.astype(np.float64), settings["rank"], tol=1e-10, return_singular_vectors=False)
    values = np.sort(values)[::-1]
    np.save(folder / "values.npy", values)
    return {"num_values": int(matrix.nnz), "blocks": layout.num_shards, "largest": values[0], "smallest": values[-1]}


def worst_error(folder: Path, values: np.ndarray) -> float:
    """Of singular values, relative to the right ones."""
    right = np.load(folder / "values.npy")
    return float(np.abs(np.sort(values)[::-1] / right - 1).max())


# Contenders


def ours(folder: Path, settings: dict[str, Any], num_workers: int = 2) -> Found:
    """From a store, on a local cluster; with `passes`, how long one takes, and else until it has converged."""
    from headrace.chains import open_blocks
    from headrace.clusters.base import Place
    from headrace.clusters.local import Spec
    from headrace.linalg.matrix import Matrix
    from headrace.linalg.progress import Progress
    from headrace.linalg.svd import leading_right_singular_vectors
    from headrace.stores.reading import Store

    passes = settings.get("passes")
    spec = Spec(kind="local", workers=num_workers, worker_memory_mib=WORKER_MIB)
    with spec.open(Place(folder, folder)) as workers:
        store = Store(folder / "data.zarr")
        (num_columns,) = store.variables["inputs"].shape
        workers.client.run(import_all, num_columns)
        start = time.perf_counter()
        rows = slice(0, store.layout.num_rows)
        blocks = open_blocks(store, ("inputs",), rows, (), workers, resident_mib=WORKER_MIB // 2, step="bench")
        progress = Progress(traffic=blocks.traffic)
        values, _, _ = leading_right_singular_vectors(
            Matrix(blocks, num_columns),
            settings["rank"],
            tolerance=settings.get("tolerance", 0.0),
            max_iterations=passes or 200,
            seed=0,
            progress=progress,
        )
        seconds = time.perf_counter() - start
        where = workers.describe()["where"]
    found = {"seconds": seconds, "peak_mib": max(one["peak_memory_mib"] for one in where)}
    if passes:
        # The first one reads.
        times = [line["seconds"] for line in progress.trace]
        return {**found, "pass": (times[-1] - times[0]) / (len(times) - 1) / len(blocks)}
    more = {"passes": len(progress.trace), "driver_peak_mib": contenders.peak_mib()}
    return {**found, **more, "error": worst_error(folder, values)}


def import_all(num_columns: int) -> None:
    """What a worker needs, loops included that were compiled at another time. Runs in a worker."""
    from scipy.sparse import csr_array

    from headrace.linalg import kernels

    rows = csr_array((np.ones(1, np.float32), np.zeros(1, np.int32), np.array([0, 1], np.int32)), (1, num_columns))
    for width in (1, kernels.WIDE):
        kernels.gram_times(rows, np.ones((num_columns, width)))


def load(folder: Path, settings: dict[str, Any]) -> Any:
    """The whole matrix."""
    from scipy.sparse import load_npz

    return load_npz(folder / "matrix.npz").astype(settings.get("dtype", "float32"), copy=False)


def scipy_svds(folder: Path, settings: dict[str, Any]) -> Found:
    from scipy.sparse.linalg import svds

    start = time.perf_counter()
    _, values, _ = svds(load(folder, settings), settings["rank"], tol=settings["tol"], rng=np.random.default_rng(0))
    return ended(folder, start, values)


def sklearn_svd(folder: Path, settings: dict[str, Any], algorithm: str) -> Found:
    from sklearn.decomposition import TruncatedSVD

    own = {key: value for key, value in settings.items() if key not in ("dtype", "rank")}
    start = time.perf_counter()
    model = TruncatedSVD(settings["rank"], algorithm=algorithm, random_state=0, **own).fit(load(folder, settings))
    return ended(folder, start, model.singular_values_)


def dask_svd(folder: Path, settings: dict[str, Any]) -> Found:
    """On the same cluster as ours."""
    import dask.array as da
    from dask import delayed
    from distributed import Client, LocalCluster
    from scipy.sparse import csr_matrix, load_npz

    def read(part: Path) -> Any:
        # Dask knows no sum over sparse arrays.
        return csr_matrix(load_npz(part))

    parts = sorted((folder / "parts").iterdir())
    shapes = [load_npz(part).shape for part in parts]
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,  # type: ignore[no-untyped-call]
        Client(cluster) as client,  # type: ignore[no-untyped-call]
    ):
        client.run(read, parts[0])
        start = time.perf_counter()
        empty = csr_matrix((0, 0), dtype=np.float32)
        blocks = [
            da.from_delayed(delayed(read)(part), shape, meta=empty) for part, shape in zip(parts, shapes, strict=True)
        ]
        matrix = da.concatenate(blocks).persist()
        own = {key: value for key, value in settings.items() if key != "rank"}
        found = da.linalg.svd_compressed(matrix, settings["rank"], iterator="QR", seed=0, **own)
        _, values, _ = client.gather(client.compute(list(found)))
        return ended(folder, start, np.asarray(values))


def ended(folder: Path, start: float, values: np.ndarray) -> Found:
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_mib": contenders.peak_mib(), "error": worst_error(folder, values)}


CONTENDERS = {
    "headrace": ours,
    "headrace with 1 worker": partial(ours, num_workers=1),
    "scipy.sparse.linalg.svds": scipy_svds,
    "sklearn TruncatedSVD arpack": partial(sklearn_svd, algorithm="arpack"),
    "sklearn TruncatedSVD randomized": partial(sklearn_svd, algorithm="randomized"),
    "dask.array.linalg.svd_compressed": dask_svd,
    "make": make,
    "make_blocks": make_blocks,
}
SCRIPT = str(Path(__file__))


def bench_case(case: str, num_rows: int, num_columns: int, rank: int, rounds: int) -> None:
    """Ours and theirs in turns."""

    def settings(several: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"rank": rank, **one} for one in several]

    randomized, compressed = (
        settings([{name: passes, "n_oversamples": rank} for passes in PASSES]) for name in ("n_iter", "n_power_iter")
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shape = {"num_rows": num_rows, "num_columns": num_columns, "rank": rank}
        say(case=case, against=None, ratio=None, rank=rank, **Contender("make", "headrace").call(SCRIPT, folder, shape))
        us, alone = (Contender(name, "headrace", settings(OURS), 1) for name in ("headrace", "headrace with 1 worker"))
        svds = Contender("scipy.sparse.linalg.svds", "scipy", settings(ARPACK))
        others = [
            svds,
            Contender("sklearn TruncatedSVD arpack", "scikit-learn", settings(ARPACK)),
            Contender("sklearn TruncatedSVD randomized", "scikit-learn", randomized),
            Contender("dask.array.linalg.svd_compressed", "dask", compressed),
        ]
        contenders.run_in_turns([us, alone, *others], SCRIPT, folder, rounds, EXACT)
    for other in others:
        line = contenders.compare(us, other)
        if line["ratio"] is not None:
            line |= {"error": us.median("error"), "their_error": other.median("error"), "settings": other.chosen}
            line |= {"peak_mib": us.median("peak_mib"), "their_peak_mib": other.median("peak_mib")}
        say(case=case, goal=1.5, unit="s", **line)
    say(case=f"{case}, memory of a worker", goal=1.67, unit="MiB", **contenders.compare(us, svds, "peak_mib"))
    say(case=f"{case}, from 1 to 2 workers", goal=1.6, unit="s", **contenders.compare(us, alone))
    if us.runs and not us.why:
        keys = ("passes", "driver_peak_mib")
        say(case=f"{case}, ours", against=None, ratio=None, settings=us.chosen, **{key: us.median(key) for key in keys})


def bench_weak(case: str, rows_per_block: int, num_columns: int, counts: Sequence[int], rounds: int) -> None:
    """Seconds of an iteration for each block, the work between two passes included."""
    found: dict[int, list[float]] = {count: [] for count in counts}
    with tempfile.TemporaryDirectory() as name:
        us = Contender("headrace", "headrace", threads=1)
        for count in counts:
            settings = {"num_blocks": count, "rows_per_block": rows_per_block, "num_columns": num_columns}
            (Path(name) / str(count)).mkdir()
            Contender("make_blocks", "headrace").call(SCRIPT, Path(name) / str(count), settings)
        for _ in range(rounds):
            for count in counts:
                run = us.call(SCRIPT, Path(name) / str(count), {"passes": WEAK_PASSES, "rank": WEAK_RANK})
                if "why" in run:
                    say(case=case, against=None, ratio=None, why=run["why"])
                    return
                found[count].append(run["pass"])
    medians = {count: round(statistics.median(values), 5) for count, values in found.items()}
    spread = round(max(medians.values()) / min(medians.values()), 2)
    say(case=case, against=None, ratio=None, ours=medians, unit="s/block", spread=spread, goal=1.2, rounds=rounds)


def main() -> None:
    """Print the machine, then a line for everyone that we are compared with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", nargs=3, metavar=("NAME", "FOLDER", "SETTINGS"), help=argparse.SUPPRESS)
    parser.add_argument("--small", action="store_true", help="a minute's worth")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="*", help="cases to run")
    given = parser.parse_args()
    if given.serve:
        name, folder, settings = given.serve[0], Path(given.serve[1]), json.loads(given.serve[2])
        contenders.serve(lambda: CONTENDERS[name](folder, settings))
        return
    contenders.say_machine(PACKAGES)
    cases = SMALL if given.small else CASES
    for case, sizes in cases.items():
        if case in (given.only or cases):
            bench_case(case, *sizes, given.rounds)
    weak = SMALL_WEAK if given.small else WEAK
    if "weak" in (given.only or ["weak"]):
        bench_weak(f"weak, {weak[0]} x {weak[1]} a block", *weak, given.rounds)


if __name__ == "__main__":
    main()
