"""Runs from the Hub: what is downloaded and what never is, without a network, and what can go wrong."""

import logging
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from huggingface_hub import constants

import wildlam
from wildlam import cli
from wildlam.encoders import Lite0
from wildlam.errors import WildlamError
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Noisy
from wildlam.pretrained import hub as of_hub
from wildlam.pretrained import own_run, run_path
from wildlam.runs.folder import Run
from wildlam.workflows.infer import InferConfig
from wildlam.workflows.transfer import TransferConfig

from ..fake_hub import BIG
from ..helpers import make_run


@pytest.fixture
def there(hub, videos, tmp_path):
    """The Hub, with a run at me/model."""
    model = ModelConfig(size="nano", bottleneck=Noisy(dim=4))
    run = make_run(tmp_path / "run", videos, Lite0(image_size=64, dtype="float32"), model)
    wildlam.push(run=run, name="me/model", license="mit")
    hub.requests.clear()
    return hub


def files(there):
    return there.repos["me/model"][-1]


def test_every_form_of_the_name_reaches_it(there):
    folder = run_path("hf:me/model")
    assert folder.is_relative_to(constants.HF_HUB_CACHE)
    assert InferConfig(run="hf:me/model", videos="a.mp4").run == folder
    assert TransferConfig(run="hf:me/model@main", source="a.mp4", target="b.mp4").run == folder
    commit = f"{len(there.repos['me/model']):040x}"
    assert wildlam.load(f"me/model@{commit}").path == folder
    assert wildlam.load("hf:me/model").path == folder


