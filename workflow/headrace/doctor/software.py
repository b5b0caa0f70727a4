"""Python, the packages, torch's build and the GPU's driver."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from headrace.doctor.findings import Finding, ok, problem, warning

INSTALL = "`make setup`, or `pip install --constraint envs/constraints.txt --editable .` in this environment"
TORCH_TIMEOUT_S = 120
PLUGIN_TIMEOUT_S = 60
SLOW_PLUGIN_S = 6
NVIDIA_DEVICE = Path("/dev/nvidiactl")
EXECUTORS = ("snakemake_executor_plugin_slurm", "snakemake_executor_plugin_cluster_generic")

ASK_TORCH = """
import json, torch
count = torch.cuda.device_count()
names = [torch.cuda.get_device_name(index) for index in range(count)]
total = float((torch.ones(8, device="cuda") * 2).sum()) if torch.cuda.is_available() else None
print(json.dumps({"names": names, "total": total}))
"""


def check_python() -> Iterator[Finding]:
    """Its version against what the package wants."""
    from packaging.specifiers import SpecifierSet

    version = ".".join(map(str, sys.version_info[:3]))
    try:
        wanted = metadata.metadata("headrace")["Requires-Python"] or ""
    except metadata.PackageNotFoundError:
        yield warning("python", f"{version} in {sys.prefix}, where Headrace itself is not installed", INSTALL)
        return
    if SpecifierSet(wanted).contains(version, prereleases=True):
        yield ok("python", f"{version} in {sys.prefix}")
    else:
        yield problem("python", f"{version}, and Headrace wants {wanted}", "`make PYTHON=python3.11`, or any newer one")


def check_packages(requirements: Sequence[str] | None = None) -> Iterator[Finding]:
    """What is installed against what Headrace's pyproject.toml asks for."""
    from packaging.requirements import Requirement

    if requirements is None:
        try:
            requirements = metadata.requires("headrace") or []
        except metadata.PackageNotFoundError:
            return
    wanted = [Requirement(line) for line in requirements]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = []
    for one in wanted:
        try:
            version = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{one.name} is missing")
            continue
        if not one.specifier.contains(version, prereleases=True):
            wrong.append(f"{one.name} is {version} and must be {one.specifier}")
    if wrong:
        yield problem("packages", "; ".join(wrong), INSTALL)
    else:
        yield ok("packages", f"{len(wanted)} are installed, in versions that Headrace was made for")


def check_plugins() -> Iterator[Finding]:
    """The plugins through which Snakemake submits, imported as by every start of Snakemake, and timed."""
    missing = [name for name in EXECUTORS if importlib.util.find_spec(name) is None]
    if missing:
        yield problem("snakemake", f"not installed: {', '.join(missing)}", INSTALL)
        return
    start = time.monotonic()
    done = _python(f"import {', '.join(EXECUTORS)}", PLUGIN_TIMEOUT_S)
    seconds = time.monotonic() - start
    if done is None or done.returncode:
        said = f"no answer within {PLUGIN_TIMEOUT_S} s" if done is None else _last_line(done.stderr)
        yield problem(
            "snakemake",
            f"its plugins cannot be imported: {said}",
            f"install what is missing there; packages by {INSTALL}",
        )
    elif seconds > SLOW_PLUGIN_S:
        yield warning(
            "snakemake",
            f"its plugins take {seconds:.0f} s to import, at every start, jobs included",
            "a controller of SLURM does not answer (see below), or the packages lie on a slow disk",
        )
    else:
        yield ok("snakemake", f"{metadata.version('snakemake')}, its plugins for SLURM and PBS load in {seconds:.1f} s")


def check_torch(*, wanted: bool, cluster_has_gpus: bool) -> Iterator[Finding]:
    """Torch's build, and where there is a GPU, or one is `wanted`, whether torch computes on it."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        yield problem("torch", "not installed", INSTALL)
        return
    version = metadata.version("torch")
    cuda = read_cuda_version((Path(spec.origin).parent / "version.py").read_text(encoding="utf-8"))
    build = f"{version}, built for {f'CUDA {cuda}' if cuda else 'CPUs alone'}"
    gpus, driver = ask_driver()
    if not (gpus or wanted or NVIDIA_DEVICE.exists()):
        if cluster_has_gpus and not cuda:
            yield warning("torch", f"{build}, and the cluster has GPUs", _install_torch(""))
        else:
            yield ok("torch", f"{build}; no GPU on this machine")
        return
    done = _python(ASK_TORCH, TORCH_TIMEOUT_S)
    if done is None or done.returncode:
        said = f"no answer within {TORCH_TIMEOUT_S} s" if done is None else _last_line(done.stderr)
        fix = _install_torch(driver) if gpus else "on a machine with a GPU: reinstall torch, " + INSTALL
        yield problem("torch", f"{build}; it cannot compute here: {said}", fix)
        return
    seen = json.loads(done.stdout.splitlines()[-1])["names"]
    if seen:
        yield ok("torch", f"{build}; computes on {len(seen)} GPU: {', '.join(sorted(set(seen)))}")
    elif gpus:
        said = f"{build}; it sees no GPU, and the driver does: {', '.join(sorted(set(gpus)))}"
        yield problem("torch", said, _explain_blindness(cuda, driver))
    else:
        yield (problem if wanted else warning)(
            "torch",
            f"{build}; no GPU answers here",
            "on a node with GPUs: `nvidia-smi` must list them; inside a job ask for `gpu: 1`, and look at "
            "CUDA_VISIBLE_DEVICES",
        )


def read_cuda_version(text: str) -> str:
    """The CUDA version that torch/version.py names; empty in a build for CPUs."""
    found = re.search(r"^cuda\b[^=]*=\s*['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return found[1] if found else ""


def ask_driver() -> tuple[list[str], str]:
    """The GPUs that nvidia-smi names, and the newest CUDA version that its driver runs."""
    if not shutil.which("nvidia-smi"):
        return [], ""
    texts = []
    for options in (["--query-gpu=name", "--format=csv,noheader"], []):
        try:
            done = subprocess.run(["nvidia-smi", *options], capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return [], ""
        texts.append("" if done.returncode else done.stdout)
    names, table = texts
    found = re.search(r"CUDA Version:\s*([\d.]+)", table)
    return [line.strip() for line in names.splitlines() if line.strip()], found[1] if found else ""


def _explain_blindness(cuda: str, driver: str) -> str:
    if not cuda:
        return _install_torch(driver)
    if driver and _numbers(cuda)[0] > _numbers(driver)[0]:
        return f"the driver runs CUDA up to {driver}, torch was built for {cuda}: {_install_torch(driver)}"
    return (
        "CUDA_VISIBLE_DEVICES may hide it, or the job did not ask for one (`gpu: 1`); else the driver needs a restart"
    )


def _install_torch(driver: str) -> str:
    upto = f" of at most {driver}" if driver else " that the driver of the GPU nodes runs (`nvidia-smi` there says it)"
    return f"install a build for a CUDA version{upto}: https://pytorch.org/get-started/locally"


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _python(code: str, timeout_s: float) -> subprocess.CompletedProcess[str] | None:
    """Run a line in a Python of its own; None when it takes too long."""
    try:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return None


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
