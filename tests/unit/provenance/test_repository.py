"""What is said of the folder in which a workflow began."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from headrace.provenance import repository
from headrace.provenance.repository import describe_repository, keep_commit, read_status

IDENTITY = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@b.c", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **IDENTITY})
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path) -> Path:
    folder = tmp_path / "clone"
    folder.mkdir()
    git(folder, "init", "-q")
    for name in ("a.py", "b.py", "c.py"):
        (folder / name).write_text(name * 20)
    (folder / ".gitignore").write_text("results/\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


def test_a_clean_folder_is_at_its_commit(clone):
    (clone / "results").mkdir()
    (clone / "results" / "report.html").touch()
    expected = {"commit": git(clone, "rev-parse", "HEAD"), "num_changed": 0, "num_unknown": 0}
    assert describe_repository(clone) == expected
    assert describe_repository(clone / "results") == expected


def test_whatever_the_commit_does_not_hold_is_counted(clone):
    (clone / "a.py").write_text("changed")
    git(clone, "mv", "b.py", "? d.py\n1 e")
    (clone / "c.py").unlink()
    (clone / "# branch.oid x\n? new").touch()
    found = describe_repository(clone)
    assert found == {"commit": git(clone, "rev-parse", "HEAD"), "num_changed": 3, "num_unknown": 1}


def test_asking_changes_nothing(clone):
    os.utime(clone / "a.py", (1, 1))
    before = (clone / ".git" / "index").read_bytes()
    assert describe_repository(clone)["num_changed"] == 0
    assert (clone / ".git" / "index").read_bytes() == before


def test_where_git_cannot_tell_nothing_is_said(tmp_path, monkeypatch):
    assert describe_repository(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert describe_repository(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert describe_repository(tmp_path) is None


def test_a_git_that_hangs_is_not_waited_for(clone, tmp_path, monkeypatch):
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(repository, "TIMEOUT_S", 0.3)
    start = time.monotonic()
    assert describe_repository(clone) is None
    assert time.monotonic() - start < 10


def test_nothing_is_made_of_what_is_no_status():
    assert read_status(b"") is None
    assert read_status(b"\xff\0? a\0") is None


def test_a_later_start_of_the_same_plan_keeps_the_commit_of_the_first(tmp_path):
    path = tmp_path / "spec.json"
    first = {"plan": "p", "repository": {"commit": "a", "num_changed": 1, "num_unknown": 0}}
    assert keep_commit(first, path) == first
    path.write_text(json.dumps(first))
    later = {"plan": "p", "repository": {"commit": "b", "num_changed": 0, "num_unknown": 0}}
    assert keep_commit(later, path) == first
    for damaged in ("", "{", "[]", '{"repository": null}'):
        path.write_text(damaged)
        assert keep_commit(later, path) == later


def test_what_a_workflow_writes_itself_does_not_count(clone):
    for name in ("artifacts/shard/x/a", "out/b", ".snakemake/log/c", "mine/d"):
        (clone / name).parent.mkdir(parents=True)
        (clone / name).touch()
    assert describe_repository(clone, (Path("artifacts"), Path("out")))["num_unknown"] == 1
    assert describe_repository(clone)["num_unknown"] == 3
