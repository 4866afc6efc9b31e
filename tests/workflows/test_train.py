"""From a folder of videos to a run: in full, interrupted, with and without a store, and with videos that change."""

import importlib
import json
import os
import re
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from wildlam import cli
from wildlam.config import RunConfig, read_config
from wildlam.distributed import Processes
from wildlam.encoders import VJEPA2, Lite0
from wildlam.episodes.poses import write_poses
from wildlam.errors import WildlamError
from wildlam.evaluation.clips import infer_clips
from wildlam.evaluation.leakage import cut_at
from wildlam.evaluation.one_step import one_step
from wildlam.evaluation.verdict import verdict
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Adaptive, Deterministic, Noisy, Unconstrained
from wildlam.models.consistency import Additive
from wildlam.runs import checkpoints
from wildlam.runs.folder import Run
from wildlam.states import dataset
from wildlam.states.dataset import index_videos, store_path
from wildlam.training import TrainingConfig
from wildlam.video.config import DataConfig
from wildlam.workflows import evaluate as evaluate_module
from wildlam.workflows.encode import encode
from wildlam.workflows.evaluate import evaluate
from wildlam.workflows.open_run import inferred, load_clips
from wildlam.workflows.train import train

from ..helpers import make_models_tiny, save_tiny

pytestmark = pytest.mark.usefixtures("tiny_models", "no_report")

ALONE = Processes(0, 1, torch.device("cpu"))


def config_of(videos, out):
    return RunConfig(
        data=DataConfig(path=videos, workers=0),
        encoder=Lite0(image_size=64, dtype="float32"),
        model=ModelConfig(bottleneck=Noisy(dim=4)),
        training=TrainingConfig(steps=4, batch_size=4, log_every=1, save_every=2, eval_every=2, precision="fp32"),
        out=out,
    )


@pytest.fixture
def config(videos, tmp_path):
    return config_of(videos, tmp_path / "run")


def without_report(monkeypatch):
    """Drawing takes longer than all else together; ``tests/cli`` has runs with reports."""
    monkeypatch.setattr(evaluate_module, "write_run_report", lambda *arguments: None)


@pytest.fixture
def no_report(monkeypatch):
    without_report(monkeypatch)


@pytest.fixture(scope="module")
def once(_six_encoded, tmp_path_factory):
    """A configuration whose videos are encoded, and what its training gave: to be read, and copied."""
    config = config_of(_six_encoded, tmp_path_factory.mktemp("once") / "run")
    with pytest.MonkeyPatch.context() as patch:
        make_models_tiny(patch)
        without_report(patch)
        return config, train(config)


@pytest.fixture
def encoded(encoded_videos, tmp_path):
    """A configuration of videos that are encoded already."""
    return config_of(encoded_videos, tmp_path / "run")


@pytest.fixture
def finished(once, encoded):
    """The same, trained already, with a baseline."""
    shutil.copytree(once[1].folder, encoded.out)
    return encoded


def weights(run):
    return checkpoints.last(Run(run).checkpoints).model_tensors()


def assert_same_run(one, other):
    for part in ("", "deterministic"):
        first, second = weights(one / part), weights(other / part)
        assert first.keys() == second.keys()
        for name in first:
            assert torch.equal(first[name], second[name]), name
        assert Run(one / part).metrics() == Run(other / part).metrics()
    results = [json.loads((run / "results.json").read_text()) for run in (one, other)]
    assert results[0]["all"] == results[1]["all"]


def test_a_run_leaves_what_it_promises(once):
    config, trained = once
    run = trained.folder
    assert run == config.out
    files = {".lock", "config.yaml", "run.json", "metrics.jsonl", "tensorboard", "checkpoints", "deterministic"}
    evaluated = {"results.json", "evaluations.json", "evaluations.safetensors"}
    assert {path.name for path in run.iterdir()} == files | evaluated
    assert read_config(run / "config.yaml") == config
    assert [row["step"] for row in Run(run).metrics()] == [1, 2, 3, 4]
    results = json.loads((run / "results.json").read_text())
    methods = {"idm", "permuted", "zero", "deterministic", "copy"}
    told = {"seconds", "seed", "videos", "data", "clips", "bounds", "sources", "all", "evaluations"}
    assert results.keys() == told
    assert results["sources"].keys() == {"a", "b"}
    assert all(errors.keys() == methods for errors in (results["all"], *results["sources"].values()))
    assert results["clips"] == 2  # of 9 states, for rollouts of two seconds, in videos of 16
    evaluations = results["evaluations"]
    assert evaluations.keys() == {
        "one_step", "rollout", "pixel_rollout", "leakage", "cycle", "locality", "probes", "latent_space"
    }  # fmt: skip
    assert evaluations["probes"] is None  # as nobody knows these videos' true actions
    assert evaluations["one_step"]["idm"]["mean"] == pytest.approx(results["all"]["idm"])
    assert evaluations["rollout"]["seconds"] == [0.25 * k for k in range(1, 9)]
    per_clip = json.loads((run / "evaluations.json").read_text())
    assert len(per_clip["cycle"]["values"]["cycled"]) == 2


