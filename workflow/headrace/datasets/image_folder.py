"""Images in folders that are called after their classes."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from headrace.datasets.base import FileDataset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.datasets.base import Files, Source, SourceFile, Survey
    from headrace.formats.images import Form


Pixels = Annotated[int, Field(ge=1, le=65536)]

COMPUTES = (
    "formats.columns",
    "formats.images",
    "formats.group_columns",
    "formats.labels",
    "formats.row_groups",
    "formats.row_surveys",
    "formats.rows",
    "formats.split_keys",
)


class Spec(FileDataset):
    """A folder with a folder of images for every class; for example
    `{kind: image_folder, path: data/flowers, height: 64, width: 64}`.

    Where the folder holds `train`, `validation` (or `val`) and `test` with the classes below each of them, these are
    the data's own division. Images are .png, .jpg, .jpeg, .bmp, .gif, .tif, .tiff or .webp, of animations the first
    frame; hidden files are skipped, any other file is refused. They are stored as bytes and read as [0, 1]; of 16 bits
    a channel the upper 8 are kept.
    """

    path: Annotated[str, StringConstraints(min_length=1)]
    """The folder; relative to the working directory, or to what `download` brings."""
    mode: Literal["L", "RGB", "RGBA"] = "RGB"
    """What images are converted to: grey levels, colours, or colours with opacity."""
    height: Pixels | None = None
    """Pixels from top to bottom that all images are brought to, together with `width`; without both, all images must be
    of one size."""
    width: Pixels | None = None
    """Pixels from left to right that all images are brought to."""
    groups: Literal["folder"] | None = None
    """With `folder`, an image's group is the folder below that of its class: `garden` of `flowers/rose/garden/1.png`.
    Of 50 groups at most the report tells how good every model is for each, and how far they lie apart."""
    resize: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"] = "bilinear"
    """How images are brought to another size."""

    @model_validator(mode="after")
    def _height_with_width(self) -> Self:
        if (self.height is None) != (self.width is None):
            lacking = "height" if self.height is None else "width"
            raise ValueError(f"{lacking}: is needed as well; give both height and width, or neither")
        return self

    def patterns(self) -> Mapping[str, str | tuple[str, ...]]:
        """All that lies below the folder."""
        return {"path": f"{glob.escape(self.path.rstrip('/') or '/')}/**/*"}

    def survey(self, files: Files) -> Survey:
        """Every image is decoded once."""
        from headrace.formats.images import survey_images
        from headrace.formats.row_surveys import refuse_split_column

        refuse_split_column(self.split)
        return survey_images(files["path"], self._folder(files["path"]), self._form(), grouped=self.groups is not None)

    def open_files(self, files: Files, survey: Survey, scratch: Path) -> Source:
        """Images are decoded by who reads them."""
        from headrace.formats.images import Images

        return Images(files["path"], survey, self._form(), scratch)

    def _form(self) -> Form:
        from headrace.formats.images import Form

        size = None if self.height is None or self.width is None else (self.height, self.width)
        return Form(self.mode, size, self.resize)

    def _folder(self, files: Sequence[SourceFile]) -> Path:
        """Where `path` lies: what is fetched lies in a folder that only the files tell."""
        import os

        folder = Path(self.path).expanduser()
        if self.download is None or folder.is_absolute():
            return folder
        below = Path(os.path.commonpath([file.path.parent for file in files]))
        if folder == Path():
            return below
        return next(place for place in (below, *below.parents) if place.parts[-len(folder.parts) :] == folder.parts)
