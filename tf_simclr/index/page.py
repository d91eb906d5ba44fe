"""Images on a page of HTML that opens offline: thumbnails lie in the file itself."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Callable, Sequence

from tf_simclr.config.paths import require_folder
from tf_simclr.data.pillow_images import decode_with_pillow
from tf_simclr.file_systems import file_system_of
from tf_simclr.optional import require_jinja2

_SIDE = 128


@dataclasses.dataclass(frozen=True)
class Tile:
    """An image on a page.

    Attributes:
        path: of its file; "" where it is none.
        name: shown below it.
        caption: a second line.
        otherwise: reads the image where there is no such file; b"" where it cannot either.
    """

    path: str
    name: str
    caption: str = ""
    otherwise: Callable[[], bytes] = bytes


@dataclasses.dataclass(frozen=True)
class Section:
    """Images that belong together.

    Attributes:
        title: above them.
        tiles: the images, in order.
    """

    title: str
    tiles: Sequence[Tile]


def write_page(path: str, title: str, facts: Sequence[str], sections: Sequence[Section]) -> None:
    """Writes a page of images.

    Args:
        path: of the file.
        title: of the page.
        facts: lines below the title.
        sections: of images.

    Raises:
        InputError: jinja2 is missing.
    """
    jinja2 = require_jinja2()
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tf_simclr.index"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = [{"title": one.title, "tiles": [_shown(tile) for tile in one.tiles]} for one in sections]
    content = environment.get_template("images.html").render(title=title, facts=facts, sections=shown)
    file_system_of(path).write(path, content.encode("utf-8", "backslashreplace"))


def thumbnail(content: bytes, side: int = _SIDE) -> bytes:
    """A JPEG of at most `side` pixels a side, upright, of an image file; b"" where it cannot be decoded."""
    from PIL import Image

    pixels, reason = decode_with_pillow(content)
    if reason:
        return b""
    if pixels.shape[-1] == 6:  # two bytes a channel
        pixels = (pixels.view("uint16") >> 8).astype("uint8")
    image = Image.fromarray(pixels)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    image.thumbnail((side, side))
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=85)
    return stored.getvalue()


def _shown(tile: Tile) -> dict[str, str]:
    content = thumbnail(_content(tile)) if tile.path else b""
    source = f"data:image/jpeg;base64,{base64.b64encode(content).decode()}" if content else ""
    missing = "no file" if not tile.path else "cannot be read"
    return {"source": source, "missing": missing, "name": tile.name, "caption": tile.caption}


def _content(tile: Tile) -> bytes:
    try:
        with open(tile.path, "rb") as file:
            return file.read()
    except OSError:
        return tile.otherwise()


def require_page(path: str) -> None:
    """Raises InputError where a page cannot be made: its folder does not exist, or jinja2 is missing."""
    require_jinja2()
    require_folder("page", path)
