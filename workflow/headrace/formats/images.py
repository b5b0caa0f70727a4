"""Images in folders that are called after their classes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from headrace.blocks import Blocks
from headrace.datasets.base import GROUP, INPUTS, SPLIT_KEY, TARGET, DataInfo, Source, SourceFile, Survey
from headrace.errors import InputError
from headrace.experiments.splits import SPLITS
from headrace.formats.columns import MAX_NAMES, names_of
from headrace.formats.group_columns import GroupSurvey, group_codes
from headrace.formats.rows import IMAGE_SCALE
from headrace.formats.split_keys import SPLIT_NAMES
from headrace.logs import logger
from headrace.sources.xarrays import part_borders
from headrace.stores.layout import Variable

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
SAY_EVERY = 10_000

Mode = Literal["L", "RGB", "RGBA"]
Filter = Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]


@dataclass(frozen=True)
class Form:
    """What every image is made into."""

    mode: Mode
    size: tuple[int, int] | None
    """(height, width), or as it is."""
    resize: Filter

    def variable(self, height: int, width: int) -> Variable:
        """How images of a size are stored."""
        channels = len(self.mode)
        if channels == 1:
            return Variable(("height", "width"), (height, width), "uint8", scale=IMAGE_SCALE)
        return Variable(("height", "width", "channel"), (height, width, channels), "uint8", scale=IMAGE_SCALE)


def read_image(path: Path, form: Form) -> np.ndarray:
    """Decode an image (its first frame) to (height, width[, channel]) uint8.

    Raises InputError naming the file for one that is broken, cut short, too large, or of more than 16 bits a channel.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=FORMATS) as image:
            return _convert(image, form, path)
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(f"{path}: has more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels") from None
    except Exception as error:
        # Pillow's decoders raise whatever broken bytes make of them.
        why = " ".join(str(error).replace(repr(str(path)), "it").split())
        raise InputError(f"{path}: is no image that can be read: {why}") from None


