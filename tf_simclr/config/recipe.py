"""Which trainings follow one another."""

from __future__ import annotations

from dataclasses import dataclass

from tf_simclr.config.option import option


@dataclass(frozen=True)
class RecipeConfig:
    """Trainings that follow one another."""

    recipe: str = option(
        "simclr_v2_tiny",
        "Name of a recipe of the package (few_labels_10pct, few_labels_1pct, simclr_v2, simclr_v2_tiny, wide_teacher), "
        "or path of a JSON file of the same form.",
        path=True,
    )
