"""The diabetes data that scikit-learn ships."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from headrace.datasets.base import GROUP, DataInfo, DatasetSpec

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr


class Spec(DatasetSpec):
    """442 patients with 10 measurements each: how far does the disease progress in a year?"""

    groups: Literal["sex"] | None = None
    """With `sex`, the report tells how good every model is for each of the two, which the data call 1 and 2, and how
    far they lie apart. It is an input all the same."""

    def describe(self) -> DataInfo:
        """Read off the data once; a test holds it to them."""
        return DataInfo(
            tasks=("regression", "density"),
            num_samples=442,
            shape=(10,),
            dims=("feature",),
            num_targets=1,
            licence="public data of the paper",
            source="Efron, Hastie, Johnstone and Tibshirani (2004), as shipped by scikit-learn",
        )

    def open(self, scratch: Path) -> xr.Dataset:
        """Through scikit-learn's loader, unscaled, in its order of rows."""
        import numpy as np
        import xarray as xr
        from sklearn.datasets import load_diabetes

        data = load_diabetes(scaled=False)
        dataset = xr.Dataset(
            {
                "inputs": (("sample", "feature"), data.data.astype(np.float32)),
                "target": (("sample",), data.target.astype(np.float32)),
            },
            attrs={"feature_names": [str(name) for name in data.feature_names]},
        )
        if self.groups is None:
            return dataset
        values, codes = np.unique(data.data[:, data.feature_names.index(self.groups)], return_inverse=True)
        said = {"group_column": self.groups, "group_names": [f"{value:g}" for value in values]}
        return dataset.assign({GROUP: (("sample",), codes.astype(np.int16))}).assign_attrs(said)
