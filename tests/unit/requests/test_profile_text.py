"""Profiles as they are written: what is chosen, what Snakemake makes of it, and what is kept."""

import ast
import builtins
import difflib
import json
import string
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headrace.commands import profile as command
from headrace.errors import InputError
from headrace.registry import list_kinds
from headrace.requests.defaults import MAX_RUNTIME_MIN
from headrace.requests.profile_text import (
    MAX_ROWS,
    SNAKEMAKE_NAMES,
    Choice,
    choose,
    list_queues,
    quote_resource,
    render_profile,
    write_profile,
)
from headrace.schedulers.base import Queue, Survey, list_schedulers
from sample_surveys import CANCELS, CPU, DOWN, EMPTY, GPU, PBS, SHORT, SLURM, SMALL

ROOT = Path(__file__).parents[3]
QUEUE_KEYS = {"slurm": "slurm_partition", "pbs": "pbs_queue"}


def render(survey, **wanted):
    return yaml.safe_load(render_profile(survey, choose(survey, **wanted)))


@pytest.mark.parametrize("name", ["slurm", "pbs"])
def test_the_generic_profile_is_what_is_written_for_a_scheduler_that_says_nothing(name, fix):
    path, wanted = (
        ROOT / "workflow" / "profiles" / name / "config.yaml",
        render_profile(EMPTY[name], choose(EMPTY[name])),
    )
    if fix:
        path.parent.mkdir(exist_ok=True)
        path.write_text(wanted, encoding="utf-8")
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = difflib.unified_diff(found.splitlines(), wanted.splitlines(), "as it is", "as the code says", lineterm="")
    repair = "to repair: .venv/bin/python -m pytest tests/unit/requests/test_profile_text.py --fix"
    assert found == wanted, "\n".join([*lines, repair])


@pytest.mark.parametrize("name", ["slurm", "pbs"])
def test_a_link_leads_from_the_root_to_the_profile(name):
    assert (ROOT / name).is_symlink()
    assert (ROOT / name / "config.yaml").is_file()


def test_every_scheduler_has_a_profile():
    assert set(list_schedulers()) == set(EMPTY)


@pytest.mark.parametrize("survey", [*EMPTY.values(), SLURM, SMALL, PBS], ids=lambda survey: str(survey.version))
def test_every_profile_names_the_executor_and_every_stage_on_dask(survey):
    found = render(survey)
    assert found["executor"] == {"slurm": "slurm", "pbs": "cluster-generic"}[survey.scheduler]
    assert found["config"]["device"] == ("cuda" if any(queue.gpus_per_node for queue in survey.queues) else "cpu")
    for rule in ("shard", "preprocess"):
        assert found["set-resources"][rule]["dask_cluster"] == survey.scheduler


@pytest.mark.parametrize(("survey", "key"), [(SLURM, "slurm_partition"), (PBS, "pbs_queue")])
def test_training_and_evaluation_go_where_the_gpus_are(survey, key):
    found = render(survey)
    assert found["default-resources"][key] == "cpu"
    for rule in (*(f"train_{family}" for family in list_kinds("models")), "evaluate"):
        assert found["set-resources"][rule] == {"gpu": 1, key: "gpu"}


def test_without_gpus_training_stays_on_cpus():
    found = render(SMALL)
    assert found["set-resources"]["train_cnn"] == {"gpu": 0}
    assert found["slurm-no-account"] is True


def test_the_status_command_follows_the_accounting():
    assert render(SLURM)["slurm-status-command"] == "sacct"
    assert render(SMALL)["slurm-status-command"] == render(EMPTY["slurm"])["slurm-status-command"] == "squeue"


def test_nothing_is_guessed_about_a_scheduler_that_says_nothing():
    found = render(EMPTY["slurm"])
    assert "default-resources" not in found
    assert "slurm-no-account" not in found


def test_of_several_accounts_none_is_chosen_and_a_single_one_is():
    assert "slurm_account" not in render(SLURM)["default-resources"]
    assert "physics, shared" in render_profile(SLURM, choose(SLURM))
    assert render(replace(SLURM, accounts=("physics",)))["default-resources"]["slurm_account"] == "physics"
    assert render(SLURM, account="Shared")["default-resources"]["slurm_account"] == "Shared"


def test_what_a_partition_allows_becomes_the_runtime_where_the_data_might_ask_for_more():
    found = render(SLURM, queue="short")["set-resources"]
    assert found["shard"]["runtime"] == found["preprocess"]["runtime"] == 30
    assert "runtime" not in found["evaluate"]
    only = Survey("slurm", "1", (replace(SHORT, is_default=True), replace(GPU, max_runtime_min=MAX_RUNTIME_MIN)))
    assert render(only)["set-resources"]["shard"]["runtime"] == 30
    assert "runtime" not in render(only)["set-resources"]["train_cnn"]


