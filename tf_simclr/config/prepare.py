"""How a folder of images is prepared."""

from __future__ import annotations

from dataclasses import dataclass

from tf_simclr.config.option import check_options, option
from tf_simclr.errors import InputError


@dataclass(frozen=True)
class PrepareConfig:
    """How a folder of images is prepared, and where."""

    out: str | None = option(
        None,
        "Directory to write, which every task reads as --data_dir. It must be new, and lie outside of --data_dir.",
        path=True,
    )
    side: int = option(
        256,
        "Images whose shorter side is longer than this, in pixels, are reduced to it. No image is enlarged.",
        at_least=8,
        at_most=16_384,
    )

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        if not self.out:
            raise InputError("`out` must name the directory to write. Received: out=None. Pass --out=DIR")
