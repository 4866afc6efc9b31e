"""``python -m wildlam``: the same as the command ``wildlam``."""

import sys

from wildlam.cli import main

if __name__ == "__main__":
    sys.exit(main())
