import shutil
import signal
import time

import pytest
import torch

from tests.helpers import ranks, start_script
from tests.training.tiny_run import tiny_fit
from wildlam.errors import WildlamError
from wildlam.models.bottlenecks import Sparse, Unconstrained
from wildlam.runs import checkpoints
from wildlam.runs.folder import Run
from wildlam.training import TrainingConfig


def losses(out):
    return {row["step"]: (row["loss"], row["gradient_norm"]) for row in Run(out).metrics()}


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_very_same_steps(tmp_path):
    """A real SIGKILL at step 7 or later; losses and weights equal those of a run left alone, bit by bit."""
    whole = start_script("training/tiny_run.py", tmp_path / "whole", 20, "--ema", 0.9)
    killed = start_script("training/tiny_run.py", tmp_path / "killed", 20, "--ema", 0.9, "--pause", 0.1)
    deadline = time.monotonic() + 90
    while max(losses(tmp_path / "killed"), default=0) < 7:
        assert killed.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.kill()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert checkpoints.last(Run(tmp_path / "killed").checkpoints).step >= 5
    whole.join()
    assert whole.exitcode == 0
    ranks(1, "training/tiny_run.py", tmp_path / "killed", 20, "--ema", 0.9, "--resume")
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert sorted(losses(tmp_path / "whole")) == list(range(1, 21))
    last = [checkpoints.last(Run(tmp_path / run).checkpoints) for run in ("whole", "killed")]
    for expected, found in (
        [checkpoint.model_tensors() for checkpoint in last],
        [checkpoint.state_tensors() for checkpoint in last],
    ):
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_a_finished_run_resumes_to_nothing(tmp_path):
    first = tiny_fit(tmp_path, 5)
    shutil.rmtree(checkpoints.last(Run(tmp_path).checkpoints).path / "state")  # needed by those who go on alone
    again = tiny_fit(tmp_path, 5, resume=True)
    assert sorted(losses(tmp_path)) == [1, 2, 3, 4, 5]
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))


def test_nan_stops_the_run_and_names_the_clips(tmp_path):
    with pytest.raises(WildlamError, match=r"step 7: the loss is nan.*clip 7\.0 at 0\.50 s, .*clip 7\.7"):
        tiny_fit(tmp_path, 20, poison=7)
    weights = checkpoints.last(Run(tmp_path).checkpoints).model_tensors()
    assert all(value.isfinite().all() for value in weights.values())


def test_accumulation_gives_the_same_steps(tmp_path):
    # A batch of 8 against 4 parts of 2; no noise, and no statistics over the batch.
    tiny_fit(tmp_path / "1", 6, bottleneck=Unconstrained(dim=4), precision="fp32")
    tiny_fit(tmp_path / "4", 6, bottleneck=Unconstrained(dim=4), precision="fp32", accumulate=4)
    whole, parts = losses(tmp_path / "1"), losses(tmp_path / "4")
    assert parts[1] == pytest.approx(whole[1], rel=1e-5)
    # From then on Muon, which normalises gradients in bf16, enlarges the rounding of the sums.
    for step in whole:
        assert parts[step] == pytest.approx(whole[step], rel=5e-2)


def test_parts_are_prepared_one_by_one(tmp_path):
    sizes = []

    def prepare(batch):
        sizes.append((len(batch.states), len(batch.names), len(batch.starts)))
        return (batch.states,)

    tiny_fit(tmp_path, 1, accumulate=4, prepare=prepare)
    assert sizes == [(2, 2, 2)] * 4


def test_recomputing_gives_the_same_steps(tmp_path):
    plain, again = tiny_fit(tmp_path / "plain", 6), tiny_fit(tmp_path / "again", 6, recompute=True)
    for (name, one), other in zip(plain.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_accumulation_that_does_not_divide_the_batch_is_refused(tmp_path):
    with pytest.raises(WildlamError, match="accumulate=3 does not divide the 8 clips"):
        tiny_fit(tmp_path, 2, accumulate=3)


def test_the_best_checkpoint_is_kept_and_used(tmp_path):
    scores = iter([3.0, 1.0, 2.0, 2.5, 2.6])
    tiny_fit(tmp_path, 25, evaluate=lambda model: {"error": next(scores)}, keep=2)
    folder = Run(tmp_path).checkpoints
    assert [c.step for c in checkpoints.listing(folder)] == [10, 20, 25]
    assert checkpoints.best(folder).step == 10
    assert checkpoints.last(folder).step == 25
    assert [row["held_out/error"] for row in Run(tmp_path).metrics() if "held_out/error" in row][1] == 1.0


def test_average_of_the_weights_is_what_is_kept(tmp_path):
    plain = tiny_fit(tmp_path / "plain", 10)
    average = tiny_fit(tmp_path / "average", 10, ema=0.99)
    tensors = checkpoints.last(Run(tmp_path / "average").checkpoints).model_tensors()
    name = "world_model.head.weight"
    assert torch.equal(tensors[name], average.state_dict()[name])
    assert average.state_dict()[name].norm() < 0.5 * plain.state_dict()[name].norm()  # it began at zero


def test_metrics_tensorboard_and_precision(tmp_path):
    tiny_fit(tmp_path, 5, bottleneck=Sparse(dim=4), precision="bf16")
    row = Run(tmp_path).metrics()[-1]
    assert {"step", "loss", "prediction", "penalty", "sparsity", "z_std", "gradient_norm", "lr_factor"} <= row.keys()
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_a_precision_that_is_not_given_is_the_device_s(monkeypatch):
    device = torch.device("cpu")
    for native, name in ((torch.bfloat16, "bf16"), (torch.float32, "fp32")):
        monkeypatch.setattr("wildlam.training.loop.fast_dtype", lambda device, native=native: native)
        assert TrainingConfig().settled(device) == TrainingConfig(precision=name)
        for given in ("bf16", "fp32"):
            assert TrainingConfig(precision=given).settled(device).precision == given


@pytest.mark.parametrize("bad", [{"steps": 0}, {"ema": 1.0}, {"accumulate": 0}])
def test_impossible_settings_are_named(bad):
    with pytest.raises(ValueError, match=f"training.{next(iter(bad))}"):
        TrainingConfig(**bad)


def test_the_bar_moves_with_every_part_of_a_step(tmp_path, capsys):
    tiny_fit(tmp_path, 3, accumulate=4)
    assert "12/12" in capsys.readouterr().err
