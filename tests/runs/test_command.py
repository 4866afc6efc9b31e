"""What runs record of how they were started: the command or the function that a user called, no other."""

import threading

import pytest

from wildlam import cli
from wildlam.runs.command import current_command, records_call, started_by


@records_call
def inner():
    return current_command()


@records_call
def outer():
    return inner()


def test_the_function_called_from_python_is_recorded_not_the_host_process():
    assert current_command() == "called from Python"
    assert inner() == "wildlam.inner(...) from Python"
    assert outer() == "wildlam.outer(...) from Python"  # what the user called, not what that calls
    assert current_command() == "called from Python"


def test_a_command_is_recorded_as_it_was_given(monkeypatch):
    found = []
    monkeypatch.setitem(cli.COMMANDS, "index", lambda argv: found.append(inner()))
    assert cli.main(["index", "my videos"]) == 0
    assert found == ["wildlam index 'my videos'"]


def test_it_is_forgotten_after_an_error():
    def fail():
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        records_call(fail)()
    with started_by("wildlam demo"):
        assert outer() == "wildlam demo"
        seen = []
        thread = threading.Thread(target=lambda: seen.append(inner()))
        thread.start()
        thread.join()
    assert seen == ["wildlam.inner(...) from Python"]  # a thread of the user's is a call of its own
    assert current_command() == "called from Python"
