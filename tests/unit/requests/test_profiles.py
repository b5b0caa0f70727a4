"""Profiles as they are read: without Snakemake, and as Snakemake would."""

from pathlib import Path

import pytest
import yaml

from headrace.errors import InputError
from headrace.requests.profile_text import choose, render_profile
from headrace.requests.profiles import (
    Profile,
    as_written,
    find_profile,
    in_force,
    overridden,
    parse_value,
    read_profile,
)
from sample_surveys import PBS, SLURM


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def write(text: str, path: str = "slurm/config.yaml") -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def read(text: str) -> Profile:
    return read_profile(str(write(text)))


def test_a_generated_profile_is_read_as_it_was_meant():
    found = read(render_profile(SLURM, choose(SLURM, account="physics")))
    assert found.scheduler == "slurm"
    assert found.config == {"runs_per_job": 8, "device": "cuda"}
    assert found.defaults == {"slurm_partition": "cpu", "slurm_account": "physics"}
    assert found.overrides["train_cnn"] == {"gpu": 1, "slurm_partition": "gpu"}
    assert found.overrides["shard"] == {"dask_cluster": "slurm", "dask_workers": 4, "dask_worker_mem_mb": 1024}
    assert found.notes == ()


def test_a_generated_profile_for_pbs_is_known_by_its_commands():
    assert read(render_profile(PBS, choose(PBS))).scheduler == "pbs"


@pytest.mark.parametrize(
    ("text", "scheduler"),
    [
        ("executor: slurm", "slurm"),
        ("executor: cluster-generic\ncluster-generic-submit-cmd: qsub -V", "pbs"),
        ("executor: cluster-generic\ncluster-generic-submit-cmd: bsub", None),
        ("executor: local", None),
        ("cores: 4", None),
    ],
)
def test_the_scheduler_follows_from_the_executor(text, scheduler):
    assert read(text).scheduler == scheduler


def test_what_is_stated_for_a_rule_beats_defaults_and_is_beaten_by_overrides():
    profile = read(
        """
        default-resources: {mem_mb: 1, slurm_partition: a, qos: q}
        set-resources: {shard: {runtime: 3, slurm_partition: b}}
        set-threads: {shard: 7}
        """
    )
    assert profile.resources({"shard": {"mem_mb": 2, "runtime": 2, "threads": 2}, "other": {"mem_mb": 5}}) == {
        "shard": {"mem_mb": 2, "runtime": 3, "threads": 7, "slurm_partition": "b", "qos": "q"},
        "other": {"mem_mb": 5, "slurm_partition": "a", "qos": "q"},
    }


def test_older_lists_are_read_too():
    profile = read(
        """
        default-resources: [mem_mb=2000, "slurm_account=a=b"]
        set-resources: ["train_cnn:gpu=1", "train_cnn:slurm_partition='max'"]
        set-threads: [train_cnn=3]
        config: [runs_per_job=2]
        """
    )
    assert profile.defaults == {"mem_mb": 2000, "slurm_account": "a=b"}
    assert profile.overrides == {"train_cnn": {"gpu": 1, "slurm_partition": "max", "threads": 3}}
    assert profile.config == {"runs_per_job": "2"}


@pytest.mark.parametrize(
    ("key", "raw", "value"),
    [
        ("mem_mb", 4000, 4000),
        ("mem_mb", "4000", 4000),
        ("mem_mb", 4000.2, 4001),
        ("mem", "8GB", 8000),
        ("mem", "8 GiB", 8590),
        ("mem", "500m", 500),
        ("mem", "16G", 16000),
        ("mem_mib", 1000, 1049),
        ("runtime", 90, 90),
        ("runtime", "2h", 120),
        ("runtime", "1.5d", 2160),
        ("runtime", "30 minutes", 30),
        ("runtime", "100s", 1),
        ("gpu", "1", 1),
        ("slurm_partition", "cpu", "cpu"),
        ("slurm_partition", "'max'", "max"),
        ("slurm_partition", 7, 7),
        ("slurm_extra", "'--nice=10'", "--nice=10"),
        ("slurm_extra", "'broken", "'broken"),
    ],
)
def test_values_are_what_snakemake_makes_of_them(key, raw, value):
    assert parse_value(key, raw) == value


@pytest.mark.parametrize(
    ("key", "raw"),
    [
        *(("mem", raw) for raw in ("8GB", "8GiB", "500m", "16G", "1.5t", "512kb", "7", "100mib", "2h", "3 b")),
        *(
            ("runtime", raw)
            for raw in ("2h", "90s", "0.5d", "1w", "30minutes", "45 min", "7", "90m", "100mib", "1 sec")
        ),
    ],
)
def test_units_are_those_of_snakemake(key, raw):
    from snakemake.exceptions import WorkflowError
    from snakemake.resources import Resource

    try:
        wanted = Resource.parse_human_friendly(key, raw)
    except WorkflowError:
        wanted = None
    assert parse_value(key, raw) == wanted


@pytest.mark.parametrize(
    "raw", ["attempt * 4000", "max(1, 2)", "2 * 3", "lambda w: 3", "soon", "1d 12h", True, None, float("nan")]
)
@pytest.mark.parametrize("key", ["mem_mb", "runtime", "mem"])
def test_expressions_have_no_value_here(key, raw):
    assert parse_value(key, raw) is None


def test_expressions_are_told_in_a_line_and_left_out():
    profile = read("set-resources: {train_cnn: {mem_mb: attempt * 4000, gpu: 1}}")
    assert profile.overrides == {"train_cnn": {"gpu": 1}}
    assert profile.stated == {"train_cnn": {"mem_mb": "attempt * 4000", "gpu": 1}}
    assert profile.notes == (
        "slurm/config.yaml: train_cnn: mem_mb: attempt * 4000: an expression, which only Snakemake evaluates; "
        "not checked here",
    )


