"""A small file, or several, for every kind of dataset that reads files."""

import gzip
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr
from PIL import Image
from scipy import io, sparse

ROWS = 60
CLASSES = ("blue", "green", "red")


def tables(folder: Path) -> dict[str, dict[str, Any]]:
    generator = np.random.default_rng(1)
    colours = [CLASSES[i % 3] for i in range(ROWS)]
    length, width = generator.normal(size=(2, ROWS)).round(3)
    lines = ["length,width,shape,colour"]
    lines += [f"{a},{b},{'round' if a > 0 else 'square'},{c}" for a, b, c in zip(length, width, colours, strict=True)]
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    columns = {"length": length, "width": width, "mass": length * 2 + width}
    pq.write_table(pa.table(columns), folder / "table.parquet", row_group_size=25)
    steps = [f"{i},{np.sin(i / 5):.4f},{np.cos(i / 5):.4f}" for i in range(200)]
    (folder / "series.csv").write_text("\n".join(["step,load,wind", *steps]) + "\n")
    return {
        "csv": {"path": str(folder / "table.csv"), "target": "colour"},
        "parquet": {"path": str(folder / "table.parquet"), "target": "mass"},
        "time_series": {"path": str(folder / "series.csv"), "time": "step", "look_back": 8, "horizon": 2},
    }


def texts(folder: Path) -> dict[str, dict[str, Any]]:
    words = ["free", "call", "now", "dinner", "home", "prize"]
    generator = np.random.default_rng(2)
    lines = [f"{'spam' if i % 2 else 'ham'}\t{' '.join(generator.choice(words, 1 + i % 7))}" for i in range(ROWS)]
    (folder / "messages.tsv").write_text("\n".join(lines) + "\n")
    (folder / "prose.txt").write_text("\n".join(lines).replace("\t", " "))
    rows = [" ".join(f"{j}:{generator.normal():.3f}" for j in sorted(generator.choice(9, 3, False) + 1)) for _ in lines]
    (folder / "rows.svmlight").write_text("".join(f"{i % 2} {row}\n" for i, row in enumerate(rows)))
    matrix = sparse.random_array((ROWS, 20), density=0.2, rng=3, format="coo")
    io.mmwrite(folder / "matrix.mtx", sparse.coo_matrix(matrix))
    (folder / "labels.txt").write_text("".join(f"{CLASSES[i % 3]}\n" for i in range(ROWS)))
    return {
        "text_lines": {"path": str(folder / "messages.tsv"), "format": "tab"},
        "text_stream": {"path": str(folder / "prose.txt"), "context": 8},
        "svmlight": {"path": str(folder / "rows.svmlight")},
        "matrix_market": {"path": str(folder / "matrix.mtx"), "target": str(folder / "labels.txt")},
    }


def arrays(folder: Path) -> dict[str, dict[str, Any]]:
    generator = np.random.default_rng(3)
    images = generator.integers(0, 256, (ROWS, 6, 5)).astype(np.uint8)
    labels = (np.arange(ROWS) % 3).astype(np.uint8)
    np.save(folder / "inputs.npy", generator.normal(size=(ROWS, 4)))
    np.save(folder / "target.npy", labels.astype(np.int64))
    np.savez_compressed(folder / "both.npz", x=images, y=labels)
    with gzip.open(folder / "images.idx.gz", "wb") as file:
        file.write(struct.pack(">HBBIII", 0, 8, 3, *images.shape) + images.tobytes())
    (folder / "labels.idx").write_bytes(struct.pack(">HBBI", 0, 8, 1, ROWS) + labels.tobytes())
    for i, image in enumerate(images):
        place = folder / "pictures" / CLASSES[i % 3]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i}.png")
    return {
        "npy": {"path": str(folder / "inputs.npy"), "target": str(folder / "target.npy")},
        "npz": {"path": str(folder / "both.npz"), "inputs": "x", "target": "y"},
        "idx": {"path": str(folder / "images.idx.gz"), "target": str(folder / "labels.idx")},
        "image_folder": {"path": str(folder / "pictures"), "mode": "L"},
    }


def grids(folder: Path) -> dict[str, dict[str, Any]]:
    generator = np.random.default_rng(4)
    field = generator.normal(size=(ROWS, 3, 4)).astype(np.float32)
    dataset = xr.Dataset(
        {"field": (("time", "y", "x"), field), "mean": (("time",), field.mean(axis=(1, 2)).astype(np.float32))}
    )
    dataset.to_netcdf(folder / "field.nc", engine="h5netcdf")
    dataset.to_zarr(folder / "field.zarr", zarr_format=3, consolidated=False)
    with h5py.File(folder / "field.h5", "w") as file:
        file["field"], file["mean"] = field, dataset["mean"].to_numpy()
    keys = {"inputs": "field", "target": "mean"}
    return {
        "netcdf": {"path": str(folder / "field.nc"), **keys},
        "zarr": {"path": str(folder / "field.zarr"), **keys},
        "hdf5": {"path": str(folder / "field.h5"), **keys},
    }


def make_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Kind -> the parameters that read what was made."""
    return {**tables(folder), **texts(folder), **arrays(folder), **grids(folder)}
