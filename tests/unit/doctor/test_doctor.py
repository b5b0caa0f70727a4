"""The doctor: real folders, real packages, and schedulers made of small scripts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fake_commands import FakeCommands
from headrace.__main__ import main
from headrace.doctor import folders, scheduling, software, trial
from headrace.doctor.findings import Finding, guard, ok, problem, render, warning
from headrace.doctor.trial import Trial
from headrace.errors import StageError
from headrace.schedulers.base import Queue, load_scheduler
from headrace.schedulers.slurm import scheduler as slurm

CONFIG = "AccountingStorageType = accounting_storage/none\nMinJobAge = 300 sec\nSLURM_VERSION = 22.05.8\n"
PARTITION = "PartitionName=cpu Default={default} MaxTime=1-00:00:00 MaxNodes=UNLIMITED State={state} PriorityTier=1\n"
NODES = "cpu|c1|4|4000|gpu:a100:2|idle\ncpu|c2|4|4000|gpu:a100:2|idle\n"
DOWN = "echo 'error: Unable to contact slurm controller (connect failure)' >&2; exit 1"
RUN = """\
for script; do :; done
case "$script" in
*inner.sh) {inner} ;;
*) echo 17; sh "$script" > "${{script%.sh}}.log" 2>&1 & ;;
esac"""
NVIDIA_SMI = """\
case "$*" in
*query*) echo 'NVIDIA H100 80GB HBM3'; echo 'NVIDIA H100 80GB HBM3' ;;
*) echo '| NVIDIA-SMI 550.54.15    Driver Version: 550.54.15    CUDA Version: 12.4  |' ;;
esac"""


@pytest.fixture
def commands(tmp_path, monkeypatch) -> FakeCommands:
    slurm._config.cache_clear()
    slurm._describe.cache_clear()
    return FakeCommands(tmp_path, monkeypatch)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEADRACE_ARTIFACTS", raising=False)
    monkeypatch.delenv("HEADRACE_RESULTS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(software.__file__).parents[2]))


@pytest.fixture
def with_slurm(commands) -> FakeCommands:
    """A SLURM that answers, and starts each job at once."""
    commands.say("scontrol", {"show config": CONFIG, "show partition": PARTITION.format(default="YES", state="UP")})
    commands.say("sinfo", {"--Node": NODES})
    commands.say("squeue", {"%i": "17|17|RUNNING|None|c1\n"})
    commands.add("sbatch", RUN.format(inner="echo 18"))
    commands.add("scancel", "exit 0")
    return commands


def levels(findings) -> list[str]:
    return [finding.level for finding in findings]


def only(findings) -> Finding:
    (finding,) = findings
    return finding


def test_findings_are_aligned():
    assert render(ok("python", "3.11")) == "ok       python       3.11"
    line, fix = render(problem("packages", "torch is missing", "`make setup`")).splitlines()
    assert line.index("torch") == fix.index("->")
    assert render(warning("slurm", "a note")).count("\n") == 0


def test_a_check_that_stumbles_hides_no_other():
    def check():
        yield ok("a", "fine")
        raise PermissionError("no\nway")

    first, second = guard("a", check)
    assert (first.level, second.level, second.said) == (
        "ok",
        "warning",
        "could not be checked: PermissionError: no way",
    )


def test_this_python_and_these_packages_fit():
    assert levels(software.check_python()) == ["ok"]
    assert levels(software.check_packages()) == ["ok"]


def test_packages_that_do_not_fit_are_named():
    finding = only(software.check_packages(["numpy<1", "no-such-package>=2", "pytest>=1", 'absent; extra == "test"']))
    assert finding.level == "problem"
    assert re.fullmatch(r"numpy is [\d.]+ and must be <1; no-such-package is missing", finding.said)
    assert "make setup" in finding.fix


def test_plugins_are_imported(commands, monkeypatch):
    finding = only(software.check_plugins())
    assert finding.level == "ok"
    assert "load in" in finding.said
    monkeypatch.setattr(software, "SLOW_PLUGIN_S", 0)
    assert only(software.check_plugins()).level == "warning"


def test_plugins_that_cannot_be_imported_are_a_problem(commands):
    # The one for SLURM looks for commands by this command, at its import.
    (commands.folder / "which").unlink()
    finding = only(software.check_plugins())
    assert finding.level == "problem"
    assert "which" in finding.said


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("__version__ = '2.13.0+cu126'\ncuda: Optional[str] = '12.6'\nhip: Optional[str] = None\n", "12.6"),
        ("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\n", ""),
        ("cuda = '13.0'\n", "13.0"),
        ("", ""),
    ],
)
def test_the_cuda_version_of_a_build(text, version):
    assert software.read_cuda_version(text) == version


no_gpu = pytest.mark.skipif(software.NVIDIA_DEVICE.exists(), reason="this machine has a GPU")


@no_gpu
def test_without_a_gpu_torch_is_not_imported(commands):
    start = time.monotonic()
    finding = only(software.check_torch(wanted=False, cluster_has_gpus=False))
    assert time.monotonic() - start < 1
    assert finding.level == "ok"
    assert "no GPU on this machine" in finding.said


@no_gpu
def test_a_gpu_that_torch_does_not_see_is_a_problem(commands):
    commands.add("nvidia-smi", NVIDIA_SMI)
    assert software.ask_driver() == (["NVIDIA H100 80GB HBM3"] * 2, "12.4")
    finding = only(software.check_torch(wanted=False, cluster_has_gpus=False))
    assert finding.level == "problem"
    assert finding.said.endswith("it sees no GPU, and the driver does: NVIDIA H100 80GB HBM3")
    assert finding.fix


@no_gpu
def test_a_gpu_that_is_wanted_and_not_there_is_a_problem(commands):
    assert levels(software.check_torch(wanted=True, cluster_has_gpus=False)) == ["problem"]


@pytest.mark.parametrize(
    ("cuda", "driver", "words"),
    [
        ("", "12.4", "install a build for a CUDA version of at most 12.4"),
        ("13.0", "12.4", "the driver runs CUDA up to 12.4, torch was built for 13.0"),
        ("12.6", "12.4", "CUDA_VISIBLE_DEVICES"),
        ("12.6", "", "CUDA_VISIBLE_DEVICES"),
    ],
)
def test_why_torch_sees_no_gpu(cuda, driver, words):
    assert words in software._explain_blindness(cuda, driver)


def test_a_driver_that_fails_names_no_gpu(commands):
    commands.add("nvidia-smi", "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    assert software.ask_driver() == ([], "")


def check_slurm() -> list[Finding]:
    return list(scheduling.check_scheduler(load_scheduler("slurm"), {}))


def test_no_scheduler_is_fine(commands):
    schedulers = [load_scheduler(name) for name in ("slurm", "pbs")]
    assert check_slurm() == []
    finding = only(scheduling.check_none(schedulers))
    assert finding.level == "ok"
    assert "fine for a laptop" in finding.said
    commands.add("squeue", "exit 0")
    assert list(scheduling.check_none(schedulers)) == []


def test_half_a_scheduler_is_said(commands):
    commands.add("squeue", "exit 0")
    finding = only(check_slurm())
    assert finding.level == "warning"
    assert finding.said == "squeue here, sbatch, scancel, scontrol, sinfo missing"


@pytest.mark.parametrize(("configured", "level"), [(True, "problem"), (False, "warning")])
def test_a_controller_that_does_not_answer(with_slurm, monkeypatch, tmp_path, configured, level):
    with_slurm.add("scontrol", DOWN)
    monkeypatch.setattr(scheduling, "SLURM_CONFIG", tmp_path / "slurm.conf")
    if configured:
        (tmp_path / "slurm.conf").touch()
    finding = only(check_slurm())
    assert finding.level == level
    assert "Unable to contact slurm controller" in finding.said
    assert ("11 s" in finding.fix) == configured


def test_wrappers_of_a_slurm_that_does_not_answer_are_no_second_problem(with_slurm):
    for name in ("qsub", "qstat", "qdel"):
        with_slurm.add(name, "exit 1")
    assert levels(scheduling.check_scheduler(load_scheduler("pbs"), {})) == ["warning"]
    (with_slurm.folder / "sbatch").unlink()
    assert levels(scheduling.check_scheduler(load_scheduler("pbs"), {})) == ["problem"]


def test_what_slurm_offers(with_slurm):
    found = {finding.what: finding for finding in check_slurm()}
    assert found["slurm"].said.startswith("22.05.8, answered in ")
    assert "squeue" in found["accounting"].said
    assert found["partition"].said == "cpu (default): 2 nodes, 4 cores, 4 GiB, 2 GPUs a100; up to 24 h"
    assert found["profile"].fix == "`headrace profile slurm` writes it"


@pytest.mark.parametrize(
    ("default", "state", "level", "words"),
    [("NO", "UP", "warning", "there is no default partition"), ("YES", "DOWN", "problem", "no partition takes jobs")],
)
def test_a_slurm_that_takes_no_job_unasked(with_slurm, default, state, level, words):
    partition = PARTITION.format(default=default, state=state)
    with_slurm.say("scontrol", {"show config": CONFIG, "show partition": partition})
    finding = [finding for finding in check_slurm() if finding.what == "slurm"][-1]
    assert finding.level == level
    assert words in finding.said


def test_wrappers_of_slurm_are_not_asked_twice(with_slurm):
    surveys = {"slurm": load_scheduler("slurm").survey()}
    for name in ("qsub", "qdel"):
        with_slurm.add(name, "exit 0")
    with_slurm.say("qstat", {"-Q": "Queue: cpu\n    enabled = True\n    started = True\n"}, otherwise="exit 1")
    finding = only(scheduling.check_scheduler(load_scheduler("pbs"), surveys))
    assert finding == ok("pbs", "qsub, qstat and qdel are SLURM's wrappers: use SLURM itself")
    assert list(surveys) == ["slurm"]


def test_a_queue_in_one_line():
    queue = Queue("long", False, False, 8, 64, 262144, 4, ("a100", "h100"), 7 * 1440, 2, "requeue")
    assert scheduling.describe_queue(queue) == (
        "long: 8 nodes, 64 cores, 256 GiB, 4 GPUs a100/h100; up to 7 days; up to 2 nodes a job; "
        "more important jobs requeue yours; takes no jobs now"
    )
    assert scheduling.describe_queue(Queue("any")) == "any: 0 nodes; any time"
    assert [scheduling.describe_minutes(minutes) for minutes in (5, 90, 120, 150)] == [
        "5 min",
        "90 min",
        "2 h",
        "2.5 h",
    ]


def test_the_profile_says_where_the_trial_goes(tmp_path):
    assert scheduling.destination("slurm") == ("", "")
    (tmp_path / "slurm").mkdir()
    text = "executor: slurm\ndefault-resources: {slurm_partition: 'short,cpu', slurm_account: physics}\n"
    (tmp_path / "slurm/config.yaml").write_text(text)
    assert scheduling.destination("slurm") == ("short", "physics")


def test_the_own_job_is_said(commands, monkeypatch):
    assert list(scheduling.check_own_job()) == []
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "c[1-2]")
    assert only(scheduling.check_own_job()) == ok("job", "inside slurm job 7 on c1, c2")


def test_the_network(commands):
    def none(_: str) -> str:
        raise StageError("no network interface found")

    assert only(scheduling.check_network("", lambda _: "lo")).level == "warning"
    assert only(scheduling.check_network("", lambda _: "ib0")).level == "ok"
    finding = only(scheduling.check_network("", none))
    assert (finding.level, finding.said) == ("warning", "no network interface found")


MOUNTS = """\
21 28 0:19 / /proc rw,nosuid shared:5 - proc proc rw
28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 28 0:35 / /home rw,relatime shared:9 - nfs4 server:/home rw,vers=4.2
41 40 0:36 / /home/me/my\\040scratch rw - lustre mds@tcp:/scratch rw
42 28 0:37 / /data rw - ext4 /dev/vdb rw
43 42 0:38 / /data rw - fuse.juicefs volume rw
nonsense
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/homework", "ext4"),
        ("/home/me", "nfs4"),
        ("/home/me/my scratch/artifacts", "lustre"),
        ("/data/x", "fuse.juicefs"),
    ],
)
def test_what_a_folder_lies_on(folder, kind):
    assert folders.file_system(Path(folder), MOUNTS) == kind


