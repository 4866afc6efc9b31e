"""push and export, as a user gives them."""

from pathlib import Path


def test_push(trained, call, refused):
    run, _ = trained
    assert "say by --license under which licence" in refused("push", "tiny", "me/model")
    assert "'model' is no name on the Hub" in refused("push", "tiny", "model", "--license", "mit")
    assert "none is not a run folder" in refused("push", "none", "me/model", "--license", "mit")
    status, out, _ = call("push", run, "me/model", "--license", "mit", "--dry-run", "--about", "Simulated worlds.")
    assert status == 0
    assert out.endswith("nothing is uploaded; look through hub/model, README.md first\n")
    assert "Simulated worlds." in Path("hub/model/README.md").read_text()
    Path("hub/model/notes.txt").touch()
    assert "give another --out" in refused("push", run, "me/model", "--license", "mit", "--dry-run")
    here, there = (
        call("show", folder)[1].partition("Held-out")[2].partition("\nreport")[0] for folder in (run, "hub/model")
    )
    assert here.strip() == there.strip()


def test_export(refused):
    assert "--output must end in .pt2, got a.onnx" in refused("export", "tiny", "-o", "a.onnx")
    assert "none is not a run folder" in refused("export", "none")
