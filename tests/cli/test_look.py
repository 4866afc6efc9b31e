"""eval, infer and show: what they print, leave and answer to mistakes."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

import wildlam
from wildlam.errors import WildlamError

NOTHING = "no such folder, manifest or list of videos; check "


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


@pytest.mark.parametrize("damage", ["{}", '{"all": {"idm": "x"}, "sources": {}}', '{"all": 3}'])
def test_results_that_no_evaluation_wrote(trained, refused, tmp_path, damage):
    copy = shutil.copytree(trained[0], tmp_path / "copy")
    (copy / "results.json").write_text(damage)
    said = refused("show", copy)
    assert f"{copy}/results.json is not what an evaluation wrote" in said
    assert said.endswith(f"make it anew: wildlam eval {copy}")


@pytest.mark.usefixtures("no_report")
def test_eval(trained, call, refused, videos, caplog):
    caplog.set_level("INFO", logger="wildlam")
    before = json.loads((trained[0] / "results.json").read_text())
    status, out, _ = call("eval", trained[0])
    assert status == 0
    assert f"{before['all']['idm']:.4f}" in out
    assert "writing the report" in caplog.text
    status, out, _ = call("eval", trained[0], "--data.path", videos)
    assert status == 0
    assert re.search(r"^a( +0\.\d{4}){5}$", out, flags=re.MULTILINE)
    assert json.loads((trained[0] / "on-videos" / "results.json").read_text())["data"] == str(videos.resolve())
    assert "on-videos" not in out  # where no report is
    (videos / "bad.mp4").touch()
    remedy = "repair or remove it"  # by no option, of which this command has none
    assert refused("eval", trained[0], "--data.path", videos).endswith(f"(0 bytes); {remedy}")


def test_other_videos_need_not_have_the_sources_of_the_mixture(trained, call, videos):
    config = trained[0] / "config.yaml"
    assert "mixture: {}" in config.read_text()
    config.write_text(config.read_text().replace("mixture: {}", "mixture:\n    gone: 0.5"))
    assert call("eval", trained[0], "--data.path", videos)[0] == 0


def test_eval_of_videos_that_are_not_there(trained, refused):
    assert refused("eval", trained[0], "--data.path", "nowhere").endswith("nowhere: " + NOTHING + "--data.path")
    with pytest.raises(WildlamError, match=f"nowhere: {NOTHING}data$"):
        wildlam.evaluate(run=trained[0], data="nowhere")


def test_a_report_of_videos_that_are_gone_says_where_their_place_is_written(trained, refused):
    run, videos = trained
    away = videos.rename(videos.with_name("away"))
    try:
        key = f"data.path in {run / 'config.yaml'}"
        assert refused("report", run, "--anew").endswith(f"{videos}: {NOTHING}{key}")
        assert refused("search", "build", run).endswith(f"{videos}: {NOTHING}{key}")
        assert refused("decoder", "train", run).endswith(f"{videos}: {NOTHING}{key}")
    finally:
        away.rename(videos)


def test_infer(trained, call, tmp_path):
    run, videos = trained
    status, out, _ = call("infer", videos / "test" / "c.mp4", "--run", run, "--output", "out/my.actions")
    assert (status, out) == (0, "15 latent actions of width 256 in out/my.actions.npz and out/my.actions.parquet\n")
    arrays = np.load(tmp_path / "out" / "my.actions.npz", allow_pickle=False)
    table = pq.read_table(tmp_path / "out" / "my.actions.parquet")
    assert arrays["z"].shape == (15, 256)
    assert arrays["z"].dtype == np.float32
    assert (arrays["start"] < arrays["end"]).all()
    assert (np.diff(arrays["start"]) > 0).all()
    for name in ("start", "end", "z"):
        assert np.array_equal(np.stack(table[name].to_numpy()), arrays[name])
    snippet = wildlam.load(run).infer(videos / "test" / "c.mp4")
    assert np.array_equal(snippet.z.numpy(), arrays["z"])


def test_infer_writes_here_by_default(trained, call, tmp_path):
    run, videos = trained
    assert call("infer", run, videos / "test" / "c.mp4")[0] == 0  # the same
    assert {path.name for path in tmp_path.iterdir()} == {"c.npz", "c.parquet"}


def test_the_run_comes_before_the_videos(trained, refused):
    run, videos = trained
    film = videos / "test" / "c.mp4"
    usage = "the run comes first: wildlam infer RUN VIDEO..."
    assert refused("infer", film, run) == f"{run} is a run, and {film} is none; {usage}"
    assert refused("infer", film, "tiny") == f"tiny is a run, and {film} is none; {usage}"
    assert refused("infer", film) == "give a run and videos: wildlam infer RUN VIDEO..."
    assert refused("infer", "--run", run) == "give a run and videos: wildlam infer RUN VIDEO..."
    assert refused("infer", film, film).startswith(f"{film} is not a run folder")
    said = refused("transfer", run, film)
    assert said == "give two videos behind the run, source and target, not 1: wildlam transfer RUN SOURCE TARGET"
    for arguments in ((run, film, film), (film, film, "--run", run)):
        assert "decoder" in refused("transfer", *arguments)  # the run is known, and has none


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
    complaint = refused("infer", videos / "test" / "c.mp4", "--run", run, "--dims", 4)
    assert complaint.startswith("--dims 4: latent actions of this model cannot be cut so; Noisy")


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


def test_search(trained, call, refused, tmp_path):
    run = shutil.copytree(trained[0], tmp_path / "run")
    assert refused("search", run, "--like", "train/a.mp4@1").endswith(
        "/run/search has no search index; build one with `wildlam search build`"
    )
    status, out, _ = call("search", "build", run)
    assert status == 0
    assert re.search(r"^rows +60 transitions, 60 of them new at [\d,]+ a second$", out, flags=re.MULTILINE)
    status, out, _ = call(
        "search", run, "--like", "train/a.mp4@1.1", "--count", "3", "--sources", ".", "--out", "p.html"
    )
    head, *rows, page = out.splitlines()
    assert status == 0
    assert head.split() == ["distance", "seconds", "faster", "than", "video"]
    assert len(rows) == 3
    assert not [row for row in rows if row.endswith("train/a.mp4")]
    assert page == "page       p.html"
    assert (tmp_path / "p.html").is_file()
    assert refused("search", run, "--like", "train/a.mp4").startswith("--like train/a.mp4: give VIDEO@SECONDS")
    assert "--min_speed and --max_speed are shares" in refused("search", run, "--like", "x@1", "--min_speed", "3")
    assert refused("search", "build", run, "--data.path", "nowhere").endswith("nowhere: " + NOTHING + "--data.path")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "film.mp4").write_bytes(b"no film")
    shutil.copy(next(trained[1].rglob("*.mp4")), tmp_path / "bad" / "good.mp4")
    bad = ["search", "build", run, "--data.path", tmp_path / "bad", "--out", "index"]
    assert refused(*bad).endswith("with --data.on_error=skip and --data.max_bad=0.5 or --data.exclude PATTERN")
    assert refused("search", "build", "tiny").endswith(
        "give a folder of videos as --data.path, or that of the index as --out"
    )


def test_report_takes_what_is_kept_unless_told_otherwise(trained, call, monkeypatch):
    asked = []

    def evaluated(run, bounds, kept):
        asked.append(kept)
        return SimpleNamespace(folder=run)

    monkeypatch.setattr("wildlam.workflows.evaluate.evaluate", evaluated)
    assert call("report", trained[0])[1] == f"report     {trained[0]}/report.html\n"
    assert call("report", trained[0], "--anew")[0] == 0
    assert asked == [True, False]
