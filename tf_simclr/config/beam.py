"""Where a pipeline of Apache Beam does the work of a task."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from tf_simclr.config.option import check_options, option
from tf_simclr.errors import InputError

NO_RUNNER = "none"
RUNNERS = (NO_RUNNER, "direct", "dataflow", "flink", "spark", "portable")


@dataclass(frozen=True)
class BeamConfig:
    """Which processes and machines do the work."""

    runner: str = option(
        NO_RUNNER,
        "none: this process. Otherwise the runner of an Apache Beam pipeline: direct for processes of this machine, "
        "dataflow, flink, spark or portable for many machines, which must all see the images, the checkpoint and --out "
        "under the same paths. Needs the package apache-beam.",
        RUNNERS,
    )
    beam_options: str = option(
        "",
        "Options of the runner, separated by spaces, as "
        '"--direct_num_workers=2 --direct_running_mode=multi_processing". Empty: those of Apache Beam.',
    )

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        if self.beam_options and not self.used:
            raise InputError(
                f"`beam_options` are for a runner. Received: beam_options={self.beam_options!r}, runner={self.runner}. "
                "Pass --runner=direct or another one, or leave them out"
            )
        for word in self.options:
            if word.split("=")[0] == "--runner":
                raise InputError(
                    f"`beam_options` must not name the runner. Received: {word}. Pass --runner={RUNNERS[1]}, or one of "
                    f"{', '.join(RUNNERS[2:])}"
                )

    @property
    def used(self) -> bool:
        """Whether there is a pipeline."""
        return self.runner != NO_RUNNER

    @property
    def options(self) -> list[str]:
        """The words of `beam_options`."""
        try:
            return shlex.split(self.beam_options)
        except ValueError as error:
            raise InputError(
                f"`beam_options` must be words as a shell reads them. Received: {self.beam_options!r}: {error}. Close "
                "the quotation marks"
            ) from error
