"""The model that comes with the package: whole, small enough, unpacked once."""

import json
import runpy
from pathlib import Path

import pytest
import torch
import yaml

import wildlam
from wildlam import cli, pretrained
from wildlam.config import read_config
from wildlam.encoders import Lite0
from wildlam.errors import WildlamError
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Noisy
from wildlam.models.inverse_dynamics import Split, Transformer
from wildlam.pretrained import TINY, unpack
from wildlam.workflows.controller import load_controller
from wildlam.workflows.decoder import load_decoder
from wildlam.workflows.infer import InferConfig
from wildlam.workflows.prior import load_prior
from wildlam.workflows.transfer import TransferConfig

from ..helpers import make_run


def test_it_is_called_tiny_wherever_a_run_is_read(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["show", "tiny"]) == 0
    assert str(TINY) in capsys.readouterr().out
    assert InferConfig(run="tiny", videos="a.mp4").run == TINY
    assert TransferConfig(run="tiny", source="a.mp4", target="b.mp4").run == TINY
    assert TransferConfig(run=Path("tiny"), source="a.mp4", target="b.mp4").run == Path("tiny")
    for command in (["infer", "nothere.mp4", "--run", "tiny"], ["transfer", "nothere.mp4", "b.mp4", "--run", "tiny"]):
        assert cli.main(command) == 2
        assert "nothere.mp4: no such file" in capsys.readouterr().err
    assert cli.main(["eval", "tiny"]) == 2  # which would write there
    assert "`wildlam demo --pretrained` writes wildlam-tiny to runs/tiny" in capsys.readouterr().err


@pytest.mark.usefixtures("tiny_models")
def test_it_is_unpacked_as_a_run_on_other_videos_and_left_as_it_is_the_next_time(videos, tmp_path, monkeypatch):
    packed = make_run(tmp_path / "packed", videos, Lite0(image_size=64, dtype="float32"))
    monkeypatch.setattr(pretrained, "TINY", packed)
    out = unpack(tmp_path / "out", tmp_path / "elsewhere")
    config = read_config(out / "config.yaml")
    assert config.data.path == tmp_path / "elsewhere"
    assert wildlam.load(out).infer(next(videos.rglob("*.mp4"))).z.shape[1] == 4
    (out / "config.yaml").write_text((out / "config.yaml").read_text().replace("elsewhere", "moved"))
    unpack(tmp_path / "out", tmp_path / "elsewhere")
    assert read_config(out / "config.yaml").data.path == tmp_path / "moved"
    facts = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(facts | {"command": "as an earlier version told it"}))
    unpack(tmp_path / "out", tmp_path / "elsewhere")
    (out / "run.json").write_text(json.dumps(facts | {"seed": 7}))
    with pytest.raises(WildlamError, match="holds another run"):
        unpack(tmp_path / "out", tmp_path / "elsewhere")


def test_an_installation_without_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "TINY", tmp_path / "nothing")
    with pytest.raises(WildlamError, match="holds no model"):
        unpack(tmp_path / "out", tmp_path)


def test_the_shipped_model_tells_nothing_of_its_authors_folders(tmp_path, capsys):
    out = unpack(tmp_path / "tiny", tmp_path / "videos")
    assert cli.main(["show", str(out)]) == 0
    told = capsys.readouterr().out
    assert f"videos     {tmp_path}/videos" in told
    assert "bash examples/tiny/train.sh" in told
    for path in [*TINY.rglob("*.json"), *TINY.rglob("*.jsonl"), *TINY.rglob("*.yaml")]:
        assert "runs/" not in path.read_text(), path
    assert "runs/" not in told
    assert "On average over all held-out clips, copying the last frame has 1.29 times" in told
    assert "report.html" not in told  # there is none


def test_the_shipped_model_is_whole_and_small(tmp_path):
    assert sum(file.stat().st_size for file in TINY.rglob("*")) < 25e6
    card = (TINY / "README.md").read_text()
    assert "train.sh" in card
    trained = wildlam.load(unpack(tmp_path / "tiny", tmp_path / "videos"))
    for world, width in (("nav", 3), ("arm", 7)):
        controller, space = load_controller(TINY / f"controller_{world}", trained.encoder, trained.model)
        assert len(space.action_names) == width
        assert all(weight.isfinite().all() for weight in controller.state_dict().values())
    decoder = load_decoder(TINY, trained.encoder.spec, trained.encoder.device)
    states = trained.encoder.encode(torch.zeros(1, 2, 3, 128, 128, dtype=torch.uint8))
    assert decoder.decode(states.float()).shape == (1, 2, 3, 64, 64)
    prior = load_prior(TINY / "prior", trained.encoder, trained.model)
    drawn = prior.sample(states.float(), torch.Generator().manual_seed(0))
    assert drawn.shape == (1, 2, trained.model.bottleneck.dim)
    assert drawn.isfinite().all()
    assert prior.log_prob(trained.model.infer(states.float()), states[:, :1].float()).isfinite().all()


@pytest.mark.usefixtures("tiny_models")
def test_what_is_packed_is_a_run_of_the_same_weights(videos, tmp_path):
    run = make_run(tmp_path / "run", videos, Lite0(image_size=64, dtype="float32"))
    script = Path(wildlam.__file__).parents[2] / "examples" / "tiny" / "pack.py"
    runpy.run_path(str(script))["pack"](run, tmp_path / "packed")
    facts = [(tmp_path / "packed" / name).read_text() for name in ("run.json", "config.yaml")]
    assert str(tmp_path) not in "".join(facts)
    packed, given = wildlam.load(tmp_path / "packed").model.state_dict(), wildlam.load(run).model.state_dict()
    assert all((packed[name] == weight.bfloat16().to(weight.dtype)).all() for name, weight in given.items())


def test_a_run_from_before_there_was_a_choice_opens_with_the_transformer(tmp_path):
    """Its configuration names no inverse dynamics model; its weights have the names that they had."""
    config = yaml.safe_load((TINY / "config.yaml").read_text())
    config["model"] = {key: config["model"][key] for key in ("size", "predict", "bottleneck")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    model = read_config(tmp_path / "config.yaml").model
    assert model == ModelConfig(idm=Transformer(), place=False, bottleneck=Noisy(dim=256, beta=1e-4))
    names = model.build(448, (4, 4)).state_dict().keys()
    assert {"idm.embed.weight", "idm.blocks.0.attention.qkv.weight", "idm.query", "idm.head.bias"} <= names


def test_a_split_run_from_before_there_were_local_dimensions_opens_as_it_was(tmp_path):
    config = yaml.safe_load((TINY / "config.yaml").read_text())
    config["model"]["idm"] = {"class_path": "Split", "init_args": {"linear": 0.5, "surcharge": 1.0, "dropped": 0.5}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    model = read_config(tmp_path / "config.yaml").model
    assert model.idm == Split(linear=0.5, local=0.0)
    shapes = {name: weight.shape for name, weight in model.build(448, (4, 4)).state_dict().items()}
    half = model.bottleneck.dim // 2
    assert shapes["idm.transformer.head.weight"] == (2 * half, 256)
    assert shapes["world_model.embed_action.weight"] == (256, 2 * half)
    assert not [name for name in shapes if "local" in name]
