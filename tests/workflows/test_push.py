"""A run that is published comes back as the same run, and tells nothing of its author's folders."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import constants

import wildlam
from wildlam import cli
from wildlam.config import read_config
from wildlam.encoders import Lite0
from wildlam.errors import WildlamError
from wildlam.evaluation.intervals import PerClip
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Noisy
from wildlam.pretrained import TINY, run_path
from wildlam.runs.folder import Run
from wildlam.workflows.controller import load_controller
from wildlam.workflows.prior import load_prior

from ..helpers import make_run


@pytest.fixture
def run(videos, tmp_path):
    model = ModelConfig(size="nano", bottleneck=Noisy(dim=4))
    return make_run(tmp_path / "secret" / "run", videos, Lite0(image_size=64, dtype="float32"), model)


def pushed(run, name="me/model", **keywords):
    return wildlam.push(run=run, name=name, license="apache-2.0", **keywords)


def test_what_is_published_loads_by_name_as_the_same_model(hub, run, videos):
    result = pushed(run)
    assert result.url == f"{hub.url}/me/model"
    assert str(result).endswith(f"published  {hub.url}/me/model")
    here, there = wildlam.load(run), wildlam.load("me/model")
    assert all(torch.equal(weight, there.model.state_dict()[name]) for name, weight in here.model.state_dict().items())
    video = next(videos.rglob("*.mp4"))
    assert torch.equal(here.infer(video).z, there.infer(video).z)


def test_nothing_published_names_a_folder_of_the_authors(hub, run, tmp_path):
    pushed(run)
    files = hub.repos["me/model"][-1]
    for name, content in files.items():
        assert str(tmp_path).encode() not in content, name
        assert b"secret" not in content, name
    config = yaml.safe_load(files["config.yaml"])
    assert config["data"]["path"] == "videos"
    assert config["out"] is None


def test_videos_have_numbers_for_names_and_intervals_stay(hub, run):
    one_step = {
        "names": [f"mum/{i // 2}.mp4" for i in range(20)],
        "sources": ["mum"] * 20,
        "recordings": [f"mum/{i // 2}.mp4" for i in range(20)],
        "values": {
            "idm": [0.1 + 0.01 * (i % 7) for i in range(20)],
            "permuted": [0.2 + 0.01 * (i % 5) for i in range(20)],
            "zero": [0.2] * 20,
            "copy": [0.3 + 0.01 * (i % 3) for i in range(20)],
        },
    }
    means = {method: sum(values) / 20 for method, values in one_step["values"].items()}
    results = {"clips": 20, "all": means, "sources": {"mum": means}, "videos": "/home/me/mum", "bounds": ["/home/me/b"]}
    (run / "results.json").write_text(json.dumps(results | {"evaluations": {}}))
    (run / "evaluations.json").write_text(json.dumps({"one_step": one_step}))
    pushed(run)
    files = hub.repos["me/model"][-1]
    assert b".mp4" not in files["evaluations.json"]
    assert b"/home" not in files["results.json"]
    card = files["README.md"].decode()
    assert f"| all | {PerClip.from_json(one_step).estimate('idm')}" in card
    assert "1.30 times" not in card


def test_the_card_has_metadata_data_figures_limits_and_use(hub):
    pushed("tiny", about="Simulated worlds.")
    card = hub.repos["me/model"][-1]["README.md"].decode()
    _, front, text = card.split("---", 2)
    assert yaml.safe_load(front)["license"] == "apache-2.0"
    assert yaml.safe_load(front)["library_name"] == "wildlam"
    for heading in ("# model", "## Use", "## Data", "## Figures", "## Trained for it", "## Limits"):
        assert f"\n{heading}\n" in text
    assert "Simulated worlds." in text
    assert f"fingerprint `{Run(TINY).encoder_spec.fingerprint}`" in text
    assert 'wildlam.load("me/model")' in text
    assert "error under the controller's       0.234 (0.216 to 0.252)" in text


def test_parts_travel_and_those_of_another_model_stay(hub, run, caplog):
    caplog.set_level("INFO")
    pushed("tiny")
    there = run_path("hf:me/model")
    assert {"controller_arm", "controller_nav", "decoder", "prior"} <= {folder.name for folder in there.iterdir()}
    trained = wildlam.load("me/model")
    load_controller(there / "controller_arm", trained.encoder, trained.model)
    load_prior(there / "prior", trained.encoder, trained.model)

    shutil.copytree(TINY / "controller_arm", run / "controller")
    pushed(run, "me/other")
    assert "controller is left out: it was trained on states of another encoder" in caplog.text
    assert not [name for name in hub.repos["me/other"][-1] if name.startswith("controller")]


def test_a_second_push_replaces_the_first(hub, run):
    pushed("tiny")
    pushed(run)
    kept = {name for name in hub.repos["me/model"][-1] if "/" in name}
    assert kept == {f"checkpoints/step_00000001/{file}" for file in ("model.safetensors", "meta.json")}
    assert wildlam.load("me/model").model.bottleneck.dim == 4


def test_a_dry_run_writes_the_folder_and_asks_nobody(hub, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = pushed(run, dry_run=True, private=True)
    assert hub.requests == []
    assert result.folder == Path("hub/model")
    assert wildlam.load(Path("hub/model")).model.bottleneck.dim == 4
    assert sum(result.files.values()) == sum(f.stat().st_size for f in Path("hub").rglob("*") if f.is_file())
    assert "licence apache-2.0: whether the Hub knows this identifier is not checked" in str(result)
    assert "Of my kitchen." in (pushed(run, dry_run=True, about="Of my kitchen.").folder / "README.md").read_text()
    card = Path("hub/model/README.md")
    card.write_text(card.read_text() + "More.")
    with pytest.raises(WildlamError, match=r"hub/model/README.md was edited: .* give it as card"):
        pushed(run, dry_run=True)
    Path("hub/model/notes.txt").touch()
    with pytest.raises(WildlamError, match="hub/model is there already"):
        pushed(run, dry_run=True)


def test_an_interrupted_push_goes_on_where_it_stopped(hub, run):
    hub.fails = "commit"
    with pytest.raises(WildlamError, match=r"the Hub answers 500 .*try again later"):
        pushed(run)
    assert [method for method, _ in hub.requests].count("PUT") == 1
    hub.requests.clear()
    pushed(run)
    assert "PUT" not in [method for method, _ in hub.requests]
    wildlam.load("me/model")


def test_a_private_repository_is_seen_by_its_owner_alone(hub, run, monkeypatch):
    pushed(run, private=True)
    assert hub.private == {"me/model"}
    wildlam.load("me/model")
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(WildlamError, match="no such repository, or it is private"):
        wildlam.load("me/model")


def test_what_can_be_mended_is_said(hub, run, monkeypatch, tmp_path):
    with pytest.raises(WildlamError, match="say by license under which licence"):
        wildlam.push(run=run, name="me/model")
    with pytest.raises(WildlamError, match="'MIT License!' is no identifier"):
        wildlam.push(run=run, name="me/model", license="MIT License!")
    for name in ("model", "me/a/b", "me/--", "../x", "me/mo del"):
        with pytest.raises(WildlamError, match="is no name on the Hub; give user/name"):
            pushed(run, name)
    with pytest.raises(WildlamError, match="a push makes a new revision"):
        pushed(run, "me/model@v1")
    with pytest.raises(
        WildlamError, match=r"the Hub denies it .*choose a name of your own, or let you give your token"
    ):
        pushed(run, "you/model")
    hub.repos["me/else"] = [{"pytorch_model.bin": b"weights", "config.json": b"{}"}]
    with pytest.raises(WildlamError, match="me/else holds something else than a run of wildlam"):
        pushed(run, "me/else")
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(WildlamError, match=r"the Hub does not know who you are .*hf auth login"):
        pushed(run)
    monkeypatch.delenv("HF_TOKEN")
    hub.requests.clear()
    with pytest.raises(WildlamError, match="you are not logged in to the Hub; log in with `hf auth login`"):
        pushed(run)
    assert hub.requests == []


def test_without_a_network_it_says_so(hub, run, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WildlamError, match=r"127.0.0.1:9 cannot be reached"):
        pushed(run)


def test_weights_of_an_encoder_in_a_folder_need_a_name(hub, run, tmp_path):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["encoder"] = {"class_path": "HFImage", "init_args": {"dtype": "float32", "model": str(tmp_path / "dino")}}
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    with pytest.raises(WildlamError, match="which others do not have; say by encoder"):
        pushed(run)
    pushed(run, encoder="facebook/dinov2-small")
    files = hub.repos["me/model"][-1]
    assert read_config(run_path("hf:me/model") / "config.yaml").encoder.model == "facebook/dinov2-small"
    assert yaml.safe_load(files["README.md"].decode().split("---")[1])["base_model"] == "facebook/dinov2-small"


def test_the_command(hub, run, capsys):
    assert cli.main(["push", str(run), "me/model"]) == 2
    assert "say by --license under which licence" in capsys.readouterr().err
    assert cli.main(["push", str(run), "me/model", "--license", "mit", "--private"]) == 0
    assert f"published  {hub.url}/me/model" in capsys.readouterr().out
    assert cli.main(["show", "hf:me/model"]) == 0
    assert "published as" in capsys.readouterr().out


def test_sizes_are_in_the_unit_that_they_fill():
    files = {"a": 999, "b": 1069, "c": 110_840, "d": 3_121_096}
    assert str(wildlam.PushResult(files, url="u")).splitlines() == [
        "       999 B  a",
        "      1.1 kB  b",
        "    110.8 kB  c",
        "     3.12 MB  d",
        "     3.23 MB  in 4 files",
        "published  u",
    ]
