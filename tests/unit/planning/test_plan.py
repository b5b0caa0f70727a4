"""The plan: who is identified by what, which job waits for which, and how little planning costs."""

import copy
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from headrace.errors import InputError
from headrace.experiments.reading import check_experiment, load_experiment
from headrace.planning.artifacts import artifact_path, log_path, receipt_path, spec_path
from headrace.planning.plan import Plan, Site
from headrace.planning.runs import find_obstacle
from shipped_experiments import HERE

BASE = {
    "name": "base",
    "datasets": {"digits": {"kind": "mnist5k"}, "table": {"kind": "breast_cancer"}},
    "features": {"scaled": [{"kind": "standardize"}]},
    "models": [
        {"kind": "fnn", "features": "scaled", "sweep": {"grid": {"learning_rate": [0.1, 0.2]}}},
        {"kind": "fnn", "name": "plain", "datasets": ["table"]},
        {"kind": "vae", "datasets": ["digits"], "epochs": 2},
    ],
    "training": {"seeds": [0, 1]},
    "evaluation": {"bootstrap": 10, "baseline": "fnn"},
}
BIG = {
    "name": "big",
    "datasets": {"digits": {"kind": "mnist5k"}},
    "models": [
        {
            "kind": "fnn",
            "sweep": {"random": {"samples": 1000, "parameters": {"learning_rate": {"log_uniform": [1e-5, 1e-1]}}}},
        }
    ],
    "training": {"seeds": [0, 1, 2, 3, 4]},
}
HEAVY = ("torch", "dask", "distributed", "xarray", "zarr", "sklearn", "scipy", "safetensors", "altair")


def plan_of(data=BASE, **site):
    return Plan(check_experiment(data), Site(**{"device": "cpu", **site}))


def changed(*path, to):
    """The base experiment with one value changed."""
    data = copy.deepcopy(BASE)
    *parents, last = path
    inner = data
    for key in parents:
        inner = inner[key]
    inner[last] = to
    return data


def ids(plan, *stages):
    """Ids of artifacts, of all stages or of some."""
    return {(artifact.stage, artifact.id) for artifact in plan.artifacts if not stages or artifact.stage in stages}


def runs_by_label(plan):
    return {(run.dataset, run.model, json.dumps(run.point), run.seed): run for run in plan.runs}


def test_there_is_a_run_for_every_model_point_seed_and_dataset():
    plan = plan_of()
    labels = {(run.dataset, run.model, run.point.get("learning_rate"), run.seed) for run in plan.runs}
    assert labels == {
        *(("digits", "fnn", rate, seed) for rate in (0.1, 0.2) for seed in (0, 1)),
        *(("table", "fnn", rate, seed) for rate in (0.1, 0.2) for seed in (0, 1)),
        *(("table", "plain", None, seed) for seed in (0, 1)),
        *(("digits", "vae", None, seed) for seed in (0, 1)),
    }
    assert len(plan.runs) == len(labels)
    assert {stage: len(ids(plan, stage)) for stage in ("shard", "preprocess", "train", "evaluate")} == {
        "shard": 2,
        "preprocess": 2,
        "train": 12,
        # Two of them are the references of both datasets.
        "evaluate": 12 + 2,
    }


def test_the_same_experiment_has_the_same_plan():
    one, two = plan_of(), plan_of(copy.deepcopy(BASE))
    assert [job.describe() for job in one.jobs] == [job.describe() for job in two.jobs]
    assert one.digest == two.digest


def test_the_order_of_keys_does_not_count():
    def turned(value):
        return {k: turned(v) for k, v in reversed(value.items())} if isinstance(value, dict) else value

    assert ids(plan_of(turned(BASE))) == ids(plan_of())