def test_nothing_is_known_without_mounts():
    assert folders.file_system(Path("/home"), "") == ""


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "fuse.ceph-fuse", "fuse.sshfs"])
def test_what_nodes_share(kind):
    assert folders.SHARED.fullmatch(kind)
    assert not folders.LOCAL.fullmatch(kind)


@pytest.mark.parametrize(
    ("kind", "has_scheduler", "level", "words"),
    [
        ("nfs4", True, "ok", "lies on nfs4, which nodes share"),
        ("ext4", False, "ok", "lies on ext4"),
        ("ext4", True, "warning", "jobs on other nodes must see it"),
        ("newfs", True, "ok", "lies on newfs"),
    ],
)
def test_where_artifacts_lie(tmp_path, kind, has_scheduler, level, words):
    before = sorted(tmp_path.iterdir())
    mounts = f"1 0 0:1 / {tmp_path} rw - {kind} server rw\n"
    place, _, behaviour, *rest = folders.check_folders(
        {"artifacts": tmp_path / "not/yet", "results": tmp_path}, has_scheduler=has_scheduler, mounts=mounts
    )
    assert place.level == level
    assert words in place.said
    assert behaviour.level == "ok"
    assert behaviour.said.startswith("locks, exclusive creation, atomic replacement")
    assert rest[-1].said.endswith("lies on the same file system as artifacts")
    assert sorted(tmp_path.iterdir()) == before


