"""Long work: one piece after the other, how far it is, and what went wrong."""

import threading
import time

import pytest

from wildlam.app.jobs import QUICK, WAITING, Jobs
from wildlam.errors import WildlamError


@pytest.fixture
def jobs():
    made = Jobs()
    yield made
    made.close()


def ended(jobs, job):
    until = time.monotonic() + 10
    while jobs.find(job.key).state in ("waiting", "running") and time.monotonic() < until:
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


def begun(job):
    until = time.monotonic() + 10
    while job.state == "waiting" and time.monotonic() < until:
        time.sleep(0.01)


def test_what_is_quick_does_not_wait_behind_what_is_long(jobs):
    go = threading.Event()
    long = jobs.submit("planning", lambda job: go.wait(10))
    begun(long)
    assert ended(jobs, jobs.submit("drawing the map", lambda job: 3, QUICK))["result"] == 3
    assert long.state == "running"
    go.set()


def test_a_job_that_waits_tells_behind_what_and_for_how_long(jobs):
    go, there = threading.Event(), threading.Event()

    def work(job):
        job.count(0.5)
        there.set()
        go.wait(10)

    jobs.submit("planning", work)
    there.wait(10)
    jobs.submit("drawing", lambda job: None)
    told = jobs.submit("transferring", lambda job: None).told()
    assert [one["title"] for one in told["behind"]] == ["planning", "drawing"]
    assert told["behind"][0]["left"] >= 0
    assert told["behind"][1]["left"] is None
    go.set()
    assert ended(jobs, jobs.find(told["key"]))["behind"] == []


def test_a_cancelled_job_ends_where_it_counts_next_and_one_that_waits_never_begins(jobs):
    go, there, reached = threading.Event(), threading.Event(), []

    def work(job):
        job.count(0.1)
        there.set()
        go.wait(10)
        job.count(0.1)
        reached.append("the end")

    running, waiting = jobs.submit("planning", work), jobs.submit("more", lambda job: reached.append("more"))
    there.wait(10)
    jobs.cancel(waiting.key)
    assert waiting.told()["state"] == "cancelled"
    jobs.cancel(running.key)
    behind = jobs.submit("behind", lambda job: None).told()["behind"]
    assert behind == [{"title": "planning, which is being cancelled", "left": None}]
    go.set()
    assert ended(jobs, running)["state"] == "cancelled"
    after = jobs.submit("after", lambda job: 5)
    assert ended(jobs, after)["result"] == 5
    jobs.cancel(after.key)
    assert after.told()["state"] == "done"
    assert not reached


def test_what_cannot_be_stopped_goes_on_and_is_there_when_it_is_asked_for_again(jobs):
    go = threading.Event()
    running = jobs.submit("drawing", lambda _: go.wait(10), stoppable=False)
    waiting = jobs.submit("drawing", lambda _: pytest.fail("began"), stoppable=False)
    begun(running)
    assert not running.told()["stoppable"]
    assert waiting.told()["stoppable"]
    for job in (running, waiting):
        jobs.cancel(job.key)
    assert (running.state, waiting.state) == ("running", "cancelled")
    go.set()
    assert ended(jobs, running)["result"] is True


def test_what_all_pages_need_is_not_cancelled(jobs):
    job = jobs.submit("loading the model", lambda job: 1, needed=True)
    with pytest.raises(WildlamError, match="cannot be cancelled"):
        jobs.cancel(job.key)
    assert ended(jobs, job)["result"] == 1


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
