"""The demo, on little: collects, trains, reports, and goes on where it stopped."""

import json
import sys

import pytest

from wildlam.errors import WildlamError
from wildlam.runs.folder import Run
from wildlam.video.index import index
from wildlam.workflows import demo, evaluate
from wildlam.workflows.train import TrainResult
from wildlam.worlds import sample_films


def test_the_model_that_comes_along_plans_by_the_protocols(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(demo, "collect_nav", lambda *_, **__: None)
    monkeypatch.setattr("wildlam.worlds.arm.collect_arm", lambda *_, **__: None)
    monkeypatch.setattr(demo, "evaluate", lambda run: None)
    monkeypatch.setattr(demo, "plan", lambda data, protocol, **how: asked.update({protocol: (data.name, how)}))
    demo.demo_pretrained(tmp_path / "tiny", episodes=8, seed=0)
    assert asked["recon"][0] == "nav"
    assert asked["recon"][1]["iterations"] is None  # RECON's draws once
    assert asked["droid"][0] == "arm"
    assert asked["droid"][1]["controller"] == tmp_path / "tiny" / "controller_arm"


@pytest.mark.usefixtures("tiny_models")
def test_the_demo_and_the_demo_again(tmp_path, monkeypatch):
    """On walks of four seconds and one film, without a drawing."""
    monkeypatch.setattr(evaluate, "write_run_report", lambda run, folder, *_: (folder / "report.html").touch())
    monkeypatch.setattr(demo, "SECONDS", 4.0)
    monkeypatch.setattr(sample_films, "PARTS", {"bigbuckbunny": sample_films.PARTS["bigbuckbunny"]})
    run = demo.demo(tmp_path / "run", episodes=3, steps=3, seed=0)
    results = json.loads((run / "results.json").read_text())
    assert "filmed" in results["sources"]
    assert {video.source for video in index(run / "videos")} == {"doom", "filmed", "movers"}
    before = Run(run).metrics(), {path: path.stat().st_mtime_ns for path in (run / "videos").rglob("*.mp4")}
    assert demo.demo(tmp_path / "run", episodes=3, steps=3, seed=0) == run
    assert before == (Run(run).metrics(), {path: path.stat().st_mtime_ns for path in (run / "videos").rglob("*.mp4")})
    assert json.loads((run / "results.json").read_text())["all"] == results["all"]


def test_films_are_told_of_before_they_are_made(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", logger="wildlam")
    monkeypatch.setattr("wildlam.workflows.durations.SHORT", 0)
    monkeypatch.setattr(demo, "train", lambda config, resume: TrainResult(config.out, {}))
    monkeypatch.setattr(demo, "collect_sample_films", lambda folder: None)
    made = []

    def collect(folder, *, episodes, seconds, **_):
        made.append(episodes)
        for i in range(episodes):
            (folder / "train" / f"{i}.mp4").parent.mkdir(parents=True, exist_ok=True)
            (folder / "train" / f"{i}.mp4").touch()

    monkeypatch.setattr(demo, "collect_doom", collect)
    monkeypatch.setattr(demo, "collect_movers", collect)
    demo.demo(tmp_path / "run", episodes=12, steps=3, seed=0)
    told = caplog.text[caplog.text.index("On this machine") :].splitlines()[1:]
    assert [" ".join(line.split()[:3]) for line in told[:4]] == [
        "film walks 12",
        "film movers 6",
        "encode 960 states",
        "evaluate and report",
    ]
    assert made == [1, 1, 12, 6]  # one of each to measure
    caplog.clear()
    demo.demo(tmp_path / "run", episodes=12, steps=3, seed=0)
    assert not caplog.text


def test_without_evo_nothing_is_filmed_for_the_model_that_comes_along(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "evo", None)
    with pytest.raises(WildlamError, match=r"needs evo: pip install 'wildlam\[plan\]'"):
        demo.demo_pretrained(tmp_path / "out", episodes=30, seed=0)
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(WildlamError, match=r"needs vizdoom and evo: pip install 'wildlam\[worlds,plan\]'"):
        demo.demo_pretrained(tmp_path / "out", episodes=30, seed=0)
    with pytest.raises(WildlamError, match=r"the demo needs vizdoom: pip install 'wildlam\[worlds\]'"):
        demo.demo(tmp_path / "out", episodes=30, steps=1, seed=0)
    assert not (tmp_path / "out").exists()
