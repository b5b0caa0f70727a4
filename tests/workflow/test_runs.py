"""Whole experiments through Snakemake: what runs, what runs again, and what does not."""

from __future__ import annotations

import copy
import csv
import json
import re
import zipfile
from pathlib import Path

import pytest
import yaml

from projects import ROOT, SMALL, Project


def jobs_of(output: str) -> dict[str, int]:
    """The job counts of a dry run."""
    table = output.split("Job stats:")[1].split("\ntotal")[0] if "Job stats:" in output else ""
    return {name: int(count) for name, count in re.findall(r"^(\w+)\s+(\d+)$", table, re.MULTILINE)}


def dry_run(project: Project) -> dict[str, int]:
    done = project.snakemake("-n")
    assert done.returncode == 0, done.stdout
    assert "Nothing to be done" in done.stdout or "Job stats:" in done.stdout
    return jobs_of(done.stdout)


def test_every_run_has_every_metric_in_the_table(finished_once: Project) -> None:
    with (finished_once.folder / "results/small/results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    references = {(row["dataset"], row["family"], row["run"], row["seed"]) for row in rows if row["kind"] != "run"}
    named = [("tumours", "most_frequent"), ("tumours", "nearest_neighbour"), ("progression", "mean")]
    assert references == {(*names, "", "") for names in named}
    found = {}
    for row in (row for row in rows if row["kind"] == "run"):
        assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
        found.setdefault((row["dataset"], row["model"], row["learning_rate"], row["seed"]), set()).add(row["metric"])
    classification, regression = {"accuracy", "macro_f1", "nll", "ece", "auroc"}, {"rmse", "mae", "r2"}
    density = {"neg_elbo", "reconstruction", "neg_iw_bound"}
    expected = {
        **{("tumours", "fnn", rate, seed): classification for rate in ("0.01", "0.03") for seed in "01"},
        **{("progression", "fnn", rate, seed): regression for rate in ("0.01", "0.03") for seed in "01"},
        ("tumours", "vae", "0.001", "0"): density,
    }
    assert found == expected


def test_the_result_explains_itself(finished_once: Project) -> None:
    folder = finished_once.folder / "results/small"
    page = (folder / "report.html").read_text()
    assert SMALL["description"] in page
    provenance = json.loads((folder / "provenance.json").read_text())
    stages = [entry["stage"] for entry in provenance["artifacts"]]
    assert {stage: stages.count(stage) for stage in stages} == {
        "shard": 2,
        "preprocess": 2,
        "train": 9,
        # With the references of both datasets.
        "evaluate": 9 + 2,
    }
    assert all(entry["status"] == "done" for entry in provenance["artifacts"])
    # A copy of the files, and no clone of them.
    assert provenance["repository"] is None
    assert "sweep:\n    grid:\n      learning_rate: [0.01, 0.03]" in page
    assert json.loads((folder / "ro-crate-metadata.json").read_text())["@graph"]
    verified = finished_once.headrace("verify", "results/small")
    assert verified.returncode == 0, verified.stdout


def test_collect_lists_the_results_that_are_there(finished: Project) -> None:
    # What is not planned may be wrong.
    finished.write({"name": "small", "nonsense": 1})
    # Not at once behind --configfile, which takes every word that follows for a file.
    done = finished.snakemake("--cores", "2", "collect")
    assert done.returncode == 0, done.stdout
    assert "results/index.html" in done.stdout
    assert 'href="small/report.html"' in (finished.folder / "results/index.html").read_text()
    compared = finished.headrace("compare", "results/small", "results/small")
    assert compared.returncode == 0, compared.stderr
    assert "config: the same" in compared.stdout


def test_a_report_is_written_from_what_is_there_by_now(finished: Project) -> None:
    page = finished.folder / "results/small/report.html"
    whole = page.read_text()
    (judged,) = (finished.folder / "artifacts/evaluate").glob("*vae*")
    aside = judged.rename(finished.folder / "aside")
    done = finished.headrace("report", "results/small")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "report: results/small/report.html"
    assert "Of 9 runs, 1 is not finished: every number here rests on the other 8." in page.read_text()
    assert not judged.exists()
    aside.rename(judged)
    assert finished.headrace("report", "results/small").returncode == 0
    assert page.read_text() == whole
    elsewhere = finished.headrace("report", "elsewhere/small")
    assert elsewhere.returncode == 2
    assert "writes to results/small" in elsewhere.stderr
    unknown = finished.headrace("report", "results/unknown")
    assert unknown.returncode == 2
    assert "no workflow of unknown has begun" in unknown.stderr


def test_the_resolved_experiment_is_the_same_experiment(finished: Project) -> None:
    done = finished.snakemake("--configfile", "results/small/experiment.yaml", "-n")
    assert "Nothing to be done" in done.stdout


def test_a_second_call_runs_no_job(finished: Project) -> None:
    before = finished.manifests()
    done = finished.snakemake()
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout
    assert finished.manifests() == before


def test_another_learning_rate_runs_only_what_it_touches(finished: Project) -> None:
    before, digest = finished.manifests(), finished.digest()
    changed = copy.deepcopy(SMALL)
    changed["models"][0]["sweep"]["grid"]["learning_rate"] = [0.01, 0.05]
    finished.write(changed)
    assert finished.snakemake().returncode == 0
    after = finished.manifests()
    assert {name: after[name] for name in before} == before
    new = [name for name in after if name not in before]
    assert sum("fnn" in name for name in new) == len(new) == 2 * 2 * 2, new
    assert finished.digest() != digest
    finished.write(SMALL)
    assert finished.snakemake().returncode == 0
    assert finished.manifests() == after, "what was there already was made again"
    assert finished.digest() == digest


def test_another_description_writes_only_the_report(finished: Project) -> None:
    finished.write({**SMALL, "description": "Another question?"})
    assert set(dry_run(finished)) == {"report", "gate", "all"}
    assert finished.snakemake().returncode == 0
    assert "Another question?" in (finished.folder / "results/small/report.html").read_text()


def test_the_report_follows_the_experiment_back_and_forth(finished: Project) -> None:
    for description in ("First?", "Second?", "First?"):
        finished.write({**SMALL, "description": description})
        assert finished.snakemake().returncode == 0
        assert description in (finished.folder / "results/small/report.html").read_text()
        assert len(list((finished.folder / "artifacts/.figures").iterdir())) == 1


def test_a_docstring_reruns_nothing_and_code_reruns_its_family(finished: Project) -> None:
    path = finished.folder / "workflow/headrace/models/fnn.py"
    text = path.read_text()
    path.write_text(
        text.replace('"""Feed-forward network."""', '"""Another way to say it."""').replace("\n\n\n", "\n\n\n# why\n")
    )
    assert path.read_text() != text
    assert dry_run(finished) == {}
    template = finished.folder / "workflow/report/sections/answer.html.j2"
    before = template.read_text()
    template.write_text(f"{before}<p>More.</p>")
    assert set(dry_run(finished)) == {"report", "gate", "all"}
    template.write_text(before)
    path.write_text(text.replace("nn.ReLU()", "nn.GELU()"))
    assert path.read_text() != text
    assert set(dry_run(finished)) == {"train_fnn", "evaluate", "report", "gate", "all"}


def test_two_experiments_share_what_both_ask_for(finished: Project) -> None:
    before = finished.manifests()
    other = {**copy.deepcopy(SMALL), "name": "other"}
    other["datasets"] = {"cancer": {"kind": "breast_cancer"}}
    other["models"] = [{"kind": "fnn", "name": "renamed", "features": "scaled", "hidden": [8], "epochs": 2}]
    other["evaluation"] = {"bootstrap": 50}
    finished.write(other, "other.yaml")
    assert finished.snakemake("--configfile", "configs/other.yaml").returncode == 0
    after = finished.manifests()
    assert {name: after[name] for name in before} == before
    assert len(after) - len(before) == 2 * 2, "only the two runs and their evaluations are new"


def test_the_size_of_the_jobs_is_no_part_of_a_result(tiny: Project, undisturbed: str) -> None:
    done = tiny.snakemake("--config", "runs_per_job=3")
    assert done.returncode == 0, done.stdout
    assert len(list((tiny.folder / "artifacts/.receipts/train").glob("*.ok"))) == 2
    assert tiny.digest() == undisturbed


def test_a_failed_run_is_reported_and_tried_again_alone(project: Project) -> None:
    failing = copy.deepcopy(SMALL)
    failing["datasets"].pop("progression")
    failing["models"] = [
        {
            "kind": "fnn",
            "features": "scaled",
            "hidden": [8],
            "optimizer": "sgd",
            "sweep": {"grid": {"learning_rate": [0.01, 1e30]}},
        }
    ]
    project.write(failing)
    done = project.snakemake()
    assert done.returncode == 1
    assert "2 of 4 runs failed" in done.stdout
    assert "not finite" in (project.folder / "results/small/report.html").read_text()
    before = project.manifests()
    again = project.snakemake()
    assert again.returncode == 1
    after = project.manifests()
    touched = {name for name in after if after[name] != before.get(name)}
    assert len(touched) == 2
    assert all(
        json.loads((project.folder / "artifacts/train" / name / "manifest.json").read_text())["status"] == "failed"
        for name in touched
    )


def test_a_broken_experiment_ends_before_any_job(project: Project) -> None:
    broken = copy.deepcopy(SMALL)
    broken["models"][0]["hiden"] = [8]
    project.write(broken)
    done = project.snakemake()
    assert done.returncode == 2
    lines = [line for line in done.stdout.splitlines() if "hiden" in line]
    assert len(lines) == 1
    assert "did you mean 'hidden'" in lines[0]
    assert "Traceback" not in done.stdout
    assert not (project.folder / "artifacts").exists()


def test_a_failing_stage_names_itself_its_log_and_why(project: Project) -> None:
    path = project.folder / "workflow/headrace/datasets/breast_cancer.py"
    path.write_text(path.read_text().replace("data.data.astype(np.float32)", "data.data.astype(np.float32) * np.nan"))
    done = project.snakemake()
    assert done.returncode == 1
    assert "shard" in done.stdout
    assert "inputs of row 0 is not a finite number" in done.stdout
    assert ".logs/shard/breast_cancer-" in done.stdout


def test_snakemake_builds_its_own_report_with_all_figures(finished: Project) -> None:
    done = finished.snakemake("--report", "snakemake.zip")
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout
    with zipfile.ZipFile(finished.folder / "snakemake.zip") as archive:
        content = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    folder = finished.folder / "results/small/figures"
    drawings = {path.name: path.read_bytes() for path in folder.glob("*.svg")}
    assert drawings.keys() >= {"results-tumours-classification.svg", "curves-progression-fnn.svg"}
    assert {Path(name).name: text for name, text in content.items() if name.endswith(".svg")} == drawings
    page = content["report.html"].decode()
    categories = _read_variable(page, "categories")
    captions = {
        "calibration": "as often as it says",
        "confusions": "summed over the seeds",
        "curves": "by epoch",
        "latents": "in its latent space",
        "ranking": "rank the samples",
        "results": "dots are seeds",
    }
    assert sorted(categories["Figures"]) == sorted(captions)
    found = _read_variable(page, "results")
    for section, paths in categories["Figures"].items():
        for path in paths:
            entry = found[path]
            assert entry["name"].startswith(f"{section}-")
            assert entry["labels"] == {"experiment": "small", "figure": entry["name"][len(section) + 1 : -4]}
            assert captions[section] in entry["caption"]
    assert {Path(path).name for paths in categories["Figures"].values() for path in paths} == drawings.keys()
    assert len(categories["Results"]["Other"]) == 2


def _read_variable(page: str, name: str) -> dict:
    """A variable that Snakemake's page gives as JSON."""
    return json.JSONDecoder().raw_decode(page, page.index(f"var {name} = {{") + len(f"var {name} = "))[0]


def test_both_roots_can_be_moved(project: Project, tmp_path) -> None:
    single = copy.deepcopy(SMALL)
    single["datasets"].pop("progression")
    single["models"] = [{"kind": "fnn", "hidden": [4], "epochs": 1}]
    project.write(single)
    scratch, home = tmp_path / "scratch of mine", tmp_path / "home"
    done = project.snakemake("--config", f"artifacts={scratch}", f"results={home}")
    assert done.returncode == 0, done.stdout
    assert (home / "small/report.html").exists()
    assert list(scratch.glob("train/*/manifest.json"))
    assert not (project.folder / "artifacts").exists()


@pytest.mark.parametrize("name", ["quickstart.yaml", "tabular.yaml"])
def test_shipped_experiments_plan(project: Project, name: str) -> None:
    done = project.snakemake("--configfile", f"configs/{name}", "-n")
    assert done.returncode == 0
    assert jobs_of(done.stdout)["train_fnn"] >= 1
    planned = project.headrace("plan", f"configs/{name}")
    assert planned.returncode == 0
    experiment = yaml.safe_load((project.folder / "configs" / name).read_text())
    assert f"results/{experiment['name']}/report.html" in planned.stdout


def test_the_readme_adds_a_family_in_one_file(project: Project) -> None:
    readme = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (project.folder / "workflow/headrace/models/mixer.py").write_text(code)
    project.write(
        {
            "name": "small",
            "datasets": {"digits": {"kind": "mnist5k"}},
            "models": [{"kind": "mixer", "hidden": 8, "epochs": 2}],
            "evaluation": {"bootstrap": 10},
        }
    )
    done = project.snakemake()
    assert done.returncode == 0, done.stdout
    with (project.folder / "results/small/results.csv").open() as file:
        rows = {(row["family"], row["split"], row["metric"]): float(row["value"]) for row in csv.DictReader(file)}
    assert rows["mixer", "test", "accuracy"] > 0.5
    shards = list((project.folder / "artifacts/shard").glob("mnist5k-*/manifest.json"))
    execution = json.loads(shards[0].read_text())["execution"]
    assert execution["shards"] >= 8
    assert len(execution["workers"]["tasks"]) == 2
    assert all(count > 0 for count in execution["workers"]["tasks"].values())


def test_the_experiment_in_the_readme_is_fine(project: Project) -> None:
    readme = (ROOT / "README.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    (project.folder / "configs/mine.yaml").write_text(text)
    checked = project.headrace("check", "configs/mine.yaml")
    assert checked.returncode == 0, checked.stderr
    assert "18 runs" in checked.stdout


@pytest.mark.slow
def test_the_quickstart_reaches_what_careful_loops_reach(project: Project) -> None:
    done = project.snakemake("--configfile", "configs/quickstart.yaml", timeout_s=600)
    assert done.returncode == 0, done.stdout
    values: dict[tuple[str, str], list[float]] = {}
    with (project.folder / "results/quickstart/results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "run"]
    for row in rows:
        if row["split"] == "test" and row["metric"] in ("accuracy", "neg_elbo"):
            values.setdefault((row["model"], row["learning_rate"]), []).append(float(row["value"]))
    assert len({row["run"] for row in rows}) == 15
    assert {len(seeds) for seeds in values.values()} == {3}
    means = {key: sum(seeds) / 3 for key, seeds in values.items()}
    assert means["cnn", "0.001"] >= 0.965
    assert means["fnn", "0.001"] >= 0.94
    assert means["rnn", "0.001"] >= 0.85
    assert means["vae", "0.001"] <= 146
