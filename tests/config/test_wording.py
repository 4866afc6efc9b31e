"""What jsonargparse says is understood: by the version that is installed, and no other may be."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from wildlam.config import run_parser
from wildlam.config.wording import REWORDED
from wildlam.errors import WildlamError

MISTAKES = [
    ([], ""),
    (["--data.path", "v", "--training.steps", "x"], ""),
    (["--data.path", "v", "--model.size", "x"], ""),
    (["--data.path", "v", "--encoder", "Lite1"], ""),
    (["--data.path", "v", "--encoder", "Lite0", "--encoder.size", "1"], ""),
    (["--data.path", "v", "--encoder", "Lite0", "--encoder.pool", "x"], ""),
    ([], "step: 3"),
    ([], "training: {step: 3}"),
    ([], "data: ["),
    ([], "data: {path: v, cache: [1]}"),
]
"""Arguments and YAML, one for each expression of ``REWORDED`` at least."""


@pytest.fixture
def raw(monkeypatch, tmp_path):
    """What jsonargparse says of arguments and a file."""

    def said(arguments, text):
        messages = []

        def keep(message, *known):
            messages.append(" ".join(message.split()))
            return message

        monkeypatch.setattr("wildlam.config.parser.complaint", keep)
        (tmp_path / "given.yaml").write_text(text)
        with pytest.raises(WildlamError):
            run_parser().parse_args([*arguments, *(["--config", str(tmp_path / "given.yaml")] if text else [])])
        return messages[-1]

    return said


def test_every_expression_is_of_something_that_jsonargparse_says(raw):
    unmatched = dict(REWORDED)
    for arguments, text in MISTAKES:
        line = raw(arguments, text)
        for pattern, plain in REWORDED:
            if re.search(pattern, line):
                unmatched.pop(pattern, None)
            line = re.sub(pattern, plain, line)
    assert not unmatched


def test_versions_that_nobody_compared_are_kept_out():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    (known,) = (r for r in map(Requirement, project["dependencies"]) if r.name == "jsonargparse")
    assert version("jsonargparse") in known.specifier
    major, minor, *_ = map(int, version("jsonargparse").split("."))
    assert f"{major}.{minor + 1}" not in known.specifier