def test_another_process_with_another_hash_seed_plans_the_same(tmp_path):
    path = tmp_path / "base.yaml"
    path.write_text(yaml.safe_dump(BASE))
    command = [sys.executable, "-m", "headrace", "plan", str(path), "--device", "cpu"]
    tables = {
        subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(tables) == 1
    assert plan_of().runs[0].train.id in tables.pop().decode()


def test_an_id_is_a_slug_and_eight_hex_digits():
    for artifact in plan_of().artifacts:
        assert re.fullmatch(r"[A-Za-z0-9._-]+-[0-9a-f]{8}", artifact.id)
        assert artifact.identity.startswith(artifact.id[-8:])
        assert len(artifact.identity) == 64


def test_one_learning_rate_changes_only_its_runs():
    before = plan_of()
    after = plan_of(changed("models", 0, "sweep", "grid", "learning_rate", to=[0.1, 0.3]))
    old, new = runs_by_label(before), runs_by_label(after)
    gone = [label for label in old if label not in new]
    assert {label[:3] for label in gone} == {
        ("digits", "fnn", '{"learning_rate": 0.2}'),
        ("table", "fnn", '{"learning_rate": 0.2}'),
    }
    for label in old.keys() & new.keys():
        assert old[label].train.identity == new[label].train.identity
        assert old[label].evaluate.identity == new[label].evaluate.identity
    fresh = ids(after) - ids(before)
    assert len(fresh) == 8
    assert {stage for stage, _ in fresh} == {"train", "evaluate"}


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("training", "batch_size"), 64),
        (("training", "threads"), 2),
        (("training", "optimizer"), "sgd"),
        (("training", "weight_decay"), 0.1),
    ],
)
def test_what_all_runs_are_trained_with_changes_all_runs_and_no_data(path, to):
    before, after = plan_of(), plan_of(changed(*path, to=to))
    assert ids(before, "shard", "preprocess") == ids(after, "shard", "preprocess")
    references = {("evaluate", reference.evaluate.id) for reference in before.references}
    assert ids(before, "train", "evaluate") & ids(after, "train", "evaluate") == references
    assert len(references) == 2


def test_references_follow_from_data_features_and_evaluation():
    def identities(plan):
        return {(each.dataset, each.task): each.evaluate.identity for each in plan.references}

    usual = identities(plan_of())
    assert set(usual) == {("digits", "classification"), ("table", "classification")}
    more = changed("models", to=[*BASE["models"], {"kind": "cnn", "datasets": ["digits"]}])
    assert identities(plan_of(more)) == usual
    other = identities(plan_of(changed("datasets", "table", to={"kind": "breast_cancer", "split": {"seed": 1}})))
    assert {key for key in usual if usual[key] != other[key]} == {("table", "classification")}
    for data in (
        changed("features", "scaled", 0, to={"kind": "standardize", "per": "all"}),
        changed("evaluation", "bootstrap", to=20),
    ):
        assert not set(usual.values()) & set(identities(plan_of(data)).values())


def test_references_prefer_features_with_distances():
    data = changed("datasets", to={"topics": {"kind": "synthetic_sparse_topics"}})
    data["features"]["small"] = [{"kind": "truncated_svd", "rank": 3}]
    data["models"] = [{"kind": "fnn"}, {"kind": "fnn", "name": "reduced", "features": "small"}]
    data["evaluation"] = {}
    (reference,) = plan_of(data).references
    assert reference.features == "small"
    (reference,) = plan_of({**data, "models": data["models"][:1]}).references
    assert reference.features == "raw"


def test_the_order_of_models_and_of_strengths_decides_nothing():
    data = changed("evaluation", to={"bootstrap": 10, "corruption": {"noise": [0.5, 0.1]}})
    turned = {**data, "models": data["models"][::-1]}
    turned["evaluation"] = {"bootstrap": 10, "corruption": {"noise": [0.1, 0.5]}}
    assert ids(plan_of(data), "evaluate") == ids(plan_of(turned), "evaluate")


def test_a_corruption_is_asked_of_the_models_that_it_fits():
    data = changed("datasets", to={"tumours": {"kind": "breast_cancer"}, "digits": {"kind": "synthetic_images"}})
    data |= {"models": [{"kind": "linear"}], "evaluation": {"corruption": {"noise": [1], "blur": [2, 0.5]}}}
    plan = plan_of(data)
    by_dataset = {run.dataset: run for run in plan.runs if run.seed == plan.runs[0].seed}
    flat, image = by_dataset["tumours"], by_dataset["digits"]
    assert flat.evaluate.spec["corruption"] == {"noise": [1.0]}
    assert flat.describe()["uncorrupted"] == {"blur": "flat features"}
    assert image.evaluate.spec["corruption"] == {"blur": [0.5, 2.0], "noise": [1.0]}
    assert "uncorrupted" not in image.describe()
    # The code of a kind identifies what was judged with it, and nothing else.
    assert flat.evaluate.kinds == (("models", "linear"), ("corruptions", "noise"))
    without = plan_of(data | {"evaluation": {"corruption": {"noise": [1]}}})
    assert ("evaluate", flat.evaluate.id) in ids(without, "evaluate")
    assert ("evaluate", image.evaluate.id) not in ids(without, "evaluate")


