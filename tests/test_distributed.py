import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from tests.helpers import ROOT, ranks
from wildlam import distributed
from wildlam.errors import WildlamError
from wildlam.runs.folder import Run


@pytest.mark.slow
def test_two_ranks_of_8_clips_give_the_gradients_of_one_of_16(tmp_path):
    """The sparse bottleneck's variance and covariance are those of the global batch."""
    ranks(2, "training/ddp_gradients.py", tmp_path / "two.safetensors")
    ranks(1, "training/ddp_gradients.py", tmp_path / "one.safetensors")
    one, two = load_file(tmp_path / "one.safetensors"), load_file(tmp_path / "two.safetensors")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-6, rtol=1e-4)
    assert all(gradient.any() for name, gradient in one.items() if "bias" not in name)


@pytest.mark.slow
def test_the_loop_runs_under_torchrun_and_resumes(tmp_path):
    ranks(2, "training/tiny_run.py", tmp_path, 6)
    ranks(2, "training/tiny_run.py", tmp_path, 8, "--resume")
    steps = [row["step"] for row in Run(tmp_path).metrics()]
    assert steps == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] != []


@pytest.fixture
def ending(tmp_path, monkeypatch):
    """End as one of the processes that torchrun started on this machine; gives whether that one prints its error."""
    monkeypatch.setattr(distributed, "WAIT", 0.2)
    monkeypatch.setattr(distributed.signal, "signal", lambda *_: None)

    def end(rank, error):
        (tmp_path / str(rank)).mkdir()
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / str(rank) / "error.json"))
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        return distributed.prints(error)

    return end


def test_an_error_of_all_processes_is_told_by_the_first(ending):
    assert ending(0, WildlamError("no videos"))
    assert not ending(1, WildlamError("no videos"))
    assert not ending(2, RuntimeError("connection closed by peer"))


def test_an_error_of_one_process_is_told_by_it_and_not_what_follows(ending):
    assert ending(1, WildlamError("a.mp4 is damaged"))
    assert not ending(0, RuntimeError("connection closed by peer"))
    assert ending(2, WildlamError("b.mp4 is damaged"))  # another one


def test_what_is_no_error_of_the_user_is_told_by_each(ending):
    assert ending(0, RuntimeError("a fault"))
    assert ending(1, RuntimeError("a fault"))


@pytest.mark.slow
def test_torchrun_prints_an_error_of_the_user_once(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    program = [sys.executable, "-c", "import sys; from wildlam.cli import main; sys.exit(main())"]
    options = {"env": os.environ | {"PYTHONPATH": str(ROOT / "src")}, "capture_output": True, "text": True}
    # Met by the first process alone, and by all:
    for bad in (["--data.path", str(tmp_path / "nowhere")], ["--data.pth", "x"]):
        ended = subprocess.run([*command, *program, "train", *bad], timeout=400, **options)
        assert ended.returncode != 0
        assert ended.stderr.count("wildlam: error: ") == 1
        assert ended.stderr.count(f"{tmp_path}/nowhere: no such") + ended.stderr.count("did you mean --data.path?") == 1
        assert "Connection closed" not in ended.stderr


@pytest.mark.parametrize("name", ["is_main_process", "default_device"])
def test_alone_without_torchrun(name):
    from wildlam import distributed

    assert getattr(distributed, name)() in (True, torch.device("cpu"), *([torch.device("cuda", 0)]))
