"""What the Snakefile asks for: the plan in the main process, and the jobs' needs everywhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from headrace.errors import InputError, StageError
from headrace.experiments import yaml_files
from headrace.experiments.reading import check_experiment
from headrace.launching import polling
from headrace.planning.artifacts import figures_path, log_path, receipt_path, spec_path
from headrace.planning.plan import SITE_KEYS, Plan, Site
from headrace.provenance.manifests import read_json
from headrace.requests.defaults import Requests, default_requests, share_requests
from headrace.requests.limits import check_requests
from headrace.requests.numbers import check_numbers
from headrace.requests.profiles import Settings, as_written, in_force, overridden
from headrace.requests.retries import follow_failures
from headrace.running import ownership
from headrace.schedulers.base import Survey, load_scheduler

LOOKING = frozenset({"-n", "--dry-run", "--dryrun", "--lint", "--report", "--dag", "--rulegraph", "--summary"})
"""Options with which Snakemake only looks: it takes no lock then, and may do so beside a workflow that works."""

COLLECT = "collect"
"""The rule that makes one page of all results: nothing is planned for it."""

SCHEDULER_OF = {"slurm": "slurm", "cluster-generic": "pbs"}
"""Which scheduler the jobs of one of Snakemake's executors go to."""


class Workflow:
    """One Snakemake process's view of the work.

    Only the main process plans. A process that Snakemake started elsewhere for one job reads the specs that the main
    one wrote, so that an edit of the experiment or of the code in the meantime cannot mix two experiments.
    """

    def __init__(
        self,
        overrides: Mapping[str, Any],
        files: Iterable[Path],
        default: Path,
        *,
        is_main: bool,
        threads: Mapping[str, Any] | None = None,
        resources: Mapping[str, Any] | None = None,
    ) -> None:
        """`overrides` are what `--config` gave, `files` what `--configfile` gave; without one it is the default.

        `threads` and `resources` are what `--set-threads` and `--set-resources`, or a profile, gave for rules.
        """
        self._survey: Survey | None = None
        stated = as_written(threads or {}, resources or {})
        self._stated = overridden(stated)
        self._asked: Settings = {}
        # The stages are called by name; they must be those of the Python that plans.
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        try:
            self.site = Site.of(overrides)
            if problems := check_numbers(stated):
                raise InputError("\n".join(problems))
            polling.pace_questions()
            plans = is_main and COLLECT not in sys.argv
            self.plan = self._plan(overrides, [_shown(file) for file in files] or [default]) if plans else None
        except InputError as error:
            print(error, file=sys.stderr)
            sys.exit(2)

    def _plan(self, overrides: Mapping[str, Any], files: list[Path]) -> Plan:
        # Read here and not by Snakemake, whose reader lets a key appear twice and takes 1e-3 for text.
        experiment: dict[str, Any] = {}
        for file in files:
            experiment = yaml_files.merge(experiment, yaml_files.read(file))
        mine = {key: value for key, value in overrides.items() if key not in SITE_KEYS}
        plan = Plan(check_experiment(yaml_files.merge(experiment, mine), files, self.site.artifacts), self.site)
        if LOOKING & set(sys.argv):
            return plan
        receipts = frozenset(str(receipt_path(self.site.artifacts, job.stage, job.id)) for job in plan.jobs)
        ownership.take_over(plan.experiment.name, receipts, self.site.artifacts)
        return plan

    def start(self, executor: str = "local") -> None:
        """Once Snakemake has locked and before the first job. Exits with 2 when a scheduler would refuse its jobs."""
        if self.plan is None:
            return
        if (scheduler := SCHEDULER_OF.get(executor)) is not None:
            self._hold_against_limits(self.plan, scheduler)
        ownership.note_locks()
        self.plan.write_specs()

    def _hold_against_limits(self, plan: Plan, scheduler: str) -> None:
        try:
            self._survey = load_scheduler(scheduler).survey()
        except StageError as error:
            print(f"headrace: what jobs ask for was not held against the limits: {error}", file=sys.stderr)
        problems = check_requests(plan, self._asked, self._survey)
        if problems:
            print("\n".join(problems), file=sys.stderr)
            sys.exit(2)

    def default(self, rule: str, request: str) -> int:
        """What a rule asks for when no profile says otherwise: `mem_mb`, `runtime` in minutes, or `threads`."""
        return self._defaults[rule][request]

    @cached_property
    def _defaults(self) -> Requests:
        requests = default_requests(self.plan, self._stated)
        if self.plan is not None:
            share_requests(requests)
        return requests

    @cached_property
    def _needs(self) -> Mapping[tuple[str, str], tuple[tuple[str, str], ...]]:
        return {(job.stage, job.id): job.needs for job in self.plan.jobs} if self.plan else {}

    def needs(self, stage: str, job: str) -> list[str]:
        """The receipts that a job waits for."""
        if self.plan is None:
            needs = read_json(spec_path(self.site.artifacts, stage, job))["needs"]
        elif (stage, job) in self._needs:
            needs = self._needs[stage, job]
        else:
            raise ValueError(f"{stage} {job} is not part of this experiment")
        return [self.receipt(*need) for need in needs]

    def follow_failures(self, rules: Iterable[Any]) -> None:
        """Once all rules are known: note what they ask for, and let retries ask for more of what was short."""
        rules = list(rules)
        self._asked = in_force(rules)
        for rule in rules:
            follow_failures(rule, self._asked.get(rule.name, {}), self.site.artifacts, lambda: self._survey)

    def receipt(self, stage: str, job: str = "{job}") -> str:
        """The receipt of a job, or the pattern of a stage's."""
        return str(receipt_path(self.site.artifacts, stage, job))

    def log(self, stage: str, job: str = "{job}") -> str:
        """The log of a job, or the pattern of a stage's."""
        return str(log_path(self.site.artifacts, stage, job))

    def figures(self, job: str) -> str:
        """Where the charts of a job of `report` lie for Snakemake's own report."""
        return str(figures_path(self.site.artifacts, job))

    def result(self, file: str) -> str:
        """A file of the experiment's results."""
        assert self.plan is not None
        return str(self.site.results / self.plan.experiment.name / file)

    @property
    def made(self) -> str:
        """What a person asked for, and where it is now."""
        if COLLECT in sys.argv:
            return f"index of all results: {self.site.results / 'index.html'}"
        return f"report: {self.result('report.html')}"

    def last(self, stage: str) -> str:
        """The id of the one job of `report` or `gate`."""
        assert self.plan is not None
        return next(job.id for job in self.plan.jobs if job.stage == stage)


def _shown(file: Path) -> Path:
    """A path as a person would write it: Snakemake makes all of them absolute."""
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
