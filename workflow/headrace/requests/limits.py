"""Hold what jobs will ask for against what the scheduler grants, before anything is queued."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from headrace.planning.plan import Plan
from headrace.registry import suggest
from headrace.requests.defaults import default_requests
from headrace.requests.profiles import Settings
from headrace.requests.rules import devices_by_rule, jobs_by_rule
from headrace.schedulers.base import Queue, Survey

QUEUE_KEYS = ("slurm_partition", "pbs_queue")
ACCOUNT_KEYS = ("slurm_account", "pbs_account")
WORKERS_OF_THEIR_OWN = ("slurm", "pbs")
"""Kinds of Dask clusters whose workers are jobs."""
NANNY_MEMORY_MIB = 256
"""What a worker's job asks for beyond its worker's memory, as jobqueue.py has it."""
WORDS = {"pbs": "queue"}
"""What a scheduler's users call a queue, where that is not `partition`."""


@dataclass(frozen=True)
class Ask:
    """What each job of a rule asks for; None where nothing says."""

    rule: str
    num_jobs: int
    cores: int = 1
    mem_mb: int | None = None
    """In MiB, as schedulers read the megabytes that they are given."""
    runtime_min: int | None = None
    gpus: int = 0
    gpu_model: str = ""
    num_nodes: int = 1
    queue: str = ""
    """Several are separated by commas: the first that is free takes the job."""
    account: str = ""
    is_workers: bool = False
    """Dask workers that jobs of the rule start as jobs of their own."""

    @property
    def title(self) -> str:
        """How a table or a message calls them."""
        return f"{self.rule} (Dask workers)" if self.is_workers else self.rule

    @property
    def queues(self) -> tuple[str, ...]:
        """The names of the queues that may take it."""
        return tuple(name.strip() for name in self.queue.split(",") if name.strip())


def check_requests(plan: Plan, resources: Settings, survey: Survey | None) -> list[str]:
    """What would be refused, or wait for ever, a sentence each; nothing is asked or submitted here.

    `resources` are those in force: rule -> resource -> value, with `threads` (or `_cores`) among them. What is missing
    there counts as the default. Without a survey only that is checked which needs none.
    """
    asks = find_asks({rule: len(jobs) for rule, jobs in jobs_by_rule(plan).items()}, with_defaults(plan, resources))
    return [*check_devices(plan, asks), *(check_limits(asks, survey) if survey else [])]


def with_defaults(plan: Plan | None, resources: Settings) -> Settings:
    """Resources with the default requests where they say nothing."""
    return {rule: {**own, **resources.get(rule, {})} for rule, own in default_requests(plan, resources).items()}


def find_asks(num_jobs: Mapping[str, int], resources: Settings) -> list[Ask]:
    """What the jobs of each rule ask for, and after it what its Dask workers ask for if they are jobs as well."""
    asks = []
    for rule, num in num_jobs.items():
        ask = _ask(rule, num, resources.get(rule, {}))
        asks.append(ask)
        if (workers := _workers(ask, resources.get(rule, {}))) is not None:
            asks.append(workers)
    return asks


def _ask(rule: str, num_jobs: int, resources: Mapping[str, int | str]) -> Ask:
    def number(*keys: str) -> int | None:
        found = (resources.get(key) for key in keys)
        return next((value for value in found if isinstance(value, int)), None)

    def text(keys: Iterable[str]) -> str:
        return next((str(resources[key]) for key in keys if resources.get(key)), "")

    cores = number("cpus_per_task", "threads", "_cores") or 1
    per_cpu = number("mem_mb_per_cpu")
    return Ask(
        rule=rule,
        num_jobs=num_jobs,
        cores=cores,
        mem_mb=per_cpu * cores if per_cpu else number("mem_mb"),
        runtime_min=number("runtime"),
        gpus=number("gpu") or 0,
        gpu_model=text(["gpu_model"]),
        num_nodes=number("nodes") or 1,
        queue=text(QUEUE_KEYS),
        account=text(ACCOUNT_KEYS),
    )


def _workers(ask: Ask, resources: Mapping[str, int | str]) -> Ask | None:
    if resources.get("dask_cluster") not in WORKERS_OF_THEIR_OWN:
        return None
    pairs = (part.partition("=") for part in str(resources.get("dask_options", "")).split(","))
    options = {key.strip(): value.strip() for key, _, value in pairs}
    num, mem_mb = resources.get("dask_workers"), resources.get("dask_worker_mem_mb")
    runtime = options.get("runtime_min", "")
    return replace(
        Ask(ask.rule, ask.num_jobs * (num if isinstance(num, int) else 1), is_workers=True),
        mem_mb=mem_mb + NANNY_MEMORY_MIB if isinstance(mem_mb, int) else None,
        runtime_min=int(runtime) if runtime.isdecimal() else ask.runtime_min,
        queue=options.get("partition") or ask.queue,
        account=options.get("account") or ask.account,
    )


