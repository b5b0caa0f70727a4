"""Results as a Workflow Run RO-Crate: which step made what from what, for machines.

Profile: Provenance Run Crate 0.5, https://w3id.org/ro/wfrun/provenance/0.5, on RO-Crate 1.1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rocrate.model.computationalworkflow import ComputationalWorkflow
from rocrate.model.contextentity import ContextEntity
from rocrate.model.file import File
from rocrate.rocrate import ROCrate

from headrace.figures.environments import count_versions
from headrace.figures.files import FIGURES, list_figures
from headrace.findings.results import SEALED, DatasetResult, Results
from headrace.provenance.manifests import write_atomically

METADATA = "ro-crate-metadata.json"
WORKFLOW = "experiment.yaml"

WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    WORKFLOW_CRATE: "Workflow RO-Crate",
}

SNAKEMAKE = "https://snakemake.github.io"

FILES = {
    "report.html": ("The report", "text/html"),
    "results.csv": ("Every metric of every run and of every reference", "text/csv"),
    "results.parquet": ("The same table with types", "application/vnd.apache.parquet"),
    "groups.csv": ("Every score of every group in every run, and the gaps", "text/csv"),
    "groups.parquet": ("The same table of groups with types", "application/vnd.apache.parquet"),
    "classes.csv": ("Precision, recall and F1 of every class in every run", "text/csv"),
    "classes.parquet": ("The same table of classes with types", "application/vnd.apache.parquet"),
    "robustness.csv": ("Every metric on inputs made worse", "text/csv"),
    "robustness.parquet": ("The same table of inputs made worse with types", "application/vnd.apache.parquet"),
    "statistics.csv": ("Every statistic over seeds", "text/csv"),
    "provenance.json": ("Every artifact with its digest and its environment", "application/json"),
}

Step = Mapping[str, Any]


def write_crate(results: Results, folder: Path) -> None:
    """Write ro-crate-metadata.json into a folder of results; nothing else in it is touched, nothing is fetched.

    The workflow of the crate is experiment.yaml: with every setting resolved it is the one file of the folder that says
    what ran, and Snakemake runs it again. Raises FileNotFoundError where it isn't in the folder yet.
    """
    if not (folder / WORKFLOW).is_file():
        raise FileNotFoundError(f"{folder / WORKFLOW}: the crate describes this file, so it has to be written first")
    content = _describe(results, folder).metadata.generate()
    write_atomically(folder / METADATA, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def _describe(results: Results, folder: Path) -> Any:
    crate = ROCrate(version="1.1")
    crate.metadata["conformsTo"] = [{"@id": crate.metadata.profile}, {"@id": WORKFLOW_CRATE}]
    workflow = _add_workflow(crate, results)
    steps = {stage: _add_step(crate, workflow, stage, results) for stage in _stages(results)}
    sources = {dataset.artifact: _add_dataset(crate, dataset) for dataset in results.datasets}
    files = [_add_file(crate, folder, name) for name in FILES if (folder / name).is_file()]
    _add_figures(crate, folder)
    actions = _add_actions(crate, results.steps, steps, sources)
    run = _add_run(crate, results, workflow, list(sources.values()), files)
    _add_organisation(crate, results, run, steps, actions)
    _finish_root(crate, results, [run, *(action for group in actions.values() for action in group)])
    return crate


def _add(crate: Any, identity: str, kind: str, **properties: Any) -> Any:
    """Add an entity that isn't a file, without the properties that are None."""
    return crate.add(ContextEntity(crate, identity, properties={"@type": kind, **_tidy(properties)}))


def _reference(part: str, *names: str) -> str:
    """Return an id inside the crate; every character that an IRI can't hold is escaped."""
    return f"#{part}/" + "/".join(quote(name, safe="") for name in names)


def _stages(results: Results) -> list[str]:
    return list(dict.fromkeys(str(step["stage"]) for step in results.steps))


