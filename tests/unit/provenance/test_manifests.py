"""Digests, atomic writes and sealing: old or new, never a mixture."""

import json
import math
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.provenance import manifests
from headrace.provenance.manifests import (
    MANIFEST,
    attempt,
    canonical_json,
    digest_file,
    digest_json,
    is_sealed,
    iso_time,
    publish,
    read_json,
    read_manifest,
    write_atomically,
    write_json,
)

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
json_values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


def shuffled(value, random):
    """The same value with the keys of its mappings in another order."""
    if isinstance(value, dict):
        keys = list(value)
        random.shuffle(keys)
        return {key: shuffled(value[key], random) for key in keys}
    return [shuffled(item, random) for item in value] if isinstance(value, list) else value


@given(json_values)
def test_canonical_json_loses_nothing(value):
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


@given(json_values, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_count(value, random):
    assert canonical_json(shuffled(value, random)) == canonical_json(value)
    assert digest_json(shuffled(value, random)) == digest_json(value)


@given(json_values, json_values)
def test_other_values_have_other_digests(one, two):
    if canonical_json(one) != canonical_json(two):
        assert digest_json(one) != digest_json(two)


def test_canonical_json_is_written_like_this():
    assert (
        canonical_json({"b": [1, 2.5, None, True], "a": {"ä": "\n"}})
        == '{"a":{"ä":"\\n"},"b":[1,2.5,null,true]}'.encode()
    )
    assert canonical_json((1, 2)) == canonical_json([1, 2])
    assert digest_json({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_one_is_not_one_point_zero_and_not_true():
    assert len({canonical_json(value) for value in (1, 1.0, True, "1", [1])}) == 5


@pytest.mark.parametrize("value", [math.nan, math.inf, [-math.inf], {"a": math.nan}])
def test_what_is_no_number_has_no_digest(value):
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json(value)


def test_the_digest_of_a_file_is_the_one_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert digest_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def fail(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "file"
    for content in (b"old", b"new and longer", b""):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(OSError, match="No space left"):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_first_write_that_fails_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == []


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    steps = []
    for step in ("fsync", "replace"):
        real = getattr(os, step)
        monkeypatch.setattr(os, step, lambda *given, real=real, step=step: (steps.append(step), real(*given))[1])
    write_atomically(tmp_path / "file", b"x")
    assert steps == ["fsync", "replace"]
    write_atomically(tmp_path / "file", b"x", durable=False)
    assert steps == ["fsync", "replace", "replace"]


def test_a_writer_that_is_killed_leaves_old_or_new(tmp_path):
    path = tmp_path / "file"
    code = """
        import sys
        from pathlib import Path
        from headrace.provenance.manifests import write_atomically
        contents = [bytes([letter]) * 3_000_000 for letter in b"ab"]
        for i in range(100_000):
            write_atomically(Path(sys.argv[1]), contents[i % 2], durable=False)
            print(i, flush=True)
    """
    for delay in (0.0, 0.005, 0.013):
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(path)], stdout=subprocess.PIPE
        ) as writer:
            writer.stdout.readline()
            time.sleep(delay)
            writer.kill()
        content = path.read_bytes()
        assert len(content) == 3_000_000
        assert len(set(content)) == 1


def test_json_is_written_to_be_read(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2], "a": "ä"})
    assert read_json(tmp_path / "a.json") == {"b": [1, 2], "a": "ä"}
    assert (tmp_path / "a.json").read_text(encoding="utf-8").endswith('"a": "ä"\n}\n')


DONE = {"identity": "1234", "status": "done"}


def make(folder: Path, content: str, manifest: dict[str, str] = DONE) -> Path:
    """Make and publish an artifact of one file; returns the private folder that it was made in."""
    with attempt(folder) as private:
        (private / "data").write_text(content)
        publish(private, folder, manifest)
    return private


def leftovers(root: Path) -> list[str]:
    return os.listdir(root / ".attempts")


def test_an_artifact_is_sealed_by_its_manifest(tmp_path):
    folder = tmp_path / "train" / "a-1234"
    assert read_manifest(folder) is None
    assert not is_sealed(folder, "1234")
    make(folder, "content")
    assert (folder / "data").read_text() == "content"
    assert read_manifest(folder) == {"format": manifests.FORMAT, **DONE}
    assert is_sealed(folder, "1234")
    assert leftovers(tmp_path) == []


def test_only_a_finished_artifact_of_the_very_identity_is_sealed(tmp_path):
    folder = tmp_path / "train" / "a-1234"
    make(folder, "content")
    assert not is_sealed(folder, "12345")
    (tmp_path / "file").touch()
    assert not is_sealed(tmp_path / "file", "1234")
    failed = tmp_path / "train" / "b-1234"
    make(failed, "content", {"identity": "1234", "status": "failed"})
    assert not is_sealed(failed, "1234")


@pytest.mark.parametrize("content", ["", "{", '{"identity": "12', "[]", "{}", "null", "\x00"])
def test_a_damaged_manifest_seals_nothing(tmp_path, content):
    folder = tmp_path / "train" / "a-1234"
    make(folder, "content")
    (folder / MANIFEST).write_text(content)
    assert not is_sealed(folder, "1234")


