"""The example files for schedulers name flags that exist, with values that can work."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tf_simclr.cli import flags, study_flags, study_plan
from tf_simclr.config import build_config
from tf_simclr.studies.catalogue import find_study
from tf_simclr.studies.scales import SCALES

STUDIES = Path(__file__).parents[2] / "docs" / "studies"
SLURM, KUBERNETES = STUDIES / "slurm_array.sh", STUDIES / "kubernetes_job.yaml"


def program_flags(path):
    """The flags of the program in a file, as its scheduler would have filled them in."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(lines)
    for variable, value in (
        ('"$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"', "3/8"),
        ("$(JOB_COMPLETION_INDEX)", "3"),
        ('"$TFDS_DATA_DIR"', "/data"),
        ('"$HOME/studies/figure5"', "/home/me/figure5"),
    ):
        text = text.replace(variable, value)
    return re.findall(r"--\w+=[^\s\\]+", text)


@pytest.mark.parametrize("path", [SLURM, KUBERNETES], ids=lambda path: path.name)
def test_their_flags_are_those_of_the_task(path):
    parsed = flags.parse(program_flags(path), study_flags.FLAG_GROUPS)
    assert {"study", "scale", "dataset", "data_dir", "seeds", "model_dir", "shard"} <= parsed.given
    config = study_flags.STUDY.build(parsed.values)
    config.validate()
    assert config.part == (3, 8)
    given = {name: parsed.values[name] for name in parsed.given - {"study", "scale", "seeds", "shard", "model_dir"}}
    shared = study_plan.shared_flags(SCALES[config.scale].flags, given, find_study(config.study).varied(config.scale))
    assert build_config(shared).data.dataset == "imagenet2012"


def test_the_slurm_script_is_a_script():
    subprocess.run(["bash", "-n", str(SLURM)], check=True)


def test_as_many_tasks_as_shards():
    assert "#SBATCH --array=0-7" in SLURM.read_text()
    text = KUBERNETES.read_text()
    assert "completions: 8" in text and "parallelism: 8" in text
    assert "fieldPath: metadata.annotations['batch.kubernetes.io/job-completion-index']" in text
