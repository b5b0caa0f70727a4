"""Pieces of work in processes of their own: what is done, what dies, what is told, and who outlives whom."""

import faulthandler
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from headrace.errors import StageError
from headrace.running.places import deal_gpus
from headrace.running.pool import Pool
from headrace.schedulers.base import Cause
from headrace.tries.stopping import NEVER, Stop, StoppedError


@dataclass(frozen=True)
class Named:
    id: str
    folder: Path


def note(piece: Named) -> None:
    """Leave a line with the process's id and what its place says."""
    with (piece.folder / piece.id).open("a") as file:
        file.write(f"{os.getpid()} {os.environ.get('PLACE', '')}\n")


def die(number: signal.Signals) -> None:
    """Without the page that pytest would print of it."""
    faulthandler.disable()
    os.kill(os.getpid(), number)


def lines(folder: Path, name: str) -> list[str]:
    path = folder / name
    return path.read_text().splitlines() if path.exists() else []


def pieces(folder: Path, *names: str) -> list[Named]:
    return [Named(name, folder) for name in names]


def pool(work: Callable[[Named], None], children: int = 2, stop: Stop = NEVER, method: str = "fork") -> Pool[Named]:
    places: list[Mapping[str, str]] = [{"PLACE": str(i)} for i in range(children)]
    return Pool(work, stop, places, method)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("children", [1, 3])
def test_all_is_done_once_in_processes_of_their_own(method: str, children: int, tmp_path: Path) -> None:
    names = [f"piece-{i}" for i in range(5)]
    assert pool(note, children, method=method).run(pieces(tmp_path, *names)) == {}
    done = [line.split() for name in names for line in lines(tmp_path, name)]
    assert len({process for process, _ in done}) == len(done) == 5
    assert str(os.getpid()) not in {process for process, _ in done}
    assert {place for _, place in done} <= {str(i) for i in range(children)}


def test_no_more_than_asked_for_work_at_a_time_and_each_in_a_place_of_its_own(tmp_path: Path) -> None:
    def work(piece: Named) -> None:
        mine = piece.folder / f"place-{os.environ['PLACE']}"
        mine.touch(exist_ok=False)
        time.sleep(0.05)
        mine.unlink()
        note(piece)

    names = [f"piece-{i}" for i in range(12)]
    assert pool(work, 3).run(pieces(tmp_path, *names)) == {}
    assert all(len(lines(tmp_path, name)) == 1 for name in names)


def meet(piece: Named) -> None:
    """Wait for three others, which must be there at the same time."""
    (piece.folder / piece.id).write_text(os.environ["CUDA_VISIBLE_DEVICES"])
    give_up = time.monotonic() + 60
    while len(list(piece.folder.iterdir())) < 4 and time.monotonic() < give_up:
        time.sleep(0.02)
    assert len(list(piece.folder.iterdir())) == 4


def test_processes_share_devices_evenly(tmp_path: Path) -> None:
    places = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in deal_gpus(["0", "1"], 2)]
    assert Pool(meet, NEVER, places, "spawn").run(pieces(tmp_path, "a", "b", "c", "d")) == {}
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["0", "0", "1", "1"]


def test_what_dies_once_is_begun_again(tmp_path: Path) -> None:
    def work(piece: Named) -> None:
        note(piece)
        if piece.id == "frail" and len(lines(piece.folder, "frail")) == 1:
            die(signal.SIGSEGV)

    assert pool(work).run(pieces(tmp_path, "a", "frail", "b")) == {}
    assert [len(lines(tmp_path, name)) for name in ("a", "frail", "b")] == [1, 2, 1]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_what_dies_twice_is_given_up_and_costs_the_others_nothing(number: signal.Signals, tmp_path: Path) -> None:
    def work(piece: Named) -> None:
        note(piece)
        if piece.id == "frail":
            die(number)

    assert pool(work).run(pieces(tmp_path, "a", "frail", "b", "c")) == {"frail": -number}
    assert [len(lines(tmp_path, name)) for name in ("a", "frail", "b", "c")] == [1, 2, 1, 1]


def test_an_exit_code_is_a_death(tmp_path: Path) -> None:
    assert pool(lambda piece: os._exit(7)).run(pieces(tmp_path, "a")) == {"a": 7}


def test_an_error_is_told_and_nothing_more_is_begun(tmp_path: Path) -> None:
    def work(piece: Named) -> None:
        note(piece)
        if piece.id == "bad":
            raise StageError("bad: the disk is full") from OSError("no space")
        time.sleep(0.3)

    with pytest.raises(StageError, match="bad: the disk is full") as raised:
        pool(work).run(pieces(tmp_path, "a", "bad", "b", "c"))
    assert isinstance(raised.value.__cause__, OSError)
    assert len(lines(tmp_path, "a")) == 1
    assert lines(tmp_path, "b") == lines(tmp_path, "c") == []


def test_an_error_nobody_expected_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def work(piece: Named) -> None:
        raise ZeroDivisionError("by\nzero")

    with pytest.raises(StageError, match=r"^a: ZeroDivisionError: by zero$"):
        pool(work).run(pieces(tmp_path, "a"))
    assert "Traceback" in capfd.readouterr().err


# Stopping


class Told(Stop):
    """Told to stop from outside once something is there; a process that is told so hears of it by SIGTERM."""

    def __init__(self, path: Path, cause: Cause) -> None:
        super().__init__()
        self.path, self.why = path, cause

    @property
    def cause(self) -> Cause | None:
        return self.why if self.path.exists() else None


def save_when_told(piece: Named) -> None:
    stop = Stop()
    stop.listen()
    note(piece)
    for _ in range(200):
        stop.check("saved")
        time.sleep(0.05)


def test_a_preemption_reaches_every_process_and_what_is_left_is_not_begun(tmp_path: Path) -> None:
    with pytest.raises(StoppedError, match="saved") as stopped:
        pool(save_when_told, stop=Told(tmp_path / "b", "preemption")).run(pieces(tmp_path, "a", "b", "c"))
    assert stopped.value.cause == "preemption"
    assert lines(tmp_path, "c") == []


def test_a_time_limit_is_left_to_the_processes(tmp_path: Path) -> None:
    def work(piece: Named) -> None:
        note(piece)
        time.sleep(1)
        (piece.folder / f"{piece.id}-ended").touch()

    with pytest.raises(StoppedError, match="c was not begun"):
        pool(work, stop=Told(tmp_path / "b", "time limit")).run(pieces(tmp_path, "a", "b", "c"))
    assert (tmp_path / "a-ended").exists()
    assert (tmp_path / "b-ended").exists()


def test_nobody_outlives_a_killed_parent(tmp_path: Path) -> None:
    script = """
        import os, sys, time
        from pathlib import Path
        from headrace.running.pool import Pool
        from headrace.tries.stopping import NEVER

        class Piece:
            def __init__(self, name): self.id = name

        def work(piece):
            Path(sys.argv[1], piece.id).write_text(str(os.getpid()))
            time.sleep(60)

        Pool(work, NEVER, [{}, {}]).run([Piece("a"), Piece("b")])
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    parent = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not all((tmp_path / name).exists() for name in "ab"):
            time.sleep(0.05)
        time.sleep(0.2)
        children = [int((tmp_path / name).read_text()) for name in "ab"]
        assert all(psutil.pid_exists(child) for child in children)
    finally:
        parent.kill()
        parent.wait()
    while time.monotonic() < deadline and any(psutil.pid_exists(child) for child in children):
        time.sleep(0.05)
    assert not any(psutil.pid_exists(child) for child in children)
