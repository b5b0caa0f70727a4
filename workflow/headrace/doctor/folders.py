"""Whether a folder is one that many nodes may work in: what it lies on, how that behaves, how much room there is."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from headrace.doctor.findings import Finding, ok, problem, warning

SHARED = re.compile(
    r"nfs\d?|lustre|gpfs|mmfs|beegfs|ceph|panfs|pvfs2|orangefs|wekafs|smb3|cifs|glusterfs|afs|9p|virtiofs|daos|vast|"
    r"fuse\.(ceph.*|gluster.*|beegfs.*|juicefs|sshfs|moosefs|dfuse|lustre|weka.*)"
)
"""Types of file system that other nodes may see too."""
LOCAL = re.compile(r"ext[234]|xfs|btrfs|zfs|tmpfs|ramfs|overlay|f2fs|apfs|bcachefs|squashfs|rootfs")
FEW_GIB, VERY_FEW_GIB = 20.0, 1.0
FEW_FILES = 100_000
SLOW_WRITE_S = 0.1
SKEW_S = 5.0
GIB = 2**30

LOCK_TRY = """
import fcntl, sys
with open(sys.argv[1], "r+") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(7)
"""
LOCKED = 7


def check_folders(folders: Mapping[str, Path], *, has_scheduler: bool, mounts: str | None = None) -> Iterator[Finding]:
    """Where the folders lie, and how it is there, once for each file system. None is made, or left changed.

    `mounts` is what /proc/self/mountinfo says.
    """
    mounts = mounts if mounts is not None else _read_mounts()
    tried: dict[int, str] = {}
    for what, folder in folders.items():
        place = nearest(folder)
        if not os.access(place, os.W_OK | os.X_OK):
            yield problem(what, f"{folder.absolute()}: you may not write in {place}", _elsewhere(what))
            continue
        first = tried.setdefault(place.stat().st_dev, what)
        if first != what:
            yield ok(what, f"{folder.absolute()} lies on the same file system as {first}")
            continue
        yield _judge_place(what, folder.absolute(), file_system(place, mounts), has_scheduler=has_scheduler)
        yield from check_room(what, place)
        yield from check_behaviour(what, place)


def _judge_place(what: str, shown: Path, kind: str, *, has_scheduler: bool) -> Finding:
    if has_scheduler and LOCAL.fullmatch(kind):
        return warning(
            what,
            f"{shown} lies on {kind}, which usually is this machine's own disk; jobs on other nodes must see it",
            f"`headrace doctor --submit` finds out; if they do not: {_elsewhere(what)}",
        )
    word = ", which nodes share" if SHARED.fullmatch(kind) else ""
    return ok(what, f"{shown} lies on {kind or 'a file system of unknown type'}{word}")


def nearest(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    return next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())


def file_system(folder: Path, mounts: str) -> str:
    """The type of the file system that a folder lies on, by what /proc/self/mountinfo says; empty when unknown."""
    path = folder.resolve()
    best, kind = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4]))
        # Of two on the same point the later one is on top.
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split()[0]
    return kind


def _read_mounts() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def check_room(what: str, folder: Path) -> Iterator[Finding]:
    """Free space and free inodes; no quota is known here."""
    state = os.statvfs(folder)
    free_gib = state.f_bavail * state.f_frsize / GIB
    # Some file systems count no inodes at all.
    few_files = state.f_files > 0 and state.f_favail < FEW_FILES
    said = f"{free_gib:,.1f} GiB free" + (f", room for {state.f_favail:,} more files" if state.f_files else "")
    fix = f"make room, or {_elsewhere(what)}"
    if free_gib < VERY_FEW_GIB or (few_files and state.f_favail < FEW_FILES / 100):
        yield problem(what, said, fix)
    elif free_gib < FEW_GIB or few_files:
        yield warning(what, said, fix)
    else:
        yield ok(what, f"{said} (your quota may be smaller)")


def check_behaviour(what: str, folder: Path) -> Iterator[Finding]:
    """What Headrace and Snakemake rely on, tried out in a folder that is removed again."""
    trial = Path(tempfile.mkdtemp(prefix=".headrace-doctor-", dir=folder))
    try:
        failed = [name for name, attempt in ATTEMPTS.items() if not _works(attempt, trial)]
        if failed:
            yield problem(what, f"does not work there: {', '.join(failed)}", _elsewhere(what))
        else:
            yield ok(what, f"{', '.join(ATTEMPTS)} work there")
        yield from _check_speed_and_clock(what, trial)
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _works(attempt: Callable[[Path], bool], trial: Path) -> bool:
    try:
        return attempt(trial)
    except OSError:
        return False


def _lock(trial: Path) -> bool:
    """A lock of one process keeps another one out."""
    path = trial / "lock"
    with path.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        done = subprocess.run([sys.executable, "-S", "-c", LOCK_TRY, str(path)], timeout=30, capture_output=True)
    return done.returncode == LOCKED


def _create_exclusively(trial: Path) -> bool:
    """Of two that create a file one fails."""
    for attempt in range(2):
        try:
            os.close(os.open(trial / "exclusive", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return attempt == 1
    return False


def _replace(trial: Path) -> bool:
    """A file takes the place of another, which whoever has it open still reads."""
    old, new = trial / "old", trial / "new"
    old.write_text("old")
    new.write_text("new")
    with old.open() as reader:
        os.replace(new, old)
        return reader.read() == "old" and old.read_text() == "new" and not new.exists()


def _rename_folder(trial: Path) -> bool:
    """A folder is moved whole, and never over one that holds something."""
    for name in ("first", "second"):
        (trial / name).mkdir()
        (trial / name / "file").write_text(name)
    with suppress(OSError):
        os.rename(trial / "first", trial / "second")
        return False
    os.rename(trial / "first", trial / "third")
    return (trial / "third/file").read_text() == "first" and (trial / "second/file").read_text() == "second"


def _sync(trial: Path) -> bool:
    """Files and folders can be brought to the disk."""
    _write_synced(trial / "synced")
    descriptor = os.open(trial, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True


def _link(trial: Path) -> bool:
    """One file has two names."""
    (trial / "one").write_text("text")
    os.link(trial / "one", trial / "two")
    return (trial / "two").read_text() == "text"


def _symlink(trial: Path) -> bool:
    """A link is followed."""
    (trial / "target").write_text("text")
    (trial / "pointer").symlink_to("target")
    return (trial / "pointer").read_text() == "text"


ATTEMPTS: dict[str, Callable[[Path], bool]] = {
    "locks": _lock,
    "exclusive creation": _create_exclusively,
    "atomic replacement": _replace,
    "renaming of folders": _rename_folder,
    "fsync": _sync,
    "hard links": _link,
    "symbolic links": _symlink,
}


def _write_synced(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"x" * 1000)
        file.flush()
        os.fsync(file.fileno())


def _check_speed_and_clock(what: str, trial: Path) -> Iterator[Finding]:
    """How long a small file takes, and whether the file server's clock is ours."""
    taken = []
    for number in range(5):
        start = time.perf_counter()
        _write_synced(trial / f"small-{number}")
        taken.append(time.perf_counter() - start)
    middle_s = statistics.median(taken)
    if middle_s > SLOW_WRITE_S:
        yield warning(
            what,
            f"a small file takes {1000 * middle_s:.0f} ms to be written to the disk",
            "raise `runs_per_job` so that fewer files are written, or " + _elsewhere(what),
        )
    yield from check_clock(what, (trial / "small-4").stat().st_mtime, time.time())


