"""What the random views of a run are drawn from: a crop, then operators in order.

Source: SimCLR, section 3 and Appendix A.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tf_simclr.config import OperatorOption
from tf_simclr.data.operators import (
    Blur,
    ColorDrop,
    ColorJitter,
    Flip,
    Operator,
    build_operator,
)
from tf_simclr.errors import require_choice, require_range
from tf_simclr.ops import color, draws


@dataclass(frozen=True)
class ViewPolicy:
    """The family of augmentations that a view is drawn from: a crop, then operators.

    Attributes:
        image_size: side of a view in pixels.
        color_jitter_strength: s >= 0 of the colour distortion (jitter and grey); 0 turns it off altogether.
        color_jitter_impl: "simclrv1" adds to the brightness (the paper), "simclrv2" multiplies it.
        blur: whether half of the views are blurred; off for CIFAR-size images in the paper.
        composition: the operators after the crop, in order; None means flip, colour distortion and blur as the three
            attributes above say.
        crop_probability: of a random crop; otherwise the whole image is resized.
        min_crop_area: of what is cropped, in (0, 1]: the smallest area of a random crop.
        one_branch: view 0 alone gets the operators, and all views of an image have the crop of view 0.
    """

    image_size: int
    color_jitter_strength: float = 1.0
    color_jitter_impl: str = "simclrv1"
    blur: bool = True
    composition: tuple[Operator, ...] | None = None
    crop_probability: float = 1.0
    min_crop_area: float = draws.MIN_CROP_AREA
    one_branch: bool = False

    def __post_init__(self) -> None:
        """Raises InputError for values that no view can have."""
        require_range("image_size", self.image_size, at_least=1)
        require_range("color_jitter_strength", self.color_jitter_strength, at_least=0.0)
        require_choice("color_jitter_impl", self.color_jitter_impl, color.BRIGHTNESS_IMPLS)
        require_range("crop_probability", self.crop_probability, at_least=0.0, at_most=1.0)
        require_range("min_crop_area", self.min_crop_area, above=0.0, at_most=1.0)

    @classmethod
    def crop_and_flip(cls, image_size: int, min_crop_area: float = draws.MIN_CROP_AREA) -> ViewPolicy:
        """The augmentation of fine-tuning, linear evaluation and the supervised baseline (Appendix B.5, B.6)."""
        return cls(image_size=image_size, color_jitter_strength=0.0, blur=False, min_crop_area=min_crop_area)

    @classmethod
    def composed(
        cls,
        image_size: int,
        options: Sequence[OperatorOption],
        *,
        one_branch: bool = False,
        color_jitter_strength: float = 1.0,
        color_jitter_impl: str = "simclrv1",
        min_crop_area: float = draws.MIN_CROP_AREA,
    ) -> ViewPolicy:
        """A composition by the names of its operators.

        "crop" is the crop out of the image, without which the whole image is resized. With `one_branch` both views
        have that crop in common, and "crop" is another one inside it: the operator whose effect Figure 5 measures.

        Args:
            image_size: side of a view in pixels.
            options: the operators in order; crop is the first where it is there.
            one_branch: whether only view 0 gets them.
            color_jitter_strength: of color_jitter where its option has none.
            color_jitter_impl: how its brightness acts.
            min_crop_area: of what is cropped: the smallest area of every random crop.
        """
        crop_probability, operators = 1.0 if one_branch else 0.0, []
        for option in options:
            if option.name == "crop" and not one_branch:
                crop_probability = 1.0 if option.probability is None else option.probability
                continue
            jitter = option.name == "color_jitter" and option.strength is None
            strength = color_jitter_strength if jitter else option.strength
            operators.append(
                build_operator(
                    option.name,
                    strength=strength,
                    probability=option.probability,
                    impl=color_jitter_impl,
                    min_area=min_crop_area,
                )
            )
        return cls(
            image_size,
            composition=tuple(operators),
            crop_probability=crop_probability,
            min_crop_area=min_crop_area,
            one_branch=one_branch,
        )

    @property
    def operators(self) -> tuple[Operator, ...]:
        """What happens to a view after its crop, in order."""
        if self.composition is not None:
            return self.composition
        distortion = (ColorJitter(self.color_jitter_strength, self.color_jitter_impl), ColorDrop())
        return (Flip(), *distortion * (self.color_jitter_strength > 0.0), *(Blur(),) * self.blur)
