"""`python -m tf_simclr TASK`."""

import sys

from tf_simclr.ctrl_c import end_at_once
from tf_simclr.requirements import require_requirements


def main() -> int:
    """Runs the task that the command line names; returns the exit code."""
    end_at_once()
    require_requirements()
    from tf_simclr.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
