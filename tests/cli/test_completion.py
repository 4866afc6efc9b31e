"""What the shell is told when it asks what could follow."""

import sys

import pytest

from wildlam.cli import main

from ..helpers import printed


def complete():
    sys.argv = ["wildlam"]
    sys.exit(main())


@pytest.fixture
def completions(tmp_path):
    """Ask as bash does, by way of argcomplete, with the cursor at the end of a line."""
    pytest.importorskip("argcomplete")

    def ask(line):
        answer = tmp_path / "answer"
        asked = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9", "_ARGCOMPLETE": "1"}
        there = {"_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
        printed(tmp_path, complete, **asked, **there)
        return {word.strip() for word in answer.read_text().splitlines()}

    return ask


def test_commands_and_their_options_are_completed(completions):
    assert completions("wildlam tr") == {"train", "transfer"}
    assert completions("wildlam decoder show --cl") == {"--clips"}
    assert completions("wildlam controller ") == {"train", "baseline"}
    assert completions("wildlam prior ") == {"train"}
    assert "--training.steps" in completions("wildlam train --seed 1 --training.s")
