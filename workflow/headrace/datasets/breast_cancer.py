"""The breast cancer data of Wisconsin that scikit-learn ships."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.datasets.base import DataInfo, DatasetSpec

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr


class Spec(DatasetSpec):
    """569 biopsies with 30 measurements of cell nuclei each: malignant or benign?"""

    def describe(self) -> DataInfo:
        """Read off the data once; a test holds it to them."""
        return DataInfo(
            tasks=("classification", "density"),
            num_samples=569,
            shape=(30,),
            dims=("feature",),
            class_names=("malignant", "benign"),
            class_counts=(212, 357),
            licence="CC BY 4.0",
            source="Wolberg, Mangasarian, Street and Street (1993), UCI, as shipped by scikit-learn",
        )

    def open(self, scratch: Path) -> xr.Dataset:
        """Through scikit-learn's loader, in its order of rows."""
        import numpy as np
        import xarray as xr
        from sklearn.datasets import load_breast_cancer

        data = load_breast_cancer()
        return xr.Dataset(
            {
                "inputs": (("sample", "feature"), data.data.astype(np.float32)),
                "target": (("sample",), data.target.astype(np.int64)),
            },
            attrs={"feature_names": [str(name) for name in data.feature_names]},
        )
