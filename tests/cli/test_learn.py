"""train: what it prints, leaves and answers to mistakes."""

import json
import shutil
import signal

import pytest

from wildlam.config import read_config
from wildlam.states import dataset
from wildlam.states.store import FeatureStore

from ..helpers import ranks, save_tiny
from .tiny import TINY


def test_one_video_is_not_enough(refused, make_video, tmp_path):
    make_video(tmp_path / "one" / "a.mp4", frames=96)
    assert "a second video is needed, as one is held out" in refused("train", "--data.path", "one", *TINY)


def test_a_run(trained):
    run, videos = trained
    assert json.loads((run / "run.json").read_text())["encoder"]["name"] == "lite0"
    assert list((run / "tensorboard").iterdir())
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step_00000004"]
    assert b"<html" in (run / "report.html").read_bytes()
    assert b"<svg" in (run / "actions.svg").read_bytes()
    assert json.loads((run / "results.json").read_text())["videos"] == str(videos)


def test_train_into_an_existing_run(trained, refused):
    run, videos = trained
    complaint = refused("train", "--data.path", videos, "--out", run, *TINY)
    assert complaint == f"{run} holds a run already; give another --out, or resume it: wildlam train --resume {run}"


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(("by", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupt_and_resume_a_run_that_has_moved(call, videos, monkeypatch, tmp_path, request, by, expected):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    prepare, left = dataset.Clips.states, [None] * 3

    def interrupted(self, batch):
        if not left:
            signal.raise_signal(by)
        left.pop()
        return prepare(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(dataset.Clips, "states", interrupted)
        status, _, err = call("train", "--data.path", videos, "--out", "run", *TINY, "--training.save_every=1")
    assert status == expected
    assert err.endswith("wildlam: interrupted; resume with: wildlam train --resume run\n")
    (tmp_path / "run").rename(tmp_path / "moved")
    assert call("train", "--resume", "moved")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] != []
    assert not (tmp_path / "run").exists()
    assert json.loads((tmp_path / "moved" / "results.json").read_text())["clips"] == 2


def test_resume_takes_nothing_else(trained, refused):
    for argument in ("--seed=1", "--training.steps=30"):
        said = refused("train", "--resume", trained[0], argument)
        assert said.startswith(f"unrecognized arguments: {argument}")
        assert "; a resumed run keeps its configuration, of which only --data.path," in said
    complaint = refused("train", "--resume", trained[0], "--training.shard", "0")
    assert complaint == "training.shard must be at least 1, got 0"


@pytest.mark.usefixtures("no_report")
def test_other_processes_may_share_a_run_otherwise(trained, call, refused, tmp_path):
    shutil.copytree(trained[1], tmp_path / "videos", ignore=shutil.ignore_patterns(".wildlam"))
    shard = ["--training.shard", "2", "--training.batch_size", "2"]
    complaint = refused("train", "--data.path", "videos", "--out", "run", *TINY, *shard)
    assert complaint == "training.shard=2 does not divide 1 process(es); give --training.shard a divisor, or 1"
    assert not list((tmp_path / "videos").rglob("*.lance"))  # before anything is encoded
    assert call("train", "--data.path", "videos", "--out", "run", *TINY, "--training.batch_size", "2")[0] == 0
    before = (tmp_path / "run" / "config.yaml").read_text()
    for wrong in (["--training.shard", "2"], ["--training.accumulate", "5"], ["--data.path", "nowhere"]):
        assert refused("train", "--resume", "run", *wrong)
        assert (tmp_path / "run" / "config.yaml").read_text() == before  # or no resumption would succeed any more
    assert "give --training.accumulate one of 1, 2" in refused("train", "--resume", "run", "--training.accumulate", "5")
    assert call("train", "--resume", "run", "--training.shard", "1", "--training.accumulate", "2")[0] == 0
    kept = read_config(tmp_path / "run" / "config.yaml").training
    assert (kept.shard, kept.accumulate) == (1, 2)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "actions"), [("causal", 7), ("per_frame", 15)])
def test_vjepa2_from_end_to_end(call, videos, tmp_path, mode, actions):
    model = save_tiny(tmp_path / "vjepa2")
    shutil.rmtree(videos / "b")  # a report draws pictures of each source
    encoder = ["--encoder", "VJEPA2", "--encoder.model", model, "--encoder.mode", mode]
    training = ["--training.steps", "2", "--training.batch_size", "2", "--action_free", "false"]
    assert call("train", "--data.path", videos, *encoder, *training, "--out", "run")[0] == 0
    assert (tmp_path / "run" / "report.html").is_file()
    status, out, _ = call("infer", videos / "a" / "test" / "a2.mp4", "--run", "run")
    assert (status, out.split()[0]) == (0, str(actions))  # of 16 frames: none is lost where clips meet


@pytest.mark.slow
@pytest.mark.parametrize("store", ["true", "false"])
def test_two_processes(store, videos, tmp_path):
    """With the default ``--out``: one run and one report, whether states are stored or not."""
    options = ["--data.store", store, "--action_free", store]
    ranks(2, "cli/short_wildlam.py", tmp_path / "printed", "train", "--data.path", videos, *TINY, *options)
    (run,) = (tmp_path / "runs").iterdir()
    assert json.loads((run / "results.json").read_text())["clips"] == 2
    printed = "".join(path.read_text() for path in tmp_path.glob("printed.*"))
    assert printed.count("Held-out one-step L1 error") == 1
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [4]
    for path in (videos / ".wildlam").glob("*.lance"):
        stored = [video.path for video in FeatureStore.open(path).sequences().of()]
        assert sorted(stored) == sorted(p.relative_to(videos).as_posix() for p in videos.rglob("*.mp4"))
    assert bool(list((videos / ".wildlam").glob("*.lance"))) == (store == "true")


def test_a_run_does_not_go_among_the_videos(videos, refused):
    complaint = refused("train", "--data.path", videos, "--out", videos, *TINY)
    assert complaint == f"--out {videos} is the folder of the videos; give another one"


@pytest.mark.usefixtures("no_report")
def test_videos_that_have_moved_are_told_on_resuming(trained, call, refused, tmp_path):
    shutil.copytree(trained[1], tmp_path / "before")
    assert call("train", "--data.path", "before", "--out", "run", *TINY)[0] == 0
    (tmp_path / "before").rename(tmp_path / "after")
    assert "before" in refused("train", "--resume", "run")
    assert call("train", "--resume", "run", "--data.path", "after")[0] == 0
    assert call("eval", "run")[0] == 0