def check_devices(plan: Plan, asks: Sequence[Ask]) -> list[str]:
    """Runs that were planned for a GPU, in jobs that ask for none: they would fail after their wait in the queue."""
    devices = devices_by_rule(jobs_by_rule(plan))
    return [
        f"{ask.title}: its runs are planned for a GPU (device: cuda) and its jobs ask for none; set `gpu: 1` for "
        f"{ask.rule} under set-resources, or `device: cpu` under config"
        for ask in asks
        if "cuda" in devices.get(ask.rule, ()) and not ask.gpus and not ask.is_workers
    ]


def check_limits(asks: Sequence[Ask], survey: Survey) -> list[str]:
    """What no queue that was asked for would ever run, a sentence each."""
    return [problem for ask in asks for problem in [*_check_account(ask, survey), *_check_queue(ask, survey)]]


def _check_account(ask: Ask, survey: Survey) -> list[str]:
    mine = {account.lower(): account for account in survey.accounts}
    given = [name for name in ask.account.replace(",", " ").split() if mine and name.lower() not in mine]
    return [
        f"{ask.title}: account {name!r} is none of yours; allowed: {', '.join(survey.accounts)}"
        + suggest(name, survey.accounts)
        for name in given
    ]


def _check_queue(ask: Ask, survey: Survey) -> list[str]:
    word = WORDS.get(survey.scheduler, "partition")
    names = [queue.name for queue in survey.queues]
    if not names:
        return []
    unknown = [name for name in ask.queues if name not in names]
    if unknown:
        return [f"{ask.title}: no {word} {n!r} here; allowed: {', '.join(names)}{suggest(n, names)}" for n in unknown]
    wanted = [queue for queue in survey.queues if queue.name in ask.queues]
    if not wanted and survey.default_queue is None:
        # PBS does not tell everybody where it sends what names no queue.
        complaint = f"{ask.title}: no {word} is given and the scheduler has no default; allowed: {', '.join(names)}"
        return [complaint] if survey.scheduler == "slurm" else []
    wanted = wanted or [queue for queue in survey.queues if queue.is_default]
    refusals = [find_refusals(ask, queue, word) for queue in wanted]
    if not all(refusals):
        return []
    fitting = [queue.name for queue in survey.queues if queue.is_up and not find_refusals(ask, queue, word)]
    way = f"{word}s that allow it: {', '.join(fitting)}" if fitting else f"no {word} here allows it"
    return [f"{ask.title}: {refusal}; {way}" for refusal in refusals[0]]


def find_refusals(ask: Ask, queue: Queue, word: str = "partition") -> list[str]:
    """What a queue would refuse, or never start, of what is asked for; limits that nobody tells are none."""
    found = []
    largest = f"the largest node of {word} {queue.name} has"
    cores, mem_mb = -(-ask.cores // ask.num_nodes), ask.mem_mb
    if ask.runtime_min is not None and queue.max_runtime_min is not None and ask.runtime_min > queue.max_runtime_min:
        found.append(f"runtime {ask.runtime_min} min, and {word} {queue.name} allows {queue.max_runtime_min}")
    if queue.cpus_per_node is not None and cores > queue.cpus_per_node:
        found.append(f"{cores} cores (threads), and {largest} {queue.cpus_per_node}")
    if mem_mb is not None and queue.memory_mib_per_node is not None and mem_mb > queue.memory_mib_per_node:
        found.append(f"{mem_mb} MiB (mem_mb), and {largest} {queue.memory_mib_per_node}")
    if queue.max_nodes_per_job is not None and ask.num_nodes > queue.max_nodes_per_job:
        found.append(f"{ask.num_nodes} nodes, and {word} {queue.name} allows {queue.max_nodes_per_job} a job")
    return [*found, *_find_gpu_refusals(ask, queue, word)]


def _find_gpu_refusals(ask: Ask, queue: Queue, word: str) -> list[str]:
    if not ask.gpus:
        return []
    if not queue.gpus_per_node:
        return [f"{ask.gpus} GPU (gpu), and {word} {queue.name} has none"]
    if -(-ask.gpus // ask.num_nodes) > queue.gpus_per_node:
        return [f"{ask.gpus} GPUs (gpu), and the largest node of {word} {queue.name} has {queue.gpus_per_node}"]
    if ask.gpu_model and queue.gpu_types and ask.gpu_model not in queue.gpu_types:
        types = f"{', '.join(queue.gpu_types)}{suggest(ask.gpu_model, queue.gpu_types)}"
        return [f"GPUs of type {ask.gpu_model!r} (gpu_model), and {word} {queue.name} has {types}"]
    return []


def show_minutes(minutes: int) -> str:
    """`1:30 h`, `1 d`, or `2 d 1:30 h`."""
    days, rest = divmod(minutes, 24 * 60)
    parts = [f"{days} d"] if days else []
    parts += [f"{rest // 60}:{rest % 60:02d} h"] if rest or not days else []
    return " ".join(parts)
