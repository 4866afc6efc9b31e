"""The commands as a user gives them, in this process: what they print, leave and answer to mistakes."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import wildlam
from wildlam import cli
from wildlam.config import read_config
from wildlam.models.transformer import SIZES, Size
from wildlam.states import dataset
from wildlam.states.store import FeatureStore
from wildlam.workflows import evaluate

from .helpers import save_tiny

TINY = ["--training.steps", "4", "--training.batch_size", "4", "--encoder.image_size", "64", "--data.workers", "0"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SIZES, "tiny", Size(width=16, depth=2, heads=1))


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
        patch.setitem(SIZES, "tiny", Size(width=16, depth=2, heads=1))
        assert cli.main(["train", "--data.path", str(folder / "videos"), "--out", str(folder / "run"), *TINY]) == 0
    return folder / "run", folder / "videos"


@pytest.fixture
def no_report(monkeypatch):
    monkeypatch.setattr(evaluate, "write_run_report", lambda *arguments: None)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help(command, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main([command, "--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert re.search(rf"^Examples?:\n  wildlam {command} ?\S*", text, flags=re.MULTILINE)  # with its line breaks
    assert "<class" not in text
    assert "null" not in text


def test_help_of_a_choice(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--encoder.help", "VJEPA2"])
    assert "--encoder.mode {causal,per_frame}" in capsys.readouterr().out


def test_usage(call):
    for arguments, expected in (([], 2), (["--help"], 0)):
        status, out, _ = call(*arguments)
        assert status == expected
        assert all(f"\n  {command} " in out for command in cli.COMMANDS)
    assert call("--version") == (0, f"wildlam {wildlam.__version__}\n", "")


def test_help_does_not_wait_for_torch():
    code = "import sys, wildlam.cli; wildlam.cli.main(['--help']); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_unknown_commands(refused):
    assert refused("trian") == "unknown command 'trian'; did you mean train?"
    assert refused("fly") == f"unknown command 'fly'; commands: {', '.join(cli.COMMANDS)}"
    assert refused("eval", "run", "--dat", "x") == "unrecognized arguments: --dat x; did you mean data.path?"


def test_a_log_file_gets_few_lines_of_progress(call, monkeypatch, videos):
    monkeypatch.delenv("TQDM_MININTERVAL", raising=False)
    call("index", videos)
    assert os.environ["TQDM_MININTERVAL"] == "30"
    monkeypatch.setenv("TQDM_MININTERVAL", "1")  # and the user's own choice stays
    call("index", videos)
    assert os.environ["TQDM_MININTERVAL"] == "1"


def test_index(call, refused, videos, tmp_path):
    for _ in range(2):
        code, said = call("index", videos)[:2]
        assert code == 0
        assert said.splitlines()[0] == "6 videos, 0.01 hours, 2 held out, 4 for training"
        assert "copy: 5 (a/train/a0.mp4: the same bytes as a/test/a2.mp4, or encoded anew)" in said
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.txt").write_text("no video")
    assert refused("index", "nowhere") == "nowhere: no such folder, manifest or list of videos; check PATH"
    assert "empty: no videos found" in refused("index", "empty")
    assert "text: no videos found" in refused("index", "text")
    assert refused("index", videos, "--held_out", "2").startswith("held_out is 2.0: give a share")


def test_index_with_bad_files(call, refused, videos, make_video):
    for i in range(14):
        make_video(videos / "c" / f"{i}.mp4", frames=24)
    (videos / "c" / "bad.mp4").write_bytes(b"")
    remedy = "mend or remove it, or leave it out with --on_error=skip"
    assert refused("index", videos) == f"{videos}/c/bad.mp4: the file is empty (0 bytes); {remedy}"
    (videos / "c" / "worse.mp4").write_bytes(b"no video at all")
    assert "or leave them out with --on_error=skip" in refused("index", videos)
    status, out, _ = call("index", videos, "--on_error", "skip")
    assert (status, out[:9]) == (0, "20 videos")


def test_one_video_is_not_enough(refused, make_video, tmp_path):
    make_video(tmp_path / "one" / "a.mp4", frames=96)
    assert "a second video is needed, as one is held out" in refused("train", "--data.path", "one", *TINY)


def test_a_cache_that_cannot_be_written(call, refused, videos, tmp_path):
    (videos / ".wildlam").write_text("in the way")
    assert refused("train", "--data.path", videos, *TINY).endswith("name another folder with --data.cache")
    assert refused("index", videos).endswith("name another folder with --cache")
    assert call("index", videos, "--cache", tmp_path / "cache")[0] == 0


def test_encode_twice(call, videos):
    status, out, err = call("encode", "--data.path", videos, *TINY)
    assert status == 0
    assert out.startswith("96 states of 3584 bytes in ")
    status, out, err = call("encode", "--data.path", videos, *TINY)
    assert out.startswith("96 states")
    assert "encoding" not in err  # no bar where there is nothing to do


def test_a_run(trained):
    run, videos = trained
    assert json.loads((run / "run.json").read_text())["encoder"]["name"] == "lite0"
    assert list((run / "tensorboard").iterdir())
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step_00000004"]
    assert b"<html" in (run / "report.html").read_bytes()
    assert b"<svg" in (run / "actions.svg").read_bytes()
    assert json.loads((run / "results.json").read_text())["videos"] == str(videos)


def test_show(trained, call):
    run, videos = trained
    status, out, _ = call("show", run)
    assert status == 0
    assert re.search(rf"^videos +{videos}, 8 frames at 4 frames/s$", out, flags=re.MULTILINE)
    assert re.search(r"^steps +4 of 4$", out, flags=re.MULTILINE)
    assert re.search(r"^ +idm +permuted +zero +deterministic +copy$", out, flags=re.MULTILINE)
    assert re.search(r"^all( +0\.\d{4}){5}$", out, flags=re.MULTILINE)


def test_show_of_a_run_that_has_only_begun(trained, call, tmp_path):
    (tmp_path / "begun").mkdir()
    for name in ("config.yaml", "run.json"):
        (tmp_path / "begun" / name).write_bytes((trained[0] / name).read_bytes())
    status, out, _ = call("show", "begun")
    assert status == 0
    assert out.endswith("steps      0 of 4\n")


def test_what_is_no_run(refused, tmp_path):
    for command in (("show", tmp_path), ("eval", tmp_path), ("train", "--resume", tmp_path)):
        assert "is not a run folder: it has no config.yaml" in refused(*command)


def test_train_into_an_existing_run(trained, refused):
    run, videos = trained
    complaint = refused("train", "--data.path", videos, "--out", run, *TINY)
    assert complaint == f"{run} holds a run already; give another --out, or go on with it: wildlam train --resume {run}"


@pytest.mark.usefixtures("no_report")
def test_interrupt_and_resume_a_run_that_has_moved(call, videos, monkeypatch, tmp_path):
    prepare, left = dataset.Clips.states, [None] * 3

    def interrupted(self, batch):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return prepare(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(dataset.Clips, "states", interrupted)
        status, _, err = call("train", "--data.path", videos, "--out", "run", *TINY, "--training.save_every=1")
    assert status == 130
    assert err.endswith("wildlam: interrupted; go on with: wildlam train --resume run\n")
    (tmp_path / "run").rename(tmp_path / "moved")
    assert call("train", "--resume", "moved")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] != []
    assert not (tmp_path / "run").exists()
    assert json.loads((tmp_path / "moved" / "results.json").read_text())["clips"] == 2


def test_resume_takes_nothing_else(trained, refused):
    assert refused("train", "--resume", trained[0], "--seed", "1") == "unrecognized arguments: --seed 1"
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


@pytest.mark.usefixtures("no_report")
def test_eval(trained, call, videos):
    before = json.loads((trained[0] / "results.json").read_text())
    status, out, _ = call("eval", trained[0])
    assert status == 0
    assert f"{before['all']['idm']:.4f}" in out
    status, out, _ = call("eval", trained[0], "--data.path", videos)
    assert status == 0
    assert re.search(r"^a( +0\.\d{4}){5}$", out, flags=re.MULTILINE)
    assert json.loads((trained[0] / "on-videos" / "results.json").read_text())["data"] == str(videos.resolve())
    assert "on-videos" not in out  # where no report is


def test_infer(trained, call, tmp_path):
    run, videos = trained
    status, out, _ = call("infer", videos / "test" / "c.mp4", "--run", run, "--output", "out/my.actions")
    assert (status, out) == (0, "15 latent actions of width 32 in out/my.actions.npz and out/my.actions.parquet\n")
    arrays = np.load(tmp_path / "out" / "my.actions.npz", allow_pickle=False)
    table = pq.read_table(tmp_path / "out" / "my.actions.parquet")
    assert arrays["z"].shape == (15, 32)
    assert arrays["z"].dtype == np.float32
    assert (arrays["start"] < arrays["end"]).all()
    assert (np.diff(arrays["start"]) > 0).all()
    for name in ("start", "end", "z"):
        assert np.array_equal(np.stack(table[name].to_numpy()), arrays[name])
    snippet = wildlam.load(run).infer(videos / "test" / "c.mp4")
    assert np.array_equal(snippet.z.numpy(), arrays["z"])


def test_infer_writes_here_by_default(trained, call, tmp_path):
    run, videos = trained
    assert call("infer", videos / "test" / "c.mp4", "--run", run)[0] == 0
    assert {path.name for path in tmp_path.iterdir()} == {"c.npz", "c.parquet"}


def test_infer_of_many(trained, call, tmp_path):
    run, videos = trained
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    status, out, err = call(
        "infer", "bad.mp4", videos / "test", videos / "train" / "a.mp4", "--run", run, "--output", "z"
    )
    assert status == 1
    assert sorted(path.name for path in (tmp_path / "z").glob("*.npz")) == ["a.npz", "c.npz", "d.npz"]
    assert len(out.splitlines()) == 3
    assert "wildlam: error: bad.mp4: not a video" in err
    assert err.endswith("wildlam: 1 of 4 videos could not be used\n")
    of_many = np.load(tmp_path / "z" / "c.npz")["z"]
    assert np.array_equal(of_many, wildlam.load(run).infer(videos / "test" / "c.mp4").z.numpy())
    assert call("infer", videos / "test", "--run", run, "--output", "again")[0] == 0


def test_infer_from_what_is_no_good(trained, refused, make_video, tmp_path):
    run, videos = trained
    make_video(tmp_path / "short.mp4", frames=3)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    (tmp_path / "zero.mp4").write_bytes(b"")
    assert refused("infer", "short.mp4", "--run", run).startswith("short.mp4: too short, at 4 frames/s")
    assert refused("infer", "bad.mp4", "--run", run).startswith("bad.mp4: not a video")
    assert refused("infer", "zero.mp4", "--run", run) == "zero.mp4: the file is empty (0 bytes)"
    assert refused("infer", "none.mp4", "--run", run) == "none.mp4: no such file"
    complaint = refused("infer", videos / "test" / "c.mp4", "--run", run, "--output", "bad.mp4/x")
    assert complaint.endswith("choose another --output")


@pytest.mark.parametrize(("mode", "actions"), [("causal", 7), ("per_frame", 15)])
def test_vjepa2_from_end_to_end(call, videos, tmp_path, mode, actions):
    model = save_tiny(tmp_path / "vjepa2")
    encoder = ["--encoder", "VJEPA2", "--encoder.model", model, "--encoder.mode", mode]
    training = ["--training.steps", "2", "--training.batch_size", "2", "--baseline", "false"]
    assert call("train", "--data.path", videos, *encoder, *training, "--out", "run")[0] == 0
    assert (tmp_path / "run" / "report.html").is_file()
    status, out, _ = call("infer", videos / "a" / "test" / "a2.mp4", "--run", "run")
    assert (status, out.split()[0]) == (0, str(actions))  # of 16 frames: none is lost where clips meet


@pytest.mark.slow
@pytest.mark.parametrize("store", ["true", "false"])
def test_two_processes(store, videos, tmp_path):
    """``torchrun`` with the default ``--out``: one run and one report, whether states are stored or not."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    train = [str(Path(sys.executable).parent / "wildlam"), "train", "--data.path", str(videos), *TINY]
    options = ["--data.store", store, "--baseline", store]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*torchrun, *train, *options], env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert json.loads((run / "results.json").read_text())["clips"] == 2
    assert done.stdout.count("Held-out one-step L1 error") == 1
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [4]
    for path in (videos / ".wildlam").glob("*.lance"):
        stored = [video.path for video in FeatureStore.open(path).sequences().of()]
        assert sorted(stored) == sorted(p.relative_to(videos).as_posix() for p in videos.rglob("*.mp4"))
    assert bool(list((videos / ".wildlam").glob("*.lance"))) == (store == "true")


def test_a_configuration_cut_short_is_not_taken_for_another(trained, refused, tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("run.json", "config.yaml"):
        (tmp_path / "run" / name).write_text((trained[0] / name).read_text())
    whole = (tmp_path / "run" / "config.yaml").read_text()
    (tmp_path / "run" / "config.yaml").write_text(whole[: whole.index("encoder:")])
    assert "config.yaml: not the whole configuration" in refused("show", "run")


def test_a_configuration_from_before_a_key_was_there_has_its_default(trained, call, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text((trained[0] / "run.json").read_text())
    whole = (trained[0] / "config.yaml").read_text()
    assert "  recompute: false\n" in whole
    (tmp_path / "run" / "config.yaml").write_text(whole.replace("  recompute: false\n", ""))
    assert call("show", "run")[0] == 0


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


@pytest.mark.parametrize(("option", "value"), [("--steps", 0), ("--episodes", -3)])
def test_an_impossible_demo_films_nothing(refused, tmp_path, option, value):
    assert refused("demo", option, value) == f"{option} must be at least 1, got {value}"
    assert not (tmp_path / "runs").exists()
