"""What is known of datasets: files are found, hashed and surveyed once, and what was found is kept for the next time.

Everything is kept beside the artifacts: ROOT/.sources holds what was found, ROOT/.downloads what was fetched.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.datasets.base import SPLIT_KEY, TARGET, DataInfo, DatasetSpec, FileDataset, Source, SourceFile, Survey
from headrace.errors import InputError
from headrace.experiments.splits import SPLITS, divide, resolve_split
from headrace.logs import logger
from headrace.provenance.fingerprints import module_fingerprint, module_path
from headrace.provenance.manifests import digest_json, is_sealed, read_json, write_json
from headrace.registry import PACKAGE, kind_path
from headrace.sources.files import combined_sha256, find_files, hash_files

if TYPE_CHECKING:
    import numpy as np

NOT_READ = frozenset({"sha256", "licence", "rows_per_shard", "download"})
"""Keys that decide nothing about what a survey finds."""


@dataclass(frozen=True)
class Known:
    """A dataset whose files are known."""

    info: DataInfo
    sha256: str | None
    """Of all files together; None for a kind that has none."""


class Library:
    """What is known of the datasets at one root of artifacts."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def look_up(self, spec: DatasetSpec) -> Known:
        """What a dataset holds. Raises InputError, and for what `split` asks ValueError."""
        if not isinstance(spec, FileDataset):
            return Known(spec.describe(), None)
        files = self._files(spec)
        sha256 = combined_sha256(files)
        if spec.sha256 is not None and spec.sha256 != sha256:
            raise InputError(f"sha256: {_names(files)}: has another content than asked for: {sha256}")
        if spec.sha256 is None:
            self._refuse_changed(spec, files, sha256)
        survey = self._survey(spec, files, with_index=False)
        return Known(survey.info, sha256)

    def open(self, spec: DatasetSpec, scratch: Path, sha256: str | None = None) -> tuple[Source, Survey]:
        """The rows of a dataset, and what a survey found. Raises InputError when its files changed since planning."""
        from headrace.sources.xarrays import as_source

        if not isinstance(spec, FileDataset):
            keys = spec.split_keys()
            index = {} if keys is None else {SPLIT_KEY: keys}
            return as_source(spec.open(scratch), scratch), Survey(spec.describe(), index)
        files = self._files(spec)
        if combined_sha256(files) != sha256:
            raise InputError(f"{_names(files)}: changed since planning; start the workflow again")
        survey = self._survey(spec, files, with_index=True)
        return as_source(spec.open_files(_typed(files), survey, scratch), scratch), survey

    def files_of(self, spec: DatasetSpec) -> list[dict[str, Any]]:
        """Every file that a dataset reads, for a manifest."""
        if not isinstance(spec, FileDataset):
            return []
        return [file for group in self._files(spec).values() for file in group]

    def digest(self, key: str, path: Path, wanted: str | None = None) -> str:
        """SHA-256 of a file that is no dataset's. Raises InputError naming `key` if it is missing or not as wanted."""
        if not path.is_file():
            where = f" (looked in {Path().absolute()})" if not path.is_absolute() else ""
            raise InputError(f"{key}: {path}: no such file{where}")
        sha256 = str(hash_files([path], self.root / ".sources" / "files" / "steps.json")[0]["sha256"])
        if wanted not in (None, sha256):
            raise InputError(f"sha256: {path}: has another content than asked for: {sha256}")
        return sha256

    def remember(self, spec: DatasetSpec, artifact: Path, identity: str) -> None:
        """Note from which content a dataset was sharded."""
        if isinstance(spec, FileDataset):
            write_json(self._record(spec), {"artifact": str(artifact), "identity": identity}, durable=False)

    def _files(self, spec: FileDataset) -> dict[str, list[dict[str, Any]]]:
        place = Path()
        if spec.download is not None:
            from headrace.sources.downloads import fetch

            wanted = spec.download if isinstance(spec.download, tuple) else (spec.download,)
            place = fetch(wanted, self.root / ".downloads")
        cache = self.root / ".sources" / "files" / f"{digest_json(_reading(spec))[:16]}.json"
        paths = {key: find_files(key, patterns, place) for key, patterns in spec.patterns().items()}
        hashed = iter(hash_files([path for group in paths.values() for path in group], cache))
        return {key: [next(hashed) for _ in group] for key, group in paths.items()}

    def _survey(self, spec: FileDataset, files: Mapping[str, Any], *, with_index: bool) -> Survey:
        """From the cache, or from the files; it is made again when the code that makes it has changed."""
        reading = _reading(spec)
        contents = {key: [[file["path"], file["sha256"]] for file in group] for key, group in files.items()}
        key = digest_json([reading, contents, _code(spec.kind)])[:32]
        path = self.root / ".sources" / "surveys" / f"{key}.json"
        try:
            stored = read_json(path)
            survey = Survey(_info(stored["info"]), _load(path) if with_index else {}, stored["attributes"])
        except (OSError, ValueError, LookupError, TypeError):
            logger.info("surveying %s", _names(files))
            survey = self._divided(spec, spec.survey(_typed(files)))
            self._store(path, survey)
        source = f"{_names(files)}, SHA-256 {combined_sha256(files)[:16]}..."
        return dataclasses.replace(survey, info=dataclasses.replace(survey.info, licence=spec.licence, source=source))

    def _divided(self, spec: FileDataset, survey: Survey) -> Survey:
        """With the sizes of the splits, where only the data can tell, once the division is known to work."""
        split = resolve_split(spec.split, survey.info)
        if split.by not in ("grouped", "time", "source"):
            return survey
        keys, labels = survey.index.get(SPLIT_KEY), survey.index.get(TARGET)
        division = divide(survey.info.num_samples, labels, split, keys)
        refuse_missing_classes(labels, division.order, division.sizes, survey.info)
        train, validation, test = (division.sizes[name] for name in SPLITS)
        return dataclasses.replace(survey, info=dataclasses.replace(survey.info, split_sizes=(train, validation, test)))

    def _store(self, path: Path, survey: Survey) -> None:
        from headrace.stores.arrays import save_arrays

        path.parent.mkdir(parents=True, exist_ok=True)
        index = path.with_suffix(f".{digest_json(str(path))[:4]}.tmp")
        save_arrays(index, survey.index)
        index.replace(path.with_suffix(".safetensors"))
        info = dataclasses.asdict(survey.info)
        write_json(path, {"info": info, "attributes": dict(survey.attributes)}, durable=False)

    def _record(self, spec: FileDataset) -> Path:
        return self.root / ".sources" / "sharded" / f"{digest_json(_reading(spec))[:16]}.json"

    def _refuse_changed(self, spec: FileDataset, files: Mapping[str, Any], sha256: str) -> None:
        """A source that changed after it was sharded: results would silently mean something else."""
        try:
            record = read_json(self._record(spec))
            folder, identity = Path(record["artifact"]), record["identity"]
            if not is_sealed(folder, identity):
                return
            before = {file["path"]: file["sha256"] for file in read_json(folder / "manifest.json")["sources"]}
        except (OSError, ValueError, LookupError, TypeError):
            return
        now = {file["path"]: file["sha256"] for group in files.values() for file in group}
        changed = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
        if changed:
            more = f" and {len(changed) - 1} more files" if len(changed) > 1 else ""
            raise InputError(
                f"path: {changed[0]}{more} changed after it was sharded ({folder}); put the old content back, or say "
                f"that the new one is meant: sha256: {sha256}"
            )


