"""``wildlam`` that keeps what it has after every few videos, as it does after thousands in earnest.

    python -m tests.faults.often COMMAND ...

So that a kill in the middle of a few dozen videos finds something to go on from.
"""

import sys

from wildlam import cli
from wildlam.states import store
from wildlam.video import index

if __name__ == "__main__":
    index._SAVE_EVERY = 10
    store._GROUP_BYTES = 1 << 20
    sys.exit(cli.main())
