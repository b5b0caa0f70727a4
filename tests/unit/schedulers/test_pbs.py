"""PBS's answers, read as text: OpenPBS, PBS Pro and Torque as their clients print, SLURM's wrappers as recorded."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_commands import FakeCommands
from headrace.errors import StageError
from headrace.schedulers.base import JobState, Queue, find_own_job, load_scheduler
from headrace.schedulers.pbs import scheduler as pbs
from headrace.schedulers.pbs.nodes import parse_nodes
from headrace.schedulers.pbs.queues import parse_queues
from headrace.schedulers.pbs.text import (
    list_hosts,
    parse_job_id,
    parse_records,
    parse_seconds,
    parse_size_mib,
    parse_time,
    whole_number,
)

UNKNOWN = "echo 'qstat: Unknown Job Id 9.pbs1' >&2; exit 153"
FINISHED = "echo 'qstat: 9.pbs1 Job has finished, use -x or -H to obtain historical job information' >&2; exit 35"
DOWN = "echo 'Connection refused' >&2; echo 'qstat: cannot connect to server pbs1 (errno=15010)' >&2; exit 162"

RUNNING_OPENPBS = """\
Job Id: 41.pbs1
    Job_Name = train_cnn.7
    Job_Owner = ada@login1.cluster
    resources_used.cpupercent = 99
    resources_used.cput = 00:10:01
    resources_used.mem = 2100040kb
    resources_used.ncpus = 4
    resources_used.walltime = 00:10:05
    job_state = R
    queue = workq
    server = pbs1
    Account_Name = physics
    Checkpoint = u
    ctime = Mon Nov 23 17:00:00 2026
    Error_Path = login1.cluster:/home/ada/headrace/train_cnn.7.e41
    exec_host = node-with-a-long-name-001/0*4+node-with-a-long-name-002/0*4+node-wit
\th-a-long-name-003/0*4
    exec_vnode = (node-with-a-long-name-001:ncpus=4:mem=4194304kb)+(node-with-a-lon
\tg-name-002:ncpus=4:mem=4194304kb)+(node-with-a-long-name-003:ncpus=4:mem=41943
\t04kb)
    Hold_Types = n
    Join_Path = oe
    mtime = Mon Nov 23 17:30:01 2026
    Priority = 0
    qtime = Mon Nov 23 17:00:00 2026
    Rerunable = True
    Resource_List.mem = 12288mb
    Resource_List.ncpus = 12
    Resource_List.nodect = 3
    Resource_List.place = scatter
    Resource_List.select = 3:ncpus=4:mem=4096mb
    Resource_List.walltime = 02:00:00
    stime = Mon Nov 23 17:30:00 2026
    session_id = 4711
    jobdir = /home/ada
    substate = 42
    Variable_List = PBS_O_HOME=/home/ada,PBS_O_LANG=C.UTF-8,
\tPBS_O_WORKDIR=/home/ada/headrace,NOTE=first
    job_state = F
},PBS_O_QUEUE=workq,BASH_FUNC_module%%=() {  eval `/usr/bin/modulecmd bash $*`
}
    comment = Job run at Mon Nov 23 at 17:30 on (node-with-a-long-name-001:ncpus=4:
\tmem=4194304kb)
    etime = Mon Nov 23 17:00:00 2026
    run_count = 3
    Submit_arguments = -N train_cnn.7 -l select=3:ncpus=4:mem=4096mb job.sh
    project = _pbs_project_default
"""


def ended(number: int, status: str = "", comment: str = "", **used: str) -> str:
    """A job in OpenPBS's history."""
    amounts = "".join(f"    resources_used.{name} = {value}\n" for name, value in used.items())
    return (
        f"Job Id: {number}.pbs1\n    Job_Name = j\n{amounts}    job_state = F\n    queue = workq\n    server = pbs1\n"
        "    exec_host = n1/0\n    Resource_List.mem = 1gb\n    Resource_List.walltime = 01:00:00\n"
        + (f"    comment = {comment}\n" if comment else "")
        + (f"    Exit_status = {status}\n" if status else "")
    )


