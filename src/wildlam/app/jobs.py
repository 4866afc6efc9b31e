"""Long work of the playground, one piece at a time in a thread of its own, with how far it is."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import Any

from wildlam.errors import WildlamError

log = logging.getLogger(__name__)

KEPT = 50
"""Jobs that are remembered; of the older ones nobody asks."""
WAITING = 8
"""Jobs that may wait; a page asks for one."""


@dataclass
class Job:
    """A piece of work.

    Attributes:
        title: what is done, for people.
        key: its name.
        share: how much of it is done, 0 to 1; None if that is not known.
        state: waiting, running, done or failed.
        result: what came of it, for JSON.
        error: why it failed, in a line.
    """

    title: str
    key: str = field(default_factory=lambda: token_urlsafe(9))
    share: float | None = None
    state: str = "waiting"
    result: Any = None
    error: str = ""
    began: float | None = None

    def count(self, share: float) -> None:
        """Move on by a share of the whole."""
        self.share = min((self.share or 0.0) + share, 1.0)

    def told(self) -> dict[str, Any]:
        """All of it, for JSON; with the seconds that are left, where that is known."""
        left = None
        if self.state == "running" and self.share and self.share > 0.05 and self.began is not None:
            left = (time.monotonic() - self.began) * (1 - self.share) / self.share
        return {
            "key": self.key,
            "title": self.title,
            "state": self.state,
            "share": self.share,
            "left": left,
            "result": self.result,
            "error": self.error,
        }


class Jobs:
    """Runs jobs in the order in which they come."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="wildlam-job")

    def submit(self, title: str, work: Callable[[Job], Any]) -> Job:
        """Have ``work`` done; what it returns is the result.

        Raises:
            WildlamError: too many wait already.
        """
        job = Job(title)
        with self._lock:
            if sum(one.state == "waiting" for one in self._jobs.values()) >= WAITING:
                raise WildlamError("too much is waiting to be done already; try again when some of it is")
            self._jobs[job.key] = job
            for key in list(self._jobs)[:-KEPT]:
                del self._jobs[key]
        self._pool.submit(self._run, job, work)
        return job

    def find(self, key: str) -> Job:
        """A job by its name.

        Raises:
            WildlamError: there is none.
        """
        if key not in self._jobs:
            raise WildlamError("no such piece of work; ask for it again")
        return self._jobs[key]

    def close(self) -> None:
        """Start no more; what runs comes to its end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, job: Job, work: Callable[[Job], Any]) -> None:
        job.state, job.began = "running", time.monotonic()
        try:
            job.result = work(job)
            job.state = "done"
        except Exception as error:
            job.error = in_a_line(error)
            job.state = "failed"


def in_a_line(error: Exception) -> str:
    """An error as a person is told; one that is no ``WildlamError`` is a fault of ours, and goes to the terminal."""
    if isinstance(error, WildlamError):
        return str(error)
    log.error("wildlam app: %s", error, exc_info=error)
    return f"something went wrong in wildlam ({type(error).__name__}); the terminal says more"