def test_two_names_of_the_same_data_share_their_reference():
    data = changed("datasets", to={"one": {"kind": "breast_cancer"}, "two": {"kind": "breast_cancer"}})
    data |= {"models": [{"kind": "linear"}], "evaluation": {}}
    plan = plan_of(data)
    assert [reference.dataset for reference in plan.references] == ["one", "two"]
    assert len({reference.evaluate.id for reference in plan.references}) == 1


def test_an_override_changes_its_own_model():
    before, after = runs_by_label(plan_of()), runs_by_label(plan_of(changed("models", 2, "epochs", to=3)))
    for label, run in before.items():
        assert (run.train.identity == after[label].train.identity) == (run.model != "vae")


def test_a_default_written_out_changes_nothing():
    data = changed("training", to={"seeds": [0, 1], "epochs": 10, "weight_decay": 0, "learning_rate": 0.001})
    data["models"][1] |= {"hidden": [256, 128], "dropout": 0.1, "features": "raw"}
    data["datasets"]["table"]["split"] = {"by": "stratified", "train": 0.7}
    data["features"]["scaled"][0]["per"] = "feature"
    assert ids(plan_of(data)) == ids(plan_of())


@pytest.mark.parametrize(
    "split",
    [{"seed": 1}, {"by": "random"}, {"train": 0.6, "validation": 0.2, "test": 0.2}],
    ids=lambda split: str(split),
)
def test_another_split_changes_everything_of_its_dataset_and_nothing_else(split):
    before = plan_of()
    after = plan_of(changed("datasets", "table", to={"kind": "breast_cancer", "split": split}))
    old, new = runs_by_label(before), runs_by_label(after)
    assert before.shards["digits"].identity == after.shards["digits"].identity
    assert before.shards["table"].identity != after.shards["table"].identity
    assert before.features["table", "scaled"].identity != after.features["table", "scaled"].identity
    for label, run in old.items():
        assert (run.train.identity == new[label].train.identity) == (run.dataset == "digits")
        assert (run.evaluate.identity == new[label].evaluate.identity) == (run.dataset == "digits")


def test_another_step_changes_what_reads_its_features():
    before = runs_by_label(plan_of())
    after = runs_by_label(plan_of(changed("features", "scaled", 0, to={"kind": "standardize", "per": "all"})))
    for label, run in before.items():
        assert (run.train.identity == after[label].train.identity) == (run.features == "raw")


@pytest.mark.parametrize(
    ("path", "to"),
    [(("evaluation", "bootstrap"), 20), (("evaluation", "confidence"), 0.9), (("evaluation", "seed"), 1)],
)
def test_another_evaluation_trains_nothing_again(path, to):
    before, after = plan_of(), plan_of(changed(*path, to=to))
    assert ids(before, "shard", "preprocess", "train") == ids(after, "shard", "preprocess", "train")
    assert not ids(before, "evaluate") & ids(after, "evaluate")


def test_noise_judges_what_it_is_for_again_and_trains_nothing():
    noisy = changed("evaluation", to={"bootstrap": 10, "corruption": {"noise": [0.1, 0.5]}})
    before, after = plan_of(), plan_of(noisy)
    assert ids(before, "shard", "preprocess", "train") == ids(after, "shard", "preprocess", "train")
    old, new = runs_by_label(before), runs_by_label(after)
    changed_tasks = [run.task for label, run in old.items() if run.evaluate.id != new[label].evaluate.id]
    assert set(changed_tasks) == {"classification"}
    assert len(changed_tasks) == sum(run.task == "classification" for run in before.runs)
    assert [each.evaluate.id for each in before.references] == [each.evaluate.id for each in after.references]