TORQUE_ENDED = """\
Job Id: 522083.barnacle.example.edu
    Job_Name = timeout.pbs
    Job_Owner = ada@barnacle.example.edu
    resources_used.cput = 00:00:00
    resources_used.mem = 3500kb
    resources_used.vmem = 336264kb
    resources_used.walltime = 00:00:14
    job_state = C
    queue = short4gb
    server = barnacle.example.edu
    exec_host = brncl-31/5+brncl-31/4+brncl-30/0-3
    Resource_List.mem = 4gb
    Resource_List.nodect = 1
    Resource_List.nodes = 1:ppn=1
    Resource_List.walltime = 00:00:10
    Variable_List = PBS_O_QUEUE=route,PBS_O_HOME=/home/ada,
\tPBS_O_LOGNAME=ada
    exit_status = -11
    start_time = Fri Oct 20 04:30:41 2017
    start_count = 2

"""

WRAPPER_JOBS = """\
Job Id:\t12
\tJob_Name = train_fnn.3
\tJob_Owner = root@localhost
\tjob_state = R
\tqueue = cpu
\tqtime = Mon Nov 23 18:30:10 2026
\tmtime = Mon Nov 23 18:30:11 2026
\tctime = Mon Nov 23 18:35:11 2026
\texec_host = c1/1
\tPriority = 4294901748
\teuser = root(0)
\tegroup = root(0)
\tResource_List.walltime = 00:05:00
\tResource_List.nodect = 1
\tResource_List.ncpus = 1

Job Id:\t13
\tJob_Name = train_fnn.3
\tjob_state = C
\tqueue = cpu
\tmtime = Mon Nov 23 18:30:11 2026
\tctime = Mon Nov 23 18:30:11 2026
\tAccount_Name = physics
\texec_host = c1/1
\tResource_List.walltime = 00:05:00

Job Id:\t15
\tJob_Name = wide
\tjob_state = Q
\tqueue = cpu

Job Id:\t16
\tJob_Name = eaten
\tjob_state = U
\tqueue = cpu

"""

QUEUES_OPENPBS = """\
Queue: workq
    queue_type = Execution
    total_jobs = 0
    state_count = Transit:0 Queued:0 Held:0 Waiting:0 Running:0 Exiting:0 Begun
\t:0 \n    resources_max.nodect = 2
    resources_max.walltime = 48:00:00
    enabled = True
    started = True

Queue: gpu
    queue_type = Execution
    resources_max.ngpus = 2
    resources_max.mem = 64gb
    resources_max.ncpus = 16
    default_chunk.Qlist = gpu
    acl_group_enable = True
    acl_groups = ml,vision
    enabled = True
    started = False

Queue: route
    queue_type = Route
    route_destinations = short@pbs1,long
    enabled = True
    started = True

Queue: short
    queue_type = Execution
    from_route_only = True
    resources_max.walltime = 02:00:00
    hasnodes = True
    enabled = True
    started = True

Queue: long
    queue_type = Execution
    resources_max.walltime = 720:00:00
    enabled = True
    started = True

"""

NODES_OPENPBS = """\
n1
     Mom = n1.cluster
     Port = 15002
     pbs_version = 23.06.06
     ntype = PBS
     state = free
     pcpus = 8
     resources_available.arch = linux
     resources_available.host = n1
     resources_available.mem = 16777216kb
     resources_available.ncpus = 8
     resources_available.vnode = n1
     resources_assigned.ncpus = 0
     resv_enable = True
     sharing = default_shared
     last_state_change_time = Mon Nov 23 15:26:39 2026

g1
     Mom = g1.cluster
     ntype = PBS
     state = job-busy
     jobs = 41.pbs1/0, 42.pbs1/1
     resources_available.Qlist = gpu,debug
     resources_available.gpu_type = a100
     resources_available.host = g1
     resources_available.mem = 0kb
     resources_available.ncpus = 0
     resources_available.ngpus = 0

g1[0]
     state = free
     resources_available.host = g1
     resources_available.Qlist = gpu,debug
     resources_available.mem = 128gb
     resources_available.ncpus = 16
     resources_available.ngpus = 2

g1[1]
     state = free
     resources_available.host = g1
     resources_available.Qlist = gpu,debug
     resources_available.mem = 128gb
     resources_available.ncpus = 16
     resources_available.ngpus = 2

s1
     state = down,offline
     queue = short
     resources_available.host = s1
     resources_available.mem = 4gb
     resources_available.ncpus = 2
"""

