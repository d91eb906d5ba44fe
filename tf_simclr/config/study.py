"""What of a study is run, and what becomes of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tf_simclr.config.option import check_options, listed, option
from tf_simclr.errors import InputError, require_range

SCALE_NAMES = ("tiny", "small", "paper")
STUDY_NAMES = (
    "figure4",
    "figure5",
    "table1",
    "figure6",
    "figure7",
    "figure8",
    "table3",
    "head_curves",
    "table4",
    "table5",
    "figure9",
    "table6",
    "table7",
    "table8",
)
# Those that can measure networks that were trained elsewhere.
OF_A_CHECKPOINT = ("table3",)
# Those that transfer networks to other data sets.
OF_DATA_SETS = ("table8",)


@dataclass(frozen=True)
class StudyConfig:
    """The study."""

    study: str = option("", "Which table or figure of the paper: " + ", ".join(STUDY_NAMES) + ".")
    scale: str = option(
        "small",
        "tiny: seconds a cell, shows that it works; small: minutes a cell on a CPU; paper: the paper's networks, "
        "images and lengths.",
        SCALE_NAMES,
    )
    checkpoint: str | None = option(
        None,
        "table3 only: measure this network, and train none: a run, or weights of another program with a "
        "projection head.",
        path=True,
    )
    study_datasets: str = option(
        "",
        "table8 alone: data sets that the networks are transferred to, separated by commas. Each is a name in "
        "configs/transfer, a name of TensorFlow Datasets, or a folder of images; @mean_per_class behind a folder "
        "chooses its metric. Empty, at --scale=paper: the 12 of configs/transfer.",
    )
    cells: str = option("", "Names of the cells to run, separated by commas; empty: all of them.")
    seeds: str = option("0", "Seeds, separated by commas: every cell is run with each.")
    shard: str = option(
        "0/1",
        "i/n runs every n-th cell, starting at the i-th, counted from 0, on one of n machines that share --model_dir.",
    )
    report: bool = option(False, "Run nothing: only write the pages, from the results that exist.")
    keep_runs: bool = option(False, "Keep the checkpoints and curves of every cell, not only its result.")

    @property
    def cell_names(self) -> tuple[str, ...]:
        """Names given; empty for all."""
        return listed("cells", self.cells, str) if self.cells else ()

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """The seeds."""
        return listed("seeds", self.seeds, int)

    @property
    def part(self) -> tuple[int, int]:
        """(i, n) of --shard.

        Raises:
            InputError: something else.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", self.shard.strip())
        if found is None or not int(found[1]) < int(found[2]):
            raise InputError(
                "`shard` is written i/n with i from 0 to n - 1, as 0/4 to 3/4 on four machines. Received: "
                f"shard={self.shard}"
            )
        return int(found[1]), int(found[2])

    def validate(self) -> None:
        """Raises InputError where a value cannot work."""
        check_options(self)
        if self.checkpoint and self.study and self.study not in OF_A_CHECKPOINT:
            raise InputError(
                f"`checkpoint` must be left out of {self.study}, whose cells train networks from the start or need "
                f"none. Received: checkpoint={self.checkpoint}. Leave it out, or pass --study="
                f"{OF_A_CHECKPOINT[0]}; `python -m tf_simclr evaluate` measures weights, and run.py "
                "--train_mode=finetune trains them further"
            )
        if self.study_datasets and self.study and self.study not in OF_DATA_SETS:
            raise InputError(
                f"`study_datasets` must be left out of {self.study}, which needs no other data sets. Received: "
                f"study_datasets={self.study_datasets}. Leave it out, or pass --study={OF_DATA_SETS[0]}"
            )
        if self.study in OF_DATA_SETS and not self.study_datasets and self.scale != "paper":
            raise InputError(
                f"`study_datasets` must name the data sets that {self.study} transfers networks to. Received: none. "
                "Pass names or folders, as --study_datasets=cifar10,flowers/"
            )
        for seed in self.seed_numbers:
            require_range("seeds", seed, at_least=0, at_most=2**31 - 1)
        _ = self.cell_names, self.part  # raise