def test_yte_is_never_run_but_told():
    profile = read(
        """
        __use_yte__: true
        __definitions__: [import os]
        executor: slurm
        ?if os.environ.get("X"):
          jobs: 3
        set-resources: {shard: {mem_mb: 3, runtime: '?1 + 1'}}
        """
    )
    assert profile.scheduler == "slurm"
    assert profile.overrides == {"shard": {"mem_mb": 3}}
    (note,) = profile.notes
    assert '?if os.environ.get("X"), runtime: expressions (YTE)' in note


def test_question_marks_mean_nothing_without_yte():
    assert read("executor: slurm\nset-resources: {shard: {qos: '?x'}}").overrides == {"shard": {"qos": "?x"}}


class TestFinding:
    """As Snakemake looks: a file, a folder here, a folder of the user's."""

    def test_a_file_a_folder_and_a_link(self):
        file = write("executor: slurm")
        Path("link").symlink_to("slurm")
        assert find_profile("slurm") == find_profile(str(file)) == file
        assert find_profile("link") == Path("link/config.yaml")

    def test_the_newest_file_that_this_snakemake_may_read(self):
        for name in ("config.yaml", "config.v8+.yaml", "config.v9+.yaml", "config.v10+.yaml", "config.yaml.before"):
            write("executor: slurm", f"slurm/{name}")
        assert find_profile("slurm").name == "config.v9+.yaml"

    def test_the_users_own(self, tmp_path):
        write("executor: slurm", "home/.config/snakemake/site/config.yaml")
        assert find_profile("site") == tmp_path / "home/.config/snakemake/site/config.yaml"

    def test_what_is_not_there_is_refused(self):
        write("executor: slurm")
        with pytest.raises(InputError, match=r"--profile lsf: no such profile in this folder; here: slurm; `headrace"):
            find_profile("lsf")
        Path("empty").mkdir()
        with pytest.raises(InputError, match="--profile empty: no such profile"):
            find_profile("empty")

    @pytest.mark.parametrize("text", ["", "[]", "a: 1\na: 2", "\x00"])
    def test_what_is_no_profile_is_refused(self, text):
        with pytest.raises(InputError):
            read(text)


class TestInForce:
    """What the rules of a running Snakemake ask for."""

    class Rule:
        name = "shard"

        def __init__(self, **stated):
            from snakemake.cli import parse_set_resources
            from snakemake.resources import Resources

            self.resources = Resources.from_mapping({"_cores": 2, "_nodes": 1, "mem_mb": 5, "runtime": lambda: 3})
            entries = [f"shard:{key}={value}" for key, value in stated.items()]
            self.resources.update(parse_set_resources(entries).get("shard", Resources()))

    def test_threads_go_by_their_usual_name_and_functions_are_left_out(self):
        assert in_force([self.Rule()]) == {"shard": {"threads": 2, "_nodes": 1, "mem_mb": 5}}

    def test_text_that_snakemake_keeps_as_an_expression_is_read(self):
        found = in_force([self.Rule(slurm_partition="gpu-a", slurm_account="'max'", mem="8GB", runtime="2h", gpu=1)])
        assert found["shard"] == {
            **{"threads": 2, "_nodes": 1, "slurm_partition": "gpu-a", "slurm_account": "max", "mem_mb": 8000},
            **{"runtime": 120, "gpu": 1},
        }

    def test_real_expressions_are_left_out(self):
        found = in_force([self.Rule(mem_mb="attempt * 100", dask_options="a=b,c=d")])
        assert found["shard"] == {"threads": 2, "_nodes": 1, "dask_options": "a=b,c=d"}


def test_what_is_overridden_is_read_as_snakemake_holds_it():
    from snakemake.cli import parse_set_resources, parse_set_threads

    threads = parse_set_threads(["shard=3", "train_fnn=4", "evaluate=max(1, 2)"])
    resources = parse_set_resources(["shard:mem_mb=5", "shard:runtime=attempt * 3", "report:slurm_partition=gpu-a"])
    assert as_written(threads, resources) == {
        "shard": {"threads": 3, "mem_mb": 5, "runtime": "attempt * 3"},
        "train_fnn": {"threads": 4},
        "evaluate": {"threads": "max(1, 2)"},
        "report": {"slurm_partition": "gpu-a"},
    }
    assert overridden(as_written(threads, resources)) == {
        "shard": {"threads": 3, "mem_mb": 5},
        "train_fnn": {"threads": 4},
        "evaluate": {},
        "report": {"slurm_partition": "gpu-a"},
    }
    assert overridden(as_written({"shard": 3}, {"shard": {"mem_mb": 5}})) == {"shard": {"threads": 3, "mem_mb": 5}}
    assert overridden(as_written({}, {})) == {}


def test_snakemake_reads_the_same(tmp_path):
    """Through its own parsers of profiles and resources."""
    from snakemake.cli import parse_set_resources
    from snakemake.profiles import ProfileConfigFileParser

    file = write(render_profile(SLURM, choose(SLURM, account="shared")))
    with file.open() as stream:
        parsed = ProfileConfigFileParser().parse(stream)
    stated = parse_set_resources(parsed["set-resources"])
    ours = read_profile("slurm").overrides
    assert stated.keys() == ours.keys() == yaml.safe_load(file.read_text())["set-resources"].keys()

    def value(resource):
        if not resource.is_evaluable():
            return resource.value
        return resource.evaluate(None, input=None, attempt=1, threads=1, rulename="", async_run=None).value

    for rule, resources in stated.items():
        assert {name: value(resource) for name, resource in resources.items()} == ours[rule]
