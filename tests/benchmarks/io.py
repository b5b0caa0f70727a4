"""How fast batches are read and stores are written: samples a second against what else does it, and cost by size.

`make bench NAME=io`. The extra `bench` brings those peers that agree with our pins (zarrs, tensorstore, xbatcher,
webdataset); the others are found where `PYTHONPATH` says. Every loader runs in a process of its own and all take turns,
so that what else the machine does hits all alike. With `--large`, 10 GB too.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS = 7
SECONDS = 3.0
"""A round is cut off after this long."""
PACKAGES = ("headrace", "numpy", "torch", "zarr", "numcodecs", "dask")
PEERS = {
    "zarrs": "zarrs",
    "tensorstore": "tensorstore",
    "litdata": "litdata",
    "datasets": "datasets",
    "xbatcher": "xbatcher",
    "webdataset": "webdataset",
    "streaming": "mosaicml-streaming",
}
AGAINST = ("zarrs", "tensorstore", "dataloader", "litdata", "datasets", "xbatcher", "webdataset", "streaming")
GOALS = {"zarrs": 1.4, "tensorstore": 1.4, "memory": 1.0, "dataloader": 4.0}
CASES: dict[str, tuple[str, str, str, Sequence[str]]] = {
    "images-lz4": ("images", "lz4", "headrace", AGAINST),
    "features-lz4": ("features", "lz4", "headrace", AGAINST),
    "images-none": ("images", "none", "headrace", ("memory",)),
    "features-none": ("features", "none", "headrace", ("memory",)),
    "images-none-resident": ("images", "none", "headrace-resident", ("memory",)),
    "features-none-resident": ("features", "none", "headrace-resident", ("memory",)),
}
"""What is read, how it is compressed, by which of our ways, and against whom."""


def say(**line: Any) -> None:
    """One line of figures."""
    print(json.dumps({"bench": "io", **line}), flush=True)


def version_of(package: str) -> str | None:
    """Of what is installed, if it is."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


# Batches


def serve(name: str, folder: Path) -> None:
    """Measure one loader whenever a line comes in."""
    import loaders
    import torch

    torch.set_num_threads(2)
    # What a library prints must not be taken for figures.
    figures = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        epoch = loaders.LOADERS[name](folder)
        for number, _ in enumerate(sys.stdin):
            rate = measure(epoch(number), counted=name in loaders.OF_ALL_ROWS)
            figures.write(json.dumps({"rate": rate}) + "\n")
    except Exception as error:
        figures.write(json.dumps({"why": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}) + "\n")


def measure(batches: Iterator[Any], *, counted: bool) -> float:
    """Samples a second; unless `counted`, from the first batch on."""
    start, samples = time.perf_counter(), 0
    for i, batch in enumerate(batches):
        if i == 0 and not counted:
            start = time.perf_counter()
        else:
            samples += len(batch)
        if time.perf_counter() - start > SECONDS:
            break
    return samples / (time.perf_counter() - start)


class Loader:
    """A loader in a process of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.rates, self.why = name, list[float](), ""
        command = [sys.executable, __file__, "--serve", name, str(folder)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)

    def round(self) -> None:
        """Run once more, unless it cannot."""
        if self.why:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline() or '{"why": "its process ended"}')
        self.why = found.get("why", "")
        if not self.why:
            self.rates.append(found["rate"])

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):
            self._process.communicate("", timeout=30)


def bench_batches(case: str, rounds: int) -> None:
    """Ours and theirs in turns; the first round of each is not counted."""
    import loaders

    data, codec, our, against = CASES[case]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loaders.prepare(folder, data, codec)
        running = [Loader(loader, folder) for loader in (our, *against)]
        for _ in range(rounds + 1):
            for loader in running:
                loader.round()
        for loader in running:
            loader.close()
    ours, *others = running
    for other in others:
        report_pair(case, ours, other)


def report_pair(case: str, ours: Loader, other: Loader) -> None:
    """A line: the medians, and the median of the rounds' ratios."""
    line = {"case": case, "against": other.name, "version": version_of(PEERS.get(other.name, "torch"))}
    rates = ours.rates[1:], other.rates[1:]
    if other.why or ours.why:
        say(**line, ratio=None, why=other.why or ours.why)
        return
    ratio = statistics.median(one / two for one, two in zip(*rates, strict=True))
    goal = GOALS.get(other.name, 10.0)
    medians = [round(statistics.median(values)) for values in rates]
    more = {} if ratio >= goal else {"bound": bound(case)}
    say(
        **line,
        ratio=round(ratio, 2),
        goal=goal,
        ours=medians[0],
        theirs=medians[1],
        unit="samples/s",
        rounds=len(rates[0]),
        **more,
    )


