"""Images in folders come out as Pillow decodes them, or are refused."""

import io
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from headrace.datasets.base import SPLIT_KEY, SourceFile
from headrace.errors import InputError
from headrace.formats import images
from headrace.registry import load_kind
from headrace.sources import xarrays
from headrace.sources.gathering import gather
from mutations import damaged, read_whole

SIZE = (7, 5)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(xarrays, "PART_BYTES", 400)


def draw(seed, mode="RGB", size=SIZE):
    shape = (*size, len(mode)) if len(mode) > 1 else size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8))


def fill(folder, classes=("cat", "dog"), count=9, **options):
    """Paths in the order in which they should be read."""
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            draw(i, **options).save(folder / name / f"{i}.png")
    return sorted(folder.rglob("*.png"))


def decoded(paths, mode="RGB", size=None, resize=Image.Resampling.BILINEAR):
    found = []
    for path in paths:
        with Image.open(path) as image:
            changed = image.convert(mode)
            found.append(np.asarray(changed if size is None else changed.resize(size[::-1], resize)))
    return np.stack(found)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("stored", ["L", "RGB", "RGBA"])
def test_images_are_what_pillow_decodes(tmp_path, small_parts, mode, stored):
    paths = fill(tmp_path / "data", mode=stored)
    blocks, source, survey = read_whole(tmp_path, kind="image_folder", path=str(tmp_path / "data"), mode=mode)
    np.testing.assert_array_equal(blocks["inputs"], decoded(paths, mode))
    np.testing.assert_array_equal(blocks["target"], np.repeat([0, 1], 9))
    assert (survey.info.class_names, survey.info.class_counts) == (("cat", "dog"), (9, 9))
    variable = source.variables["inputs"]
    assert variable.dims == (("height", "width") if mode == "L" else ("height", "width", "channel"))
    assert (variable.dtype, variable.scale, survey.info.unit_interval) == ("uint8", 1 / 255, True)
    assert len(source.borders) > 2


@pytest.mark.parametrize("resize", ["bilinear", "nearest"])
def test_images_of_any_size_are_brought_to_one(tmp_path, small_parts, resize):
    for i in range(8):
        place = tmp_path / "data" / "ab"[i % 2] / "deeper"
        place.mkdir(parents=True, exist_ok=True)
        draw(i, size=(4 + i, 12 - i)).save(place / f"{i}.bmp")
    options = {"height": 6, "width": 8, "resize": resize}
    blocks, source, _ = read_whole(tmp_path, kind="image_folder", path=str(tmp_path / "data"), **options)
    paths = sorted((tmp_path / "data").rglob("*.bmp"))
    wanted = decoded(paths, size=(6, 8), resize=Image.Resampling[resize.upper()])
    np.testing.assert_array_equal(blocks["inputs"], wanted)
    rows = np.array([5, 0, 3])
    again = gather(pickle.loads(pickle.dumps(source)), rows, ["inputs", "target"])
    np.testing.assert_array_equal(again["inputs"], wanted[rows])
    np.testing.assert_array_equal(again["target"], [1, 0, 0])


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG", "bmp", "gif", "tif", "tiff", "webp"])
def test_every_format_is_read(tmp_path, suffix):
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(3):
            draw(i).save(tmp_path / "data" / name / f"{i}.{suffix}")
    blocks, *_ = read_whole(tmp_path, kind="image_folder", path=str(tmp_path / "data"))
    np.testing.assert_array_equal(blocks["inputs"], decoded(sorted((tmp_path / "data").rglob("*.*"))))


def test_the_first_frame_of_an_animation_is_read(tmp_path):
    paths = fill(tmp_path / "data")
    frames = [Image.new("RGB", SIZE[::-1], colour) for colour in ("red", "blue")]
    for path in paths:
        path.unlink()
        frames[0].save(path.with_suffix(".gif"), save_all=True, append_images=frames[1:])
    blocks, *_ = read_whole(tmp_path, kind="image_folder", path=str(tmp_path / "data"))
    assert (blocks["inputs"] == [255, 0, 0]).all()


