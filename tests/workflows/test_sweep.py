"""A grid of runs: what it holds, what it refuses, and that no kill or failure costs more than it must."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from wildlam import cli
from wildlam.config import RunConfig, read_config
from wildlam.encoders import Lite0
from wildlam.errors import WildlamError
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Deterministic, Discrete, Noisy, Sparse, Unconstrained
from wildlam.runs import checkpoints
from wildlam.runs.folder import Run
from wildlam.states import dataset
from wildlam.training import TrainingConfig
from wildlam.video.config import DataConfig
from wildlam.workflows import evaluate
from wildlam.workflows import sweep as sweeps
from wildlam.workflows import train as train_module
from wildlam.workflows.sweep import (
    SweepConfig,
    claim,
    read_sweep,
    report_sweep,
    slurm_script,
    sweep_parser,
    to_sweep_config,
    train_all,
    train_one,
)

SHIPPED = Path(__file__).parents[2] / "configs" / "sweeps" / "limits.yaml"

pytestmark = pytest.mark.usefixtures("tiny_models", "evaluation")


@pytest.fixture
def evaluation(monkeypatch):
    """A short one, as it takes longer than the training; gives the whole one."""

    def results(run, folder, *arguments):
        text = json.dumps({"seconds": 1.0, "seed": run.facts["seed"], "clips": 4, "all": {"idm": 0.5}})
        (folder / "results.json").write_text(text)

    whole = train_module.evaluate_run
    monkeypatch.setattr(train_module, "evaluate_run", results)
    monkeypatch.setattr(evaluate, "write_run_report", lambda *arguments: None)
    return whole


@pytest.fixture
def sweep(encoded_videos, tmp_path):
    run = RunConfig(
        data=DataConfig(path=encoded_videos, workers=0),
        encoder=Lite0(image_size=64, dtype="float32"),
        model=ModelConfig(bottleneck=Noisy(dim=4)),
        training=TrainingConfig(steps=4, batch_size=4, log_every=1, save_every=1, eval_every=2, precision="fp32"),
        out=tmp_path / "sweep",
    )
    return SweepConfig(run=run, limits={"Noisy": {"beta": [0.01]}}, bounds=False, seeds=[0, 1])


def parse(*arguments):
    parser = sweep_parser()
    return to_sweep_config(parser, parser.parse_args(["--data.path", "videos", *arguments]))


def here(sweep, index):
    """Train a run in this process, as the command does in one of its own."""
    try:
        train_one(sweep, index)
    except Exception:
        return 1
    return 0


def test_the_grid():
    limits = "{Noisy: {beta: [0.01, 1e-3]}, Sparse: {l1: [0.3], dim: 8}, Discrete: {codes: [16, 1024]}}"
    sweep = parse("--limits", limits, "--seeds", "[0, 5]", "--model.bottleneck.dim", "16", "--out", "out")
    grid = sweep.grid()
    settings = ["Deterministic", "Unconstrained", "Noisy-0.01", "Noisy-0.001", "Sparse-0.3", "Discrete-16"]
    assert [run.name for run in grid[:6]] == [f"{name}/seed0" for name in settings]
    assert len(grid) == 14
    assert [run.limit for run in grid[7:]] == [
        Deterministic(dim=16),
        Unconstrained(dim=16),
        Noisy(dim=16, beta=0.01),
        Noisy(dim=16, beta=0.001),
        Sparse(dim=8, l1=0.3),
        Discrete(dim=16, codes=16),
        Discrete(dim=16, codes=1024),
    ]
    last = grid[-1].config
    assert (last.seed, last.action_free, last.out.parts[-3:]) == (5, False, ("out", "Discrete-1024", "seed5"))
    assert replace(last, model=sweep.run.model, seed=0, action_free=True, out=sweep.out) == sweep.run


def test_the_grid_without_bounds():
    grid = parse("--limits", "{Noisy: {beta: [0.01]}}", "--bounds", "false").grid()
    assert [run.name for run in grid] == [f"Noisy-0.01/seed{seed}" for seed in (0, 1, 2)]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--limits", "{Noizy: {beta: [1]}}"], "limits: .*there is no Noizy; choose Noisy or"),
        (["--limits", "{Noisy: {betta: [1]}}"], "limits: unknown key .*betta of Noisy; choose beta or dim"),
        (["--limits", "{Discrete: {codes: [1.5]}}"], "limits: .*codes: expected int, got 1.5"),
        (["--limits", "{Noisy: {beta: [-1]}}"], "limits: .*beta must be a number of at least 0, got -1"),
        (["--limits", "{Noisy: {beta: 1}}"], "limits.Noisy: give one key a list of strengths"),
        (["--limits", "{Sparse: {l1: [1], l2: [1]}}"], "limits.Sparse: give one key a list of strengths"),
        (["--limits", "{Noisy: {beta: [1, 1.0]}}"], "holds Noisy-1/seed0 twice"),
        (["--seeds", "[]"], "the sweep has no runs"),
        (["--seed", "3"], r"seed: .*give seeds \[3\]"),
        (["--limts", "{}"], "did you mean --limits"),
        (["--training.step", "3"], "did you mean --training.steps"),
    ],
)
def test_mistakes(arguments, complaint):
    with pytest.raises(WildlamError, match=complaint):
        parse(*arguments)


def test_a_sweep_leaves_ordinary_runs_and_is_not_done_twice(sweep, evaluation, monkeypatch):
    monkeypatch.setattr(train_module, "evaluate_run", evaluation)
    train_all(sweep, here)
    result = sweeps.sweep(sweep)  # all is done: it only reports
    assert result.rows == json.loads((sweep.out / "sweep.json").read_text())["runs"]
    assert result.rows[1]["one_step.copy"] > 0
    assert result.failed == {}
    assert str(result).endswith(f"report     {sweep.out / 'report.html'}")
    assert "image/svg" in result._repr_html_()
    for run in sweep.grid():
        assert read_config(run.path / "config.yaml") == run.config
        assert json.loads((run.path / "results.json").read_text())["seed"] == run.seed
    before = {path: path.stat().st_mtime_ns for path in sweep.out.rglob("results.json")}
    train_all(sweep, pytest.fail)
    assert train_one(sweep, 0) is None
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_damaged_results_are_made_again_and_a_damaged_sweep_is_named(sweep, evaluation):
    train_one(sweep, 0)
    results = sweep.grid()[0].path / "results.json"
    for text in ('{"all": {"idm', "{}"):
        results.write_text(text)
        train_one(sweep, 0)
        assert json.loads(results.read_text())["all"]["idm"] == 0.5
    (sweep.out / "sweep.yaml").write_text("a: [")
    with pytest.raises(WildlamError, match=r"sweep\.yaml is damaged"):
        claim(sweep)


def test_a_limit_without_strengths_is_refused(sweep):
    with pytest.raises(WildlamError, match="give one key a list of strengths"):
        replace(sweep, limits={"Noisy": {"beta": []}}).grid()


def test_runs_share_the_states(sweep, monkeypatch):
    shutil.rmtree(sweep.run.data.path / ".wildlam")
    train_one(sweep, 0)
    monkeypatch.setattr("wildlam.encoders.lite0.Lite0Encoder.encode", pytest.fail)
    train_one(sweep, 1)


def test_a_sweep_of_another_configuration_is_refused(sweep):
    claim(sweep)
    claim(sweep)
    training = replace(sweep.run.training, steps=5)
    with pytest.raises(WildlamError, match=r"holds a sweep with training\.steps 4, not 5; give another out$"):
        train_all(replace(sweep, run=replace(sweep.run, training=training)), here)
    with pytest.raises(WildlamError, match=r"limits\.Noisy\.beta \[0\.01\], not \[0\.1\]"):
        train_one(replace(sweep, limits={"Noisy": {"beta": [0.1]}}), 0)


def test_a_sweep_does_not_go_into_a_run(sweep):
    sweep.out.mkdir()
    (sweep.out / "config.yaml").write_text("seed: 0")
    with pytest.raises(WildlamError, match=r"holds a run; give another out$"):
        claim(sweep)


def test_what_is_written_down_is_the_sweep(sweep):
    claim(sweep)
    assert read_sweep(sweep.out) == sweep
    claim(read_sweep(sweep.out))
    moved = sweep.out.rename(sweep.out.with_name("moved"))
    claim(read_sweep(moved))
    assert read_sweep(moved).out == moved
    with pytest.raises(WildlamError, match="not the folder of a sweep"):
        read_sweep(sweep.out)


def test_a_killed_run_resumes_from_its_checkpoint(sweep, monkeypatch, tmp_path):
    whole = replace(sweep, run=replace(sweep.run, out=tmp_path / "whole"))
    train_one(whole, 1)
    seen = []
    prepare = dataset.Clips.states

    def interrupted(self, batch):
        seen.append(batch)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return prepare(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(dataset.Clips, "states", interrupted)
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            train_one(sweep, 1)
    assert [run.is_finished for run in sweep.grid()] == [False, False]
    steps = []
    monkeypatch.setattr(dataset.Clips, "states", lambda self, batch: (steps.append(batch), prepare(self, batch))[1])
    train_all(sweep, here)
    assert len(steps) == 4 + 2
    one, other = (checkpoints.last(Run(s.grid()[1].path).checkpoints).model_tensors() for s in (whole, sweep))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_failing_run_stops_no_other(sweep, monkeypatch):
    train = train_module.train

    def failing(config, resume):
        if config.model.bottleneck == Noisy(dim=4, beta=0.1):
            raise torch.OutOfMemoryError("no room\nfor this")
        if config.model.bottleneck == Noisy(dim=4, beta=1.0):
            raise WildlamError("step 3: the loss is nan")
        return train(config, resume=resume)

    sweep = replace(sweep, limits={"Noisy": {"beta": [1.0, 0.1, 0.01]}}, seeds=[0])
    with monkeypatch.context() as patch:
        patch.setattr(sweeps, "train", failing)
        train_all(sweep, here)
    assert [run.failure for run in sweep.grid()] == ["step 3: the loss is nan", "OutOfMemoryError: no room", None]
    assert [run.is_finished for run in sweep.grid()] == [False, False, True]
    verdict = report_sweep(sweep)
    assert "Noisy-1/seed0 failed: step 3: the loss is nan" in verdict
    train_all(sweep, here)
    assert [run.failure for run in sweep.grid()] == [None] * 3


def test_a_run_that_is_killed_is_named(sweep):
    train_all(sweep, lambda sweep, index: (0, -9)[index] if index else here(sweep, index))
    first, second = sweep.grid()
    assert first.is_finished
    assert second.failure == "killed by signal 9, perhaps out of memory"


@pytest.mark.slow
def test_a_run_in_a_process_of_its_own(sweep, capfd):
    """Which does not know the tiny model of these tests: it complains of what is wrong and harms nobody."""
    claim(sweep)
    assert sweeps._in_new_process(sweep, 2) == 2
    assert "2: the sweep has 2 runs" in capfd.readouterr().err


def test_wrong_videos_are_told_once(sweep, tmp_path):
    with pytest.raises(WildlamError, match="gone"):
        train_all(replace(sweep, run=replace(sweep.run, data=DataConfig(path=tmp_path / "gone"))), pytest.fail)


def test_a_run_that_is_not_there(sweep):
    with pytest.raises(WildlamError, match=r"^index 2: the sweep has 2 runs, 0 to 1"):
        train_one(sweep, 2)


def test_slurm_script(sweep):
    sweep = replace(sweep, seeds=[0, 1, 2], run=replace(sweep.run, out=sweep.out.parent / "a sweep"))
    script = slurm_script(sweep)
    assert script.startswith("#!/bin/bash\n")
    assert re.search(r"^#SBATCH --array=0-2$", script, re.MULTILINE)
    config = f"'{sweep.out}/sweep.yaml'"
    assert re.search(rf'wildlam sweep --config {config} --only "\$SLURM_ARRAY_TASK_ID"$', script, re.MULTILINE)
    assert re.search(rf"^#.*wildlam report '{sweep.out}'$", script, re.MULTILINE)


def test_jobs_that_could_not_run_are_not_written(tmp_path, capsys):
    call = ["sweep", "--config", str(SHIPPED), "--out", str(tmp_path / "sweep"), "--slurm", str(tmp_path / "jobs.sh")]
    assert cli.main([*call, "--data.path", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: no such videos" in capsys.readouterr().err
    assert cli.main([*call, "--data.path", str(tmp_path), "--only", "0"]) == 2
    assert "give one of them" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_shipped_sweep():
    """Both bounds and three strengths of each limit, with three seeds."""
    grid = parse("--config", str(SHIPPED)).grid()
    assert len(grid) == (2 + 3 * 3) * 3
    assert {run.bottleneck for run in grid if run.key} == {"Noisy", "Sparse", "Discrete"}
    assert f"wildlam sweep --config configs/sweeps/{SHIPPED.name}" in SHIPPED.read_text().split("\n\n")[0]