def bound(case: str) -> str:
    """What nobody gets around."""
    if case.endswith("resident"):
        return "the same copy out of the same memory; threads help only where cores are free"
    codec = ", decoded" if case.endswith("lz4") else ""
    return f"each row is read from the page cache, checked{codec}, put in its place and converted: memory bandwidth"


# Writing


def write_ours(path: str, rows: str, shard: int) -> int:
    """One shard. Runs in a worker."""
    from headrace.stores.groups import read_layout
    from headrace.stores.writing import write_shard

    values = np.load(rows, mmap_mode="r")[read_layout(Path(path)).rows(shard)]
    write_shard(Path(path), shard, {"inputs": np.asarray(values)})
    return len(values)


def create_store(path: Path, values: np.ndarray) -> int:
    """An empty store for the values; the number of its shards."""
    from headrace.stores import groups
    from headrace.stores.layout import Variable, choose_layout

    shape = values.shape[1:]
    variable = Variable(tuple(f"dim_{i}" for i in range(len(shape))), shape, values.dtype.name)
    layout = choose_layout(len(values), values[0].nbytes)
    groups.create(path, {"inputs": variable}, layout, {"train": len(values)}, {})
    return layout.num_shards


def ours_by_dask(client: Any, path: Path, rows: Path) -> None:
    """Whole shards, written by Headrace."""
    shards = create_store(path, np.load(rows, mmap_mode="r"))
    client.gather(client.map(partial(write_ours, str(path), str(rows)), range(shards), pure=False))


def theirs_by_dask(client: Any, path: Path, rows: Path) -> None:
    """`dask.array.to_zarr`, with the same shards, chunks, codec and checksums."""
    import dask.array as da
    import zarr

    from headrace.stores.layout import choose_layout

    values = np.load(rows, mmap_mode="r")
    layout = choose_layout(len(values), values[0].nbytes)
    array = zarr.create_array(
        path,
        shape=values.shape,
        dtype=values.dtype,
        chunks=(layout.rows_per_chunk, *values.shape[1:]),
        shards=(layout.rows_per_shard, *values.shape[1:]),
        compressors=[
            zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=values.dtype.itemsize),
            zarr.codecs.Crc32cCodec(),
        ],
    )
    source = da.map_blocks(
        partial(read_rows, str(rows)),
        dtype=values.dtype,
        chunks=(da.core.normalize_chunks(layout.rows_per_shard, (len(values),))[0], *((n,) for n in values.shape[1:])),
        meta=np.empty((0,) * values.ndim, values.dtype),
    )
    client.compute(da.to_zarr(source, array, compute=False)).result()


def read_rows(rows: str, block_info: Mapping[Any, Any] | None = None) -> np.ndarray:
    """The rows of one block. Runs in a worker."""
    assert block_info is not None
    start, stop = block_info[None]["array-location"][0]
    return np.asarray(np.load(rows, mmap_mode="r")[start:stop])