def refuse_missing_classes(labels: np.ndarray | None, order: np.ndarray, sizes: Mapping[str, int], info: Any) -> None:
    """Raise ValueError when a split lacks a class; `labels` (samples,) are codes, `order` and `sizes` a division's."""
    import numpy as np

    if labels is None or not info.class_names:
        return
    start = 0
    for name in SPLITS:
        counts = np.bincount(labels[order[start : start + sizes[name]]], minlength=len(info.class_names))
        if (counts == 0).any():
            missing = info.class_names[int(np.argmin(counts))]
            raise ValueError(f"split.{name}: is left without class {missing!r}; use by: stratified, or larger shares")
        start += sizes[name]


def _reading(spec: FileDataset) -> dict[str, Any]:
    """The part of a spec that decides what is read."""
    return {key: value for key, value in spec.model_dump(mode="json").items() if key not in NOT_READ}


def _code(kind: str) -> str:
    """Fingerprint of what makes a survey."""
    rooms = [*sorted((PACKAGE / "sources").glob("*.py")), *sorted((PACKAGE / "formats").glob("*.py"))]
    rooms += [kind_path("datasets", kind), module_path("experiments.splits")]
    return digest_json([module_fingerprint(path) for path in rooms])


def _typed(files: Mapping[str, Any]) -> dict[str, list[SourceFile]]:
    return {
        key: [SourceFile(Path(file["path"]), file["num_bytes"], file["sha256"]) for file in group]
        for key, group in files.items()
    }


def _names(files: Mapping[str, Any]) -> str:
    paths = [file["path"] for group in files.values() for file in group]
    return paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more files"


def _info(stored: Mapping[str, Any]) -> DataInfo:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
    return DataInfo(**values)


def _load(path: Path) -> Mapping[str, np.ndarray]:
    from headrace.stores.arrays import load_arrays

    return load_arrays(path.with_suffix(".safetensors"))
