"""What `evaluate` has kept for the report of one run, read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headrace.findings.shown import Explanation, LatentMap, SanityCheck, Traversals
from headrace.provenance.digests import ATTRIBUTIONS, PICTURES
from headrace.provenance.manifests import read_json
from headrace.stores.arrays import load_arrays

SHOWN = {
    "rows": "row",
    "targets": "target",
    "outputs": "output",
    "pictures": "sample",
    "maps": "map",
    "reach": "reach",
    "shares": "share",
    "means": "mean",
    "edges": "edge",
    "feature_means": "feature_mean",
}
"""What an explanation holds, by the names that its arrays have behind `explained_`."""


def read_traversals(path: Path) -> Traversals | None:
    """What `evaluate` has drawn of a latent space, if anything."""
    arrays = load_arrays(path) if path.exists() else {}
    if "picture" not in arrays:
        return None
    return Traversals(arrays["dimension"], arrays["divergence"], arrays["step"], arrays["picture"] / 255)


def read_map(path: Path) -> LatentMap | None:
    """Where `evaluate` has found samples in a latent space, if it has."""
    arrays = load_arrays(path) if path.exists() else {}
    if "place" not in arrays:
        return None
    return LatentMap(arrays["place"], arrays["explained"], arrays.get("mapped_target"))


def read_explanation(folder: Path, names: Sequence[str]) -> Explanation:
    """What predictions rest on, where that was asked; `names` are those of the features, where they are known."""
    said, arrays = read_json(folder / ATTRIBUTIONS), load_arrays(folder / PICTURES)
    patches = said["patches"]
    return Explanation(
        methods=tuple(said["methods"]),
        num_samples=said["samples"],
        num_steps=said["steps"],
        patch_kind=patches["kind"],
        num_patches=patches["number"],
        patch_size=patches["size"],
        patch_stride=patches["stride"],
        completeness_error=_number(said["completeness_error"]),
        agreement=_number(said["agreement"]),
        checks=[
            SanityCheck(
                method=check["method"],
                weights=check["weights"],
                correlation=_number(check["correlation"]),
                correlation_of_sizes=_number(check["correlation_of_sizes"]),
            )
            for check in said["checks"]
        ],
        names=tuple(names),
        **{name: arrays[f"explained_{key}"] for name, key in SHOWN.items() if f"explained_{key}" in arrays},
    )


def _number(value: float | None) -> float:
    """JSON has no nan; null stands for it."""
    return float("nan") if value is None else value