SERVER_OPENPBS = """\
Server: pbs1
    server_state = Active
    server_host = pbs1.cluster
    scheduling = True
    total_jobs = 3
    state_count = Transit:0 Queued:1 Held:0 Waiting:0 Running:2 Exiting:0 Begun
\t:0 \n    default_queue = workq
    log_events = 511
    resources_default.ncpus = 1
    resources_max.walltime = 100:00:00
    job_history_enable = True
    pbs_version = 23.06.06
"""

QUEUES_TORQUE = """\
Queue: batch
    queue_type = Execution
    total_jobs = 0
    state_count = Transit:0 Queued:0 Held:0 Waiting:0 Running:0 Exiting:0 Complete:0 \n    resources_max.nodes = 4
    resources_max.walltime = 72:00:00
    resources_default.neednodes = fast
    mtime = 1511439400
    enabled = True
    started = True

Queue: any
    queue_type = Execution
    resources_default.neednodes = 1
    enabled = True
    started = True

"""

NODES_TORQUE = """\
node01
     state = free
     power_state = Running
     np = 16
     properties = fast,ib
     ntype = cluster
     jobs = 0-3/522080.barnacle
     status = rectime=1511439412,macaddr=00:11,cpuclock=Fixed,jobs=522080.barnacle(cput=1,mem=0),state=free,gres=,\
loadave=8.00,ncpus=16,physmem=66012340kb,availmem=70012340kb,totmem=74012340kb,uname=Linux node01,opsys=linux
     mom_service_port = 15002
     gpus = 2
     gpu_status = gpu[1]=gpu_id=0000:84:00.0;gpu_product_name=Tesla K80

node02
     state = down
     np = 8
     properties = slow
     ntype = cluster
"""

WRAPPER_QUEUES = (
    "Queue:\tcpu\n\tqueue_type = Execution\n\tresources_default.nodes = 2\n\tenabled = yes\n\tstarted = yes\n\n"
    "Queue:\tgpu\n\tqueue_type = Execution\n\tresources_default.nodes = 2\n\tenabled = no\n\tstarted = no\n\n"
)
WRAPPER_NODES = """\
c1
    state = mixed
    np = 4
    ntype = cluster
    status = rectime=1795458446,state=mixed,slurmstate=mixed,size=0kb:0kb,ncpus=4,boards=1,sockets=4,cores=1,\
threads=1,availmem=6000mb,opsys=linux 6.18 #1 smp preempt_dynamic @0,arch=x86_64

g1
    state = free
    np = 4
    ntype = cluster
    status = rectime=1795458446,state=free,slurmstate=idle,size=0kb:0kb,gres=gpu:2,ncpus=4,availmem=6000mb,arch=x86_64
    gpus = 2

"""
OPENPBS_VERSION = "pbs_version = 23.06.06\n"
TORQUE_VERSION = "Version: 6.1.3\nCommit: 4f7ac5f3eb3b4be6d1a1e2d8c5c8d6ef0e5a1c2b\n"


@pytest.fixture
def fakes(tmp_path, monkeypatch) -> Iterator[FakeCommands]:
    pbs._identify.cache_clear()
    pbs._describe.cache_clear()
    yield FakeCommands(tmp_path, monkeypatch)
    pbs._identify.cache_clear()
    pbs._describe.cache_clear()


def one(text: str) -> JobState:
    (record,) = parse_records(text, "Job Id").values()
    return pbs.read_state(record)


def queued(letter: str, comment: str, **more: str) -> JobState:
    return pbs.read_state({"job_state": letter, "server": "pbs1", "comment": comment, **more})


def test_long_lines_are_put_together_and_nothing_inside_of_variables_counts():
    record = parse_records(RUNNING_OPENPBS, "Job Id")["41.pbs1"]
    assert record["job_state"] == "R"
    assert record["Resource_List.select"] == "3:ncpus=4:mem=4096mb"
    assert list_hosts(record["exec_host"]) == tuple(f"node-with-a-long-name-00{i}" for i in (1, 2, 3))
    assert record["comment"].endswith("(node-with-a-long-name-001:ncpus=4:mem=4194304kb)")
    assert one(RUNNING_OPENPBS) == JobState("running", None, "", ",".join(list_hosts(record["exec_host"])))


