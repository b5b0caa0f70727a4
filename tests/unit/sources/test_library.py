"""What is known of files is found once, and never believed after they changed."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from headrace.datasets.base import FileDataset
from headrace.datasets.npy import Spec
from headrace.errors import InputError
from headrace.provenance.manifests import write_json
from headrace.sources.library import Library


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "artifacts")


@pytest.fixture
def spec(tmp_path: Path) -> FileDataset:
    np.save(tmp_path / "inputs.npy", np.arange(40.0).reshape(10, 4))
    np.save(tmp_path / "target.npy", np.arange(10) % 2)
    return Spec(kind="npy", path=str(tmp_path / "inputs.npy"), target=str(tmp_path / "target.npy"))


def seal(library: Library, spec: FileDataset) -> Path:
    """As if it had been sharded."""
    folder = library.root / "shard" / "x"
    write_json(folder / "manifest.json", {"identity": "i", "status": "done", "sources": library.files_of(spec)})
    library.remember(spec, folder, "i")
    return folder


def change(path: Path) -> None:
    values = np.load(path)
    values[3] = values[0]
    np.save(path, values)


def test_files_are_surveyed_once(library: Library, spec: FileDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    known = library.look_up(spec)
    assert known.info.num_samples == 10
    monkeypatch.setattr(Spec, "survey", lambda *_: pytest.fail("surveyed again"))
    assert library.look_up(spec) == known
    assert Library(library.root).look_up(spec) == known


def test_a_new_time_of_modification_changes_nothing(library: Library, spec: FileDataset, tmp_path: Path) -> None:
    known = library.look_up(spec)
    seal(library, spec)
    os.utime(tmp_path / "inputs.npy", (1, 1))
    assert library.look_up(spec) == known


def test_an_edit_behind_the_back_of_the_clock_is_noticed(library: Library, spec: FileDataset, tmp_path: Path) -> None:
    path = tmp_path / "inputs.npy"
    before = library.look_up(spec)
    status = path.stat()
    change(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert library.look_up(spec).sha256 != before.sha256


def test_a_source_that_changed_after_it_was_sharded_is_refused(
    library: Library, spec: FileDataset, tmp_path: Path
) -> None:
    library.look_up(spec)
    seal(library, spec)
    change(tmp_path / "target.npy")
    with pytest.raises(InputError, match=r"target\.npy changed after it was sharded .*sha256: ") as error:
        library.look_up(spec)
    # What the message says is what helps.
    meant = spec.model_copy(update={"sha256": str(error.value).rsplit("sha256: ", 1)[1]})
    assert library.look_up(meant).info.num_samples == 10


def test_before_it_was_sharded_a_source_may_change(library: Library, spec: FileDataset, tmp_path: Path) -> None:
    before = library.look_up(spec)
    change(tmp_path / "inputs.npy")
    assert library.look_up(spec).sha256 != before.sha256


def test_shards_that_were_deleted_bind_nobody(library: Library, spec: FileDataset, tmp_path: Path) -> None:
    library.look_up(spec)
    (seal(library, spec) / "manifest.json").unlink()
    change(tmp_path / "inputs.npy")
    assert library.look_up(spec).info.num_samples == 10


def test_another_content_than_asked_for_is_refused(library: Library, spec: FileDataset) -> None:
    with pytest.raises(InputError, match=r"sha256: .*inputs\.npy and 1 more files: has another content"):
        library.look_up(spec.model_copy(update={"sha256": "0" * 64}))


def test_a_source_that_changed_since_planning_is_refused(library: Library, spec: FileDataset, tmp_path: Path) -> None:
    known = library.look_up(spec)
    change(tmp_path / "inputs.npy")
    with pytest.raises(InputError, match="changed since planning"):
        library.open(spec, tmp_path / "scratch", known.sha256)


def test_one_file_is_known_by_its_own_digest(library: Library, spec: FileDataset, tmp_path: Path) -> None:
    alone = spec.model_copy(update={"target": None})
    assert library.look_up(alone).sha256 == hashlib.sha256((tmp_path / "inputs.npy").read_bytes()).hexdigest()


def test_a_damaged_cache_is_made_anew(library: Library, spec: FileDataset) -> None:
    known = library.look_up(spec)
    for path in (library.root / ".sources").rglob("*.json"):
        path.write_text('{"cut')
    assert library.look_up(spec) == known


def test_a_file_that_is_not_there_is_one_line(library: Library, spec: FileDataset) -> None:
    with pytest.raises(InputError, match=r"^path: nowhere/\*\.npy: no such file \(looked in "):
        library.look_up(spec.model_copy(update={"path": "nowhere/*.npy"}))
