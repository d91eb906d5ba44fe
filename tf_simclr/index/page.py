"""Images on a page of HTML that opens offline: thumbnails lie in the file itself."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Sequence

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
    """

    path: str
    name: str
    caption: str = ""


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


def thumbnail(path: str, side: int = _SIDE) -> bytes:
    """A JPEG of at most `side` pixels a side, upright; b"" where the file cannot be read or decoded."""
    from PIL import Image

    try:
        with open(path, "rb") as file:
            pixels, reason = decode_with_pillow(file.read())
    except OSError:
        return b""
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
    content = thumbnail(tile.path) if tile.path else b""
    source = f"data:image/jpeg;base64,{base64.b64encode(content).decode()}" if content else ""
    missing = "no file" if not tile.path else "cannot be read"
    return {"source": source, "missing": missing, "name": tile.name, "caption": tile.caption}


def require_page(path: str) -> None:
    """Raises InputError where a page cannot be made: its folder does not exist, or jinja2 is missing."""
    require_jinja2()
    require_folder("page", path)