def test_of_sixteen_bits_the_upper_ones_are_kept(tmp_path):
    values = np.random.default_rng(0).integers(0, 2**16, SIZE).astype(np.uint16)
    for path in fill(tmp_path / "data"):
        Image.fromarray(values).save(path)
    blocks, *_ = read_whole(tmp_path, kind="image_folder", path=str(tmp_path / "data"), mode="L")
    assert (blocks["inputs"] == values // 256).all()


@pytest.mark.parametrize("middle", ["validation", "val"])
def test_folders_may_divide_the_images_themselves(tmp_path, middle):
    folder = tmp_path / "data"
    for name, count in (("train", 4), (middle, 2), ("test", 3)):
        fill(folder / name, count=count)
    blocks, _, survey = read_whole(tmp_path, kind="image_folder", path=str(folder))
    assert survey.info.own_split
    assert survey.info.split_sizes == (8, 4, 6)
    assert survey.info.class_names == ("cat", "dog")
    names = [path.relative_to(folder).parts[:2] for path in sorted(folder.rglob("*.png"))]
    np.testing.assert_array_equal(
        survey.index[SPLIT_KEY], [{"train": 0, middle: 1, "test": 2}[split] for split, _ in names]
    )
    np.testing.assert_array_equal(blocks["target"], [("cat", "dog").index(name) for _, name in names])


def test_a_division_that_is_not_whole_is_refused(tmp_path):
    for name in ("train", "test"):
        fill(tmp_path / "data" / name)
    with pytest.raises(InputError, match=r"divided into test, train, without validation"):
        read_whole(tmp_path, kind="image_folder", path=str(tmp_path / "data"))


def test_digits_are_classes_and_no_splits(tmp_path):
    for name in ("0", "1", "2"):
        fill(tmp_path / "data" / name, classes=("deeper", "still"))
    _, _, survey = read_whole(tmp_path, kind="image_folder", path=str(tmp_path / "data"))
    assert survey.info.class_names == ("0", "1", "2")
    assert not survey.info.own_split


def test_hidden_files_and_odd_names_are_no_trouble(tmp_path):
    paths = fill(tmp_path / "da[t]a", classes=("dé f\nx", "*"))
    (tmp_path / "da[t]a" / ".hidden.txt").write_text("nothing")
    blocks, _, survey = read_whole(tmp_path, kind="image_folder", path=str(tmp_path / "da[t]a"))
    np.testing.assert_array_equal(blocks["inputs"], decoded(paths))
    assert survey.info.class_names == ("*", "dé f\nx")


@pytest.mark.parametrize(
    ("path", "kept"),
    [("set", "up/set/a/1.png"), ("up/set", "up/set/a/1.png"), (".", "up/a/1.png"), ("set", "up/set/set/a/1.png")],
)
def test_the_folder_is_found_in_what_was_fetched(tmp_path, path, kept):
    spec = load_kind("datasets", "image_folder").model_validate(
        {"kind": "image_folder", "path": path, "download": {"address": "https://example.org/a.zip", "sha256": "0" * 64}}
    )
    top = tmp_path / kept.removesuffix("/a/1.png")
    files = [SourceFile(top / name, 1, "") for name in ("a/1.png", "b/2.png")]
    assert spec._folder(files) == top


def save_bytes(folder, content, name="0.png"):
    paths = fill(folder)
    paths[0].unlink()
    broken = paths[0].with_name(name)
    broken.write_bytes(content)
    return broken


def packed(image, kind="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "name", "why"),
    [
        (b"", "0.png", "no image that can be read"),
        (b"not an image", "0.jpg", "no image that can be read"),
        (packed(draw(0, size=(64, 64)))[:-200], "0.png", "no image that can be read"),
        (packed(draw(0, size=(64, 64)), "JPEG")[:900], "0.jpg", "no image that can be read"),
        (packed(draw(0, size=(6, 5))), "0.png", r"has 6 x 5 pixels|has 7 x 5 pixels"),
        (packed(Image.fromarray(np.zeros(SIZE, np.float32)), "TIFF"), "0.tif", "32 bits a pixel"),
        (b"label", "0.txt", "is no image; allowed: .png"),
        (packed(draw(0), "PPM"), "0.png", "no image that can be read"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, content, name, why):
    broken = save_bytes(tmp_path / "data", content, name)
    with pytest.raises(InputError, match=why) as caught:
        read_whole(tmp_path, kind="image_folder", path=str(tmp_path / "data"))
    assert str(broken) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("most", [20, 10])
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, monkeypatch, most):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
    fill(tmp_path / "data")
    with pytest.raises(InputError, match=r"0\.png: has .* pixels"):
        read_whole(tmp_path, kind="image_folder", path=str(tmp_path / "data"))


def test_folders_without_classes_are_refused(tmp_path):
    draw(0).save(fill(tmp_path / "data")[0].parents[1] / "loose.png")
    with pytest.raises(InputError, match=r"loose\.png: lies in no folder of a class"):
        read_whole(tmp_path, kind="image_folder", path=str(tmp_path / "data"))
    fill(tmp_path / "one", classes=("cat",))
    with pytest.raises(InputError, match=r"one: has 1 folders of classes"):
        read_whole(tmp_path, kind="image_folder", path=str(tmp_path / "one"))
    with pytest.raises(InputError, match="no such file"):
        read_whole(tmp_path, kind="image_folder", path=str(tmp_path / "none"))


def test_height_needs_width():
    with pytest.raises(ValueError, match="width: is needed as well"):
        load_kind("datasets", "image_folder").model_validate({"kind": "image_folder", "path": "a", "height": 3})


def test_a_line_tells_of_progress(tmp_path, monkeypatch, log_lines):
    monkeypatch.setattr(images, "SAY_EVERY", 8)
    fill(tmp_path / "data")
    read_whole(tmp_path, kind="image_folder", path=str(tmp_path / "data"))
    assert [line.split(": ")[1] for line in log_lines if "looked at" in line] == [
        "8 of 18 images looked at",
        "16 of 18 images looked at",
    ]


GOOD = {
    "png": packed(draw(0)),
    "jpg": packed(draw(0), "JPEG"),
    "gif": packed(draw(0, "L"), "GIF"),
    "bmp": packed(draw(0), "BMP"),
    "tif": packed(draw(0), "TIFF"),
    "webp": packed(draw(0), "WEBP"),
}


@st.composite
def damaged_images(draw):
    suffix = draw(st.sampled_from(sorted(GOOD)))
    return suffix, draw(damaged(GOOD[suffix]))


@given(image=damaged_images())
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_images_are_read_or_refused(tmp_path_factory, image):
    suffix, content = image
    folder = tmp_path_factory.mktemp("data")
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "0.png").write_bytes(GOOD["png"])
    (folder / "b" / f"1.{suffix}").write_bytes(content)
    problem = ""
    try:
        blocks, *_ = read_whole(folder, kind="image_folder", path=str(folder), height=7, width=5)
        assert blocks["inputs"].shape == (3, 7, 5, 3)
    except InputError as error:
        problem = str(error)
    assert not problem or f"1.{suffix}" in problem
    assert "\n" not in problem
