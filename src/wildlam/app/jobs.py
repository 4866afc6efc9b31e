"""Long work of the playground in threads of its own, with how far it is; one piece at a time in each of some lanes."""

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
LONG, QUICK = "long", "quick"
"""Lanes: of what takes many seconds, and of what nobody is to wait for behind such."""


class CancelledError(Exception):
    """Ends the work of a job that nobody wants any more."""


@dataclass
class Job:
    """A piece of work.

    Attributes:
        title: what is done, for people.
        key: its name.
        share: how much of it is done, 0 to 1; None if that is not known.
        state: waiting, running, done, failed or cancelled.
        result: what came of it, for JSON.
        error: why it failed, in a line.
        ahead: jobs that it waits for.
        needed: by all pages, so that none may cancel it.
        unwanted: it is to end as soon as it counts again.
        stoppable: it counts while it runs, and so can be cancelled then.
    """

    title: str
    key: str = field(default_factory=lambda: token_urlsafe(9))
    share: float | None = None
    state: str = "waiting"
    result: Any = None
    error: str = ""
    began: float | None = None
    ahead: list[Job] = field(default_factory=list)
    needed: bool = False
    unwanted: bool = False
    stoppable: bool = True

    @property
    def pending(self) -> bool:
        """Whether it has not ended."""
        return self.state in ("waiting", "running")

    @property
    def left(self) -> float | None:
        """Seconds until it is done; None if that is not known."""
        if self.state != "running" or self.unwanted or self.began is None or not self.share or self.share <= 0.05:
            return None
        return (time.monotonic() - self.began) * (1 - self.share) / self.share

    def count(self, share: float) -> None:
        """Move on by a share of the whole.

        Raises:
            CancelledError: nobody wants it any more.
        """
        if self.unwanted:
            raise CancelledError
        self.share = min((self.share or 0.0) + share, 1.0)

    def told(self) -> dict[str, Any]:
        """All of it, for JSON; with the seconds that are left and, while it waits, what it waits behind and for how
        long, where that is known.
        """
        waits = self.state == "waiting"
        return {
            "key": self.key,
            "title": self.title,
            "state": self.state,
            "share": self.share,
            "left": self.left,
            "behind": [one._as_ahead() for one in self.ahead if one.pending] if waits else [],
            "result": self.result,
            "error": self.error,
            "stoppable": self.stoppable or waits,
        }

    def _as_ahead(self) -> dict[str, Any]:
        title = f"{self.title}, which is being cancelled" if self.unwanted else self.title
        return {"title": title, "left": self.left}


class Jobs:
    """Runs the jobs of each lane in the order in which they come."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = threading.Lock()
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._lanes: dict[str, list[Job]] = {}

    def submit(
        self,
        title: str,
        work: Callable[[Job], Any],
        lane: str = LONG,
        needed: bool = False,
        stoppable: bool = True,
    ) -> Job:
        """Have ``work`` done; what it returns is the result.

        Args:
            title: what is done, for people.
            work: it calls ``Job.count`` now and then, which is where it can be cancelled.
            lane: jobs of other lanes are not waited for.
            needed: see ``Job``.
            stoppable: likewise.

        Raises:
            WildlamError: too many wait already.
        """
        with self._lock:
            ahead = [one for one in self._lanes.get(lane, []) if one.pending]
            job = Job(title, ahead=ahead, needed=needed, stoppable=stoppable)
            if sum(one.state == "waiting" for one in self._jobs.values()) >= WAITING:
                raise WildlamError("too much is waiting to be done already; try again when some of it is")
            self._jobs[job.key] = job
            for key in list(self._jobs)[:-KEPT]:
                del self._jobs[key]
            self._lanes[lane] = [*ahead, job]
            if lane not in self._pools:
                self._pools[lane] = ThreadPoolExecutor(1, thread_name_prefix=f"wildlam-{lane}")
            self._pools[lane].submit(self._run, job, work)
        return job

    def find(self, key: str) -> Job:
        """A job by its name.

        Raises:
            WildlamError: there is none.
        """
        if key not in self._jobs:
            raise WildlamError("no such piece of work; ask for it again")
        return self._jobs[key]

    def cancel(self, key: str) -> None:
        """End a job: at once while it waits, else when it next counts. One that has ended, or cannot be stopped, stays
        as it is.

        Raises:
            WildlamError: there is none, or all pages need it.
        """
        job = self.find(key)
        if job.needed:
            raise WildlamError(f"{job.title} cannot be cancelled; all pages need it")
        with self._lock:
            job.unwanted = job.stoppable or job.state == "waiting"
            if job.state == "waiting":
                job.state = "cancelled"

    def close(self) -> None:
        """Start no more; what runs ends when it next counts."""
        with self._lock:
            for job in self._jobs.values():
                job.unwanted = True
            for pool in self._pools.values():
                pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, job: Job, work: Callable[[Job], Any]) -> None:
        with self._lock:
            if job.unwanted:
                return
            job.state, job.began, job.ahead = "running", time.monotonic(), []
        try:
            job.result = work(job)
            job.state = "done"
        except CancelledError:
            job.state = "cancelled"
        except Exception as error:
            job.error = in_a_line(error)
            job.state = "failed"


def in_a_line(error: Exception) -> str:
    """An error as a person is told; one that is no ``WildlamError`` is a fault of ours, and goes to the terminal."""
    if isinstance(error, WildlamError):
        return str(error)
    log.error("wildlam app: %s", error, exc_info=error)
    return f"something went wrong in wildlam ({type(error).__name__}); the terminal says more"
