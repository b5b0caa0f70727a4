import sys
from pathlib import Path

try:
    from headrace.launching.launch import Workflow
    from headrace.registry import list_kinds
except ModuleNotFoundError:
    print(
        f"headrace is not installed for {sys.executable}: run `make setup`, then .venv/bin/snakemake",
        file=sys.stderr,
    )
    sys.exit(2)

HEADRACE = Workflow(
    workflow.config_settings.config,
    workflow.configfiles,
    default=Path(workflow.current_basedir).parents[1] / "configs" / "quickstart.yaml",
    is_main=workflow.is_main_process,
    threads=workflow.resource_settings.overwrite_threads,
    resources=workflow.resource_settings.overwrite_resources,
)


wildcard_constraints:
    job="[A-Za-z0-9._-]+",


localrules:
    experiment,
    report,
    gate,
    collect,


onstart:
    HEADRACE.start(workflow.executor_plugin.name)


onsuccess:
    print(HEADRACE.made, file=sys.stderr)
