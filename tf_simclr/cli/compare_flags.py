"""Compare two evaluations of the same images: difference, interval and p-value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tf_simclr.cli import flags
from tf_simclr.config.compare import CompareConfig
from tf_simclr.config.paths import require_folder
from tf_simclr.evaluate.report.place import place_of_report

if TYPE_CHECKING:
    from tf_simclr.evaluate.report.comparison import ComparedRow

USAGE = """usage: python -m tf_simclr compare RUN_A RUN_B [flags]

Compares two evaluations of the same test images by what they predicted for each image: both figures, their difference
with its 95% interval, and the p-value of the paper's permutation test, which swaps the two predictions of an image at
random. RUN_A and RUN_B are directories that `python -m tf_simclr evaluate` wrote, or runs with one such directory.
Every protocol that both have is compared; --row_a and --row_b name two rows, also of one evaluation."""
COMPARISON = flags.Group(CompareConfig)
FLAG_GROUPS = (COMPARISON,)
# What words without -- are.
WORDS = ("run_a", "run_b")


@dataclass(frozen=True)
class CompareResult:
    """What a comparison found.

    Attributes:
        rows: one for each metric of each pair of rows.
        exit_code: of the program that does the same.
    """

    rows: tuple[ComparedRow, ...]
    exit_code: int = 0


def main(parsed: flags.ParsedFlags) -> CompareResult:
    """Runs the task."""
    config: CompareConfig = COMPARISON.build(parsed.values)
    config.validate()
    if config.out:
        require_folder("out", config.out)
    for name in ("run_a", "run_b"):
        place_of_report(name, getattr(config, name))
    from tf_simclr.cli import compare  # imports TensorFlow, which takes seconds

    return CompareResult(compare.run(config))
