"""What is known of submitted jobs: by the files that they leave, by qstat, and when neither knows anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from headrace.errors import InputError, StageError
from headrace.schedulers.base import JobState
from headrace.schedulers.pbs import jobs as pbs_jobs

GONE = JobState("unknown")
RUNNING = JobState("running")


class Pbs:
    """A PBS of this test's making."""

    def __init__(self) -> None:
        self.states: dict[str, JobState] = {}
        self.is_away = False
        self.questions: list[list[str]] = []

    def ask(self, jobs: Sequence[str]) -> Mapping[str, JobState]:
        self.questions.append(list(jobs))
        if self.is_away:
            raise StageError("qstat: no answer within 20 s")
        return {job: self.states.get(job, GONE) for job in jobs}


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [1_800_000_000.0]
    monkeypatch.setattr("headrace.schedulers.pbs.jobs.time.time", lambda: now[0])
    monkeypatch.setattr("headrace.schedulers.pbs.jobs.OPEN_AGE_S", float("inf"))
    return now


@pytest.fixture
def server(tmp_path, monkeypatch) -> Pbs:
    monkeypatch.chdir(tmp_path)
    return Pbs()


def submitted(server: Pbs, *jobs: str, output: Sequence[str] = ()) -> None:
    for job in jobs:
        server.states[job] = RUNNING
        pbs_jobs.note_submission(job, pbs_jobs.new_exit_file(f"train.{job}"), output)


def leave(job: str, code: str) -> None:
    """What a job does at its end."""
    (pbs_jobs.FOLDER / f"{job}.exit").resolve().write_text(f"{code}\n")


def check(server: Pbs, job: str = "1.pbs1") -> tuple[str, str]:
    return pbs_jobs.check(job, server.ask, lambda state: "ask for less" if "never" in state.reason else "")


@pytest.mark.parametrize(
    ("exit_code", "state", "missing_s", "verdict"),
    [
        # What the job left decides, whatever PBS says.
        (0, None, 0, "success"),
        (0, RUNNING, 0, "success"),
        (0, GONE, 900, "success"),
        (0, JobState("failed", "time limit"), 0, "success"),
        (1, None, 0, "failed"),
        (1, RUNNING, 0, "failed"),
        (1, JobState("done"), 0, "failed"),
        # A job that was told to end may be in the queue again.
        (143, JobState("pending"), 0, "running"),
        (143, RUNNING, 0, "running"),
        (143, None, 0, "running"),
        (143, JobState("failed", "cancelled"), 0, "failed"),
        (143, GONE, 0, "failed"),
        # Without a word from the job.
        (None, JobState("done"), 0, "success"),
        (None, JobState("failed", "memory"), 0, "failed"),
        (None, JobState("pending"), 900, "running"),
        (None, RUNNING, 900, "running"),
        # No answer never fails a job, and silence is never success.
        (None, None, 900, "running"),
        (None, GONE, 59, "running"),
        (None, GONE, 60, "failed"),
    ],
)
def test_verdicts(exit_code, state, missing_s, verdict):
    assert pbs_jobs.judge(exit_code, state, missing_s)[0] == verdict


def test_from_running_to_done(server, clock):
    submitted(server, "1.pbs1")
    assert check(server) == ("running", "")
    leave("1.pbs1", "0")
    assert check(server) == ("success", "")
    assert len(server.questions) == 1, "what the job left needs no qstat"
    server.states.clear()
    clock[0] += 86_400
    assert check(server) == ("success", ""), "whoever asks again hears the same"


def test_one_question_for_all_jobs(server, clock):
    jobs = [f"{i}.pbs1" for i in range(100)]
    submitted(server, *jobs)
    assert {check(server, job)[0] for job in jobs} == {"running"}
    assert [len(question) for question in server.questions] == [100]
    clock[0] += 11
    leave("7.pbs1", "1")
    assert check(server, "7.pbs1") == ("failed", "")
    assert {check(server, job)[0] for job in jobs[:7]} == {"running"}
    assert [len(question) for question in server.questions] == [100, 99], "one that has ended is not asked for"


