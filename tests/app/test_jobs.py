"""Long work: one piece after the other, how far it is, and what went wrong."""

import threading
import time

import pytest

from wildlam.app.jobs import WAITING, Jobs
from wildlam.errors import WildlamError


@pytest.fixture
def jobs():
    made = Jobs()
    yield made
    made.close()


def ended(jobs, job):
    until = time.monotonic() + 10
    while jobs.find(job.key).state not in ("done", "failed") and time.monotonic() < until:
        time.sleep(0.01)
    return jobs.find(job.key).told()


def test_a_job_tells_how_far_it_is_and_what_came_of_it(jobs):
    go, there = threading.Event(), threading.Event()

    def work(job):
        job.count(0.4)
        there.set()
        go.wait(10)
        job.count(0.9)
        return 7

    job = jobs.submit("counting", work)
    there.wait(10)
    told = job.told()
    assert (told["state"], told["share"], told["title"]) == ("running", pytest.approx(0.4), "counting")
    assert told["left"] >= 0
    go.set()
    told = ended(jobs, job)
    assert (told["state"], told["result"], told["share"]) == ("done", 7, 1)


def test_one_after_the_other_and_not_too_many(jobs):
    go, order = threading.Event(), []
    first = jobs.submit("first", lambda job: go.wait(10))
    while first.state == "waiting":
        time.sleep(0.01)
    waiting = [jobs.submit(str(i), lambda job: order.append(job.title)) for i in range(WAITING)]
    with pytest.raises(WildlamError, match="too much is waiting"):
        jobs.submit("more", lambda job: None)
    assert not order
    go.set()
    ended(jobs, waiting[-1])
    assert order == [str(i) for i in range(WAITING)]


def test_an_error_of_the_users_is_told_and_one_of_ours_is_not_spelt_out(jobs, caplog):
    def wrong(job):
        raise WildlamError("a.mp4 is too short; bring a longer one")

    def broken(job):
        raise ZeroDivisionError("secret /home/path")

    assert ended(jobs, jobs.submit("x", wrong))["error"] == "a.mp4 is too short; bring a longer one"
    told = ended(jobs, jobs.submit("x", broken))
    assert told["state"] == "failed"
    assert "ZeroDivisionError" in told["error"]
    assert "secret" not in told["error"]
    assert "secret" in caplog.text
    with pytest.raises(WildlamError, match="no such piece of work"):
        jobs.find("nothing")
