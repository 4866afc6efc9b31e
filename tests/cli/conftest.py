"""The commands as a user gives them, in this process."""

import re

import pytest

from wildlam import cli
from wildlam.workflows import evaluate

from ..helpers import make_models_tiny
from .tiny import TINY


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_models_tiny(monkeypatch)


@pytest.fixture
def call(capsys):
    """Run a command; give its status, what it printed and what it complained of."""

    def run(*arguments):
        capsys.readouterr()
        status = cli.main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def refused(call):
    """Run a command that must fail; give its one line of complaint."""

    def run(*arguments):
        status, out, err = call(*arguments)
        assert status == 2
        assert out == ""
        lines = [line for line in re.split(r"[\r\n]", err) if line.startswith("wildlam: error: ")]
        assert len(lines) == 1
        assert err.endswith(lines[0] + "\n")
        assert "Traceback" not in err
        return lines[0].removeprefix("wildlam: error: ")

    return run


@pytest.fixture(scope="session")
def trained(make_video, tmp_path_factory):
    """A run, and the folder of its videos."""
    folder = tmp_path_factory.mktemp("trained")
    for name in ("train/a", "train/b", "test/c", "test/d"):
        make_video(folder / "videos" / f"{name}.mp4", frames=96, gop=24)
    with pytest.MonkeyPatch.context() as patch:
        make_models_tiny(patch)
        assert cli.main(["train", "--data.path", str(folder / "videos"), "--out", str(folder / "run"), *TINY]) == 0
    return folder / "run", folder / "videos"


@pytest.fixture
def no_report(monkeypatch):
    monkeypatch.setattr(evaluate, "write_run_report", lambda *arguments: None)