@given(st.text())
def test_no_text_is_too_strange(text):
    for title in ("Job Id", "Queue", ""):
        assert all(isinstance(record, dict) for record in parse_records(text, title).values())
    assert all(node.cpus >= 0 and node.memory_mib >= 0 for node in parse_nodes(text))
    assert all(queue.num_nodes >= 0 for queue in parse_queues(text, text, {}, ""))
    assert pbs.read_version(text)[0] in ("openpbs", "torque")
    for record in parse_records(f"Job Id: 1\n    job_state = F\n    Exit_status = {text}", "Job Id").values():
        assert pbs.read_state(record).phase in ("done", "failed", "unknown")
    for read in (parse_size_mib, parse_seconds, parse_time, whole_number):
        value = read(text)
        assert value is None or math.isfinite(value)
    assert parse_job_id(text) is None or parse_job_id(text) in text
    assert all(host in text for host in list_hosts(text))


@pytest.mark.parametrize(
    ("text", "mib"),
    [("600mb", 600), ("4gb", 4096), ("2097152kb", 2048), ("1048576b", 1), ("1048576", 1), ("1TB", 2**20), ("1mw", 8)],
)
def test_sizes(text, mib):
    assert parse_size_mib(text) == mib


@pytest.mark.parametrize("text", ["", None, "--", "much", "-1mb"])
def test_no_size(text):
    assert parse_size_mib(text) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("59", 59), ("01:30", 90), ("48:00:00", 172800), ("1:00:00:01", 86401), ("Infinite", None), ("", None)],
)
def test_durations(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("output", "job"),
    [
        ("41.pbs1\n", "41.pbs1"),
        ("17\n", "17"),
        ("INFO: budget left: 5000\n41.pbs-01.hsn.example.org\n", "41.pbs-01.hsn.example.org"),
        ("qsub: Unknown queue\n", None),
        ("", None),
    ],
)
def test_the_job_id_is_found_among_greetings(output, job):
    assert parse_job_id(output) == job


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OPENPBS_VERSION, ("openpbs", "23.06.06")),
        ("pbs_version = 2022.1.1.20220926110806", ("openpbs", "2022.1.1.20220926110806")),
        ("pbs_version = PBSPro_13.1.0.160576", ("openpbs", "PBSPro_13.1.0.160576")),
        (TORQUE_VERSION, ("torque", "6.1.3")),
        ("version: 4.2.10\n", ("torque", "4.2.10")),
        ("Unknown option: version\nUsage:\n    qstat [-f]\n", ("torque", "")),
    ],
)
def test_the_dialect_follows_from_the_version(text, expected):
    assert pbs.read_version(text) == expected


@pytest.mark.parametrize(
    ("record", "cause", "words"),
    [
        (ended(1, "1", "Job run at Mon Nov 23 at 17:30 on (n1:ncpus=1) and failed"), "code", "exit code 1; Job run at"),
        (ended(1, "-29", walltime="01:00:20"), "time limit", "exit code -29"),
        (ended(1, "271", walltime="01:00:20"), "time limit", "exit code 271 (signal 15)"),
        (ended(1, "271", walltime="00:10:20"), "cancelled", "signal 15"),
        (ended(1, "143", walltime="00:10:20"), "cancelled", "signal 15"),
        (ended(1, "271", "job killed: walltime 65 exceeded limit 60"), "time limit", "walltime 65 exceeded"),
        (ended(1, "271", "job killed: mem 2097152kb exceeded limit 1048576kb"), "memory", "mem 2097152kb exceeded"),
        (ended(1, "137", "Cgroup mem limit exceeded: memory usage 1GB"), "memory", "signal 9"),
        (ended(1, "137"), "memory", "signal 9"),
        (ended(1, "265", mem="1048000kb"), "memory", "signal 9"),
        (ended(1, "265", mem="1000kb"), "cancelled", "signal 9"),
        (ended(1, "1", mem="1048576kb"), "code", "exit code 1"),
        (ended(1, "1", mem="1058576kb"), "memory", "exit code 1"),
        (ended(1, "-27"), "memory", "exit code -27"),
        (ended(1, "-2", "Job run at Mon on (gpu4:ncpus=4) and failed"), "node failure", "exit code -2"),
        (ended(1, "-20"), "node failure", "exit code -20"),
        (ended(1, "-25"), "unknown", "exit code -25"),
        (ended(1, "271", "Job was preempted by 77.pbs1"), "preemption", "preempted"),
        (ended(1, "", "Not Running: Insufficient amount of resource: ncpus and terminated"), "cancelled", "terminated"),
        (ended(1, "139"), "code", "signal 11"),
        (TORQUE_ENDED, "time limit", "exit code -11"),
        (TORQUE_ENDED.replace("-11", "-10"), "memory", "exit code -10"),
        (TORQUE_ENDED.replace("-11", "271"), "time limit", "signal 15"),
        (TORQUE_ENDED.replace("-11", "271").replace("00:00:14", "00:00:01"), "cancelled", "signal 15"),
        (TORQUE_ENDED.replace("-11", "-3"), "node failure", "exit code -3"),
    ],
)
def test_why_jobs_failed(record, cause, words):
    state = one(record)
    assert (state.phase, state.cause) == ("failed", cause)
    assert words in state.reason


