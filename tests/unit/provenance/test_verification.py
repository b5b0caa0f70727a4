"""Verifying names every part of a result that is not what was written, whatever happened to it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headrace.__main__ import main
from headrace.errors import InputError
from headrace.provenance.digests import content_digests
from headrace.provenance.manifests import MANIFEST, REQUIRED, read_manifest, write_json
from headrace.provenance.verification import result_digest, verify_result
from headrace.stores.arrays import save_arrays
from headrace.stores.layout import STORE, Layout
from sample_stores import write_store


def make_artifact(folder: Path, offset: float = 0) -> Path:
    folder.mkdir(parents=True)
    write_json(folder / "summary.json", {"best": 3, "seconds": 1.5})
    save_arrays(folder / "weights.safetensors", {"weight": np.arange(60.0) + offset})
    inputs = np.full((20, 2), 1 + offset, np.float32)
    written = write_store(folder / STORE, {"inputs": inputs}, Layout(20, 8, 4), {"train": 20})
    outputs = {"outputs": content_digests(folder), "chunks": written.chunks}
    manifest = {**dict.fromkeys(REQUIRED, ""), **outputs, "status": "done"}
    write_json(folder / MANIFEST, manifest)
    return folder


def digest_of(artifact: Path) -> str:
    manifest = read_manifest(artifact)
    return manifest.get("digest", "") if manifest else ""


def write_result(folder: Path, artifacts: dict[str, Path], status: str = "done") -> Path:
    entries = [
        {"label": ["train", name], "artifact": str(path), "status": status, "digest": str(digest_of(path))}
        for name, path in artifacts.items()
    ]
    write_json(folder / "provenance.json", {"artifacts": entries})
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make_artifact(folder / "one")
    make_artifact(folder / "other", offset=1)
    return folder


@pytest.fixture
def artifact(tmp_path: Path, made: Path) -> Path:
    return shutil.copytree(made, tmp_path / "artifacts" / "train") / "one"


@pytest.fixture
def result(tmp_path: Path, artifact: Path) -> Path:
    other = artifact.with_name("other")
    return write_result(tmp_path / "results" / "small", {"one": artifact, "other": other})


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 8
    path.write_bytes(content)


def test_a_whole_result_has_no_problem(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_result(result) == []
    assert main(["verify", str(result)]) == 0
    assert "every chunk is what its manifest says" in capsys.readouterr().out


def test_an_artifact_can_be_verified_alone(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(artifact)]) == 0
    assert capsys.readouterr().out == f"{artifact}: every chunk is what its manifest says\n"


def test_every_damaged_chunk_is_named(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(artifact / "data.zarr/inputs/c/0/0", 9)
    flip(artifact / "data.zarr/inputs/c/2/0", 9)
    assert main(["verify", str(artifact)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1:3] for line in lines] == [
        ["data.zarr/inputs/0", "chunk 0"],
        ["data.zarr/inputs/2", "chunk 0"],
    ]


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit in a shard": (
        lambda folder: flip(folder / "data.zarr/inputs/c/1/0", 9),
        "data.zarr/inputs/1: chunk 0",
    ),
    "a missing shard": (lambda folder: (folder / "data.zarr/inputs/c/1/0").unlink(), "data.zarr/inputs/1"),
    "a missing coordinate": (lambda folder: shutil.rmtree(folder / "data.zarr/source_row/c"), "data.zarr/source_row"),
    "a missing store": (lambda folder: shutil.rmtree(folder / "data.zarr"), "data.zarr/inputs/0 is missing"),
    "missing metadata": (lambda folder: (folder / "data.zarr/zarr.json").unlink(), "data.zarr"),
    "cut metadata": (lambda folder: (folder / "data.zarr/zarr.json").write_text('{"zarr_for'), "data.zarr"),
    "missing weights": (lambda folder: (folder / "weights.safetensors").unlink(), "weights.safetensors/weight is miss"),
    "a flipped bit in the weights": (
        lambda folder: flip(folder / "weights.safetensors", -5),
        "weights.safetensors/weight is not what was written",
    ),
    "a flipped bit in the weights' header": (lambda folder: flip(folder / "weights.safetensors", 12), "weights.safet"),
    "cut weights": (lambda folder: (folder / "weights.safetensors").write_bytes(b"\x40"), "weights.safetensors"),
    "edited json": (
        lambda folder: (folder / "summary.json").write_text('{"best": 4}'),
        "summary.json is not what was written",
    ),
    "cut json": (lambda folder: (folder / "summary.json").write_text('{"best": '), "summary.json"),
    "json of no encoding": (lambda folder: (folder / "summary.json").write_bytes(b"\xff\xfe\x00"), "summary.json"),
    "a new file": (lambda folder: (folder / "more.json").write_text("{}"), "more.json is not in the manifest"),
    "a foreign file": (lambda folder: (folder / "model.pkl").write_bytes(b"x"), "model.pkl"),
    "a missing manifest": (lambda folder: (folder / "manifest.json").unlink(), "missing"),
    "a cut manifest": (lambda folder: (folder / "manifest.json").write_text('{"outputs'), "manifest"),
    "a manifest of something else": (lambda folder: (folder / "manifest.json").write_text("[]"), "manifest"),
    "a missing artifact": (lambda folder: shutil.rmtree(folder), "missing"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_any_damage_is_named(damage: str, artifact: Path, result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    break_it, words = DAMAGES[damage]
    break_it(artifact)
    assert main(["verify", str(result)]) == 1
    output = capsys.readouterr().out
    assert str(artifact) in output
    assert words in output
    assert "other" not in output


@pytest.mark.parametrize("damage", [damage for damage in DAMAGES if "manifest" not in damage])
def test_damage_never_leaves_the_digest_as_it_was(damage: str, artifact: Path, result: Path) -> None:
    before = result_digest(result)
    DAMAGES[damage][0](artifact)
    # A named error is as honest as another digest.
    if main(["digest", str(result)]) == 0:
        assert result_digest(result) != before


def test_the_digest_does_not_depend_on_the_place_nor_on_the_order(tmp_path: Path, result: Path) -> None:
    moved = {name: make_artifact(tmp_path / "moved" / name, i) for i, name in enumerate(("one", "other"))}
    again = write_result(tmp_path / "again", dict(reversed(moved.items())))
    assert result_digest(again) == result_digest(result)


def test_the_digest_depends_on_who_has_which_artifact(tmp_path: Path, artifact: Path, result: Path) -> None:
    other = artifact.with_name("other")
    swapped = write_result(tmp_path / "swapped", {"one": other, "other": artifact})
    assert result_digest(swapped) != result_digest(result)


def test_a_failed_run_counts_by_its_status_alone(tmp_path: Path, artifact: Path) -> None:
    failed = write_result(tmp_path / "failed", {"one": artifact}, status="failed")
    before = result_digest(failed)
    assert before != result_digest(write_result(tmp_path / "done", {"one": artifact}))
    write_json(artifact / "summary.json", {"best": 5})
    assert result_digest(failed) == before


@pytest.mark.parametrize("command", ["verify", "digest"])
def test_a_folder_that_is_no_result_is_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "give a folder of results" in error
    with pytest.raises(InputError):
        verify_result(tmp_path)


def test_a_result_that_was_cut_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "provenance.json").write_text(json.dumps({"artifacts": []})[:-3])
    assert main(["verify", str(tmp_path)]) in (1, 2)
    assert "provenance.json" in capsys.readouterr().err