def test_what_the_machine_decides_is_written_down(config, monkeypatch, tmp_path):
    """So the run can be used from another folder, and on a machine with another fast precision."""
    monkeypatch.chdir(tmp_path)
    given = replace(config, data=replace(config.data, path=config.data.path.relative_to(tmp_path)), out=None)
    training = replace(config.training, precision="auto")
    run = train(replace(given, encoder=Lite0(image_size=64), training=training, action_free=False)).folder
    assert (run.parent.name, run.name[:7]) == ("runs", "videos-")
    written = read_config(run / "config.yaml")
    assert written.data.path == config.data.path
    assert written.encoder.dtype in ("bfloat16", "float32")
    assert written.training.precision == ("bf16" if written.encoder.dtype == "bfloat16" else "fp32")


def test_no_baseline(encoded):
    config = encoded
    run = train(replace(config, action_free=False)).folder
    assert not (run / "deterministic").exists()
    assert "deterministic" not in json.loads((run / "results.json").read_text())["all"]
    only = train(replace(config, model=ModelConfig(bottleneck=Deterministic(dim=4)), out=run.parent / "only")).folder
    assert not (only / "deterministic").exists()


def test_how_many_dimensions_are_needed_is_logged(config):
    run = train(replace(config, model=ModelConfig(bottleneck=Adaptive(dim=4)), action_free=False)).folder
    rows = [row for row in Run(run).metrics() if "held_out/dims" in row]
    assert len(rows) == 2
    assert all(1 <= row["held_out/dims"] <= 4 and row["held_out/nats"] > 0 for row in rows)
    assert all(len(row["kl_by_width"]) == 3 for row in rows)


def test_an_existing_run_is_not_overwritten(finished):
    with pytest.raises(WildlamError, match=r"holds a run already.*wildlam train --resume .*run"):
        train(finished)
    with pytest.raises(WildlamError, match="another configuration"):
        train(replace(finished, seed=1), resume=True)


def test_a_folder_that_another_process_trains_into_is_refused(config):
    run = Run(config.out)
    with (
        run.training(),
        pytest.raises(WildlamError, match=r"run is in use by process \d+ on \S+ \(training\).*another out$"),
    ):
        train(config)
    assert not (config.out / "config.yaml").exists()


def test_processes_of_the_job_that_began_a_run_go_on_with_it(encoded, monkeypatch):
    """As where another machine comes back: ``torchrun`` then starts the processes anew, as if for the first time."""
    config = replace(encoded, action_free=False)
    for name in ("one", "other"):
        monkeypatch.setattr("wildlam.workflows.train.job", lambda name=name: name)
        if name == "one":
            monkeypatch.setattr("wildlam.runs.folder.job", lambda: "one")
            train(config)
            before = (config.out / "metrics.jsonl").read_text()
            train(config)
            assert (config.out / "metrics.jsonl").read_text() == before
        else:
            with pytest.raises(WildlamError, match="holds a run already"):
                train(config)


def test_what_a_user_would_not_expect_is_said(config, caplog):
    for path in config.data.path.rglob("*[ab]1.mp4"):
        path.unlink()
    shutil.rmtree(config.data.path / "b")
    config = replace(config, action_free=False, data=replace(config.data, fps=30))
    config = replace(config, training=replace(config.training, shard_encoder=True))
    train(config)
    told = "2 of 2 videos have fewer than the 30 frames/s asked for (data.fps): frames will be seen twice, 48 of 240; "
    assert told + "data.fps 24 would repeat none" in caplog.text
    assert "training.shard_encoder changes nothing: training.shard is 1" in caplog.text
    assert "starts over" not in caplog.text
    shutil.rmtree(config.out / "checkpoints")
    train(config, resume=True)
    assert "holds no checkpoint: training starts over" in caplog.text