def test_a_partition_that_is_down_or_loses_jobs_is_never_chosen_unasked():
    survey = Survey("slurm", "1", (replace(CANCELS, is_default=True), DOWN, SHORT))
    found = choose(survey)
    assert found.cpu == SHORT
    assert found.gpu is None
    (note,) = found.notes
    assert note.startswith("no partition with GPUs was chosen (--gpu-partition NAME takes one all the same): spare")
    assert "waits for such a job for ever; old is down" in note
    assert note in " ".join(line.strip("# ") for line in render_profile(survey, found).splitlines())


def test_what_is_asked_for_is_taken_and_its_dangers_told():
    found = choose(SLURM, queue="short", gpu_queue="spare")
    assert (found.cpu, found.gpu) == (SHORT, CANCELS)
    assert "for ever" in found.notes[0]


def test_pbs_may_cancel_what_it_preempts():
    assert choose(Survey("pbs", "1", (replace(CANCELS, is_default=True),))).notes == ()


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"queue": "cpuu"}, "no partition 'cpuu' here; allowed: cpu, gpu, short, spare, old (did you mean 'cpu'?)"),
        ({"gpu_queue": "cpu"}, "cpu: has no GPU; with GPUs: gpu, spare, old"),
        (
            {"account": "fysics"},
            "account 'fysics' is none of yours; allowed: physics, shared (did you mean 'physics'?)",
        ),
    ],
)
def test_what_is_not_there_is_refused(wanted, words):
    with pytest.raises(InputError) as caught:
        choose(SLURM, **wanted)
    assert str(caught.value) == words


def test_the_default_is_preferred_then_what_lasts_and_has_most_nodes():
    long = replace(CPU, name="long", is_default=False, num_nodes=5)
    assert choose(Survey("slurm", "1", (SHORT, long, CPU))).cpu == CPU
    assert choose(Survey("slurm", "1", (SHORT, long, replace(long, name="larger", num_nodes=6)))).cpu.name == "larger"
    assert choose(Survey("slurm", "1", (GPU, long))).cpu == long
    assert choose(Survey("slurm", "1", (GPU,))).cpu == GPU


def test_where_queues_look_alike_their_names_tell():
    alike = [replace(GPU, name=name) for name in ("batch", "gpu_a100", "other")]
    found = choose(Survey("pbs", "torque", tuple(alike)))
    assert (found.cpu.name, found.gpu.name) == ("batch", "gpu_a100")


@pytest.mark.parametrize("survey", [*EMPTY.values(), SLURM, SMALL, PBS], ids=lambda survey: str(survey.version))
def test_lines_stay_short(survey):
    assert [line for line in render_profile(survey, choose(survey)).splitlines() if len(line) > 120] == []


def test_queues_are_listed_in_columns():
    lines = list_queues(SLURM.queues)
    assert lines[0].split() == ["cpu*", "20", "nodes", "64", "cores", "250", "GiB", "no", "GPU", "up", "to", "3", "d"]
    assert lines[3].endswith("preempted jobs: cancel")
    assert lines[4].endswith("down")
    assert len({line.index(" node") for line in lines}) <= 2
    assert list_queues([CPU] * (MAX_ROWS + 2))[-1] == "... and 2 more"
    assert list_queues([]) == []


class TestNames:
    """Names that a scheduler gives become YAML, then what Snakemake evaluates: they must come out as they were."""

    @staticmethod
    def evaluated(text):
        """As Snakemake does it: YAML, then Python where it reads as an expression without unknown names."""
        value = yaml.safe_load(f"key: {quote_resource(text)}")["key"]
        assert isinstance(value, str)
        if value[:1] in "'\"":
            return ast.literal_eval(value)
        assert value.isidentifier()
        assert value not in {*dir(builtins), *SNAKEMAKE_NAMES}
        return value

    @pytest.mark.parametrize(
        "name", ["cpu", "max", "input", "gpu-a100", "2-1", "007", "1e3", "yes", "class", "all", "n_1"]
    )
    def test_a_name_survives(self, name):
        assert self.evaluated(name) == name

    @given(st.text(string.printable, min_size=1))
    def test_any_name_survives(self, name):
        assert self.evaluated(name) == name

    def test_plain_names_stay_plain(self):
        assert quote_resource("gpu") == "gpu"
        assert quote_resource("max") == json.dumps("'max'")

    def test_snakemake_has_no_names_that_are_not_known_here(self):
        from snakemake import ioutils

        namespace: dict = {}
        ioutils.register_in_globals(namespace)
        assert set(namespace) <= SNAKEMAKE_NAMES

    def test_a_hostile_scheduler_writes_no_yaml(self):
        name = "x\nexecutor: local #'\""
        queue = Queue(name, is_default=True, gpus_per_node=1, gpu_types=("a\nb: c",), max_runtime_min=10)
        survey = Survey("slurm", "1\nkeep: 1", (queue,), ("a\nb: 2",), notes=("n\nm: 3",))
        found = render(survey)
        assert found.keys() == {*render(SLURM).keys()}
        assert found["executor"] == "slurm"
        assert ast.literal_eval(found["default-resources"]["slurm_partition"]) == name


