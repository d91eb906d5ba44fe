"""`python -m tf_simclr TASK`."""

import sys

from tf_simclr.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