def test_a_new_job_is_asked_for_at_once(server, clock):
    submitted(server, "1.pbs1")
    check(server)
    submitted(server, "2.pbs1")
    assert check(server, "2.pbs1")[0] == "running"
    assert server.questions[-1] == ["2.pbs1", "1.pbs1"]


def test_a_job_that_pbs_killed_is_told_once_and_stays_failed(server, clock):
    submitted(server, "1.pbs1")
    server.states["1.pbs1"] = JobState("failed", "time limit", "exit code -29; walltime 61 exceeded limit 60")
    assert check(server) == (
        "failed",
        "job 1.pbs1 failed: time limit: exit code -29; walltime 61 exceeded limit 60",
    )
    server.states["1.pbs1"] = GONE
    clock[0] += 60
    assert check(server) == ("failed", "")


def test_a_job_that_vanishes_has_a_minute(server, clock):
    submitted(server, "1.pbs1")
    server.states.clear()
    assert check(server)[0] == "running"
    for _ in range(5):
        clock[0] += 11
        assert check(server)[0] == "running"
    clock[0] += 11
    verdict, words = check(server)
    assert verdict == "failed"
    assert "it vanished" in words


def test_a_late_exit_file_is_in_time(server, clock):
    submitted(server, "1.pbs1")
    server.states.clear()
    check(server)
    clock[0] += 50
    leave("1.pbs1", "0")
    assert check(server) == ("success", "")


def test_a_job_that_shows_up_again_has_its_minute_anew(server, clock):
    submitted(server, "1.pbs1")
    for states in ({}, {"1.pbs1": RUNNING}, {}):
        server.states = states
        assert check(server)[0] == "running"
        clock[0] += 40


def test_a_server_that_is_away_fails_nothing_and_is_asked_once(server, clock):
    jobs = ["1.pbs1", "2.pbs1", "3.pbs1"]
    submitted(server, *jobs)
    server.is_away = True
    for _ in range(20):
        assert {check(server, job)[0] for job in jobs} == {"running"}
        clock[0] += 11
    assert len(server.questions) == 20
    leave("2.pbs1", "0")
    leave("3.pbs1", "1")
    assert [check(server, job)[0] for job in jobs] == ["running", "success", "failed"]


def test_what_keeps_a_job_waiting_is_told_once(server, clock):
    submitted(server, "1.pbs1")
    server.states["1.pbs1"] = JobState("pending", None, "Can never run: ncpus")
    assert check(server) == ("running", "job 1.pbs1 waits: Can never run: ncpus: ask for less")
    clock[0] += 11
    assert check(server) == ("running", "")


def test_an_id_that_comes_again_is_another_job(server, clock):
    submitted(server, "1.pbs1")
    leave("1.pbs1", "0")
    assert check(server)[0] == "success"
    submitted(server, "1.pbs1")
    assert check(server)[0] == "running"


def test_orphans_are_jobs_that_make_the_same(server, clock):
    submitted(server, "1.pbs1", "2.pbs1", output=["a.ok"])
    submitted(server, "3.pbs1", output=["b.ok"])
    leave("1.pbs1", "0")
    check(server, "1.pbs1")
    assert pbs_jobs.find_orphans(["a.ok"]) == ["2.pbs1"]
    pbs_jobs.forget("2.pbs1")
    assert pbs_jobs.find_orphans(["a.ok"]) == pbs_jobs.find_orphans([]) == []


@pytest.mark.parametrize("job", ["", "../1", "1/2", "x", "1;2", "1 2"])
def test_what_is_no_id_is_refused(server, job):
    with pytest.raises(InputError, match="is not the id"):
        check(server, job)


def test_damaged_notes_are_no_notes(server, clock):
    submitted(server, "1.pbs1")
    check(server)
    for file in (pbs_jobs.FOLDER / "qstat.json", pbs_jobs.FOLDER / "open" / "1.pbs1"):
        file.write_text("{")
    assert check(server)[0] == "running"
    leave("1.pbs1", "")
    assert check(server)[0] == "running"