def test_attributions_are_asked_of_what_can_be_explained_and_train_nothing():
    data = changed("evaluation", to={"bootstrap": 10, "attributions": {}})
    data["datasets"]["sines"] = {"kind": "synthetic_sequences"}
    data["models"][0] |= {"datasets": ["digits", "table"]}
    data["models"].append({"kind": "rnn", "datasets": ["sines"]})
    without = {**data, "evaluation": {"bootstrap": 10}}
    before, after = plan_of(without), plan_of(data)
    assert ids(before, "shard", "preprocess", "train") == ids(after, "shard", "preprocess", "train")
    assert [each.evaluate.id for each in before.references] == [each.evaluate.id for each in after.references]
    old, new = runs_by_label(before), runs_by_label(after)
    again = {run.model for label, run in old.items() if run.evaluate.id != new[label].evaluate.id}
    assert again == {"fnn", "plain"}
    told = {run.model: run.describe()["unexplained"] for run in after.runs}
    assert told == {"fnn": "", "plain": "", "vae": "was trained for density", "rnn": "reads ragged inputs"}
    asked = next(run for run in after.runs if run.model == "plain").evaluate.spec["attributions"]
    assert asked == {"samples": 12, "steps": 64, "patches": 256, "seed": 0}


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"task": "classification", "outputs": 3}, ""),
        ({"task": "regression", "outputs": 1, "is_sequence": True}, ""),
        ({"task": "regression", "outputs": 2}, "predicts 2 numbers"),
        ({"task": "classification", "outputs": 3, "layout": "sparse"}, "reads sparse inputs"),
        ({"task": "next_step", "outputs": 9, "layout": "dense", "num_codes": 9}, "reads codes"),
        ({"task": "classification", "outputs": 3, "layout": "ragged", "num_codes": 256}, "reads codes"),
        ({"task": "density", "outputs": 0}, "was trained for density"),
    ],
)
def test_what_keeps_a_model_from_being_explained_is_said_in_words(shapes, words):
    assert find_obstacle({"inputs": [4], **shapes}) == words


def test_only_densities_are_judged_again_with_other_draws():
    before, after = plan_of(), plan_of(changed("evaluation", to={"importance_draws": 9, "bootstrap": 10}))
    old, new = runs_by_label(before), runs_by_label(after)
    assert {run.task for label, run in old.items() if run.evaluate.id != new[label].evaluate.id} == {"density"}
    assert [each.evaluate.id for each in before.references] == [each.evaluate.id for each in after.references]


@pytest.mark.parametrize(
    ("path", "to"),
    [(("name",), "other"), (("description",), "Why?"), (("evaluation", "baseline"), "plain")],
)
def test_name_description_and_baseline_change_only_the_report(path, to):
    before, after = plan_of(), plan_of(changed(*path, to=to))
    assert ids(before) == ids(after)
    assert before.digest != after.digest
    assert [job.id for job in before.jobs if job.stage not in ("report", "gate")] == [
        job.id for job in after.jobs if job.stage not in ("report", "gate")
    ]
    assert [job.id for job in before.jobs][-2:] != [job.id for job in after.jobs][-2:]


def test_what_things_are_called_is_not_what_they_are():
    text = yaml.safe_dump(BASE)
    for old, new in (("digits", "images"), ("table", "cells"), ("scaled", "normed"), ("plain", "simple")):
        text = re.sub(rf"\b{old}\b", new, text)
    assert ids(plan_of(yaml.safe_load(text))) == ids(plan_of())


def test_two_models_alike_share_their_runs():
    data = changed("models", to=[{"kind": "fnn"}, {"kind": "fnn", "name": "again"}])
    plan = plan_of(data)
    assert len(plan.runs) == 8
    assert len(ids(plan, "train")) == 4
    one, two = ([run.train.id for run in plan.runs if run.model == name] for name in ("fnn", "again"))
    assert one == two


def test_two_experiments_that_ask_for_the_same_share_it():
    other = {"name": "other", "datasets": {"x": {"kind": "mnist5k"}}, "models": [{"kind": "fnn"}]}
    assert ids(plan_of(other), "shard") < ids(plan_of(), "shard")


@pytest.mark.parametrize("runs_per_job", [1, 3, 5, 100])
def test_batches_are_a_matter_of_the_site(runs_per_job):
    plan, usual = plan_of(runs_per_job=runs_per_job), plan_of()
    assert ids(plan) == ids(usual)
    assert plan.digest == usual.digest
    for job in plan.jobs:
        runs = [artifact for artifact in job.artifacts if job.stage != "evaluate" or "run" in artifact.inputs]
        assert len(runs) <= (runs_per_job if job.stage in ("train", "evaluate") else 1)
    assert ([job.id for job in plan.jobs] != [job.id for job in usual.jobs]) == (runs_per_job < 4)


@pytest.mark.parametrize("folders", [{"artifacts": Path("/scratch/a")}, {"results": Path("/home/r")}])
def test_where_things_lie_is_a_matter_of_the_site(folders):
    assert ids(plan_of(**folders)) == ids(plan_of())


