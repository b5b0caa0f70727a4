"""digest, verify, schema: what was found, whether it is whole, and what may be asked for."""

from __future__ import annotations

import argparse
from pathlib import Path

from headrace.commands.base import Add


def register(add: Add) -> None:
    """Their options."""
    text = "print one SHA-256 over the decoded artifacts and metrics of a result"
    add("digest", digest, text).add_argument(
        "result", type=Path, metavar="RESULT", help="a folder of results, as results/NAME"
    )
    text = "check an artifact, or every artifact behind a result, against its manifest, chunk by chunk"
    add("verify", verify, text).add_argument(
        "folder", type=Path, metavar="RESULT|ARTIFACT", help="as results/NAME or artifacts/shard/ID"
    )
    add("schema", schema, "print the JSON schema of an experiment file")


def digest(options: argparse.Namespace) -> int:
    """Print the digest of a result."""
    from headrace.provenance.verification import result_digest

    print(result_digest(options.result))
    return 0


def verify(options: argparse.Namespace) -> int:
    """Check a result's artifacts, or one artifact; exit code 1 when something is damaged."""
    from headrace.provenance import verification

    problems = verification.verify(options.folder)
    print("\n".join(problems) if problems else f"{options.folder}: every chunk is what its manifest says")
    return 1 if problems else 0


def schema(options: argparse.Namespace) -> int:
    """Print the schema."""
    from headrace.experiments.schema import experiment_schema, render_schema

    print(render_schema(experiment_schema()), end="")
    return 0
