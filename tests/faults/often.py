"""``wildlam`` that keeps what it has after every few videos, as it does after thousands in earnest.

So that a kill in the middle of a few dozen videos finds something to go on from.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def run(arguments: list[str], messages: Path) -> None:
    """Be ``wildlam`` with these arguments, in a process group of its own, its messages going to a file."""
    os.setsid()
    for target, descriptor in ((os.devnull, 1), (messages, 2)):
        os.dup2(os.open(target, os.O_WRONLY), descriptor)
    import torch  # after what a kill of the group relies on

    from tests.helpers import shorten_evaluations
    from wildlam import cli
    from wildlam.states import store
    from wildlam.video import index

    torch.set_num_threads(1)
    shorten_evaluations()
    index._SAVE_EVERY = 10
    store._GROUP_BYTES = 1 << 20
    sys.argv = ["wildlam", *arguments]
    sys.exit(cli.main())