def test_jobs_that_are_done():
    state = one(ended(1, "0", "Job run at Mon Nov 23 at 17:30 on (n1:ncpus=1) and finished"))
    assert (state.phase, state.cause, state.node) == ("done", None, "n1")
    assert one(TORQUE_ENDED.replace("-11", "0")).node == "brncl-31,brncl-30"


@pytest.mark.parametrize(
    ("letter", "phase"),
    [("Q", "pending"), ("H", "pending"), ("W", "pending"), ("T", "pending"), ("M", "pending")]
    + [(letter, "running") for letter in "REBSU"]
    + [("?", "unknown"), ("", "unknown")],
)
def test_letters(letter, phase):
    # An exit code beside them is that of an earlier start.
    assert queued(letter, "", Exit_status="-3").phase == phase


def test_slurms_wrapper_tells_less():
    states = {name: pbs.read_state(record) for name, record in parse_records(WRAPPER_JOBS, "Job Id").items()}
    assert {name: state.phase for name, state in states.items()} == {
        "12": "running", "13": "unknown", "15": "pending", "16": "unknown",
    }  # fmt: skip
    assert states["13"].reason == "it has ended, and the scheduler does not say how"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (queued("Q", "Can Never Run: Insufficient amount of resource: ncpus (R: 64 A: 8 T: 8)"), "lower `mem_mb`"),
        (queued("Q", "Can Never Run: Insufficient amount of resource: walltime"), "lower `runtime`"),
        (queued("Q", "Not Running: Queue not started."), "another `pbs_queue`"),
        (queued("Q", "Not Running: Insufficient amount of resource: Qlist"), "another `pbs_queue`"),
        (queued("Q", "Not Running: Insufficient amount of resource: ncpus (R: 8 A: 2 T: 64)"), ""),
        (queued("Q", "Not Running: User has reached queue workq running job limit."), ""),
        (queued("Q", "Not Running: Job would conflict with reservation or top job"), "lower `runtime`"),
        (queued("Q", ""), ""),
        (queued("H", "job held, too many failed attempts to run", Hold_Types="s"), "`qrls JOB` tries again"),
        (queued("H", "Job held by ada on Tue Feb 6 05:20:00 2026", Hold_Types="u"), "`qrls JOB` lets it go"),
        (queued("H", "", Hold_Types="o"), "administrator"),
        (JobState("failed", "code", "can never run"), ""),
    ],
)
def test_advice(state, words):
    advice = pbs.SCHEDULER.advise(state)
    assert words in advice
    assert bool(advice) == bool(words)


def test_queues_of_openpbs():
    workq, gpu, route, long = parse_queues(
        QUEUES_OPENPBS, NODES_OPENPBS, {"resources_max.walltime": "100:00:00"}, "workq"
    )
    assert workq == Queue(
        "workq", is_default=True, num_nodes=2, cpus_per_node=32, memory_mib_per_node=256 * 1024, gpus_per_node=4,
        gpu_types=("a100",), max_runtime_min=48 * 60, max_nodes_per_job=2,
    )  # fmt: skip
    assert gpu == Queue(
        "gpu", is_up=False, num_nodes=1, cpus_per_node=16, memory_mib_per_node=64 * 1024, gpus_per_node=2,
        gpu_types=("a100",), max_runtime_min=100 * 60,
    )  # fmt: skip
    assert (route.name, route.num_nodes, route.max_runtime_min) == ("route", 3, 100 * 60)
    assert (long.name, long.max_runtime_min) == ("long", 720 * 60)