@contextmanager
def _unwarned() -> Iterator[None]:
    """What Pillow warns of is either refused or harmless."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _convert(image: Image.Image, form: Form, path: Path) -> np.ndarray:
    from PIL import Image

    most = Image.MAX_IMAGE_PIXELS
    if most is not None and image.width * image.height > most:
        raise InputError(f"{path}: has {image.width} x {image.height} pixels; allowed: {most} in all")
    if image.mode in ("I", "F"):
        raise InputError(f"{path}: has 32 bits a pixel, of no known range; save it with 8 or 16 bits")
    if image.mode.startswith("I;16"):
        # Pillow would cut off what lies above 255.
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode != form.mode:
        image = image.convert(form.mode)
    if form.size is not None and form.size != (image.height, image.width):
        image = image.resize((form.size[1], form.size[0]), Image.Resampling[form.resize.upper()])
    return np.array(image, np.uint8)


def list_images(files: Sequence[SourceFile], folder: Path) -> tuple[list[str], list[str], list[int]]:
    """Of every file: its class, and the number of its split; the latter is empty where folders name no splits.

    Raises InputError for a file that is no image, or lies in no folder of a class.
    """
    inside = []
    for file in files:
        if file.path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{file.path}: is no image; allowed: {', '.join(SUFFIXES)}")
        inside.append(file.path.relative_to(folder).parts[:-1])
    tops = sorted({parts[0] for parts in inside if parts})
    splits = {top: SPLIT_NAMES[top.lower()] for top in tops if top.lower() in SPLIT_NAMES and not top.isdigit()}
    divided = len(splits) == len(tops) and all(len(parts) > 1 for parts in inside)
    if divided and set(splits.values()) != {0, 1, 2}:
        lacking = [name for code, name in enumerate(SPLITS) if code not in splits.values()]
        raise InputError(
            f"{folder}: is divided into {', '.join(tops)}, without {', '.join(lacking)}; allowed: all of "
            f"{', '.join(SPLITS)}, or a folder of classes as path: {folder / tops[0]}"
        )
    for file, parts in zip(files, inside, strict=True):
        if not parts:
            raise InputError(f"{file.path}: lies in no folder of a class below {folder}")
    classes = [parts[1 if divided else 0] for parts in inside]
    return sorted(set(classes)), classes, [splits[parts[0]] for parts in inside] if divided else []


def survey_groups(files: Sequence[SourceFile], folder: Path, depth: int) -> tuple[np.ndarray, dict[str, Any]]:
    """(files,) int16: which of the folders below those of classes every file lies in, and what the store says of them.

    `depth` folders lie above these. Raises InputError for a file that lies in none.
    """
    below = [file.path.relative_to(folder).parts[depth:-1] for file in files]
    for file, parts in zip(files, below, strict=True):
        if not parts:
            raise InputError(f"groups: {file.path}: lies in no folder below that of its class")
    column = names_of(np.arange(len(files)), [parts[0] for parts in below])
    _refuse_untold(column.names, folder)
    survey = GroupSurvey("folder", told=False)
    survey.add(column, lambda _: f"{folder}: folders below those of classes")
    said = survey.finish()
    codes = {name: code for code, name in enumerate(said["group_names"])}
    return group_codes(column, codes, "folder", lambda row: str(files[row].path)), said


def survey_images(files: Sequence[SourceFile], folder: Path, form: Form, *, grouped: bool = False) -> Survey:
    """Decode every image once. With `grouped`, the folder below that of its class is an image's group.

    Raises InputError naming the file that is broken, or of another size.
    """
    names, classes, splits = list_images(files, folder)
    if len(names) < 2 or len(names) > MAX_NAMES:
        raise InputError(f"{folder}: has {len(names)} folders of classes; allowed: 2 to {MAX_NAMES}")
    _refuse_untold(names, folder)
    index: dict[str, np.ndarray] = {}
    said: dict[str, Any] = {}
    if grouped:
        index[GROUP], said = survey_groups(files, folder, 2 if splits else 1)
    shape = _look_at_all(files, folder, form)
    place = {name: code for code, name in enumerate(names)}
    codes = np.array([place[name] for name in classes], np.int64)
    variable = form.variable(shape[0], shape[1])
    info = DataInfo(
        tasks=("classification", "density"),
        num_samples=len(files),
        shape=variable.shape,
        dims=variable.dims,
        dtype="uint8",
        class_names=tuple(names),
        class_counts=tuple(np.bincount(codes, minlength=len(names)).tolist()),
        unit_interval=True,
        own_split=bool(splits),
    )
    index |= {TARGET: codes} | ({SPLIT_KEY: np.array(splits, np.int64)} if splits else {})
    return Survey(info, index, {"class_names": names, **said})


def _look_at_all(files: Sequence[SourceFile], folder: Path, form: Form) -> tuple[int, ...]:
    """The shape that all images have. Raises InputError."""
    with _unwarned():
        shape = read_image(files[0].path, form).shape
        images = _decode([file.path for file in files], form)
        for count, (file, image) in enumerate(zip(files, images, strict=True), 1):
            if image.shape != shape:
                raise InputError(
                    f"{file.path}: has {image.shape[0]} x {image.shape[1]} pixels (height x width), but "
                    f"{files[0].path} has {shape[0]} x {shape[1]}; allowed: one size, or height and width "
                    "to bring all to"
                )
            if count % SAY_EVERY == 0:
                logger.info("%s: %d of %d images looked at", folder, count, len(files))
    return shape


def _refuse_untold(names: Sequence[str], folder: Path) -> None:
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(f"{folder}: a folder's name is no text in UTF-8: {name!r}") from None


def _decode(paths: Sequence[Path], form: Form) -> Iterator[np.ndarray]:
    """Images in order, a few ahead at a time: Pillow lets other threads run while it decodes."""
    threads = min(4, len(os.sched_getaffinity(0)))
    waiting = iter(paths)
    with ThreadPoolExecutor(threads) as pool:
        while some := list(islice(waiting, 8 * threads)):
            yield from pool.map(lambda path: read_image(path, form), some)


class Images(Source):
    """Images that are decoded where they are asked for. The list of files is laid down: it may be long."""

    def __init__(self, files: Sequence[SourceFile], survey: Survey, form: Form, scratch: Path) -> None:
        """`files` are the ones that were surveyed."""
        self._folder, self._form = scratch.absolute(), form
        info = survey.info
        self.variables = {INPUTS: form.variable(info.shape[0], info.shape[1])}
        self._coded = [name for name in (TARGET, GROUP) if name in survey.index]
        for name in self._coded:
            np.save(self._folder / f"{name}.npy", survey.index[name], allow_pickle=False)
            self.variables[name] = Variable((), (), survey.index[name].dtype.name)
        self.borders = part_borders(info.num_samples, self.variables[INPUTS].row_bytes)
        self.attributes = dict(survey.attributes)
        names = [os.fsencode(file.path.absolute()) for file in files]
        (self._folder / "names").write_bytes(b"".join(names))
        np.save(self._folder / "edges.npy", np.cumsum([0, *map(len, names)]), allow_pickle=False)

    def read(self, part: int, names: Sequence[str]) -> Blocks:
        """Decode the images of a part."""
        start, stop = int(self.borders[part]), int(self.borders[part + 1])
        coded = [name for name in self._coded if name in names]
        blocks = {name: np.array(np.load(self._folder / f"{name}.npy", mmap_mode="r")[start:stop]) for name in coded}
        if INPUTS in names:
            shape = self.variables[INPUTS].shape
            images = np.empty((stop - start, *shape), np.uint8)
            with _unwarned():
                for number, path in enumerate(self._paths(start, stop)):
                    image = read_image(path, self._form)
                    if image.shape != shape:
                        raise InputError(f"{path}: changed after it was surveyed")
                    images[number] = image
            blocks[INPUTS] = images
        return blocks

    def _paths(self, start: int, stop: int) -> list[Path]:
        edges = np.load(self._folder / "edges.npy", mmap_mode="r")[start : stop + 1].tolist()
        with (self._folder / "names").open("rb") as file:
            file.seek(edges[0])
            text = file.read(edges[-1] - edges[0])
        return [Path(os.fsdecode(text[first - edges[0] : last - edges[0]])) for first, last in pairwise(edges)]