def check_clock(what: str, file_time: float, now: float) -> Iterator[Finding]:
    """Compare the time of a file that was just written with this machine's."""
    if abs(file_time - now) > SKEW_S:
        which = "behind" if now < file_time else "ahead"
        yield warning(
            what,
            f"this machine's clock is {abs(file_time - now):.0f} s {which} of the file server's",
            "Snakemake compares the times of files: ask the site to set the clocks (`timedatectl`)",
        )


def check_umask() -> Iterator[Finding]:
    """Whether own files can be read by their owner, and are not everybody's to write."""
    mask = os.umask(0o077)
    os.umask(mask)
    if mask & 0o700:
        yield problem("umask", f"{mask:03o} takes your own files from you", "`umask 022`, in your shell's start file")
    elif not mask & 0o002:
        yield warning("umask", f"{mask:03o}: everybody may change what you write", "`umask 022` or `umask 027`")
    else:
        yield ok(
            "umask", f"{mask:03o}: {'only you' if mask & 0o077 == 0o077 else 'others too'} may read what you write"
        )


def _elsewhere(what: str) -> str:
    if what == "project":
        return "keep the project in another folder, one that the nodes share"
    return f"choose another folder: `{what}=/shared/folder` in the profile's `config`, or HEADRACE_{what.upper()}"