def test_a_routing_queue_without_limits_has_those_of_its_destinations():
    (*_, route, _) = parse_queues(QUEUES_OPENPBS, NODES_OPENPBS, {}, "")
    assert route.max_runtime_min == 720 * 60


def test_queues_of_torque():
    batch, any_queue = parse_queues(QUEUES_TORQUE, NODES_TORQUE, {}, "batch")
    assert batch == Queue(
        "batch", is_default=True, num_nodes=1, cpus_per_node=16, memory_mib_per_node=66012340 // 1024, gpus_per_node=2,
        max_runtime_min=72 * 60, max_nodes_per_job=4,
    )  # fmt: skip
    assert any_queue.num_nodes == 2
    assert [node.is_up for node in parse_nodes(NODES_TORQUE)] == [True, False]


def test_queues_of_slurms_wrapper():
    cpu, gpu = parse_queues(WRAPPER_QUEUES, WRAPPER_NODES, {}, "")
    assert (cpu.is_up, gpu.is_up, cpu.is_default) == (True, False, False)
    assert (cpu.cpus_per_node, cpu.memory_mib_per_node, cpu.gpus_per_node) == (4, 6000, 2)


def test_survey_of_openpbs(fakes):
    fakes.say("qstat", {"--version": OPENPBS_VERSION, "-Q -f": QUEUES_OPENPBS, "-B -f": SERVER_OPENPBS})
    fakes.say("pbsnodes", {"-a": NODES_OPENPBS})
    survey = load_scheduler("pbs").survey()
    assert (survey.scheduler, survey.version, survey.has_accounting) == ("pbs", "openpbs 23.06.06", True)
    assert survey.default_queue is not None
    assert survey.default_queue.name == "workq"
    assert survey.notes == ("queue gpu: only for the groups ml,vision", "queue short: none of its nodes works now")


def test_survey_where_little_is_told(fakes):
    fakes.say("qstat", {"--version": OPENPBS_VERSION, "-Q -f": QUEUES_OPENPBS}, otherwise="exit 1")
    fakes.say("qmgr", {"print server": "#\nset server scheduling = True\nset server default_queue = long\n"})
    survey = pbs.SCHEDULER.survey()
    assert survey.default_queue is not None
    assert (survey.default_queue.name, survey.default_queue.num_nodes) == ("long", 0)
    assert "there is no job history" in survey.notes[0]


def test_survey_of_slurms_wrappers(fakes):
    fakes.say(
        "qstat", {"-Q -f": WRAPPER_QUEUES, "-B -f": "Job id   Name\n----\n1  x  root  C cpu\n"}, otherwise="exit 2"
    )
    fakes.say("pbsnodes", {"-a": WRAPPER_NODES})
    fakes.add("sbatch", "exit 0")
    survey = pbs.SCHEDULER.survey()
    assert (survey.version, survey.has_accounting) == ("torque", False)
    assert survey.notes == ("qsub and qstat are SLURM's wrappers here: `--profile slurm` tells and does more",)


def test_survey_raises_when_the_server_is_away(fakes):
    fakes.say("qstat", {"--version": OPENPBS_VERSION}, otherwise=DOWN)
    with pytest.raises(StageError, match="cannot connect to server"):
        pbs.SCHEDULER.survey()


def test_the_dialect_is_asked_for_once(fakes):
    fakes.add("qstat", f"echo '{TORQUE_VERSION}' >&2")
    assert pbs.detect_dialect() == pbs.detect_dialect() == "torque"
    assert len(fakes.calls("qstat")) == 1


def test_states_of_running_and_ended_jobs_take_two_calls(fakes):
    running = RUNNING_OPENPBS.replace("41.pbs1", "41.pbs1.cluster")
    (fakes.folder.parent / "running.txt").write_text(running)
    (fakes.folder.parent / "ended.txt").write_text(ended(42, "0"))
    fakes.add("qstat", f"""case "$*" in
    '-f 41.pbs1 42.pbs1 43.pbs1') cat '{fakes.folder.parent}/running.txt'; {FINISHED} ;;
    '-x -f 42.pbs1 43.pbs1') cat '{fakes.folder.parent}/ended.txt'; {UNKNOWN} ;;
    *) exit 64 ;;
    esac""")  # fmt: skip
    states = pbs.SCHEDULER.states(["41.pbs1", "42.pbs1", "43.pbs1"])
    assert {job: state.phase for job, state in states.items()} == {
        "41.pbs1": "running", "42.pbs1": "done", "43.pbs1": "unknown",
    }  # fmt: skip