def test_the_device_is_part_of_a_run_and_of_nothing_else():
    cpu, cuda = plan_of(device="cpu"), plan_of(device="cuda")
    assert ids(cpu, "shard", "preprocess") == ids(cuda, "shard", "preprocess")
    assert not ids(cpu, "train") & ids(cuda, "train")
    explicit = plan_of(changed("training", to={"seeds": [0, 1], "device": "cpu"}), device="cuda")
    assert ids(explicit) == ids(cpu)
    assert explicit.resolved["training"]["device"] == "cpu"


def test_edited_code_changes_what_it_makes(monkeypatch):
    before = plan_of()
    real = sys.modules["headrace.planning.artifacts"].code_fingerprint
    monkeypatch.setattr(
        "headrace.planning.artifacts.code_fingerprint",
        lambda stage, kinds: "edited" if ("models", "vae") in kinds else real(stage, kinds),
    )
    after = plan_of()
    old, new = runs_by_label(before), runs_by_label(after)
    assert ids(before, "shard", "preprocess") == ids(after, "shard", "preprocess")
    for label, run in old.items():
        assert (run.train.identity == new[label].train.identity) == (run.model != "vae")


plans = pytest.mark.parametrize(
    "data", [BASE, *(yaml.safe_load(path.read_text()) for path in HERE)], ids=lambda data: data["name"]
)


@plans
@pytest.mark.parametrize("runs_per_job", [1, 2, 8])
def test_every_artifact_is_made_by_exactly_one_job(data, runs_per_job):
    plan = plan_of(data, runs_per_job=runs_per_job)
    made = [(artifact.stage, artifact.id) for job in plan.jobs for artifact in job.artifacts]
    assert len(made) == len(set(made))
    assert set(made) == ids(plan)
    assert all(job.stage == artifact.stage for job in plan.jobs for artifact in job.artifacts)


@plans
@pytest.mark.parametrize("runs_per_job", [1, 2, 8])
def test_a_job_waits_for_the_jobs_that_make_its_inputs(data, runs_per_job):
    plan = plan_of(data, runs_per_job=runs_per_job)
    names = [(job.stage, job.id) for job in plan.jobs]
    assert len(names) == len(set(names))
    maker = {(a.stage, a.id): (job.stage, job.id) for job in plan.jobs for a in job.artifacts}
    for i, job in enumerate(plan.jobs):
        assert set(job.needs) <= set(names[:i])
        inputs = {maker[item.stage, item.id] for artifact in job.artifacts for item in artifact.inputs.values()}
        assert inputs <= set(job.needs)
    report, gate = plan.jobs[-2:]
    assert set(report.needs) == {name for name in names if name[0] == "evaluate"}
    assert gate.needs == (("report", report.id),)


def test_a_job_of_training_reads_one_set_of_features_and_holds_one_family():
    for job in plan_of(runs_per_job=3).jobs:
        if job.stage == "train":
            assert len({artifact.inputs["features"].id for artifact in job.artifacts}) == 1
            assert {artifact.spec["family"]["kind"] for artifact in job.artifacts} == {job.id.rsplit("-", 1)[0]}


def test_shapes_are_known_before_the_data():
    shapes = {(run.dataset, run.model): run.train.spec["shapes"] for run in plan_of().runs}
    assert shapes == {
        ("digits", "fnn"): {"inputs": [28, 28], "outputs": 10, "task": "classification"},
        ("table", "fnn"): {"inputs": [30], "outputs": 2, "task": "classification"},
        ("table", "plain"): {"inputs": [30], "outputs": 2, "task": "classification"},
        ("digits", "vae"): {"inputs": [28, 28], "outputs": 0, "task": "density"},
    }


def test_only_shapes_of_sequences_say_that_they_are_some():
    data = changed("features", to={"rows": [{"kind": "window", "size": 7}]})
    data["models"] = [
        {"kind": "cnn", "datasets": ["digits"], "name": name, "features": features}
        for name, features in (("pixels", "raw"), ("steps", "rows"))
    ]
    data["evaluation"] = {}
    shapes = {run.model: run.train.spec["shapes"] for run in plan_of(data).runs}
    assert shapes == {
        "pixels": {"inputs": [28, 28], "outputs": 10, "task": "classification"},
        "steps": {"inputs": [8, 196], "outputs": 10, "task": "classification", "is_sequence": True},
    }


def test_paths_of_jobs_and_artifacts():
    root = Path("root")
    assert receipt_path(root, "train", "a-1") == Path("root/.receipts/train/a-1.ok")
    assert spec_path(root, "train", "a-1") == Path("root/.specs/train/a-1.json")
    assert log_path(root, "train", "a-1") == Path("root/.logs/train/a-1.log")
    assert artifact_path(root, "train", "a-1") == Path("root/train/a-1")


