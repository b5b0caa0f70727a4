"""predict, export: what a run that was trained is good for."""

from __future__ import annotations

import argparse
import operator
import os
import sys
from pathlib import Path

from headrace.commands.base import Add
from headrace.errors import InputError


def register(add: Add) -> None:
    """Their options."""
    command = add("predict", predict, "predict data with a run that was trained, and write a table of it")
    _add_run(command)
    command.add_argument(
        "data",
        type=Path,
        metavar="DATA",
        help="an artifact of shard or preprocess, or a .npy or .npz of dense inputs as they were before any step",
    )
    command.add_argument("--split", metavar="NAME", help="of an artifact: train, validation or test; all if not given")
    what = "write there instead of to standard output, as .csv or .npz"
    command.add_argument("--output", type=Path, metavar="FILE", help=what)
    what = "add what each input contributes to its prediction, by integrated gradients; into an .npz only"
    command.add_argument("--attribute", action="store_true", help=what)
    command = add("export", export, "write a run that was trained as a program that needs nothing of Headrace")
    _add_run(command)
    what = "a program of torch.export, which torch alone runs, or onnx"
    command.add_argument("--format", choices=("torch", "onnx"), default="torch", help=what)
    what = "write there instead of to ID.pt2 or ID.onnx, and what it is to FILE.json"
    command.add_argument("--output", type=Path, metavar="FILE", help=what)


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("run_name", metavar="RUN", help="as artifacts/train/ID, or ID alone")
    command.add_argument("--artifacts", help="folder of the artifacts, where RUN is an ID alone")


def predict(options: argparse.Namespace) -> int:
    """Print or write what a run predicts."""
    _use_one_thread()
    from headrace.inference import attributions, predictions
    from headrace.inference.new_data import find_run, open_data
    from headrace.planning.plan import Site

    predictions.refuse_suffix(options.output, predictions.SUFFIXES)
    if options.attribute and (options.output is None or options.output.suffix != ".npz"):
        raise InputError("--attribute: needs --output FILE.npz")
    run = find_run(options.run_name, Site.of({"artifacts": options.artifacts}).artifacts)
    parts = open_data(run, options.data, options.split)
    num_rows = sum(len(part.numbers) for part in parts)
    trained = predictions.open_run(run)
    batches = predictions.predict_all(trained, parts)
    if options.attribute:
        attributions.refuse_run(trained)
        batches = map(operator.or_, batches, attributions.attribute_all(trained, parts))
    predictions.write_predictions(batches, num_rows, run.class_names, options.output)
    if options.output is not None:
        print(f"written: {options.output}: {num_rows} rows", file=sys.stderr)
    return 0


def export(options: argparse.Namespace) -> int:
    """Write a run's program, and say where."""
    _use_one_thread()
    from headrace.inference import exporting
    from headrace.inference.new_data import find_run
    from headrace.planning.plan import Site

    run = find_run(options.run_name, Site.of({"artifacts": options.artifacts}).artifacts)
    path = exporting.export(run, options.format, options.output)
    print(f"written: {path}; what it reads and gives: {exporting.card_path(path)}")
    return 0


def _use_one_thread() -> None:
    # As the stages do, before any numerical library starts: bits depend on it.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
