"""The training program: python run.py --mode=train_then_eval. `python run.py --help` shows the flags."""

import sys

from tf_simclr.ctrl_c import end_at_once
from tf_simclr.requirements import require_requirements

if __name__ == "__main__":
    end_at_once()
    require_requirements()
    from tf_simclr.cli.main import run_task

    sys.exit(run_task("train", sys.argv[1:]))
