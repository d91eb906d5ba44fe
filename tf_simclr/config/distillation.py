"""How a student learns from a teacher."""

from __future__ import annotations

from dataclasses import dataclass

from tf_simclr.config.option import check_options, option
from tf_simclr.errors import InputError


@dataclass(frozen=True)
class DistillationConfig:
    """How a student learns from a teacher (SimCLR v2, Section 2)."""

    teacher: str | None = option(
        None,
        "distill: checkpoint of the teacher, any that --checkpoint takes, with a supervised head. Its weights and "
        "batch-norm statistics stay as they are, and its own network, input normalisation and classes are used.",
        path=True,
    )
    distill_temperature: float = option(
        1.0,
        "distill: temperature of both softmaxes. SimCLR v2 takes 1 from a large teacher to a small student, and 0.1 "
        "where both are the same network. The gradient grows with 1 / temperature: lower the rate, or take LARS.",
        above=0,
    )
    distill_alpha: float = option(
        1.0,
        "distill: weight of the teacher in (1 - alpha) x cross entropy with the labels + alpha x distillation. 1 uses "
        "no label; an image without a label adds nothing to the first part.",
        at_least=0,
        at_most=1,
    )

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)

    def require_use(self, train_mode: str) -> None:
        """Raises InputError where a distillation has no teacher, or another training has one."""
        if train_mode == "distill" and not self.teacher:
            raise InputError(
                "`teacher` must name a checkpoint with a supervised head. Received: train_mode=distill without "
                "--teacher. Pass --teacher=DIR of a fine-tuned run"
            )
        if train_mode != "distill" and self.teacher:
            raise InputError(
                f"`teacher` is for a distillation only. Received: teacher={self.teacher}, train_mode={train_mode}. "
                "Pass --train_mode=distill, or leave --teacher out"
            )
