"""What the shell is told when it asks what could follow."""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def completions(tmp_path):
    """Ask as bash does, by way of argcomplete, with the cursor at the end of a line."""
    pytest.importorskip("argcomplete")

    def ask(line):
        answer = tmp_path / "answer"
        asked = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9", "_ARGCOMPLETE": "1"}
        there = {"_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
        code = "import sys; from wildlam.cli import main; sys.exit(main())"
        subprocess.run([sys.executable, "-c", code], env=os.environ | asked | there, check=True, timeout=200)
        return {word.strip() for word in answer.read_text().splitlines()}

    return ask


def test_commands_and_their_options_are_completed(completions):
    assert completions("wildlam controller ") == {"train", "baseline"}
    assert completions("wildlam prior ") == {"train"}
    assert "--training.steps" in completions("wildlam train --seed 1 --training.s")