def _add_workflow(crate: Any, results: Results) -> Any:
    language = _add(
        crate,
        "https://w3id.org/workflowhub/workflow-ro-crate#snakemake",
        "ComputerLanguage",
        name="Snakemake",
        identifier={"@id": SNAKEMAKE},
        url={"@id": SNAKEMAKE},
        version=_versions_of(results, "snakemake"),
    )
    properties = {
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        "name": f"Experiment {results.experiment}",
        "description": results.description,
        "encodingFormat": "application/yaml",
        "programmingLanguage": language,
        "version": results.plan_digest,
        "conformsTo": {"@id": "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"},
    }
    workflow = ComputationalWorkflow(crate, dest_path=WORKFLOW, properties=_tidy(properties))
    crate.add(workflow)
    crate.mainEntity = workflow
    return workflow


def _tidy(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return properties as RO-Crate wants them: nothing empty, and no list of one."""
    known = {name: value for name, value in properties.items() if value not in (None, "", [])}
    return {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in known.items()}


def _add_step(crate: Any, workflow: Any, stage: str, results: Results) -> Any:
    """Add a stage as a step of the workflow, and the program that it runs with the versions that its artifacts say."""
    name, made = f"headrace {stage}", [step for step in results.steps if step["stage"] == stage]
    software = [
        _add_software(crate, package, version)
        for package, versions in count_versions(results.environments, made).items()
        for version in versions
    ]
    properties = {"name": name, "version": _versions_of(results, "headrace", stage), "softwareRequirements": software}
    tool = _add(crate, _reference("tool", stage), "SoftwareApplication", **properties)
    position = str(_stages(results).index(stage) + 1)
    step = _add(crate, _reference("step", stage), "HowToStep", name=stage, position=position, workExample=tool)
    workflow.append_to("hasPart", tool, compact=True)
    workflow.append_to("step", step, compact=True)
    return step


def _add_software(crate: Any, package: str, version: str) -> Any:
    """Add a package, once for all stages that it was used in."""
    identity = _reference("software", package, version)
    known = crate.get(identity)
    return known or _add(crate, identity, "SoftwareApplication", name=package, version=version)


def _versions_of(results: Results, package: str, stage: str | None = None) -> str:
    """The versions of a package that made what is done, of one stage or of all, with commas between them."""
    made = [step for step in results.steps if stage in (None, step["stage"])]
    return ", ".join(count_versions(results.environments, made).get(package, ()))


def _add_dataset(crate: Any, dataset: DatasetResult) -> Any:
    """Add where the samples came from; the samples themselves aren't in the folder."""
    words = f"{dataset.num_samples} samples, kind {dataset.kind}"
    properties = {"name": dataset.name, "description": words, "license": dataset.licence, "citation": dataset.source}
    return _add(crate, _reference("dataset", dataset.name), "CreativeWork", **properties)


def _add_file(crate: Any, folder: Path, name: str) -> Any:
    title, encoding = FILES[name]
    size = (folder / name).stat().st_size
    properties = {"name": title, "encodingFormat": encoding, "contentSize": str(size)}
    return crate.add(File(crate, dest_path=name, properties=properties))


def _add_figures(crate: Any, folder: Path) -> None:
    """Add the charts, each drawn and as its rows."""
    for figure in list_figures(folder / FIGURES):
        for file in figure["files"]:
            path = f"{FIGURES}/{file}"
            encoding = "image/svg+xml" if file.endswith(".svg") else "text/csv"
            size = str((folder / path).stat().st_size)
            properties = {"name": figure["caption"], "encodingFormat": encoding, "contentSize": size}
            crate.add(File(crate, dest_path=path, properties=_tidy(properties)))


def _add_actions(
    crate: Any, steps: Iterable[Step], how_to: Mapping[str, Any], sources: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """Add what every step did, by stage; a step that never ran did nothing."""
    artifacts: dict[str, Any] = {}
    actions: dict[str, list[Any]] = {}
    for step in steps:
        if step["status"] not in SEALED:
            continue
        stage, identity = str(step["stage"]), str(step["id"])
        inputs = [artifacts[name] for name in step["inputs"] if name in artifacts]
        if step["artifact"] in sources:
            inputs.append(sources[step["artifact"]])
        artifacts[identity] = _add_artifact(crate, step)
        action = {
            "name": f"{stage} {identity}",
            "description": f"Stage {stage} made {step['artifact']}",
            "instrument": how_to[stage]["workExample"],
            "object": inputs,
            "result": artifacts[identity],
            **_describe_outcome(str(step["start"]), str(step["end"]), "" if step["status"] == "done" else _why(step)),
        }
        added = _add(crate, _reference("action", stage, identity), "CreateAction", **action)
        actions.setdefault(stage, []).append(added)
    return actions


def _why(step: Step) -> str:
    return str(step["reason"] or f"no reason was left; the status is {step['status']}")


def _add_artifact(crate: Any, step: Step) -> Any:
    # An artifact lies outside the results' folder: a thing with a digest, not a data entity that a reader could open.
    reference = _reference("artifact", str(step["stage"]), str(step["id"]))
    return _add(crate, reference, "CreativeWork", name=str(step["artifact"]), identifier=step["digest"])


def _describe_outcome(start: str, end: str, error: str) -> dict[str, str]:
    status = "FailedActionStatus" if error else "CompletedActionStatus"
    # Both are ISO 8601, but the profile's validator knows +00:00 and not Z.
    start, end = (f"{time[:-1]}+00:00" if time.endswith("Z") else time for time in (start, end))
    return {"startTime": start, "endTime": end, "actionStatus": f"http://schema.org/{status}", "error": error}


def _add_run(crate: Any, results: Results, workflow: Any, sources: Sequence[Any], files: Sequence[Any]) -> Any:
    """Add the run of the whole workflow, from the first step's start to the last step's end."""
    unfinished = [f"{step['stage']} {step['id']}" for step in results.steps if step["status"] != "done"]
    error = f"{len(unfinished)} of {len(results.steps)} steps aren't done, first {unfinished[0]}" if unfinished else ""
    return _add(
        crate,
        "#run",
        "CreateAction",
        name=f"Run of experiment {results.experiment}",
        description=results.description,
        instrument=workflow,
        object=list(sources),
        result=list(files),
        **_describe_outcome(*_find_times(results), error),
    )


def _find_times(results: Results) -> tuple[str, str]:
    """Return the first start and the last end; all are UTC in one format, so that text sorts by time."""
    starts = [str(step["start"]) for step in results.steps if step["start"]]
    ends = [str(step["end"]) for step in results.steps if step["end"]]
    return min(starts, default=""), max(ends, default="")


def _add_organisation(
    crate: Any, results: Results, run: Any, steps: Mapping[str, Any], actions: Mapping[str, list[Any]]
) -> None:
    """Add what Snakemake did: one control action per stage that ran, over all of the stage's actions."""
    if not actions:
        return
    version = _versions_of(results, "snakemake")
    engine = _add(crate, SNAKEMAKE, "SoftwareApplication", name="Snakemake", url=SNAKEMAKE, version=version)
    controls = [
        _add(
            crate,
            _reference("control", stage),
            "ControlAction",
            name=f"Run of stage {stage}",
            instrument=steps[stage],
            object=group,
        )
        for stage, group in actions.items()
    ]
    name = f"Orchestration of experiment {results.experiment}"
    _add(crate, "#orchestration", "OrganizeAction", name=name, instrument=engine, object=controls, result=run)


def _finish_root(crate: Any, results: Results, actions: Sequence[Any]) -> None:
    root = crate.root_dataset
    profiles = [
        _add(crate, identity, "CreativeWork", name=name, version=identity.rpartition("/")[2])
        for identity, name in PROFILES.items()
    ]
    root["conformsTo"] = profiles
    root["name"] = f"Results of experiment {results.experiment}"
    root["description"] = results.description or f"Results of experiment {results.experiment}"
    root["mentions"] = list(actions)
    licences = ", ".join(f"{dataset.name}: {dataset.licence or 'not stated'}" for dataset in results.datasets)
    root["license"] = f"Not stated for the results. Licences of the datasets: {licences or 'no datasets'}"
    if end := _find_times(results)[1]:
        root["datePublished"] = end  # and not the time of writing: the same results give the same crate