class TestWriting:
    """Nothing that somebody wrote is lost."""

    def test_a_new_file_is_written(self, tmp_path):
        path = tmp_path / "folder" / "config.yaml"
        assert write_profile(path, "a\n") is None
        assert path.read_text() == "a\n"

    def test_what_was_edited_is_kept_each_time(self, tmp_path):
        path = tmp_path / "config.yaml"
        path.write_text("mine\n")
        assert write_profile(path, "a\n") == tmp_path / "config.yaml.before"
        assert write_profile(path, "b\n") == tmp_path / "config.yaml.before-2"
        assert write_profile(path, "b\n") is None
        assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
            "config.yaml": "b\n",
            "config.yaml.before": "mine\n",
            "config.yaml.before-2": "a\n",
        }

    def test_the_generic_profile_needs_not_be_kept(self, tmp_path):
        path = tmp_path / "config.yaml"
        path.write_text(render_profile(EMPTY["slurm"], choose(EMPTY["slurm"])))
        assert write_profile(path, "b\n") is None
        assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]


class TestCommand:
    """headrace profile"""

    @pytest.fixture(autouse=True)
    def _asked(self, monkeypatch, tmp_path):
        class Scheduler:
            def survey(self):
                return SLURM

        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("headrace.schedulers.base.load_scheduler", lambda name: Scheduler())

    @staticmethod
    def main(*arguments):
        from headrace.__main__ import main

        return main(["profile", "slurm", *arguments])

    def test_it_prints_and_writes_nothing(self, capsys, tmp_path):
        assert self.main("--print", "--partition", "short") == 0
        assert capsys.readouterr().out == render_profile(SLURM, choose(SLURM, "short"))
        assert not list(tmp_path.iterdir())

    def test_it_writes_and_says_what_it_chose(self, capsys, tmp_path):
        (tmp_path / "p").mkdir()
        (tmp_path / "p" / "config.yaml").write_text("mine")
        assert self.main("--output", "p/config.yaml", "--account", "shared", "--gpu-partition", "spare") == 0
        written, kept, note, then = capsys.readouterr().out.splitlines()
        assert written == "written: p/config.yaml: jobs go to cpu; training on GPUs in spare; shared pays"
        assert kept == "kept what stood there as p/config.yaml.before"
        assert note.startswith("note: spare cancels jobs that it preempts")
        assert then.startswith("next: headrace plan CONFIG --profile p/config.yaml")
        assert (tmp_path / "p" / "config.yaml").read_text() == render_profile(
            SLURM, choose(SLURM, gpu_queue="spare", account="shared")
        )

    def test_a_mistake_is_one_line(self, capsys):
        assert self.main("--queue", "nowhere") == 2
        assert len(capsys.readouterr().err.splitlines()) == 1

    def test_without_a_choice_the_scheduler_decides(self):
        said = command._describe(Choice(None, None, "", ()))
        assert said == "jobs go to the scheduler's default; training on CPUs"


@pytest.mark.parametrize(
    ("num_nodes", "cpus_per_node", "workers"),
    [(100, 64, 4), (2, 4, 3), (1, 4, 1), (1, 1, 1), (5, 2, 4), (3, 2, 2), (2, None, 4), (0, 8, 4)],
)
def test_workers_of_two_stages_find_a_place_beside_each_other(num_nodes, cpus_per_node, workers):
    queue = Queue("cpu", is_default=True, num_nodes=num_nodes, cpus_per_node=cpus_per_node)
    profile = render(replace(SLURM, queues=(queue,)))
    for stage in ("shard", "preprocess"):
        assert profile["set-resources"][stage]["dask_workers"] == workers
    assert profile["resources"]["dask_jobs"] == 2