def test_nobody_is_asked_unless_by_such_a_name(there, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    for run in ("runs/demo", "runs/demo/more", "demo", Path("me/model"), "./me/model", "/me/model"):
        with pytest.raises(WildlamError, match="is not a run folder"):
            wildlam.load(run)
    shutil.copytree(tmp_path / "run", "me/model")
    assert wildlam.load("me/model").path == Path("me/model")
    assert there.requests == []


def test_sizes_are_told_before_and_nothing_is_fetched_twice(there, caplog):
    caplog.set_level(logging.INFO, "wildlam")
    run_path("hf:me/model")
    size = sum(len(content) for name, content in files(there).items() if name != ".gitattributes") / 1e6
    assert f"5 files, {size:.1f} MB; {size:.1f} MB to download into {constants.HF_HUB_CACHE}" in caplog.text
    there.requests.clear()
    run_path("hf:me/model")
    assert f"5 files, {size:.1f} MB; all in the cache" in caplog.text
    assert not [path for _, path in there.requests if "/resolve/" in path]


def test_an_interrupted_download_goes_on_where_it_stopped(there, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", BIG)  # what is not a whole one is fetched again
    (weights,) = [name for name in files(there) if name.endswith(".safetensors")]
    there.cut = BIG * 2
    folder = run_path("hf:me/model")  # huggingface_hub asks for the rest
    assert (folder / weights).read_bytes() == files(there)[weights]
    assert there.begins == [0, BIG * 2]


def test_offline_it_is_read_from_the_cache_or_said_to_be_missing(there, monkeypatch):
    folder = run_path("hf:me/model")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    there.requests.clear()
    assert run_path("hf:me/model") == folder
    with pytest.raises(WildlamError, match=r"hf:me/none: HF_HUB_OFFLINE is set, and .* does not hold all of it"):
        run_path("hf:me/none")
    with pytest.raises(WildlamError, match=r"hf:me/model@v2: HF_HUB_OFFLINE is set"):
        run_path("hf:me/model@v2")
    assert there.requests == []
    (folder / "run.json").unlink()
    with pytest.raises(WildlamError, match="does not hold all of it"):
        run_path("hf:me/model")


def test_where_the_hub_cannot_be_reached_the_cache_serves(there, monkeypatch):
    folder = run_path("hf:me/model")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert run_path("hf:me/model") == folder
    with pytest.raises(WildlamError, match=r"127.0.0.1:9 cannot be reached, and .* does not hold all of it"):
        run_path("hf:me/none")


def test_names_and_revisions_that_are_not_there(there):
    with pytest.raises(WildlamError, match="the repository has no revision 'v2'; give a branch, a tag or a commit"):
        wildlam.load("me/model@v2")
    with pytest.raises(WildlamError, match="has no such repository, or it is private; check the name, or log in"):
        wildlam.load("me/none")
    for name in ("hf:model", "hf:me/model@", "hf:me/../model", "hf:", "hf:/etc/passwd", "hf:me/model/more"):
        with pytest.raises(WildlamError, match="is no name on the Hub; give hf:user/name"):
            run_path(name)


def test_files_of_other_kinds_are_left_where_they_are(there, caplog):
    caplog.set_level(logging.INFO, "wildlam")
    files(there).update({"model.pkl": b"pickle", "load.py": b"import os", "optimizer.pt": b"pickle", "a/b.bin": b""})
    folder = run_path("hf:me/model")
    found = {file.name for file in folder.rglob("*") if file.is_file()}
    assert found == {"README.md", "config.yaml", "run.json", "meta.json", "model.safetensors"}
    assert "left out, as no file of a run: a/b.bin, load.py, model.pkl, optimizer.pt" in caplog.text
    assert not [path for _, path in there.requests if path.endswith((".pkl", ".py", ".pt", ".bin"))]


@pytest.mark.parametrize("name", ["../run.json", "/etc/run.json", "a/../../run.json", "..\\run.json"])
def test_a_file_outside_of_its_folder_is_refused(there, name):
    files(there)[name] = b"{}"
    with pytest.raises(WildlamError, match="would lie outside of its folder; do not use it"):
        run_path("hf:me/model")
    assert not [path for _, path in there.requests if "/resolve/" in path]


def test_a_configuration_that_names_other_classes_is_refused_and_imports_nothing(there, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('executed')")
    monkeypatch.syspath_prepend(tmp_path)
    config = files(there)["config.yaml"]
    files(there)["config.yaml"] = config.replace(b"class_path: Lite0", b"class_path: evil.Encoder")
    with pytest.raises(WildlamError, match=r"its config.yaml names the class 'evil.Encoder', which is none of"):
        wildlam.load("me/model")
    files(there)["config.yaml"] = config.replace(b"encoder:", b"encoder: !!python/object/apply:os.system [ls]\nx:")
    there.repos["me/model"].append(files(there))
    with pytest.raises(WildlamError, match=r"its config.yaml is no YAML"):
        wildlam.load("me/model")


def test_a_repository_of_something_else_is_refused(there):
    there.repos["me/bert"] = [{"config.json": b"{}", "model.safetensors": b"0"}]
    with pytest.raises(WildlamError, match=r"me/bert holds no run of wildlam: it has no config.yaml"):
        wildlam.load("me/bert")
    assert not [path for _, path in there.requests if "/resolve/" in path]


def test_weights_that_are_no_safetensors_are_refused(there):
    (weights,) = [name for name in files(there) if name.endswith(".safetensors")]
    files(there)[weights] = b"\x80\x04pickle" + bytes(BIG)
    with pytest.raises(WildlamError, match="it is not what was written"):
        wildlam.load("me/model")


def test_without_room_nothing_is_downloaded(there, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(of_hub.shutil, "disk_usage", lambda _: usage(1000, 0, 1000))
    with pytest.raises(WildlamError, match=r"has room for 0.0 MB; free some space, or set HF_HOME"):
        run_path("hf:me/model")
    assert not [path for _, path in there.requests if "/resolve/" in path]


def test_a_cache_that_cannot_be_written_is_told(there, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(WildlamError, match="set HF_HOME to a folder that can be written"):
        run_path("hf:me/model")


def test_functions_that_write_say_how_to_get_a_copy(there):
    with pytest.raises(WildlamError, match=r"work in a copy: wildlam.pretrained.own_run\('hf:me/model'\)"):
        wildlam.evaluate(run="hf:me/model")
    assert there.requests == []


def test_commands_that_write_get_a_copy_of_their_own(there, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own = own_run("hf:me/model")
    assert own == Path("runs/model")
    assert not [file for file in own.rglob("*") if file.is_symlink()]
    assert Run.open(own).encoder_spec.name == "lite0"
    (own / "report.html").write_text("kept")
    assert own_run("hf:me/model") == own
    assert (own / "report.html").read_text() == "kept"
    assert cli.main(["eval", "hf:me/model"]) == 2
    assert "runs/model/videos" in capsys.readouterr().err
    run = make_run(tmp_path / "other", tmp_path / "videos", Lite0(image_size=64, dtype="float32"))
    shutil.copy(own / "run.json", run / "run.json")  # begun in the same second
    wildlam.push(run=run, name="me/model", license="mit")
    with pytest.raises(WildlamError, match="runs/model holds another run, or this one as it was before"):
        own_run("hf:me/model")
