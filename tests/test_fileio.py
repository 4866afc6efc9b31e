"""One writer at a time: the second waits or is refused, and a process that is killed leaves no lock behind."""

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from wildlam.errors import WildlamError
from wildlam.fileio import ensure_writable, locked, writing


def hold(path, held):
    with locked(path, "testing"):
        held.set()
        time.sleep(60)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock on ``tmp_path / "thing"``."""
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=hold, args=(tmp_path / "thing", held))
    process.start()
    assert held.wait(60)
    yield process
    process.kill()
    process.join()


def test_who_may_not_wait_is_told_who_holds_it(tmp_path, holder):
    with (
        pytest.raises(WildlamError, match=rf"thing is in use by process {holder.pid} on \S+ \(testing\); go away"),
        locked(tmp_path / "thing", "testing", refusal="go away"),
    ):
        pass
    with locked(tmp_path / "another", "testing", refusal="go away"):
        pass


def test_a_killed_process_leaves_no_lock(tmp_path, holder):
    with ThreadPoolExecutor(1) as pool:

        def wait():
            with locked(tmp_path / "thing", "testing"):
                return time.monotonic()

        waiting = pool.submit(wait)
        time.sleep(0.3)
        assert not waiting.done()
        killed = time.monotonic()
        holder.kill()
        assert 0 <= waiting.result(timeout=10) - killed < 10


def test_what_cannot_be_written_is_not_locked(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with locked(tmp_path / "file" / "thing", "testing"):
        assert not (tmp_path / "file").is_dir()


def test_what_cannot_be_written_is_said_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WildlamError, match=r"^cannot write to .*/file/x: Not a directory; give another out$"):
        ensure_writable(tmp_path / "file" / "x")
    with pytest.raises(WildlamError, match=r"^cannot write a and b: full; go$"), writing("a and b", "go"):
        raise OSError("full")  # a library's own, without a number
