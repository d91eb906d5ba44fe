"""Which evaluations are compared."""

from __future__ import annotations

from dataclasses import dataclass

from tf_simclr.config.option import check_options, option
from tf_simclr.errors import InputError


@dataclass(frozen=True)
class CompareConfig:
    """Two evaluations, and what of them is compared."""

    run_a: str = option(
        "",
        "The same as the first word, RUN_A: the directory of its report.json, or a run with one evaluation below it.",
        path=True,
    )
    run_b: str = option("", "The same as the second word, RUN_B: an evaluation of the same test images.", path=True)
    row_a: str = option(
        "",
        "A row of the first evaluation, by the name of its table in predictions/, without .csv. Empty: every row that "
        "both have.",
    )
    row_b: str = option("", "The row of the second evaluation that it is compared with. Empty: that of the same name.")
    compare_seed: int = option(0, "Seed of the bootstrap and of random swaps.", at_least=0, at_most=2**31 - 1)
    out: str = option("", "File for the numbers, as JSON. Empty: none.", path=True)

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        if not (self.run_a and self.run_b):
            given = ", ".join(filter(None, (self.run_a, self.run_b))) or "none"
            raise InputError(
                f"a comparison needs two evaluations. Received: {given}. Run `python -m tf_simclr compare RUN_A RUN_B`"
            )