@pytest.mark.parametrize("step", [2, 6])  # in the first model's training, and in the baseline's
def test_an_interrupted_run_resumes_to_the_same_end(once, encoded, monkeypatch, step):
    config = encoded
    batches = iter(range(100))
    prepare = dataset.Clips.states

    def interrupted(self, batch):
        if next(batches) == step:
            raise KeyboardInterrupt
        return prepare(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(dataset.Clips, "states", interrupted)
        with pytest.raises(KeyboardInterrupt, match=f"wildlam train --resume {config.out}"):
            train(config)
    assert not (config.out / "results.json").exists()
    assert_same_run(once[1].folder, train(config, resume=True).folder)


def test_a_finished_run_resumes_to_itself(finished):
    run = finished.out
    before = (run / "metrics.jsonl").read_text(), json.loads((run / "results.json").read_text())["all"]
    train(finished, resume=True)
    assert before == ((run / "metrics.jsonl").read_text(), json.loads((run / "results.json").read_text())["all"])


@pytest.mark.slow
@pytest.mark.parametrize("store", [True, False])
def test_what_is_ahead_is_told_before_it_begins(once, config, caplog, store, monkeypatch):
    caplog.set_level("INFO", logger="wildlam")
    monkeypatch.setattr("wildlam.workflows.durations.FEW_STEPS", 0)
    monkeypatch.setattr("wildlam.workflows.durations.SHORT", 0)
    monkeypatch.setattr("wildlam.workflows.evaluation_parts.FEW_CLIPS", 0)
    config = replace(config, data=replace(config.data, store=store))
    torch.manual_seed(7)
    run = train(config).folder
    (told,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("On this machine")]
    parts = {line.split()[0]: line for line in told.splitlines()[1:]}
    assert list(parts) == [*(["encode"] if store else []), "train", "baseline", "evaluate", "locality", "report", "all"]
    assert f"{json.loads((run / 'results.json').read_text())['clips']} clips" in parts["evaluate"]
    if store:
        assert "96 states" in parts["encode"]
        assert told in caplog.text[: caplog.text.index("videos encoded")]
    for name in ("train", "baseline"):
        assert re.search(r"4 steps +[\d.]+ (ms|s)$", parts[name])
    # What is measured changes nothing.
    unmeasured = once[1].folder
    if not store:
        monkeypatch.setattr("wildlam.workflows.train._announce_parts", lambda *_: None)
        unmeasured = train(replace(config, out=run.with_name("unmeasured"))).folder
    assert_same_run(run, unmeasured)


def test_what_is_to_be_encoded_and_evaluated_is_told(finished, caplog, monkeypatch, make_video, tmp_path):
    config, run = finished, finished.out

    def evaluated(run, folder, *_):
        (folder / "results.json").write_text("{}")

    monkeypatch.setattr(evaluate_module, "evaluate_run", evaluated)
    caplog.set_level("INFO", logger="wildlam")
    monkeypatch.setattr("wildlam.workflows.durations.SHORT", 60)  # on a busy machine, too
    evaluate(run=run)
    encode(config)
    assert "On this machine" not in caplog.text  # all is short
    monkeypatch.setattr("wildlam.workflows.durations.SHORT", 0)
    monkeypatch.setattr("wildlam.workflows.evaluation_parts.FEW_CLIPS", 1)

    def told(data=None):
        caplog.clear()
        evaluate(run=run, data=data)
        (text,) = [one.getMessage() for one in caplog.records if one.getMessage().startswith("On this machine")]
        return [" ".join(line.split()[:2]) for line in text.splitlines()[1:-1]]

    assert told() == ["evaluate 2", "locality 32", "report 12"]
    for i in range(2):
        make_video(tmp_path / "other" / "c" / f"{i}.mp4", frames=96)
    assert told(tmp_path / "other") == ["encode 32"]  # of which one clip is held out
    encode(replace(config, data=replace(config.data, fps=2)))
    assert re.search(r"encode +48 states +[\d.]+ (ms|s)\n", caplog.text)


def test_what_is_finished_is_not_done_again(encoded, caplog, monkeypatch):
    """But for what is missing, or was made before the end."""

    def evaluated(run, folder, *_):
        (folder / "results.json").write_text(json.dumps({"all": {}}))
        (folder / "report.html").write_text("drawn")

    monkeypatch.setattr("wildlam.workflows.train.evaluate_run", evaluated)
    caplog.set_level("INFO", logger="wildlam")
    config, run = encoded, train(encoded).folder
    with monkeypatch.context() as patch:
        patch.setattr("wildlam.workflows.train.load_clips", None)  # nothing is even looked at
        assert train(config, resume=True).folder == run
    assert f"{run} is finished: trained for 4 steps, evaluated, its report is {run}/report.html" in caplog.text

    def unfinished(spoil):
        (results := run / "results.json").write_text(json.dumps({"of": "before"}))
        os.utime(run / "report.html")
        spoil()
        train(config, resume=True)
        return "all" in json.loads(results.read_text())

    assert not unfinished(lambda: None)
    assert unfinished((run / "report.html").unlink)
    assert unfinished(lambda: shutil.rmtree(run / "deterministic" / "checkpoints" / "step_00000004"))
    assert unfinished(lambda: os.utime(run / "results.json", (0, 0)))  # of a checkpoint of before
    assert "step_00000004" in {path.name for path in (run / "deterministic" / "checkpoints").iterdir()}


def test_results_are_those_of_the_best_checkpoint(once, finished):
    """Which is the one that ``wildlam.load`` gives: a later evaluation finds the same."""
    trained, run = once[1], finished.out
    before = json.loads((trained.folder / "results.json").read_text())
    assert trained.results == before
    assert trained.verdict.head in trained._repr_html_()
    evaluated = evaluate(run=run)
    assert evaluated.folder == run
    after = json.loads((run / "results.json").read_text())
    assert evaluated.results == after
    assert before["all"] == after["all"]
    assert before["sources"] == after["sources"]


def test_what_is_kept_is_not_evaluated_again(finished, monkeypatch):
    """But for what was computed from something else; and the figures are the same."""
    run, computed = finished.out, []
    evaluate(run=run)
    files = [run / name for name in ("results.json", "evaluations.json")]
    before = [file.read_bytes() for file in files]
    suite = importlib.import_module("wildlam.evaluation.suite")
    for name in ("one_step", "rollout", "leakage", "cycle", "locality", "probes", "latent_space"):

        def counted(name, function, *args, **kwargs):
            computed.append(name)
            return function(*args, **kwargs)

        monkeypatch.setattr(suite, name, partial(counted, name, getattr(suite, name)))
    evaluate(run=run, kept=True)
    assert computed == []
    assert [file.read_bytes() for file in files] == before
    shutil.rmtree(run / "deterministic")  # with which all but these are compared
    evaluate(run=run, kept=True)
    assert computed == ["one_step", "rollout", "leakage", "cycle"]
    file = run / "evaluations.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    evaluate(run=run, kept=True)
    assert len(computed) == 4 + 6  # without labels there are no probes
    evaluate(run=run)
    assert len(computed) == 4 + 6 + 6


def test_evaluation_on_other_videos_leaves_the_runs_results(finished, make_video, tmp_path):
    run = finished.out
    before = (run / "results.json").read_bytes()
    for i in range(2):
        make_video(tmp_path / "other" / "c" / f"{i}.mp4", frames=96)
    folder = evaluate(run=run, data=tmp_path / "other").folder
    assert folder == run / "on-other"
    assert json.loads((folder / "results.json").read_text())["sources"].keys() == {"c"}
    assert (run / "results.json").read_bytes() == before
    assert evaluate(run=run, data=tmp_path / "other").folder == folder
    shutil.copytree(tmp_path / "other", tmp_path / "of_the_same_name" / "other")
    assert evaluate(run=run, data=tmp_path / "of_the_same_name" / "other").folder != folder


def test_true_actions_are_probed_where_videos_have_them(config, videos):
    for path in videos.rglob("*.mp4"):
        write_poses(path, np.cumsum(np.random.default_rng(0).normal(size=(96, 3)), axis=0), fps=24)
    for store in (True, False):
        data = replace(config.data, store=store)
        run = train(replace(config, action_free=False, data=data, out=config.out.with_name(f"store-{store}"))).folder
        probes = json.loads((run / "results.json").read_text())["evaluations"]["probes"]
        assert probes["linear z"].keys() == {"forward", "left", "turn", "mean"}


@pytest.mark.parametrize("spoil", ["too few", "damaged"])
def test_poses_that_do_not_suffice_cost_the_probes_alone(config, videos, spoil, caplog):
    few = [videos / "a/train/a0.mp4", videos / "a/test/a2.mp4"]
    paths = sorted(videos.rglob("*.mp4")) if spoil == "damaged" else few
    for path in paths:
        write_poses(path, np.cumsum(np.random.default_rng(0).normal(size=(96, 3)), axis=0), fps=24)
    if spoil == "damaged":
        (videos / "a/test/a2.poses.csv").write_text("time,x,y,heading\nnorth")
    results = json.loads((train(replace(config, action_free=False)).folder / "results.json").read_text())
    assert results["evaluations"]["probes"] is None
    assert results["evaluations"]["cycle"] is not None
    assert ("left out" if spoil == "damaged" else "the probes of forward, left, turn are left out") in caplog.text


def test_bounds_that_cannot_be(once, finished, tmp_path, monkeypatch):
    run, other = finished.out, once[1].folder
    with pytest.raises(WildlamError, match="a second noisy model"):
        evaluate(run=run, bounds=[other, other])
    monkeypatch.setattr(evaluate_module, "load_clips", None)  # refused before anything is encoded
    with pytest.raises(WildlamError, match="is not a run folder"):
        evaluate(run=run, bounds=[tmp_path / "nonsense"])


def test_a_decoder_that_is_not_there_yet_is_no_hindrance(finished):
    run = finished.out
    (run / "decoder" / "checkpoints").mkdir(parents=True)
    evaluate(run=run)
    assert json.loads((run / "results.json").read_text())["evaluations"]["pixel_rollout"] is None


def test_results_that_cannot_be_written(finished):
    run = finished.out
    (run / "evaluations.json").unlink()
    (run / "evaluations.json").mkdir()
    with pytest.raises(WildlamError, match=f"cannot write the results.*wildlam eval {run}"):
        evaluate(run=run)


def test_other_runs_stand_beside_it_as_bounds(finished, tmp_path):
    run = finished.out
    free = ModelConfig(bottleneck=Unconstrained(dim=4))
    other = train(replace(finished, action_free=False, model=free, out=tmp_path / "free")).folder
    evaluate(run=run, bounds=[other])
    assert json.loads((run / "results.json").read_text())["bounds"] == [str(other)]
    errors = json.loads((run / "results.json").read_text())["evaluations"]["rollout"]["errors"]
    alone = json.loads((other / "results.json").read_text())["evaluations"]["rollout"]["errors"]
    assert errors["unconstrained"] == pytest.approx(alone["idm"])
    assert cli.main(["report", str(run)]) == 0
    again = json.loads((run / "results.json").read_text())["evaluations"]["rollout"]["errors"]
    assert again["unconstrained"] == errors["unconstrained"]  # not forgotten


def test_a_cut_is_shown_to_an_encoder_that_looks_back(config, make_video, videos, tmp_path, monkeypatch):
    """The state after the cut is encoded from pixels of both videos; without the cut, it is the state as it was."""
    make_video(videos / "b" / "test" / "b2.mp4", frames=96, rotation=180)  # or the two videos are the same
    encoder = VJEPA2(model=save_tiny(tmp_path / "vjepa2"), dtype="float32")
    config = replace(config, encoder=encoder, action_free=False)
    clips = load_clips(config, encoder.build("cpu"), ALONE)
    model = config.model.build(clips.encoder.spec.width, clips.encoder.spec.grid).eval()
    held_out = infer_clips(model, clips.held_out)
    everyone = list(range(len(held_out)))
    cut = evaluate_module._after_cut(held_out, clips, config.data)(everyone)
    by_context = (cut - held_out.states[held_out.partners, cut_at(held_out)]).abs().mean()
    monkeypatch.setattr(type(held_out), "partners", everyone)
    uncut = evaluate_module._after_cut(held_out, clips, config.data)(everyone)
    by_rounding = (uncut - held_out.states[:, cut_at(held_out)]).abs().mean()
    assert by_context > 2 * by_rounding
    assert by_rounding < 0.005


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_without_a_store(config, workers):
    data = replace(config.data, store=False, workers=workers)
    run = train(replace(config, data=data, action_free=False)).folder
    assert not store_path(data, config.encoder.build("cpu").spec).exists()
    assert json.loads((run / "results.json").read_text())["clips"] == 2


def test_the_cameras_of_an_episode_are_one_recording(config, make_video, videos):
    """Six held-out videos, of two episodes: far from five recordings."""
    for episode in (1, 2):
        for camera in ("ext1", "ext2", "wrist"):
            make_video(videos / "a" / "test" / f"ep{episode}_{camera}.mp4", frames=96 * episode)
    clips = load_clips(config, config.encoder.build("cpu"), ALONE)
    model = config.model.build(clips.encoder.spec.width, clips.encoder.spec.grid).eval()
    held_out = inferred(clips, model, clips.held_out)
    cameras = held_out.where(torch.tensor(["/ep" in name for name in held_out.names]))
    assert len(set(cameras.names)) == 6
    told = verdict({}, {"one_step": one_step(model, cameras).to_json()})
    assert told.head == "Inconclusive."
    assert "of 2 recordings are held out" in told.sentences[0]
    by_name = one_step(model, replace(cameras, recordings=[]))
    assert by_name.is_enough  # as if it were six


def test_a_list_and_a_manifest_serve_as_data(config, videos, tmp_path):
    names = [path.relative_to(videos).as_posix() for path in sorted(videos.rglob("*.mp4"))]
    (videos / "list.txt").write_text("\n".join(names))
    manifest = index_videos(replace(config.data, path=videos / "list.txt"))
    assert len(manifest) == 6
    manifest.write(tmp_path / "mine.parquet")
    run = train(replace(config, action_free=False, data=replace(config.data, path=tmp_path / "mine.parquet"))).folder
    assert json.loads((run / "results.json").read_text())["clips"] == 2


def test_another_encoder_is_refused(finished):
    run = finished.out
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("pool: 1", "pool: 2"))
    with pytest.raises(WildlamError, match=r"was trained on states of lite0 .*weights and settings"):
        evaluate(run=run)


