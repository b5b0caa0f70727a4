"""Ways to read batches of 256 rows in random order: Headrace's own, and those of other projects.

Each takes a folder that `prepare` filled and gives, for an epoch, batches as float32 that nothing else is done with.
Everyone has two threads or two worker processes, and the same rows, in the page cache.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headrace.batching.batches import open_split
from headrace.provenance.manifests import write_json
from headrace.stores import groups
from headrace.stores.layout import STORE, Variable, choose_layout
from headrace.stores.writing import digest_shard, write_shard

BATCH = 256
FEW = 16384
"""Rows for those who take milliseconds for each."""
DATA = {"images": (65536, (32, 32, 3), "uint8"), "features": (262144, (256,), "float32")}
Epoch = Callable[[int], Iterator[Any]]


def make_rows(data: str) -> np.ndarray:
    """Images with areas and noise; features of which half are counts: both compress to about a half."""
    rows, shape, _ = DATA[data]
    generator = np.random.default_rng(0)
    if data == "images":
        areas = generator.integers(0, 256, (rows, 8, 8, 3), dtype=np.uint8).repeat(4, axis=1).repeat(4, axis=2)
        areas[:, ::2] += generator.integers(0, 8, (rows, 16, 32, 3), dtype=np.uint8)
        return areas
    values = generator.standard_normal((rows, *shape), dtype=np.float32)
    values[:, ::2] = np.floor(np.abs(values[:, ::2]) * 4)
    return values


def prepare(folder: Path, data: str, codec: str) -> None:
    """Write the rows as a sealed artifact, and as a plain array beside it."""
    values = make_rows(data)
    np.save(folder / "rows.npy", values)
    shape, dtype = values.shape[1:], values.dtype.name
    dims = tuple(f"dim_{i}" for i in range(len(shape)))
    layout = choose_layout(len(values), values[0].nbytes)
    store = folder / "artifact" / STORE
    variables = {"inputs": Variable(dims, shape, dtype)}
    groups.create(store, variables, layout, {"train": len(values)}, {}, compression=codec)  # type: ignore[arg-type]
    written = {}
    for shard in range(layout.num_shards):
        written |= write_shard(store, shard, {"inputs": values[layout.rows(shard)]})
    groups.finish(store)
    outputs = {key: digest_shard(chunks.sha256) for key, chunks in written.items()} | groups.small_digests(store)
    chunks = {key: chunks.describe() for key, chunks in written.items()}
    manifest = {"identity": "", "status": "done", "outputs": outputs, "chunks": chunks}
    write_json(folder / "artifact" / "manifest.json", manifest)


def as_batches(values: np.ndarray, generator: np.random.Generator) -> Iterator[torch.Tensor]:
    """Rows in memory, in random order."""
    order = generator.permutation(len(values))
    for start in range(0, len(values), BATCH):
        batch = values.take(order[start : start + BATCH], axis=0)
        yield torch.from_numpy(batch.astype(np.float32, copy=False))


def headrace(folder: Path) -> Epoch:
    """Ours; nothing is kept in memory between epochs."""
    split = open_split(folder / "artifact", "train", threads=2, resident_mib=0)
    return lambda epoch: split.epoch(BATCH, 0, epoch)


def headrace_resident(folder: Path) -> Epoch:
    """Ours as it is by default: what is small once decoded stays in memory after the first epoch."""
    split = open_split(folder / "artifact", "train", threads=2)
    return lambda epoch: split.epoch(BATCH, 0, epoch)


def in_memory(folder: Path) -> Epoch:
    """All rows in memory, and a permutation; what batches are made in is used again."""
    values = np.load(folder / "rows.npy")
    taken = np.empty((BATCH, *values.shape[1:]), values.dtype)
    batch = np.empty(taken.shape, np.float32)

    def run(epoch: int) -> Iterator[torch.Tensor]:
        order = np.random.default_rng(epoch).permutation(len(values))
        for start in range(0, len(values), BATCH):
            values.take(order[start : start + BATCH], axis=0, out=taken, mode="clip")
            if taken.dtype == batch.dtype:
                yield torch.from_numpy(taken)
            else:
                batch[...] = taken
                yield torch.from_numpy(batch)

    return run


def zarrs(folder: Path) -> Epoch:
    """zarr-python on the Rust pipeline: whole shards in random order, one ahead, then rows in random order."""
    import zarr
    import zarrs as _zarrs  # noqa: F401

    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "threading.max_workers": 2})
    array = zarr.open_group(folder / "artifact" / STORE, mode="r")["inputs"]
    assert isinstance(array, zarr.Array)
    assert array.shards is not None
    return by_shards(array.shape[0], array.shards[0], lambda rows: np.asarray(array[rows]))


def tensorstore(folder: Path) -> Epoch:
    """The same by TensorStore."""
    import tensorstore as ts

    limits = {"data_copy_concurrency": {"limit": 2}, "file_io_concurrency": {"limit": 2}}
    kvstore = {"driver": "file", "path": str(folder / "artifact" / STORE / "inputs")}
    array = ts.open({"driver": "zarr3", "kvstore": kvstore}, open=True, context=ts.Context(limits)).result()
    return by_shards(array.shape[0], array.chunk_layout.write_chunk.shape[0], lambda rows: array[rows].read().result())


def by_shards(num_rows: int, size: int, read: Callable[[slice], np.ndarray]) -> Epoch:
    """Whole shards, the next one while one is used."""

    def run(epoch: int) -> Iterator[torch.Tensor]:
        generator = np.random.default_rng(epoch)
        shards = [slice(start, min(num_rows, start + size)) for start in range(0, num_rows, size)]
        order = generator.permutation(len(shards)).tolist()
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(read, shards[order[0]])
            for following in [*order[1:], None]:
                values = coming.result()
                if following is not None:
                    coming = pool.submit(read, shards[following])
                yield from as_batches(values, generator)

    return run


class Rows(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """A memory map, a sample at a time."""

    def __init__(self, path: Path) -> None:
        self.values = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: int) -> torch.Tensor:
        return torch.from_numpy(self.values[row].astype(np.float32))


def dataloader(folder: Path) -> Epoch:
    """torch.utils.data.DataLoader over a memory map."""
    loader = torch.utils.data.DataLoader(
        Rows(folder / "rows.npy"), BATCH, shuffle=True, num_workers=2, persistent_workers=True
    )
    return lambda epoch: iter(loader)


def few(folder: Path) -> np.ndarray:
    """The first rows."""
    return np.array(np.load(folder / "rows.npy", mmap_mode="r")[:FEW])


def to_sample(row: np.ndarray) -> dict[str, np.ndarray]:
    """A sample as LitData stores it."""
    return {"x": row}


def litdata(folder: Path) -> Epoch:
    """LitData: its own chunks, a StreamingDataLoader with two workers."""
    import litdata as ld

    out = str(folder / "litdata")
    if not Path(out).exists():
        ld.optimize(
            to_sample, list(few(folder)), output_dir=out, num_workers=1, chunk_bytes="32MB", start_method="fork"
        )
    dataset = ld.StreamingDataset(out, shuffle=True)
    loader = ld.StreamingDataLoader(dataset, batch_size=BATCH, num_workers=2, persistent_workers=True)
    return lambda epoch: (batch["x"].float() for batch in loader)


def datasets(folder: Path) -> Epoch:
    """Hugging Face datasets: an iterable data set of Arrow tables, shuffled by a buffer, in batches, two workers."""
    import datasets as hf

    hf.disable_progress_bars()
    values = few(folder)
    kind = hf.Features({"x": hf.List(hf.Value(values.dtype.name), length=values[0].size)})
    flat = hf.Dataset.from_dict({"x": values.reshape(len(values), -1)}, features=kind)
    stream = flat.to_iterable_dataset(num_shards=8).with_format("numpy")

    def run(epoch: int) -> Iterator[torch.Tensor]:
        shuffled = stream.shuffle(seed=epoch, buffer_size=1000).batch(BATCH)
        loader = torch.utils.data.DataLoader(shuffled, batch_size=None, num_workers=2)
        return (torch.as_tensor(np.asarray(batch["x"])).float() for batch in loader)

    return run


def xbatcher(folder: Path) -> Epoch:
    """xbatcher over xarray over the very store; it knows no random order."""
    import xarray as xr
    import xbatcher as xb

    data = xr.open_zarr(folder / "artifact" / STORE, chunks=None)["inputs"].drop_vars("split", errors="ignore")
    generator = xb.BatchGenerator(data, {"sample": BATCH, **dict(zip(data.dims[1:], data.shape[1:], strict=True))})
    return lambda epoch: (torch.from_numpy(batch.values.astype(np.float32)) for batch in generator)


def webdataset(folder: Path) -> Epoch:
    """WebDataset: tar files, shuffled by a buffer, two workers."""
    import webdataset as wds

    out = folder / "webdataset"
    if not out.exists():
        out.mkdir()
        with wds.ShardWriter(str(out / "%06d.tar"), maxsize=2**25, verbose=0) as sink:
            for i, row in enumerate(few(folder)):
                sink.write({"__key__": f"{i:08d}", "x.npy": row})
    urls = sorted(str(path) for path in out.glob("*.tar"))
    dataset = wds.WebDataset(urls, shardshuffle=len(urls), empty_check=False).shuffle(1000).decode().to_tuple("x.npy")
    loader = wds.WebLoader(dataset.batched(BATCH), batch_size=None, num_workers=2)
    return lambda epoch: (torch.as_tensor(x).float() for (x,) in loader)


def streaming(folder: Path) -> Epoch:
    """MosaicML Streaming: MDS shards, two workers."""
    stand_in()
    from streaming import MDSWriter, StreamingDataset

    values, out = few(folder), folder / "streaming"
    if not out.exists():
        kind = f"ndarray:{values.dtype}:{','.join(str(size) for size in values.shape[1:])}"
        with MDSWriter(out=str(out), columns={"x": kind}, size_limit=2**25) as sink:
            for row in values:
                sink.write({"x": row})
    dataset = StreamingDataset(local=str(out), shuffle=True, batch_size=BATCH)
    loader = torch.utils.data.DataLoader(dataset, BATCH, num_workers=2)
    return lambda epoch: (batch["x"].float() for batch in loader)


def stand_in() -> None:
    """Streaming imports packages of gigabytes for data sets that are not used here."""
    wanted = {
        "transformers.feature_extraction_utils": ("BatchFeature",),
        "transformers.tokenization_utils_base": ("BatchEncoding",),
        "transformers.models.auto.tokenization_auto": ("AutoTokenizer",),
        "torchvision.datasets": ("VisionDataset",),
        "torchvision.transforms.functional": ("to_tensor",),
    }
    for name, members in wanted.items():
        try:
            __import__(name)
        except ImportError:
            parts = name.split(".")
            for i in range(1, len(parts) + 1):
                sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
            for member in members:
                setattr(sys.modules[name], member, type(member, (), {}))


LOADERS: dict[str, Callable[[Path], Epoch]] = {
    "headrace": headrace,
    "headrace-resident": headrace_resident,
    "memory": in_memory,
    "zarrs": zarrs,
    "tensorstore": tensorstore,
    "dataloader": dataloader,
    "litdata": litdata,
    "datasets": datasets,
    "xbatcher": xbatcher,
    "webdataset": webdataset,
    "streaming": streaming,
}
OF_ALL_ROWS = ("headrace", "headrace-resident", "memory", "zarrs", "tensorstore")
"""Their first batches are counted too; the others' worker processes are given the time to start."""
