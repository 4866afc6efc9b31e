"""The Python of README.md does what it says, word for word."""

import re
from pathlib import Path

import pytest

from wildlam.cli import main

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.usefixtures("tiny_models")
def test_the_python_snippet_runs(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train = ["train", "--data.path", str(videos), "--out", "runs/demo", "--encoder.image_size", "64"]
    assert main([*train, "--training.steps", "2", "--training.batch_size", "2", "--baseline", "false"]) == 0
    snippet_video = tmp_path / "runs/demo/videos/doom/held_out/maze_0_001.mp4"
    snippet_video.parent.mkdir(parents=True)
    next(videos.rglob("*.mp4")).rename(snippet_video)
    capsys.readouterr()
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    exec(snippet, {})
    assert capsys.readouterr().out.strip() == "torch.Size([15, 32]) 0.0 0.25"
