"""Folders of keys: for one user, for one cluster, and swept."""

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headrace.provision.certificates import KEEP_S, NOTE, make_security, private_folder, sweep, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_is_private_from_the_first_moment_and_gone_at_the_end(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with private_folder(tmp_path / "secrets") as folder:
            write_private(folder / "key", "secret")
            assert (mode(folder.parent), mode(folder), mode(folder / "key")) == (0o700, 0o700, 0o600)
    finally:
        os.umask(before)
    assert list((tmp_path / "secrets").iterdir()) == []


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    write_private(tmp_path / "key", "secret")
    with pytest.raises(FileExistsError):
        write_private(tmp_path / "key", "other")


def test_what_a_killed_process_left_is_swept_and_a_living_one_is_left_alone(tmp_path: Path) -> None:
    leave = (
        "import os, pathlib, sys\n"
        "from headrace.provision.certificates import private_folder\n"
        "with private_folder(pathlib.Path(sys.argv[1])) as folder:\n"
        "    print(folder, flush=True)\n"
        "    sys.stdin.read()\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", leave, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    sweep(tmp_path)
    assert folder.is_dir()
    process.communicate()
    with private_folder(tmp_path) as mine:
        assert [mine] == list(tmp_path.iterdir())


def test_folders_of_other_hosts_are_kept_for_weeks(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere.1.aa"
    folder.mkdir()
    (folder / NOTE).write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": 0.0}))
    sweep(tmp_path)
    assert folder.is_dir()
    old = time.time() - KEEP_S - 1
    os.utime(folder, (old, old))
    sweep(tmp_path)
    assert not folder.exists()


def test_every_cluster_has_certificates_of_its_own(tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        with private_folder(tmp_path) as folder:
            security = make_security(folder)
            assert security.require_encryption
            for role in ("client", "scheduler", "worker"):
                files = security.get_tls_config_for_role(role)
                assert {Path(files[part]).parent for part in ("ca_file", "cert", "key")} == {folder}
            contents.append((folder / "key.pem").read_text())
            assert {mode(path) for path in folder.glob("*.pem")} == {0o600}
    assert len(set(contents)) == 2