def test_torque_is_never_asked_with_x(fakes):
    fakes.add("qstat", UNKNOWN)
    assert pbs.ask_states(["9"]) == {"9": JobState("unknown")}
    assert fakes.calls("qstat") == ["qstat -f 9"]


def test_no_answer_is_not_the_same_as_an_unknown_job(fakes):
    fakes.add("qstat", DOWN)
    with pytest.raises(StageError, match="exit code 162"):
        pbs.ask_states(["9"])
    assert pbs.SCHEDULER.states(["9"]) == {"9": JobState("unknown")}


def test_a_server_that_is_away_may_end_qstat_with_0(fakes):
    fakes.add("qstat", "echo 'qstat: cannot connect to server pbs1 (errno=15010)' >&2")
    with pytest.raises(StageError, match="cannot connect to server"):
        pbs.ask_states(["9"])


def test_a_history_that_is_not_kept_knows_nothing(fakes):
    no_history = "echo 'qstat: PBS is not configured to maintain job history' >&2"
    fakes.add("qstat", f'case "$1" in -x) {no_history} ;; *) {FINISHED} ;; esac')
    assert pbs.ask_states(["9.pbs1"]) == {"9.pbs1": JobState("unknown")}


def test_cancel_passes_over_what_is_gone(fakes):
    fakes.add("qdel", 'echo "qdel: Unknown Job Id 1.pbs1" >&2; echo "qdel: Job has finished 2.pbs1" >&2; exit 35')
    pbs.SCHEDULER.cancel(["1.pbs1", "2.pbs1"])
    assert fakes.calls("qdel") == ["qdel 1.pbs1 2.pbs1"]
    fakes.add("qdel", 'echo "qdel: Unauthorized Request 1.pbs1" >&2; exit 159')
    with pytest.raises(StageError, match="Unauthorized Request"):
        pbs.SCHEDULER.cancel(["1.pbs1"])


def test_outside_of_a_job(fakes):
    assert pbs.SCHEDULER.own_job() is None
    assert pbs.SCHEDULER.node_address() == ""
    assert fakes.calls() == []


def test_own_job_of_openpbs(fakes, tmp_path, monkeypatch):
    nodes = tmp_path / "nodes"
    nodes.write_text("node1.cluster\nnode1.cluster\nnode2.cluster\n")
    environment = {"PBS_JOBID": "41.pbs1", "PBS_QUEUE": "workq", "PBS_NODEFILE": str(nodes)}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    fakes.say("qstat", {"-f 41.pbs1": RUNNING_OPENPBS})
    found = find_own_job()
    assert found is not None
    scheduler, job = found
    assert (scheduler.name, job.id, job.queue, job.account) == ("pbs", "41.pbs1", "workq", "physics")
    assert job.nodes == ("node1.cluster", "node2.cluster")
    assert job.restarts == 2
    assert job.ends_at == time.mktime((2026, 11, 23, 19, 30, 0, 0, 0, -1))
    monkeypatch.setattr("socket.gethostname", lambda: "node2")
    assert scheduler.node_address() == "node2.cluster"
    assert len(fakes.calls("qstat")) == 1


def test_own_job_of_torque_when_the_server_is_silent(fakes, tmp_path, monkeypatch):
    nodes = tmp_path / "nodes"
    nodes.write_text("node1\n")
    for name, value in {"PBS_JOBID": "7.t", "PBS_WALLTIME": "600", "PBS_NODEFILE": str(nodes)}.items():
        monkeypatch.setenv(name, value)
    fakes.add("qstat", DOWN)
    job = pbs.SCHEDULER.own_job()
    assert job is not None
    assert job.ends_at == nodes.stat().st_mtime + 600
    assert (job.nodes, job.restarts, job.queue) == (("node1",), 0, "")


def test_own_job_never_raises(fakes, monkeypatch):
    monkeypatch.setenv("PBS_JOBID", "7.t")
    monkeypatch.setenv("PBS_NODEFILE", "/nowhere/nodes")
    monkeypatch.setenv("PBS_WALLTIME", "soon")
    job = pbs.SCHEDULER.own_job()
    assert job is not None
    assert (job.nodes, job.ends_at) == ((), None)
