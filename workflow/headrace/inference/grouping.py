"""Which group every sample of a split belongs to, where the data know."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from headrace.datasets.base import GROUP
from headrace.provenance.manifests import read_manifest
from headrace.stores.layout import STORE
from headrace.stores.reading import Store


def read_groups(folder: Path, split: str) -> dict[str, np.ndarray]:
    """`group` (samples,) int16 of a split of a sealed artifact, in the order in which it is stored; {} without groups.

    Raises FileNotFoundError where nothing is sealed, StageError where something is damaged.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise FileNotFoundError(f"{folder}: not a sealed artifact")
    store = Store(folder / STORE, manifest["chunks"])
    return {GROUP: store.array(GROUP).read(store.split(split))} if GROUP in store.variables else {}
