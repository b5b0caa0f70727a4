"""Samples that are right-hand sides of a linear system, replaced by its solutions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import StringConstraints, model_validator

from headrace.datasets.base import DataInfo, Sha256
from headrace.experiments.config import NonNegativeFloat, PositiveFloat, PositiveInt
from headrace.preprocessing.base import FitData, IterativeSpec, NamedFile, State

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_array

    from headrace.blocks import Block
    from headrace.linalg.krylov import Solution
    from headrace.linalg.progress import Progress

COMPUTES = (
    "formats.compressed",
    "formats.matrix_text",
    "linalg.conjugate",
    "linalg.krylov",
    "linalg.lsqr",
    "linalg.minres",
)
PIECE = 2**20
"""Numbers of right-hand sides, or of solutions, that are worked on at once."""
SYMMETRY = 1e-12
"""Of the largest number: more than this must not differ on the two sides of the diagonal."""


class Spec(IterativeSpec):
    """Replace every sample b, flattened to m numbers, by the x of A x = b, for a matrix A with m rows from a Matrix
    Market file: to undo a blur, or any linear map that is known; for example
    `{kind: solve, matrix: operators/blur.mtx, method: lsqr, damping: 0.01}`.

    Nothing is learned from the training split; its rows are solved for once more, to show how that converges.
    """

    reads: ClassVar[tuple[str, ...]] = ("dense", "sparse")

    matrix: Annotated[str, StringConstraints(min_length=1)]
    """The file, relative to the working directory, plain or as .gz: coordinate format of real, integer or pattern
    numbers, general or symmetric. It has a row for every number of a sample, and a column for every number that comes
    out; where both are as many, samples keep their shape. What it holds is part of the result's identity."""
    method: Literal["cg", "minres", "lsqr"] = "lsqr"
    """`cg`: conjugate gradients with Jacobi's preconditioner, for symmetric positive definite matrices; `minres`, for
    symmetric ones; `lsqr`, for any: where nothing solves the system, it gives the least |b - A x|, and of many such x
    the shortest."""
    damping: NonNegativeFloat = 0.0
    """With `lsqr`: make |b - A x|^2 + damping^2 |x|^2 least, so that noise is not blown up (Tikhonov). 0 and above."""
    tolerance: PositiveFloat = 1e-6
    """Largest |b - A x| / |b| allowed of any sample. With `lsqr`, it is enough that |A'(b - A x)| is not above it
    relative to |A| |b - A x|, where |A| is the root of the sum of all squares."""
    max_iterations: PositiveInt = 1000
    """Products with the matrix for a sample at most (with `lsqr`, pairs of them)."""
    sha256: Sha256 | None = None
    """SHA-256 that the file must have. It is refused otherwise."""
    shape: tuple[PositiveInt, PositiveInt] | None = None
    """Rows and columns of the matrix. Need not be given: the file says so when an experiment is checked."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.damping and self.method != "lsqr":
            raise ValueError(f"damping: means nothing with method: {self.method}; allowed with lsqr")
        return self

    def files(self) -> Mapping[str, NamedFile]:
        """The matrix."""
        return {"matrix": NamedFile(self.matrix, self.sha256)}

    def filled_in(self) -> Spec:
        """With the shape that the first lines of the file tell."""
        found = self._read_shape()
        if self.shape not in (None, found):
            raise ValueError(f"shape: is {self.shape}, but {self.matrix} has {found}; leave it out")
        return self.model_copy(update={"shape": found})

    def describe(self, info: DataInfo, num_train: int) -> DataInfo:
        """One number for every column; as many as before keep their shape."""
        num_rows, num_columns = self.shape or self._read_shape()
        numbers = f"{info.num_features} number" + ("s" if info.num_features > 1 else "")
        if num_rows != info.num_features:
            raise ValueError(
                f"matrix: {self.matrix} has {num_rows} rows, and a sample {numbers}; allowed: a matrix with a row for "
                "each of them"
            )
        if self.method != "lsqr" and num_rows != num_columns:
            raise ValueError(
                f"matrix: {self.matrix} is {num_rows} x {num_columns}, and {self.method} needs as many rows as "
                "columns; allowed for others: method: lsqr"
            )
        info = replace(info, layout="dense", dtype="float32", num_values=0, unit_interval=False)
        return info if num_rows == num_columns else replace(info, shape=(num_columns,), dims=("component",))

    def fit(self, data: FitData) -> State:
        """Read the matrix, and solve for all training rows, block by block."""
        import numpy as np

        from headrace.errors import InputError, StageError

        try:
            state = self._read()
        except InputError as error:
            raise StageError(f"solve: matrix: {error}") from None
        saved = data.progress.resume()
        if saved is None:
            history, worst = data.inputs.reduce(_history_of_block, self, state, combine=_merge)
            saved = {"history": history, "worst": np.array([worst])}
        # Every sample has its own iterations, wherever it is; what is told of each is the worst of all samples.
        for value in saved["history"][len(data.progress.trace) :]:
            data.progress.note(value, saved.copy)
        measure = "relative residual" if self.method != "lsqr" else "relative residual, or that of the normal equations"
        self.conclude(data.progress, measure, float(saved["worst"][0]))
        return state

    def apply(self, block: Block, state: State, rows: slice) -> Block:
        """(rows, ...) to (rows, ...) or (rows, columns), float32.

        Raises StageError for a row without convergence if so wished.
        """
        import numpy as np

        from headrace.blocks import Ragged
        from headrace.errors import StageError

        assert not isinstance(block, Ragged)
        found = []
        for first, solution, _ in self._solutions(block, state):
            missed = np.flatnonzero(solution.measures > self.tolerance)
            if missed.size and self.on_no_convergence == "error":
                raise StageError(
                    f"solve: row {rows.start + first + missed[0]}: relative residual "
                    f"{solution.measures[missed[0]]:.2g} is above tolerance = {self.tolerance:g}; raise max_iterations "
                    "or tolerance, or say on_no_convergence: report"
                )
            found.append(solution.x.T.astype(np.float32))
        num_rows, num_columns = state["shape"]
        shape = block.shape[1:] if num_rows == num_columns else (int(num_columns),)
        return np.ascontiguousarray(np.concatenate(found)).reshape(-1, *shape)

    def _read_shape(self) -> tuple[int, int]:
        from headrace.errors import InputError
        from headrace.formats.matrix_text import read_header

        path = self.files()["matrix"].path
        if not path.is_file():
            raise ValueError(f"matrix: {self.matrix}: no such file (looked in {Path().absolute()})")
        try:
            header = read_header(path)
        except InputError as error:
            raise ValueError(f"matrix: {error}") from None
        return header.num_rows, header.num_columns

    def _read(self) -> dict[str, np.ndarray]:
        """The matrix as the arrays of CSR rows. Raises InputError, and StageError when the method cannot work on it."""
        from tempfile import TemporaryDirectory

        import numpy as np

        from headrace.errors import StageError
        from headrace.formats.matrix_text import read_matrix

        with TemporaryDirectory(prefix="headrace-") as folder:
            matrix = read_matrix(self.files()["matrix"].path, Path(folder))
        if not np.isfinite(matrix.data).all():
            raise StageError(f"solve: matrix: {self.matrix} holds what is no finite number")
        largest = np.abs(matrix.data).max()
        if self.method != "lsqr" and np.abs((matrix - matrix.T).data).max(initial=0) > SYMMETRY * largest:
            raise StageError(f"solve: matrix: {self.matrix} is not symmetric; say method: lsqr")
        shape = np.array(matrix.shape, np.int64)
        return {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "shape": shape}

    def _solutions(self, block: Block, state: State) -> Iterator[tuple[int, Solution, Progress]]:
        """For pieces of a block: the number of its first row, what was found, and how."""
        import numpy as np

        from headrace.errors import StageError
        from headrace.linalg.kernels import flat
        from headrace.linalg.progress import Progress

        matrix = _matrix_of(state)
        rows = flat(block)
        step = max(1, PIECE // max(matrix.shape))
        for first in range(0, rows.shape[0], step):
            piece = rows[first : first + step]
            right = (piece if isinstance(piece, np.ndarray) else piece.toarray()).T
            progress = Progress(name=self.kind)
            try:
                solution = self._solve(matrix, right, progress)
            except StageError as error:
                advice = "; say method: lsqr" if self.method == "cg" else ""
                raise StageError(f"solve: matrix: {self.matrix}: {error}{advice}") from None
            yield first, solution, progress

    def _solve(self, matrix: csr_array, right: np.ndarray, progress: Progress) -> Solution:
        """For the columns of `right` (m, k). Raises StageError."""
        from headrace.linalg.conjugate import conjugate_gradients
        from headrace.linalg.lsqr import Held, lsqr
        from headrace.linalg.minres import minres

        operator = Held(matrix)
        limits: dict[str, Any] = {
            "tolerance": self.tolerance,
            "max_iterations": self.max_iterations,
            "progress": progress,
        }
        if self.method == "cg":
            return conjugate_gradients(operator.matmul, right, diagonal=matrix.diagonal(), **limits)
        if self.method == "minres":
            return minres(operator.matmul, right, **limits)
        return lsqr(operator, right, damping=self.damping, **limits)


def _matrix_of(state: State) -> csr_array:
    from scipy.sparse import csr_array

    shape = (int(state["shape"][0]), int(state["shape"][1]))
    return csr_array((state["data"], state["indices"], state["indptr"]), shape=shape)


History = tuple["np.ndarray", float]
"""(iterations,) what is measured of the worst row after each, and the same at the end, computed from b - A x."""


def _history_of_block(block: Block, spec: Spec, state: State) -> History:
    """How solving for the rows of a block went. Runs in a worker."""
    import numpy as np

    told: History = (np.zeros(0), 0.0)
    for _, solution, progress in spec._solutions(block, state):
        values = np.array([line["value"] for line in progress.trace])
        told = _merge(told, (values, float(solution.measures.max())))
    return told


def _merge(one: History, other: History) -> History:
    """Rows that are done sooner stay at what they have reached."""
    import numpy as np

    length = max(len(one[0]), len(other[0]))
    padded = [np.pad(values, (0, length - len(values)), constant_values=end) for values, end in (one, other)]
    return np.maximum(*padded), max(one[1], other[1])