def bench_writing(rounds: int) -> None:
    """A cluster of two processes with a thread each writes the same rows both ways; memory is managed as in ours."""
    import dask
    import loaders
    from distributed import Client, LocalCluster

    from headrace.clusters.base import ALLOCATOR

    with (
        dask.config.set({f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in ALLOCATOR.items()}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,  # type: ignore[no-untyped-call]
        Client(cluster) as client,  # type: ignore[no-untyped-call]
    ):
        for data in loaders.DATA:
            with tempfile.TemporaryDirectory() as name:
                rows, path = Path(name, "rows.npy"), Path(name, "data.zarr")
                values = loaders.make_rows(data)
                np.save(rows, values)
                num_bytes = values.nbytes
                del values
                rates: dict[Any, list[float]] = {ours_by_dask: [], theirs_by_dask: []}
                for _ in range(rounds + 1):
                    for write, found in rates.items():
                        shutil.rmtree(path, ignore_errors=True)
                        start = time.perf_counter()
                        write(client, path, rows)
                        found.append(num_bytes / (time.perf_counter() - start) / 1e6)
            pairs = [values[1:] for values in rates.values()]
            ratio = statistics.median(one / two for one, two in zip(*pairs, strict=True))
            ours, theirs = (round(statistics.median(values)) for values in pairs)
            say(
                case=f"write-{data}-lz4",
                against="dask.array.to_zarr",
                version=version_of("dask"),
                ratio=round(ratio, 2),
                goal=4.0,
                ours=ours,
                theirs=theirs,
                unit="MB/s",
                rounds=rounds,
                **({} if ratio >= 4 else {"bound": "SHA-256 of every chunk, and the codec, on two cores"}),
            )


# Cost by size


def bench_size(sizes: Sequence[float], rounds: int) -> None:
    """Seconds for a GB of features, written shard by shard in one process and read with two threads."""
    from headrace.batching.batches import Split
    from headrace.stores.groups import finish, read_layout
    from headrace.stores.reading import Store
    from headrace.stores.writing import write_shard

    block = np.random.default_rng(0).standard_normal((2**15, 256), dtype=np.float32)
    cost: dict[str, dict[float, list[float]]] = {"write": {}, "read": {}}
    for _ in range(rounds):
        for size in sizes:
            with tempfile.TemporaryDirectory() as name:
                path = Path(name, "data.zarr")
                shards = create_store(path, np.broadcast_to(block[:1], (int(size * 1e9 / 1024), 256)))
                start = time.perf_counter()
                for shard in range(shards):
                    rows = read_layout(path).rows(shard)
                    write_shard(path, shard, {"inputs": block[: rows.stop - rows.start]})
                cost["write"].setdefault(size, []).append((time.perf_counter() - start) / size)
                finish(path)
                store = Store(path)
                split = Split(store, store.split("train"), threads=2, resident_mib=0)
                start = time.perf_counter()
                for _ in split.epoch(256, 0, 1):
                    pass
                cost["read"].setdefault(size, []).append((time.perf_counter() - start) / size)
    for case, found in cost.items():
        medians = {size: round(statistics.median(values), 3) for size, values in found.items()}
        spread = max(medians.values()) / min(medians.values())
        line = {"case": f"{case}-by-size", "against": None, "ratio": None, "ours": medians, "unit": "s/GB"}
        say(**line, spread=round(spread, 2), goal=1.2, rounds=rounds, why="a cost, held against itself")


def main() -> None:
    """Print the machine, then one line a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", nargs=2, metavar=("LOADER", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--large", action="store_true", help="10 GB too")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="*", default=[*CASES, "write", "size"], help="cases to run")
    given = parser.parse_args()
    if given.serve:
        serve(given.serve[0], Path(given.serve[1]))
        return
    versions = {package: version_of(package) for package in (*PACKAGES, *PEERS.values())}
    machine = {"machine": platform.platform(), "cpus": os.cpu_count(), "python": sys.version.split()[0]}
    print(json.dumps({**machine, **versions}), flush=True)
    for case in CASES:
        if case in given.only:
            bench_batches(case, given.rounds)
    if "write" in given.only:
        bench_writing(given.rounds)
    if "size" in given.only:
        bench_size([0.1, 1.0, *([10.0] if given.large else [])], max(3, given.rounds // 2))


if __name__ == "__main__":
    main()
