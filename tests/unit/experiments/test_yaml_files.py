"""Reading YAML: what is read, what is refused, and on which line."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.errors import InputError
from headrace.experiments import yaml_files
from headrace.experiments.yaml_files import MAX_BYTES, line_of, merge, read, tuples

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
FILE = """\
name: x
models:
  - kind: fnn
    hidden:
      - 1
      - 2
  - {kind: cnn, channels: [3]}
training: {epochs: 3}
"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "experiment.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(InputError) as caught:
        read(path)
    (problem,) = caught.value.problems
    assert "\n" not in problem
    return problem


def check_in_process(path: Path) -> subprocess.CompletedProcess[str]:
    """`headrace check` with bounds on CPU time and memory, for files that could exhaust either."""

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
        resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    command = [sys.executable, "-m", "headrace", "check", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, preexec_fn=bound)


def test_a_file_is_read_as_a_mapping(tmp_path):
    data = read(write(tmp_path, FILE))
    assert data["name"] == "x"
    assert data["models"] == [{"kind": "fnn", "hidden": [1, 2]}, {"kind": "cnn", "channels": [3]}]
    assert data["training"] == {"epochs": 3}


def test_a_byte_order_mark_and_windows_line_ends_are_no_matter(tmp_path):
    text = b"\xef\xbb\xbf" + FILE.replace("\n", "\r\n").encode()
    assert read(write(tmp_path, text)) == read(write(tmp_path, FILE))


def test_a_value_may_be_named_and_used_again(tmp_path):
    assert read(write(tmp_path, "a: &sizes [3, 4]\nb: *sizes\n")) == {"a": [3, 4], "b": [3, 4]}


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "hello", "3", "null", "[a, b]"])
def test_what_is_not_a_mapping_is_refused(tmp_path, text):
    path = write(tmp_path, text)
    assert refusal(path).startswith(f"{path}: must hold a mapping")


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "a"),
        ("a:\n  b: 1\n  b: 2\n", 3, "a.b"),
        ("a:\n  - {c: 1}\n  - d: 1\n    d: 1\n", 4, "a[1].d"),
        ("a: {b: {c: [{d: 1,\n d: 1}]}}\n", 2, "a.b.c[0].d"),
        ("a: 1\n'a': 1\n", 2, "a"),
    ],
)
def test_a_key_may_appear_once(tmp_path, text, line, key):
    path = write(tmp_path, text)
    assert refusal(path) == f"{path}:{line}: {key}: appears twice; every key may appear once"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1, 2\n", 3),
        ("a: 1\nb: 'x\n", 3),
        ("a: 1\n\tb: 2\n", 2),
        ("a: b: c\n", 1),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: *nothing\n", 1),
        ("a: 1\n  b: 2\n", 2),
    ],
)
def test_broken_yaml_is_refused_with_its_line(tmp_path, text, line):
    path = write(tmp_path, text)
    assert refusal(path).startswith(f"{path}:{line}: is not valid YAML: ")


@pytest.mark.parametrize(
    "text",
    [
        "a: !thing b\n",
        "a: !!python/object/apply:os.system [exit]\n",
        "a: !!int abc\n",
        "a: 2001-13-45\n",
        "a: " + "9" * 5000 + "\n",
        "a: {<<: 5}\n",
        "? [a, b]\n: 1\n",
        "{a: 1}: 2\n",
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_line(tmp_path, text):
    path = write(tmp_path, text)
    assert refusal(path).startswith(f"{path}:1: ")


@pytest.mark.parametrize("content", [b"\x00\x01\x02", b"\xff\xfe\x00a", bytes(range(256)), b"PK\x03\x04\xff"])
def test_a_binary_file_is_refused(tmp_path, content):
    path = write(tmp_path, content)
    assert refusal(path).startswith(f"{path}: is not ")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert refusal(tmp_path / "none.yaml") == f"{tmp_path / 'none.yaml'}: cannot be read: No such file or directory"
    assert refusal(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


def test_a_huge_file_is_refused_unread(tmp_path):
    path = write(tmp_path, b"#" * (MAX_BYTES + 1))
    assert "larger than an experiment file may be (4 MiB)" in refusal(path)


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a {b: *a}\n", "a: " + "[" * 200 + "]" * 200])
def test_nesting_without_end_is_refused(tmp_path, text):
    path = write(tmp_path, text)
    assert "nested too deeply" in refusal(path)


@pytest.mark.parametrize(
    "text",
    [BOMB, "a: " + "[" * 100_000 + "]" * 100_000, "a: " + "{b: " * 100_000 + "}" * 100_000, "- " * 100_000],
    ids=["aliases", "lists", "mappings", "items"],
)
def test_a_bomb_is_refused_in_one_line_and_in_no_time(tmp_path, text):
    path = write(tmp_path, text)
    result = check_in_process(path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(str(path))


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ((), None),
        (("nothing",), None),
        (("name",), 1),
        (("models",), 2),
        (("models", 0), 3),
        (("models", 0, "kind"), 3),
        (("models", 0, "hidden", 1), 6),
        (("models", 1, "channels", 0), 7),
        (("models", 0, "dropout"), 3),
        (("models", 7), 2),
        (("training", "epochs"), 8),
        (("training", "epochs", "deeper"), 8),
    ],
)
def test_a_key_knows_its_line_or_its_parents(tmp_path, keys, line):
    assert line_of(write(tmp_path, FILE), keys) == line


def test_the_line_in_a_file_that_cannot_be_read_is_unknown(tmp_path):
    assert line_of(tmp_path / "none.yaml", ("a",)) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-3", 0.001), ("1E5", 1e5), ("-2.5e+3", -2500.0), (".5e-1", 0.05), ("3.e2", 300.0), ("+1e1", 10.0)],
)
def test_what_looks_like_a_number_is_one(tmp_path, text, number):
    found = tuples(read(write(tmp_path, f"a: {text}\n")))["a"]
    assert found == number
    assert isinstance(found, float)


@pytest.mark.parametrize("text", ["e3", "1e", "1e-", "1e3x", "x1e3", "adam", "1e3e3", "1 e3"])
def test_other_text_stays_text(tmp_path, text):
    assert read(write(tmp_path, f"a: {text}\n"))["a"] == text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_with_an_exponent_reads_back_exactly(tmp_path, number):
    assert read(write(tmp_path, f"a: [{number:.17e}]\n")) == {"a": [number]}


def test_lists_become_tuples_at_any_depth():
    assert tuples({"a": [{"b": [0.001, 2]}, (True, None)]}) == {"a": ({"b": (0.001, 2)}, (True, None))}


def test_merging_goes_mapping_by_mapping():
    assert merge({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"c": 3}, "d": [2]}) == {"a": {"b": 1, "c": 3}, "d": [2]}


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("text", ["1e3", "1e-3", "-.5E7", "0x1f", "yes", "null", "2026-01-01", "12:30", "=", "~"])
def test_a_text_that_looks_like_something_else_is_read_back_as_text(tmp_path, text, compact):
    path = write(tmp_path, yaml_files.write({"a": text, "b": [text]}, compact=compact))
    assert read(path) == {"a": text, "b": [text]}


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from("abc"), plain, min_size=1), st.booleans())
def test_what_is_written_is_read_back(tmp_path, data, compact):
    assert read(write(tmp_path, yaml_files.write(data, compact=compact))) == data
