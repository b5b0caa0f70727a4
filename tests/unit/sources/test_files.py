"""Which files a pattern names."""

import pytest

from headrace.errors import InputError
from headrace.sources.files import find_files


@pytest.fixture
def folder(tmp_path):
    for name in ("b.zarr/.zgroup", "b.zarr/x/0", "a.csv", "c/a.csv", "c/.hidden", "c/d/e.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ("a.csv", ["a.csv"]),
        ("b.zarr", ["b.zarr/.zgroup", "b.zarr/x/0"]),
        ("*.zarr", ["b.zarr/.zgroup", "b.zarr/x/0"]),
        ("c/**/*", ["c/a.csv", "c/d/e.csv"]),
        ("**/*.csv", ["a.csv", "c/a.csv", "c/d/e.csv"]),
        (("c/d", "a.csv"), ["c/d/e.csv", "a.csv"]),
    ],
)
def test_folders_stand_for_the_files_below_them(folder, patterns, names):
    assert find_files("path", patterns, folder) == [folder / name for name in names]


@pytest.mark.parametrize("patterns", ["none", "*.none", "empty", "empty/**/*", "c/**/d"])
def test_what_names_no_file_is_refused(folder, patterns):
    with pytest.raises(InputError, match="no such file"):
        find_files("path", patterns, folder)


def test_a_file_is_named_once(folder):
    with pytest.raises(InputError, match=r"a\.csv: is named twice"):
        find_files("path", ("c", "c/*.csv"), folder)
