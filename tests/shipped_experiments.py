"""The experiments in configs/."""

from pathlib import Path

import yaml

CONFIGS = Path(__file__).parents[1] / "configs"
ALL = sorted(CONFIGS.glob("*.yaml"))
FETCHED = [
    path
    for path in ALL
    if any("download" in dataset for dataset in yaml.safe_load(path.read_text())["datasets"].values())
]
"""Those whose data are fetched first, which tests must not wait for."""
HERE = [path for path in ALL if path not in FETCHED]
