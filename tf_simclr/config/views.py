"""What is drawn of the views of a training."""

from __future__ import annotations

from dataclasses import dataclass

from tf_simclr.config.option import check_options, option
from tf_simclr.errors import InputError


@dataclass(frozen=True)
class ViewsConfig:
    """What is drawn, and where."""

    out: str = option("views.png", "File for the drawing.", path=True)
    images: int = option(8, "Number of images: one row each.", at_least=1, at_most=100)
    views: int = option(8, "Number of views of each image: one column each.", at_least=1, at_most=100)
    seed: int = option(0, "Seed of the training whose views are drawn.", at_least=0, at_most=2**31 - 1)

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        if not self.out.lower().endswith((".png", ".jpg", ".jpeg", ".webp")):
            raise InputError(
                f"`out` must be an image file: .png, .jpg or .webp. Received: out={self.out}. Pass --out=views.png"
            )
