"""The errors that a user can mend."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager


class WildlamError(Exception):
    """An error the user can mend: its one-line message names the thing that is wrong and the remedy."""


@contextmanager
def keys_told_as(option: str) -> Iterator[None]:
    """Tell the user of a command who gave videos by ``option`` no remedies by those keys of `train` that it lacks."""
    try:
        yield
    except WildlamError as error:
        told = re.sub(r",? or leave (it|them) out with --data\.on_error=skip", "", str(error))
        told = told.replace("name another folder with --data.cache", f"give a copy that can be by {option}")
        raise WildlamError(told.replace("--data.path", option)) from error