def test_weights_that_are_not_finite_are_refused(finished):
    run = Run(finished.out)
    for checkpoint in checkpoints.listing(run.checkpoints):
        tensors = checkpoint.model_tensors()
        tensors[min(tensors)][:] = float("nan")
        writer = checkpoints.Writer(run.checkpoints, 100, ALONE)
        writer.save(checkpoint.step, checkpoint.score, tensors, {})
        writer.wait()
    with pytest.raises(WildlamError, match=r"step_0000000\d: weight .* is not finite"):
        evaluate(run=run.path)


def test_a_run_that_diverges_says_so(encoded):
    config = encoded
    optimizer = replace(config.training.optimizer, muon_lr=1e30, adamw_lr=1e30, warmup=0.0)
    with pytest.raises(WildlamError, match=r"step \d: the loss is .*Clips: "):
        train(replace(config, training=replace(config.training, steps=20, optimizer=optimizer)))


@pytest.mark.parametrize(("frames", "remedy"), [(7, "multiple of 2, at least 4"), (2, "at least 4")])
def test_clips_that_do_not_fit_the_encoder(config, frames, remedy, tmp_path):
    encoder = VJEPA2(model=save_tiny(tmp_path / "vjepa2"))
    with pytest.raises(WildlamError, match=f"data.frames={frames}: .*{remedy}"):
        train(replace(config, encoder=encoder, data=replace(config.data, frames=frames)))


def test_clips_too_short_for_what_is_asked_of_latent_actions(config):
    model = replace(config.model, consistency=Additive())
    with pytest.raises(WildlamError, match=r"data\.frames=2 makes 2 states, Additive needs 3; give at least 3"):
        train(replace(config, model=model, data=replace(config.data, frames=2)))


@pytest.mark.parametrize("mode", ["causal", "per_frame"])
def test_vjepa2(config, mode, tmp_path):
    encoder = VJEPA2(model=save_tiny(tmp_path / "vjepa2"), mode=mode, dtype="float32")
    run = train(replace(config, encoder=encoder)).folder
    clips = 4 if mode == "causal" else 2  # states that look back come in windows as long as in training
    assert json.loads((run / "results.json").read_text())["clips"] == clips
    assert Run(run).encoder_spec.frames_per_state == (2 if mode == "causal" else 1)


def test_a_run_folder_that_cannot_be_written(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WildlamError, match=r"another out$"):
        train(replace(config, out=tmp_path / "file" / "run"))
