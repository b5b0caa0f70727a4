"""SLURM's answers, read as text; most of it was recorded from SLURM 22.05.8."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_commands import FakeCommands
from headrace.errors import StageError
from headrace.schedulers.base import JobState, find_own_job, load_scheduler
from headrace.schedulers.slurm import scheduler as slurm
from headrace.schedulers.slurm.queues import parse_queues
from headrace.schedulers.slurm.text import (
    expand_nodes,
    parse_fields,
    parse_gpus,
    parse_minutes,
    parse_signal,
    parse_time,
)

GONE = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"
DOWN = "echo 'error: Unable to contact slurm controller (connect failure)' >&2; exit 1"

SQUEUE = """\
8|8|PENDING|PartitionDown|
12|12|CANCELLED|None|c2
1|1|COMPLETED|None|c1
2|2|FAILED|NonZeroExitCode|c1
3|3|FAILED|JobLaunchFailure|c1
4|4|FAILED|NonZeroExitCode|c1
5|5|TIMEOUT|TimeLimit|c2
11_1|13|RUNNING|None|c[1-2]
9|9|PENDING|Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions|
10|10|PENDING|Job's account not known, so it can't use this partition (gpu allows x,y)|
"""
CODES = """\
2                             768                           0
3                             9                             0
4                             35072                         9
"""
JOB = (
    "JobId=15 JobName=my job UserId=root(0) GroupId=root(0) MCS_label=N/A Priority=4294901751 Nice=0 Account=physics "
    "QOS=(null) JobState=RUNNING Reason=None Dependency=(null) Requeue=1 Restarts=2 BatchFlag=1 Reboot=0 ExitCode=0:0 "
    "RunTime=00:00:00 TimeLimit=00:03:00 TimeMin=N/A StartTime=2026-11-23T18:17:00 EndTime=2026-11-23T18:20:00 "
    "Deadline=N/A Scheduler=Backfill:* Partition=cpu AllocNode:Sid=localhost:29409 ReqNodeList=(null) "
    "ExcNodeList=(null) NodeList=c[1-2] BatchHost=c1 NumNodes=2 NumCPUs=2 NumTasks=2 CPUs/Task=1 ReqB:S:C:T=0:0:*:* "
    "TRES=cpu=2,mem=1000M,node=2,billing=2 Socks/Node=* Comment=a b=c  Power= TresPerNode=gres:gpu:a100:1 \n"
)
CONFIG = """\
Configuration data as of 2026-11-23T18:20:35
AccountingStorageType   = accounting_storage/{accounting}
MinJobAge               = {age} sec
PreemptMode             = REQUEUE
PreemptType             = preempt/{preempt}
SLURM_VERSION           = 22.05.8
"""
NODES = """\
cpu|c1|4|4000|(null)|idle
short|c1|4|4000|(null)|idle
cpu|c2|8|16000|(null)|drained
short|c2|8|16000|(null)|drained
gone|d1|8|8000|(null)|unknown*
gpu|g1|8|8000|gpu:a100:4(S:0-1)|mixed
gpu|g2|8|8000|gpu:v100:1,gpu:a100:2,mps:400|planned
"""
PARTITIONS = """\
PartitionName=cpu AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default=YES MaxNodes=UNLIMITED MaxTime=1-00:00:00 \
MaxCPUsPerNode=UNLIMITED PriorityTier=10 PreemptMode=REQUEUE State=UP TotalNodes=2 MaxMemPerNode=UNLIMITED
PartitionName=gpu AllowGroups=ALL AllowAccounts=x,y AllowQos=ALL Default=NO MaxNodes=UNLIMITED MaxTime=UNLIMITED \
MaxCPUsPerNode=UNLIMITED PriorityTier=1 PreemptMode=REQUEUE State=UP TotalNodes=1 MaxMemPerNode=UNLIMITED
PartitionName=short AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default=NO MaxNodes=1 MaxTime=00:05:00 \
MaxCPUsPerNode=6 PriorityTier=20 PreemptMode=OFF State=UP TotalNodes=2 MaxMemPerNode=12000
PartitionName=gone AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default=NO MaxNodes=UNLIMITED MaxTime=UNLIMITED \
MaxCPUsPerNode=UNLIMITED PriorityTier=1 PreemptMode=GANG,SUSPEND State=DOWN TotalNodes=1 MaxMemPerNode=UNLIMITED
"""


@pytest.fixture(autouse=True)
def _nothing_is_remembered(monkeypatch):
    slurm._describe.cache_clear()
    slurm._config.cache_clear()
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def commands(tmp_path, monkeypatch) -> FakeCommands:
    return FakeCommands(tmp_path, monkeypatch)


@pytest.fixture
def scheduler() -> slurm.Slurm:
    return slurm.Slurm()


def config(accounting: str = "none", age: int = 300, preempt: str = "partition_prio") -> str:
    return CONFIG.format(accounting=accounting, age=age, preempt=preempt)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("45", 45),
        ("45:30", 45),
        ("1:45:30", 105),
        ("00:05:00", 5),
        ("2-01", 49 * 60),
        ("2-01:45", 49 * 60 + 45),
        ("1-02:03:04", 26 * 60 + 3),
        ("365-00:00:00", 365 * 24 * 60),
        ("UNLIMITED", None),
        ("INFINITE", None),
        ("Partition_Limit", None),
        ("N/A", None),
        ("", None),
    ],
)
def test_a_time_limit_is_read_in_every_form(text, minutes):
    assert parse_minutes(text) == minutes


@given(st.integers(0, 400 * 24 * 60), st.integers(0, 59))
def test_a_time_limit_that_slurm_writes_is_read_back(minutes, seconds):
    days, rest = divmod(minutes, 24 * 60)
    clock = f"{rest // 60:02d}:{rest % 60:02d}:{seconds:02d}"
    assert parse_minutes(f"{days}-{clock}" if days else clock) == minutes


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("c[1-3,7],g1", ("c1", "c2", "c3", "c7", "g1")),
        ("node[008-011]", ("node008", "node009", "node010", "node011")),
        ("n[098-101,7]", ("n098", "n099", "n100", "n101", "n7")),
        ("r[1-2]n[1,3]-ib", ("r1n1-ib", "r1n3-ib", "r2n1-ib", "r2n3-ib")),
        ("login-a.example.org", ("login-a.example.org",)),
        ("c1", ("c1",)),
        ("", ()),
        ("(null)", ()),
    ],
)
def test_a_node_list_is_expanded(text, names):
    assert expand_nodes(text) == names


@given(
    st.from_regex(r"[a-z]{1,3}(-[a-z])?", fullmatch=True), st.sets(st.integers(0, 300), min_size=1), st.integers(1, 4)
)
def test_a_node_list_that_is_folded_unfolds_again(prefix, numbers, width):
    ordered = sorted(numbers)
    runs: list[list[int]] = []
    for number in ordered:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    inside = ",".join(f"{r[0]:0{width}d}" + (f"-{r[-1]:0{width}d}" if len(r) > 1 else "") for r in runs)
    assert expand_nodes(f"{prefix}[{inside}]") == tuple(f"{prefix}{number:0{width}d}" for number in ordered)


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("(null)", {}),
        ("gpu:2", {"": 2}),
        ("gpu", {"": 1}),
        ("gpu:a100", {"a100": 1}),
        ("gpu:a100:4(S:0-1)", {"a100": 4}),
        ("gpu:4(S:0,1),nvme:2", {"": 4}),
        ("mps:400,gpu:v100:1,gpu:h100_80gb:2(IDX:0-1)", {"v100": 1, "h100_80gb": 2}),
        ("gpu:1g.10gb:7", {"1g.10gb": 7}),
        ("shard:gpu:3", {}),
    ],
)
def test_gpus_are_counted_by_type(gres, gpus):
    assert parse_gpus(gres) == gpus


@pytest.mark.parametrize(
    ("code", "signal"),
    [("0:0", 0), ("1:0", 0), ("0:9", 9), ("0:125", 125), ("137:0", 9), ("9", 9), ("768", 0), ("35072", 9), ("", 0)],
)
def test_the_signal_behind_an_exit_code(code, signal):
    assert parse_signal(code) == signal


def test_times_are_local_ones(monkeypatch):
    assert parse_time("2026-11-23T18:20:00") == 1795458000
    monkeypatch.setenv("TZ", "Etc/GMT-2")
    time.tzset()
    assert parse_time("2026-11-23T18:20:00") == 1795458000 - 7200
    assert parse_time("Unknown") is None


def test_values_with_spaces_are_whole():
    fields = parse_fields(JOB)
    assert fields["JobName"] == "my job"
    assert fields["TRES"] == "cpu=2,mem=1000M,node=2,billing=2"
    assert fields["CPUs/Task"] == "1"
    assert fields["Power"] == ""


def test_states_and_causes(commands, scheduler):
    commands.say("squeue", {"exit_code": CODES, "%i|%A|%T|%r|%N": SQUEUE})
    commands.say("scontrol", {"show config": config()})
    found = scheduler.states(["1", "2", "3", "4", "5", "12", "13", "11_1", "8", "77"])
    killed = "killed by SIGKILL, as the kernel does when memory is short"
    assert found == {
        "1": JobState("done", node="c1"),
        "2": JobState("failed", "code", "NonZeroExitCode", "c1"),
        "3": JobState("failed", "memory", killed, "c1"),
        "4": JobState("failed", "memory", killed, "c1"),
        "5": JobState("failed", "time limit", "TimeLimit", "c2"),
        "12": JobState("failed", "cancelled", node="c2"),
        "13": JobState("running", node="c[1-2]"),
        "11_1": JobState("running", node="c[1-2]"),
        "8": JobState("pending", reason="PartitionDown"),
        "77": JobState("unknown"),
    }
    assert len(commands.calls("squeue")) == 2


@pytest.mark.parametrize(
    ("word", "phase", "cause"),
    [
        ("PENDING", "pending", None),
        ("CONFIGURING", "pending", None),
        ("REQUEUE_HOLD", "pending", None),
        ("SUSPENDED", "pending", None),
        ("COMPLETING", "running", None),
        ("OUT_OF_MEMORY", "failed", "memory"),
        ("DEADLINE", "failed", "time limit"),
        ("NODE_FAIL", "failed", "node failure"),
        ("BOOT_FAIL", "failed", "node failure"),
        ("PREEMPTED", "failed", "preemption"),
        ("CANCELLED by 1000", "failed", "cancelled"),
        ("CANCELLED+", "failed", "cancelled"),
        ("FAILED", "failed", "code"),
        ("SOMETHING_NEW", "unknown", None),
        ("", "unknown", None),
    ],
)
def test_every_state_has_a_phase(word, phase, cause):
    assert slurm.parse_states(f"1|1|{word}|None|None assigned\n")["1"] == JobState(phase, cause)


def test_one_id_that_has_gone_loses_no_other(commands, scheduler):
    commands.say("squeue", {"--user": SQUEUE}, otherwise=GONE)
    commands.say("scontrol", {"show config": config()})
    assert scheduler.states(["1", "999"]) == {"1": JobState("done", node="c1"), "999": JobState("unknown")}
    assert scheduler.states(["999"]) == {"999": JobState("unknown")}


def test_no_jobs_ask_nobody(commands, scheduler):
    commands.add("squeue", "exit 0")
    assert scheduler.states([]) == {}
    assert commands.calls() == []


def test_many_jobs_are_asked_for_in_several_calls(commands, scheduler):
    commands.say("squeue", {"%i": SQUEUE, "exit_code": CODES})
    commands.say("scontrol", {"show config": config()})
    found = scheduler.states([str(number) for number in range(1, 1201)])
    assert len(found) == 1200
    assert found["1"].phase == "done"
    assert len([call for call in commands.calls("squeue") if "%i" in call]) == 3


def test_accounting_knows_what_the_controller_forgot(commands, scheduler):
    commands.say("squeue", {"--user": SQUEUE, "exit_code": CODES}, otherwise=GONE)
    commands.say("scontrol", {"show config": config("slurmdbd")})
    answer = (
        "20|20|COMPLETED|None|c1|0:0|0:0\n21|21|FAILED|None|c1|1:0|0:125\n"
        "22|22|CANCELLED by 0|None|None assigned|0:0|0:0\n23|23|FAILED|None|c1|1:0|1:0\n"
    )
    commands.say("sacct", {"--jobs=20,21,22,23": answer})
    assert scheduler.states(["20", "21", "22", "23"]) == {
        "20": JobState("done", node="c1"),
        "21": JobState("failed", "memory", "OutOfMemory", "c1"),
        "22": JobState("failed", "cancelled"),
        "23": JobState("failed", "code", node="c1"),
    }


def test_accounting_that_fails_is_left_alone_for_a_while(commands, scheduler):
    commands.say("squeue", {}, otherwise=GONE)
    commands.say("scontrol", {"show config": config("slurmdbd")})
    commands.add("sacct", "exit 1")
    for _ in range(3):
        assert scheduler.states(["20"]) == {"20": JobState("unknown")}
    assert len(commands.calls("sacct")) == 1


def test_accounting_that_is_not_there_is_not_asked(commands, scheduler):
    commands.say("squeue", {}, otherwise=GONE)
    commands.say("scontrol", {"show config": config("none")})
    commands.add("sacct", "sleep 100")
    assert scheduler.states(["20"]) == {"20": JobState("unknown")}
    assert commands.calls("sacct") == []


def test_a_controller_that_is_down_knows_nothing(commands, scheduler):
    commands.add("squeue", DOWN)
    assert scheduler.states(["1", "2"]) == {"1": JobState("unknown"), "2": JobState("unknown")}
    assert len(commands.calls("squeue")) == 1


def test_jobs_that_have_ended_are_passed_over_when_cancelled(commands, scheduler):
    commands.add("scancel", "echo 'scancel: error: Kill job error on job id 1: Invalid job id specified' >&2; exit 1")
    scheduler.cancel(["1", "2"])
    assert commands.calls() == ["scancel 1 2"]
    commands.add("scancel", DOWN)
    with pytest.raises(StageError, match="Unable to contact"):
        scheduler.cancel(["1"])
    scheduler.cancel([])


def test_own_job_is_what_the_controller_says(commands, scheduler, monkeypatch):
    commands.say("scontrol", {"show job 15": JOB})
    assert scheduler.own_job() is None
    monkeypatch.setenv("SLURM_JOB_ID", "15")
    # The nodes of a step, which may be fewer than those of the job.
    monkeypatch.setenv("SLURM_JOB_NODELIST", "c1")
    own = scheduler.own_job()
    assert own is not None
    assert (own.id, own.queue, own.account, own.nodes) == ("15", "cpu", "physics", ("c1", "c2"))
    assert (own.ends_at, own.restarts) == (1795458000, 2)
    assert own.details["TresPerNode"] == "gres:gpu:a100:1"
    assert scheduler.own_job() == own
    assert len(commands.calls("scontrol")) == 1


def test_own_job_is_what_the_environment_says_when_nobody_answers(commands, scheduler, monkeypatch):
    commands.add("scontrol", DOWN)
    for variable, value in {
        "SLURM_JOB_ID": "15",
        "SLURM_JOB_PARTITION": "gpu",
        "SLURM_JOB_ACCOUNT": "physics",
        "SLURM_JOB_NODELIST": "g[1-2]",
        "SLURM_JOB_END_TIME": "1795458000",
        "SLURM_RESTART_COUNT": "1",
    }.items():
        monkeypatch.setenv(variable, value)
    own = scheduler.own_job()
    assert own is not None
    assert (own.queue, own.account, own.nodes) == ("gpu", "physics", ("g1", "g2"))
    assert (own.ends_at, own.restarts) == (1795458000, 1)


def test_own_job_without_commands_or_with_the_id_alone(commands, scheduler, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "15")
    own = scheduler.own_job()
    assert own is not None
    assert (own.id, own.queue, own.nodes, own.ends_at, own.restarts) == ("15", "", (), None, 0)


def test_a_job_without_limit_never_ends():
    described = {"TimeLimit": "UNLIMITED", "EndTime": "2027-11-23T18:20:00", "Account": "(null)"}
    own = slurm.read_own_job("1", {}, described)
    assert (own.ends_at, own.account) == (None, "")


def test_the_own_job_is_found_by_its_scheduler(commands, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "15")
    found = find_own_job()
    assert found is not None
    assert found[0] is load_scheduler("slurm")
    assert found[1].id == "15"


def test_the_address_of_this_node(commands, scheduler, monkeypatch):
    assert scheduler.node_address() == ""
    monkeypatch.setenv("SLURMD_NODENAME", "c1")
    commands.say("scontrol", {"show node c1": "NodeName=c1 Arch=x86_64 NodeAddr=10.1.0.1 NodeHostName=vm Port=6818\n"})
    assert scheduler.node_address() == "10.1.0.1"


def test_the_survey(commands, scheduler):
    commands.say("scontrol", {"show config": config(age=60), "show partition": PARTITIONS})
    commands.say("sinfo", {"--Node": NODES})
    survey = scheduler.survey()
    assert (survey.version, survey.accounts, survey.has_accounting) == ("22.05.8", (), False)
    cpu, gpu, short, gone = survey.queues
    assert survey.default_queue is cpu
    assert (cpu.num_nodes, cpu.cpus_per_node, cpu.memory_mib_per_node, cpu.max_runtime_min) == (2, 8, 16000, 1440)
    assert (cpu.gpus_per_node, cpu.max_nodes_per_job, cpu.is_up) == (0, None, True)
    assert (gpu.gpus_per_node, gpu.gpu_types, gpu.max_runtime_min) == (4, ("a100", "v100"), None)
    assert (short.cpus_per_node, short.memory_mib_per_node, short.max_nodes_per_job) == (6, 12000, 1)
    assert [queue.preemption for queue in (cpu, gpu, short, gone)] == ["requeue", "", "", ""]
    assert not gone.is_up
    assert survey.queue("short") is short
    assert survey.queue("nothing") is None
    age, accounts, away = survey.notes
    assert "60 s" in age
    assert accounts == "not every job may go to every partition: gpu (AllowAccounts=x,y)"
    assert away == "partition gone: none of its nodes works now"


@pytest.mark.parametrize(("preempt", "expected"), [("none", ["", ""]), ("qos", ["requeue", "suspend"])])
def test_who_can_be_preempted_depends_on_how(preempt, expected):
    cpu, _, _, gone = parse_queues(PARTITIONS, NODES, f"preempt/{preempt}")
    assert [cpu.preemption, gone.preemption] == expected


def test_accounts_where_there_is_accounting(commands, scheduler):
    commands.say("scontrol", {"show config": config("slurmdbd", age=5), "show partition": PARTITIONS})
    commands.say("sinfo", {"--Node": NODES})
    commands.add("sacct", "exit 0")
    commands.say("sacctmgr", {"list associations format=account": "physics\nchemistry\nphysics\n"})
    survey = scheduler.survey()
    assert (survey.has_accounting, survey.accounts) == (True, ("chemistry", "physics"))
    assert not any("accounting" in note for note in survey.notes)
    commands.add("sacctmgr", "exit 1")
    assert scheduler.survey().accounts == ()
    commands.add("sacct", "exit 1")
    assert not scheduler.survey().has_accounting


def test_a_survey_of_nobody_says_why(commands, scheduler):
    with pytest.raises(StageError, match="scontrol: no such command here"):
        scheduler.survey()
    commands.add("scontrol", DOWN)
    with pytest.raises(StageError, match="Unable to contact slurm controller"):
        scheduler.survey()


def test_it_is_here_when_its_commands_are(commands, scheduler):
    for client in scheduler.clients:
        assert not scheduler.is_here()
        commands.add(client, "exit 0")
    assert scheduler.is_here()


HOPELESS = {
    "PartitionTimeLimit": "`runtime`",
    "PartitionNodeLimit": "`slurm_partition`",
    "PartitionDown": "dask_options: partition=",
    "PartitionInactive": "`slurm_partition`",
    "AssocMaxWallDurationPerJobLimit": "`runtime`",
    "QOSMaxWallDurationPerJobLimit": "`runtime`",
    "QOSMaxCpuPerJobLimit": "`dask_worker_mem_mb`",
    "QOSMaxMemoryPerJob": "`mem_mb`",
    "AssocMaxNodePerJobLimit": "`nodes`",
    "QOSMaxNodePerJobLimit": "`nodes`",
    "QOSMinGRES": "`gpu`",
    "AssocGrpCPUMinutesLimit": "used up",
    "QOSGrpBillingMinutes": "used up",
    "AssocMaxCPUMinutesPerJobLimit": "`runtime`",
    "InvalidAccount": "`slurm_account`",
    "AccountNotAllowed": "dask_options: account=",
    "Job's account not known, so it can't use this partition (gpu allows x,y)": "`slurm_account`",
    "Job's QOS not permitted to use this partition (gpu allows a not b)": "`qos`",
    "InvalidQOS": "`qos`",
    "BadConstraints": "no node has",
    "JobHeldUser": "scontrol release",
    "JobHeldAdmin": "administrator",
    "launch failed requeued held": "scontrol release",
    "launch_failed_requeued_held": "scontrol release",
    "(launch failed requeued held)": "scontrol release",
    "JobHoldMaxRequeue": "scontrol release",
    "DependencyNeverSatisfied": "scancel",
    "ReservationDeleted": "`slurm_extra`",
}
WAITING = [
    "",
    "None",
    "Resources",
    "Priority",
    "BeginTime",
    "Dependency",
    "Prolog",
    "Cleaning",
    "Reservation",
    "Licenses",
    "QOSMaxCpuPerUserLimit",
    "QOSMaxJobsPerUserLimit",
    "QOSGrpCpuLimit",
    "AssocGrpCPURunMinutesLimit",
    "AssocMaxJobsLimit",
    "ReqNodeNotAvail, UnavailableNodes:c1",
    "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
]


@pytest.mark.parametrize("reason", HOPELESS)
def test_advice_for_what_waiting_does_not_cure(scheduler, reason):
    advice = scheduler.advise(JobState("pending", reason=reason))
    assert HOPELESS[reason] in advice
    assert "\n" not in advice
    assert scheduler.advise(JobState("running", reason=reason)) == ""


@pytest.mark.parametrize("reason", WAITING)
def test_no_advice_where_waiting_is_all(scheduler, reason):
    assert scheduler.advise(JobState("pending", reason=reason)) == ""