def test_what_a_file_system_cannot_do_is_named(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    finding, *_ = folders.check_behaviour("artifacts", tmp_path)
    assert (finding.level, finding.said) == ("problem", "does not work there: hard links")
    assert "HEADRACE_ARTIFACTS" in finding.fix
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    finding = only(folders.check_folders({"artifacts": tmp_path / "a"}, has_scheduler=False))
    tmp_path.chmod(0o700)
    assert finding.level == "problem"
    assert "you may not write" in finding.said


@pytest.mark.parametrize(
    ("free_gib", "files", "free_files", "level"),
    [
        (500, 10**7, 10**6, "ok"),
        (500, 0, 0, "ok"),
        (5, 10**7, 10**6, "warning"),
        (500, 10**7, 5000, "warning"),
        (0.5, 10**7, 10**6, "problem"),
        (500, 10**7, 10, "problem"),
    ],
)
def test_room(tmp_path, monkeypatch, free_gib, files, free_files, level):
    state = SimpleNamespace(f_bavail=int(free_gib * 2**18), f_frsize=4096, f_files=files, f_favail=free_files)
    monkeypatch.setattr(os, "statvfs", lambda _: state)
    assert levels(folders.check_room("artifacts", tmp_path)) == [level]


def test_clocks_that_differ():
    assert list(folders.check_clock("artifacts", 1000.0, 1001.0)) == []
    assert "8 s behind" in only(folders.check_clock("artifacts", 1008.0, 1000.0)).said
    assert "8 s ahead" in only(folders.check_clock("artifacts", 1000.0, 1008.0)).said


@pytest.mark.parametrize(
    ("mask", "level"), [(0o022, "ok"), (0o077, "ok"), (0o007, "ok"), (0o000, "warning"), (0o700, "problem")]
)
def test_umask(mask, level):
    before = os.umask(mask)
    try:
        found = only(folders.check_umask())
    finally:
        assert os.umask(before) == mask
    assert found.level == level


def submitted(tmp_path: Path, **options: object) -> list[Finding]:
    return list(Trial(load_scheduler("slurm"), tmp_path / "artifacts", **options).run())  # type: ignore[arg-type]


def calls(commands: FakeCommands, name: str) -> list[str]:
    return [re.sub(r"\S*/", "", call) for call in commands.calls(name)]


def test_a_job_is_really_submitted(with_slurm, tmp_path, capsys):
    before = sorted(tmp_path.iterdir())
    answered, inner, network = submitted(tmp_path, partition="short", account="physics")
    assert (answered.level, inner.level) == ("ok", "ok")
    assert re.fullmatch(r"job 17 answered from \S+ after \d+ s; files are seen both ways", answered.said)
    assert inner.said.startswith("jobs may submit jobs")
    assert network.what == "network"
    outer, nested = with_slurm.calls("sbatch")
    for call in (outer, nested):
        assert "--partition=short --account=physics" in call
    assert calls(with_slurm, "scancel") == ["scancel 18"]
    assert {path.name for path in tmp_path.iterdir()} - {path.name for path in before} == {"calls"}
    assert "job 17 is" in capsys.readouterr().err


def test_jobs_that_may_not_submit_jobs(with_slurm, tmp_path):
    with_slurm.add("sbatch", RUN.format(inner="echo 'sbatch: error: only login nodes may submit' >&2; exit 1"))
    _, inner, _ = submitted(tmp_path)
    assert inner.level == "warning"
    assert inner.said == "jobs may not submit jobs: sbatch: sbatch: error: only login nodes may submit"
    assert "`dask_cluster: local` or `allocation`" in inner.fix


def test_a_job_that_is_refused(with_slurm, tmp_path):
    with_slurm.add("sbatch", "echo 'sbatch: error: Batch job submission failed: Invalid account' >&2; exit 1")
    finding = only(submitted(tmp_path))
    assert finding.level == "problem"
    assert finding.said.endswith("submission failed: Invalid account")
    assert with_slurm.calls("scancel") == []


@pytest.mark.parametrize(
    ("reason", "words"), [("PartitionTimeLimit", "lower `runtime`"), ("Resources", "--deadline SECONDS")]
)
def test_a_job_that_does_not_start(with_slurm, tmp_path, reason, words):
    with_slurm.add("sbatch", "echo '17;cluster'")
    with_slurm.say("squeue", {"%i": f"17|17|PENDING|{reason}|\n"})
    finding = only(submitted(tmp_path, deadline_s=0.5))
    assert finding.level == "warning"
    assert f"is pending ({reason})" in finding.said
    assert words in finding.fix
    assert with_slurm.calls("scancel") == ["scancel 17"]


@pytest.mark.parametrize(
    ("log", "words"), [("", "nothing that it wrote is seen here"), ("exec: /x/python: not found", "it wrote: exec:")]
)
def test_a_job_that_ends_without_an_answer(with_slurm, tmp_path, monkeypatch, log, words):
    monkeypatch.setattr(trial, "LATENCY_S", 0.3)
    writes = f"echo '{log}' > \"${{script%.sh}}.log\"; " if log else ""
    with_slurm.add("sbatch", f"for script; do :; done; {writes}echo 17")
    with_slurm.say("squeue", {"%i": "17|17|FAILED|NonZeroExitCode|c1\n", "exit_code": "17  32512  0\n"})
    finding = only(submitted(tmp_path))
    assert finding.level == "problem"
    assert words in finding.said
    assert sys.executable in finding.fix


def test_what_a_node_may_find_wrong():
    answer = {"host": "c1", "time": time.time() - 60, "word": "[Errno 2]", "inner": "18", "interface": "lo (127.0.0.1)"}
    seen, clock, inner, network = trial.judge(answer, "word", "17", 1.0)
    assert (seen.level, clock.level, inner.level, network.level) == ("problem", "warning", "ok", "warning")
    assert "c1's clock differs by 60 s" in clock.said


@no_gpu
def test_the_command_on_a_laptop(commands, capsys):
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("ok")][:4] == [
        "python",
        "packages",
        "snakemake",
        "scheduler",
    ]
    assert not any(line.startswith("problem") for line in lines)
    assert os.listdir() == ["fake commands"]