def test_a_damaged_artifact_is_made_again(tmp_path):
    folder = tmp_path / "train" / "a-1234"
    make(folder, "old")
    (folder / MANIFEST).write_text('{"identity": "12')
    make(folder, "new")
    assert is_sealed(folder, "1234")
    assert (folder / "data").read_text() == "new"


def fail_half_way(folder: Path) -> None:
    with attempt(folder) as private:
        (private / "data").write_text("half")
        raise RuntimeError("on purpose")


def test_an_attempt_that_fails_leaves_nothing(tmp_path):
    folder = tmp_path / "train" / "a-1234"
    with pytest.raises(RuntimeError, match="on purpose"):
        fail_half_way(folder)
    assert leftovers(tmp_path) == []
    assert not folder.exists()


def test_attempts_at_the_same_artifact_do_not_meet(tmp_path):
    folder = tmp_path / "train" / "a-1234"
    with attempt(folder) as one, attempt(folder) as two:
        assert one != two
        assert not folder.exists()


def test_the_first_of_two_publishers_wins(tmp_path):
    folder = tmp_path / "train" / "a-1234"
    with attempt(folder) as private:
        (private / "data").write_text("second")
        make(folder, "first")
        publish(private, folder, DONE)
    assert (folder / "data").read_text() == "first"
    assert leftovers(tmp_path) == []


def test_the_race_may_be_lost_in_the_last_moment(tmp_path, monkeypatch):
    folder = tmp_path / "train" / "a-1234"
    rename = os.rename

    def late(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "rename", rename)
        make(folder, "first")
        rename(source, target)

    with attempt(folder) as private:
        (private / "data").write_text("second")
        monkeypatch.setattr(os, "rename", late)
        publish(private, folder, DONE)
    assert (folder / "data").read_text() == "first"
    assert is_sealed(folder, "1234")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "manifest", [{"identity": "1234", "status": "failed"}, {"identity": "other", "status": "done"}, None]
)
def test_what_is_failed_foreign_or_unsealed_is_replaced(tmp_path, manifest):
    folder = tmp_path / "train" / "a-1234"
    make(folder, "old", manifest or DONE)
    (folder / "extra").touch()
    if manifest is None:
        (folder / MANIFEST).unlink()
    make(folder, "new")
    assert is_sealed(folder, "1234")
    assert sorted(os.listdir(folder)) == ["data", MANIFEST]
    assert (folder / "data").read_text() == "new"
    assert leftovers(tmp_path) == []


def test_a_failed_run_that_fails_again_says_the_new_reason(tmp_path):
    folder = tmp_path / "train" / "a-1234"
    for reason in ("one", "two"):
        make(folder, reason, {"identity": "1234", "status": "failed", "reason": reason})
        assert read_manifest(folder)["reason"] == reason


def test_what_cannot_be_published_is_an_error_that_names_the_folder(tmp_path, monkeypatch):
    folder = tmp_path / "train" / "a-1234"
    with attempt(folder) as private:
        monkeypatch.setattr(os, "rename", fail)
        with pytest.raises(OSError, match="a-1234: could not be published"):
            publish(private, folder, DONE)
    assert not folder.exists()


def test_everything_is_on_the_disk_before_it_is_published(tmp_path, monkeypatch):
    folder = tmp_path / "train" / "a-1234"
    synced, renamed = [], []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(
        os, "fsync", lambda number: (synced.append(os.readlink(f"/proc/self/fd/{number}")), fsync(number))
    )
    with attempt(folder) as private:
        (private / "deep").mkdir()
        (private / "deep" / "data").write_text("x")
        monkeypatch.setattr(os, "rename", lambda *given: (renamed.append(list(synced)), rename(*given)))
        publish(private, folder, DONE)
    (before,) = renamed
    for path in (private, private / MANIFEST, private / "deep", private / "deep" / "data"):
        assert str(path) in before
    assert str(folder.parent) in synced[len(before) :]


def test_many_publishers_at_once_leave_one_whole_artifact(tmp_path):
    folder = tmp_path / "train" / "a-1234"
    code = """
        import sys
        from pathlib import Path
        from headrace.provenance.manifests import attempt, publish
        folder, mark = Path(sys.argv[1]), sys.argv[2]
        for i in range(15):
            with attempt(folder) as private:
                for name in "abc":
                    (private / name).write_text(mark)
                status = "done" if i == 14 else "failed"
                publish(private, folder, {"identity": "1234", "status": status, "mark": mark})
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(folder)]
    publishers = [subprocess.Popen([*command, str(i)], stderr=subprocess.PIPE) for i in range(4)]
    errors = [publisher.communicate(timeout=60)[1] for publisher in publishers]
    if any(publisher.returncode for publisher in publishers):
        # Failed artifacts may be replaced without end; but then it is said.
        assert all(b"could not be published" in error for error in errors if error)
    manifest = read_manifest(folder)
    assert {(folder / name).read_text() for name in "abc"} == {manifest["mark"]}
    assert leftovers(tmp_path) == []


def test_times_are_in_utc_to_the_second():
    assert iso_time(0) == "1970-01-01T00:00:00Z"
    assert iso_time(1.9) == "1970-01-01T00:00:01Z"
