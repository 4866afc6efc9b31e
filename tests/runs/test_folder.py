"""Run folders: what a kill leaves of one that was being made."""

import pytest

from wildlam.errors import WildlamError
from wildlam.runs.folder import Run
from wildlam.types import EncoderSpec

SPEC = EncoderSpec("toy", 1, (2, 2), 3, 16, "frame", "aaaa000011112222")


@pytest.mark.parametrize("last", ["run.json", "config.yaml"])
def test_a_run_that_was_killed_while_it_was_made_is_made_anew(tmp_path, last):
    run = Run(tmp_path / "run")
    run.create("seed: 0\n", 0, SPEC)
    (run.path / last).unlink()
    with pytest.raises(WildlamError, match=f"it has no {last}"):
        Run.open(run.path)
    run.create("seed: 1\n", 1, SPEC)
    assert (Run.open(run.path).path / "config.yaml").read_text() == "seed: 1\n"
    assert run.facts["seed"] == 1


def test_a_run_is_known_by_the_file_written_last(tmp_path, monkeypatch):
    """Scripts that go on with a run ask for config.yaml: it must not be there before the rest."""
    from wildlam.runs import folder as module

    written = []
    write = module.write_atomically
    monkeypatch.setattr(module, "write_atomically", lambda path, text: written.append(path.name) or write(path, text))
    Run(tmp_path / "run").create("seed: 0\n", 0, SPEC)
    assert written == ["run.json", "config.yaml"]


def test_a_sweep_is_no_run_from_its_beginning_on(tmp_path):
    (tmp_path / "sweep.yaml").touch()  # sweep.json is written at its end
    with pytest.raises(WildlamError, match="is a sweep, of several runs"):
        Run.open(tmp_path)
