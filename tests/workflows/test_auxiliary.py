"""Auxiliary models in folders of their own: claimed, trained by one process, gone on with, loaded."""

from dataclasses import dataclass, field, replace

import pytest
import torch

from wildlam.errors import WildlamError
from wildlam.runs import checkpoints
from wildlam.runs.folder import Run
from wildlam.training import TrainingConfig
from wildlam.types import EncoderSpec, Loss, StateBatch
from wildlam.workflows.auxiliary import claimed, fit_auxiliary, load_best, remaining_training

SPEC = EncoderSpec("toy", 1, (1, 1), 3, 16, "frame", "aaaa000011112222")
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Config:
    """A configuration of an auxiliary model.

    Args:
        training: how to train.
        seed: seed of the initialisation.
    """

    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            steps=4, batch_size=2, log_every=1, save_every=2, eval_every=2, precision="fp32"
        )
    )
    seed: int = 0


class Mean(torch.nn.Module):
    """Learns one vector, the mean of the states."""

    def __init__(self):
        super().__init__()
        self.mean = torch.nn.Parameter(torch.zeros(SPEC.width))

    def forward(self, states):
        error = (states - self.mean).abs().mean()
        return Loss(error, dict)


class Encoder:
    """As much of an encoder as training an auxiliary model asks for."""

    spec, device = SPEC, CPU


def batches(start, stop=4):
    for step in range(start, stop):
        states = torch.full((2, 1, 1, SPEC.width), float(step))
        yield StateBatch(states, ["a", "b"], ["a", "b"], [0.0, 0.0])


def fit(run, config, model=None, batches=batches):
    model = model or Mean()
    evaluate = lambda current: {"l1": float(current.mean.detach().abs().sum())}  # noqa: E731
    fit_auxiliary(
        run, config, model, Encoder, batches, lambda b: (b.states,), evaluate=evaluate, score="l1", title="mean"
    )
    return model


def test_an_interrupted_training_goes_on_to_the_same_end(tmp_path):
    def cut(start):
        yield from batches(start, 3)
        raise KeyboardInterrupt

    whole = fit(claimed(tmp_path / "whole", Config(), "mean"), Config())
    run = claimed(tmp_path / "cut", Config(), "mean")
    with pytest.raises(KeyboardInterrupt, match="the same command resumes from step 2"):
        fit(run, Config(), batches=cut)
    again = fit(claimed(tmp_path / "cut", Config(), "mean"), Config())
    assert torch.equal(whole.mean, again.mean)
    assert Run(tmp_path / "cut").metrics() == Run(tmp_path / "whole").metrics()


def test_nothing_saved_yet_is_said(tmp_path):
    def cut(start):
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt, match="starts over: nothing was saved yet"):
        fit(claimed(tmp_path, Config(), "mean"), Config(), batches=cut)


def test_a_folder_holds_one_configuration(tmp_path):
    other = Config(seed=1)
    fit(claimed(tmp_path / "model", Config(), "mean"), Config())
    with pytest.raises(WildlamError, match="holds a mean with seed 0, not 1"):
        claimed(tmp_path / "model", other, "mean")
    (tmp_path / "model/config.yaml").write_text("something: else\n")
    with pytest.raises(WildlamError, match=r"holds no mean, or one whose config\.yaml is damaged; give another --out"):
        claimed(tmp_path / "model", Config(), "mean")


def test_a_folder_that_has_learnt_nothing_is_begun_anew(tmp_path):
    run = claimed(tmp_path, Config(), "mean")
    assert not tmp_path.joinpath("config.yaml").exists()  # a claim alone leaves nothing
    run.create("training: {steps: 4}\nseed: 0\n", 0, SPEC)
    claimed(tmp_path, Config(seed=1), "mean")
    assert not tmp_path.joinpath("config.yaml").exists()


def test_one_process_trains(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(WildlamError, match="the mean is trained by one process: start it without torchrun"):
        fit(claimed(tmp_path, Config(), "mean"), Config())


def test_a_folder_in_use_is_refused(tmp_path):
    run = claimed(tmp_path, Config(), "mean")
    with run.training(), pytest.raises(WildlamError, match=r"in use by process .* \(training\)"):
        fit(run, Config())


def test_the_best_checkpoint_is_loaded_ready_for_use(tmp_path):
    run = claimed(tmp_path, Config(), "mean")
    fit(run, Config())
    best = checkpoints.best(run.checkpoints)
    assert best.step == 2  # the mean grows, and so does its score
    model = load_best(run, Mean(), SPEC, CPU)
    assert torch.equal(model.mean, best.model_tensors()["mean"])
    assert not model.training
    assert not model.mean.requires_grad
    with pytest.raises(WildlamError, match="was trained on states of toy"):
        load_best(run, Mean(), replace(SPEC, fingerprint="bbbb000011112222"), CPU)


def test_what_is_left_to_train_is_measured(tmp_path, monkeypatch):
    def parts():
        run = claimed(tmp_path, Config(), "mean")
        return remaining_training(run, Config(), Mean, lambda count: (torch.zeros(count, 1, 1, SPEC.width),), CPU)

    assert parts() == []  # over before it is measured
    monkeypatch.setattr("wildlam.workflows.durations.FEW_STEPS", 0)
    (part,) = parts()
    assert (part.name, part.amount) == ("train", "4 steps")
    assert part.seconds > 0
    fit(claimed(tmp_path, Config(), "mean"), Config())
    assert parts() == []
