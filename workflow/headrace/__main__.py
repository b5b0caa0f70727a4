"""headrace COMMAND: what a person calls, and the stages that Snakemake calls."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from headrace.commands.base import Command
from headrace.errors import InputError, StageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 2 the input is at fault, 1 anything else."""
    options = build_parser().parse_args(arguments)
    command: Command = options.run
    try:
        return command(options)
    except InputError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    except StageError as error:
        print(f"headrace {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"headrace {options.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone, as in `headrace plan | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options: those of every file in commands/."""
    parser = argparse.ArgumentParser(prog="headrace", description="One YAML file in, one report out.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    for file in sorted((Path(__file__).parent / "commands").glob("*.py")):
        if file.stem not in ("base", "__init__"):
            importlib.import_module(f"headrace.commands.{file.stem}").register(add)
    return parser


if __name__ == "__main__":
    sys.exit(main())
