"""What schedulers might say about themselves."""

from headrace.schedulers.base import Queue, Survey

CPU = Queue(
    "cpu", is_default=True, num_nodes=20, cpus_per_node=64, memory_mib_per_node=256_000, max_runtime_min=3 * 1440
)
GPU = Queue(
    "gpu",
    num_nodes=4,
    cpus_per_node=48,
    memory_mib_per_node=512_000,
    gpus_per_node=4,
    gpu_types=("a100", "h100"),
    max_runtime_min=2880,
)
SHORT = Queue("short", num_nodes=2, cpus_per_node=8, memory_mib_per_node=16_000, max_runtime_min=30)
CANCELS = Queue("spare", num_nodes=99, cpus_per_node=64, gpus_per_node=8, preemption="cancel")
DOWN = Queue("old", is_up=False, num_nodes=50, cpus_per_node=16, gpus_per_node=2)

SLURM = Survey(
    "slurm",
    "23.11.4",
    (CPU, GPU, SHORT, CANCELS, DOWN),
    accounts=("physics", "shared"),
    has_accounting=True,
    notes=("partition old: AllowAccounts=physics",),
)
SMALL = Survey("slurm", "22.05.8", (Queue("cpu", is_default=True, num_nodes=1, cpus_per_node=4),))
PBS = Survey("pbs", "openpbs 23.06.06", (CPU, GPU))
EMPTY = {name: Survey(name, "", ()) for name in ("slurm", "pbs")}
