"""compare, collect: what is asked about several results."""

from __future__ import annotations

import argparse
from pathlib import Path

from headrace.commands.base import Add
from headrace.errors import InputError


def register(add: Add) -> None:
    """Their options."""
    command = add("compare", compare, "show what differs between two results, and whether that is more than chance")
    command.add_argument("first", type=Path, metavar="A", help="a folder of results, as results/NAME")
    command.add_argument("second", type=Path, metavar="B", help="another one, which is held against it")
    command.add_argument("--html", type=Path, metavar="FILE", help="write it as a page too")
    command = add("collect", collect, "write one page and one table over all results that are there")
    command.add_argument("--results", help="folder of the results")


def compare(options: argparse.Namespace) -> int:
    """Print all differences; exit code 2 for what are no results."""
    from headrace.collection.differences import find_differences
    from headrace.collection.finished import read_finished
    from headrace.collection.text import describe

    first, second = read_finished(options.first), read_finished(options.second)
    found = find_differences(first, second)
    if options.html is not None:
        from headrace.collection.pages import render_comparison

        _write(options.html, render_comparison(first, second, found))
    print(describe(first, second, found))
    return 0


def collect(options: argparse.Namespace) -> int:
    """Write results/index.html and all.csv, print where; what is damaged is left out, said, and gives exit code 1."""
    from headrace.collection.finished import read_all
    from headrace.collection.joined import ALL, join_tables
    from headrace.collection.pages import render_index
    from headrace.planning.plan import Site

    root = Site.of({"results": options.results}).results
    found, problems = read_all(root)
    if not found and not problems:
        raise InputError(f"{root}: no results are there yet: run an experiment first")
    _write(root / ALL, join_tables(found))
    _write(root / "index.html", render_index(root, found, problems))
    print("\n".join([*problems, f"{len(found)} experiments: {root / 'index.html'}"]))
    return 1 if problems else 0


def _write(path: Path, text: str) -> None:
    """Write a page or a table. Raises InputError where that cannot be done."""
    from headrace.provenance.manifests import write_atomically

    if not path.parent.is_dir():
        raise InputError(f"{path}: no such folder: {path.parent}")
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
