"""Where a process listens that makes training batches for others."""

from __future__ import annotations

from dataclasses import dataclass

from tf_simclr.config.option import check_options, option


@dataclass(frozen=True)
class InputWorkerConfig:
    """The address of an input worker."""

    port: int = option(
        5050,
        "Port at which trainings ask for batches; the next one hands them over. 0: any two free ones.",
        at_least=0,
        at_most=65_534,
    )
    host: str | None = option(
        None, "Name or address by which the machines that train reach this one. Omitted: the name of this machine."
    )

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
