"""The demo, on little: collects, trains, reports, and goes on where it stopped."""

import json

import pytest

from wildlam import demo, evaluating
from wildlam.data.manifest import index
from wildlam.training import Run


@pytest.mark.usefixtures("tiny_models")
def test_the_demo_and_the_demo_again(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluating, "write_run_report", lambda *arguments: None)
    run = demo.demo(tmp_path / "run", episodes=3, steps=3, seed=0)
    results = json.loads((run / "results.json").read_text())
    assert "filmed" in results["sources"]
    assert {video.source for video in index(run / "videos")} == {"doom", "filmed"}
    before = Run(run).metrics(), {path: path.stat().st_mtime_ns for path in (run / "videos").rglob("*.mp4")}
    assert demo.demo(tmp_path / "run", episodes=3, steps=3, seed=0) == run
    assert before == (Run(run).metrics(), {path: path.stat().st_mtime_ns for path in (run / "videos").rglob("*.mp4")})
    assert json.loads((run / "results.json").read_text())["all"] == results["all"]
