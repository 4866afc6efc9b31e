"""The Python of README.md does what it says, word for word."""

import re
import shutil
from pathlib import Path

import pytest

from wildlam.cli import main
from wildlam.workflows import evaluate

README = Path(__file__).parents[1] / "README.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.usefixtures("tiny_models")
def test_the_python_snippets_run(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate, "write_run_report", lambda *arguments: None)  # no snippet reads it, and it takes long
    train = ["train", "--data.path", str(videos), "--out", "runs/demo", "--encoder.image_size", "64"]
    assert main([*train, "--training.steps", "2", "--training.batch_size", "2", "--action_free", "false"]) == 0
    assert main(["decoder", "train", "runs/demo", "--training.steps", "1", "--training.batch_size", "2"]) == 0
    folder = tmp_path / "runs/demo/videos/doom/held_out"
    folder.mkdir(parents=True)
    for name in ("maze_0_001.mp4", "arena_0_001.mp4"):
        shutil.copy(next(videos.rglob("*.mp4")), folder / name)
    capsys.readouterr()
    infer, transfer, _ = SNIPPETS
    exec(infer, {})
    assert capsys.readouterr().out.strip() == "torch.Size([15, 256]) 0.0 0.25"
    exec(transfer, {})
    assert capsys.readouterr().out.startswith("film.mp4 TransferErrors(source=")
    assert Path("film.mp4").stat().st_size > 1000


def test_the_packaged_model_takes_an_array(capsys):
    exec(SNIPPETS[2], {})
    assert capsys.readouterr().out == "LatentActions(7 of width 256, 0.00 to 1.75 s)\n"
