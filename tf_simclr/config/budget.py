"""Which accelerators a run is planned for, and how long they can be had."""

from __future__ import annotations

from dataclasses import dataclass

from tf_simclr.config.option import check_options, option
from tf_simclr.errors import InputError


@dataclass(frozen=True)
class BudgetConfig:
    """The accelerators that a run is planned for."""

    accelerator: str | None = option(
        None,
        "Accelerator: a name, or with a number for several, as in h100, a100-8 or v4-8. One of: "
        "a100, a100_40gb, h100, h200, l4, rtx4090, v3, v4, v5e, v5p, v6e.",
    )
    budget_hours: float | None = option(
        None, "Hours that you have the accelerators for. Omitted: only what the run itself takes.", above=0, at_most=1e6
    )

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        if not self.accelerator:
            raise InputError(
                "`accelerator` must name what the run is planned for. Received: accelerator=None. Pass "
                "--accelerator=h100, or another"
            )