def spec_of(plan, job):
    return json.loads(spec_path(plan.site.artifacts, job.stage, job.id).read_text())


def test_what_every_job_is_to_do_is_written_down(tmp_path):
    plan = plan_of(artifacts=tmp_path)
    plan.write_specs()
    for job in plan.jobs:
        assert spec_of(plan, job) == json.loads(json.dumps(job.describe()))
    plan.write_specs()


def test_other_batches_are_written_down_for_who_judges_them(tmp_path):
    for runs_per_job in (8, 2):
        plan = plan_of(artifacts=tmp_path, runs_per_job=runs_per_job)
        plan.write_specs()
        gate = plan.jobs[-1]
        trains = [job.id for job in plan.jobs if job.stage == "train"]
        assert [batch["train"] for batch in spec_of(plan, gate)["jobs"]] == trains


def test_another_folder_of_results_is_written_down(tmp_path):
    for results in (tmp_path / "one", tmp_path / "two"):
        plan = plan_of(artifacts=tmp_path, results=results)
        plan.write_specs()
        for job in plan.jobs[-2:]:
            assert spec_of(plan, job)["results"] == str(results)


def test_a_spec_that_a_power_cut_left_empty_is_written_again(tmp_path):
    plan = plan_of(artifacts=tmp_path)
    plan.write_specs()
    path = spec_path(tmp_path, plan.jobs[0].stage, plan.jobs[0].id)
    path.write_text("")
    plan.write_specs()
    assert json.loads(path.read_text())["id"] == plan.jobs[0].id


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"runs_per_job": 0}, "runs_per_job=0: must be a whole number above 0"),
        ({"runs_per_job": "many"}, "runs_per_job=many: must be"),
        ({"runs_per_job": 1.5}, "runs_per_job=1.5: must be"),
        ({"runs_per_job": True}, "runs_per_job=True: must be"),
        ({"runs_per_job": -1}, "runs_per_job=-1: must be"),
        ({"device": "tpu"}, "device=tpu: allowed: auto, cpu, cuda"),
    ],
)
def test_a_site_that_cannot_be_is_refused_in_one_line(config, problem):
    with pytest.raises(InputError) as caught:
        Site.of(config)
    assert len(caught.value.problems) == 1
    assert problem in caught.value.problems[0]


def test_a_site_is_given_by_config_or_by_the_environment(monkeypatch):
    monkeypatch.delenv("HEADRACE_ARTIFACTS", raising=False)
    monkeypatch.delenv("HEADRACE_RESULTS", raising=False)
    assert Site.of({}) == Site()
    assert Site.of({"runs_per_job": "4", "name": "x"}).runs_per_job == 4
    monkeypatch.setenv("HEADRACE_ARTIFACTS", "/scratch/a")
    assert Site.of({}).artifacts == Path("/scratch/a")
    assert Site.of({"artifacts": "b"}).artifacts == Path("b")


def test_auto_is_the_device_of_the_site():
    assert Site(device="cuda").resolve_device("auto") == "cuda"
    assert Site(device="cuda").resolve_device("cpu") == "cpu"
    assert Site(device="cpu").resolve_device("auto") == "cpu"
    assert Site().resolve_device("auto") in ("cpu", "cuda")


@pytest.mark.parametrize("path", HERE, ids=lambda path: path.stem)
def test_every_shipped_experiment_can_be_planned(path):
    plan = Plan(load_experiment(path), Site(device="cpu"))
    assert plan.runs
    assert plan.jobs[-1].stage == "gate"


def test_five_thousand_runs_are_planned_quickly_and_all_differ(tmp_path):
    path = tmp_path / "big.yaml"
    path.write_text(yaml.safe_dump(BIG))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(
        [sys.executable, "-m", "headrace", "plan", str(path)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"5000 runs planned in {seconds:.2f} s of CPU time")
    assert "5000 runs" in result.stdout
    assert "train: 5000 artifacts in 625 jobs, 0 done" in result.stdout
    assert seconds < 20


def test_planning_imports_nothing_heavy(tmp_path):
    path = tmp_path / "base.yaml"
    path.write_text(yaml.safe_dump(BASE))
    code = f"""
import sys
from headrace.__main__ import main
import headrace.launching.launch
assert main(["plan", {str(path)!r}]) == 0
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert result.stderr == "[]\n"