def test_the_command_on_a_cluster(with_slurm, capsys):
    assert main(["doctor", "--submit", "--deadline", "20"]) == 0
    out, _ = capsys.readouterr()
    assert "ok       submit       job 17 answered" in out
    assert main(["doctor"]) == 0
    assert "`headrace doctor --submit` tries" in capsys.readouterr().out


def test_a_problem_is_exit_code_1(with_slurm, monkeypatch, capsys):
    monkeypatch.setenv("SLURM_CONF", "slurm.conf")
    with_slurm.add("scontrol", DOWN)
    assert main(["doctor"]) == 1
    out, _ = capsys.readouterr()
    assert "problem  slurm" in out
    assert re.search(r"^1 problem", out, re.MULTILINE)
    assert main(["doctor", "--submit"]) == 1
    assert "problem  submit" in capsys.readouterr().out


def test_submitting_to_nobody_is_a_problem(commands, capsys):
    assert main(["doctor", "--submit"]) == 1
    assert "no scheduler answers here" in capsys.readouterr().out


def test_a_real_run_of_the_command_is_quick_and_light(tmp_path):
    code = (
        "import sys; from headrace.__main__ import main; code = main(['doctor']);"
        "heavy = {'torch', 'dask', 'distributed', 'xarray', 'zarr', 'snakemake'} & set(sys.modules);"
        "print(heavy, file=sys.stderr); sys.exit(code + 10 * bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert "ok       packages" in done.stdout
