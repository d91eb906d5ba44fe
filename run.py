"""The training program: python run.py --mode=train_then_eval. `python run.py --help` lists the flags."""

import sys

from tf_simclr.cli.main import run_task

if __name__ == "__main__":
    sys.exit(run_task("train", sys.argv[1:]))
