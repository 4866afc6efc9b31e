"""The configuration: YAML and overrides, there and back, and what is said of every kind of mistake."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import yaml

from wildlam.config import RunConfig, differences, dump_config, read_config, run_parser, to_config
from wildlam.config.parser import keys_of
from wildlam.encoders import VJEPA2, HFImage, Lite0
from wildlam.errors import WildlamError
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Adaptive, Deterministic, Discrete, Noisy, Sparse, Unconstrained
from wildlam.models.consistency import Absent, Additive, Composition, Cycle
from wildlam.models.inverse_dynamics import Difference, Linear, Split, Transformer
from wildlam.video.config import DataConfig


def parse(*arguments):
    parser = run_parser(prog="wildlam train")
    return to_config(RunConfig, parser, parser.parse_args(["--data.path", "videos", *arguments]))


def parse_yaml(tmp_path, values, *arguments):
    path = tmp_path / "given.yaml"
    path.write_text(yaml.safe_dump(values))
    return parse("--config", str(path), *arguments)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training: 5", "training: expected keys below it, such as training.accumulate, got 5"),
        ("training:\n  optimizer: fast", "training.optimizer: expected keys below it"),
        ("model: tiny", "model: expected keys below it, such as model.bottleneck, got 'tiny'"),
    ],
)
def test_a_value_where_keys_belong(tmp_path, text, said):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(WildlamError, match=said):
        run_parser().parse_args(["--data.path", "videos", "--config", str(tmp_path / "config.yaml")])


def test_defaults():
    config = parse()
    assert config == RunConfig(data=DataConfig(path=config.data.path))


def test_later_arguments_override_yaml(tmp_path):
    given = {"training": {"steps": 7, "optimizer": {"clip": 2.0}}, "encoder": {"class_path": "Lite0"}, "seed": 3}
    config = parse_yaml(tmp_path, given, "--training.steps", "9", "--encoder.pool=1")
    assert (config.training.steps, config.training.optimizer.clip, config.seed) == (9, 2.0, 3)
    assert config.encoder == Lite0(pool=1)


@pytest.mark.parametrize("bottleneck", [Noisy, Adaptive, Sparse, Discrete, Unconstrained, Deterministic])
def test_every_bottleneck(bottleneck, tmp_path):
    expected = bottleneck(dim=5)
    name = bottleneck.__name__
    assert parse("--model.bottleneck", name, "--model.bottleneck.dim", "5").model.bottleneck == expected
    given = {"model": {"bottleneck": {"class_path": name, "init_args": {"dim": 5}}}}
    assert parse_yaml(tmp_path, given).model.bottleneck == expected


@pytest.mark.parametrize("encoder", [Lite0, VJEPA2, HFImage])
def test_every_encoder(encoder, tmp_path):
    expected, name = encoder(dtype="float32"), encoder.__name__
    assert parse("--encoder", name, "--encoder.dtype", "float32").encoder == expected
    assert (
        parse_yaml(tmp_path, {"encoder": {"class_path": name, "init_args": {"dtype": "float32"}}}).encoder == expected
    )


@pytest.mark.parametrize(
    ("encoder", "bottleneck"),
    [
        (Lite0(pool=4), Noisy(beta=1e-6)),
        (Lite0(), Adaptive(tolerance=0.1)),
        (VJEPA2(mode="per_frame"), Sparse(l1=0.3)),
        (HFImage(), Discrete(codes=8)),
    ],
)
def test_what_is_written_is_read_again(encoder, bottleneck, tmp_path):
    config = dataclasses.replace(parse(), encoder=encoder, model=ModelConfig(bottleneck=bottleneck), out=tmp_path)
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert read_config(tmp_path / "config.yaml") == config
    assert parse("--config", str(tmp_path / "config.yaml"), "--data.path", str(config.data.path)) == config


def test_a_damaged_config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("data: [")
    with pytest.raises(WildlamError, match="line 2"):
        read_config(path)
    path.write_text("\n")
    with pytest.raises(WildlamError, match=r"config\.yaml: the file is empty; give the folder of a run"):
        read_config(path)
    path.write_text(dump_config(parse()) + "oout: 3\n")
    with pytest.raises(WildlamError, match=r"unknown key oout; did you mean out\? Or give the folder of a run"):
        read_config(path)


MISTAKES = [  # arguments; the same in YAML (None where YAML has no such mistake); what the message says
    (["--training.step", "3"], {"training": {"step": 3}}, r"training\.step.*did you mean (--)?training\.steps\?"),
    (["--steps", "3"], {"steps": 3}, r"steps.*did you mean (--)?training\.steps\?"),
    (["--data.framse", "3"], {"data": {"framse": 3}}, r"data\.framse.*did you mean (--)?data\.frames\?"),
    (["--training.steps", "x"], {"training": {"steps": "x"}}, r"training\.steps: expected int, got x"),
    (["--data.store", "maybe"], {"data": {"store": "maybe"}}, r"data\.store: expected bool, got maybe"),
    (
        ["--model.size", "tinny"],
        {"model": {"size": "tinny"}},
        r"model\.size: choose one of 'nano', 'tiny', .*got tinny",
    ),
    (["--encoder", "Lite1"], {"encoder": {"class_path": "Lite1"}}, r"encoder: there is no Lite1; choose Lite0 or"),
    (
        ["--model.bottleneck", "Sparce"],
        {"model": {"bottleneck": "Sparce"}},
        r"model\.bottleneck: .*Sparce; choose Sparse",
    ),
    (
        ["--model.consistency", "Cycle", "--model.consistency.weight", "-1"],
        {"model": {"consistency": {"class_path": "Cycle", "init_args": {"weight": -1}}}},
        r"model\.consistency\.weight must be a number of at least 0, got -1",
    ),
    (["--model.idm", "Linea"], {"model": {"idm": "Linea"}}, r"model\.idm: there is no Linea; choose Linear or"),
    (["--encoder", "EncoderConfig"], {"encoder": "EncoderConfig"}, r"encoder: choose .*Lite0"),
    (
        ["--model.bottleneck", "Noisy", "--model.bottleneck.bta", "1"],
        {"model": {"bottleneck": {"class_path": "Noisy", "init_args": {"bta": 1}}}},
        r"unknown key model\.bottleneck\.bta of Noisy; choose beta",
    ),
    (
        ["--encoder", "Lite0", "--encoder.pool", "x"],
        {"encoder": {"class_path": "Lite0", "init_args": {"pool": "x"}}},
        r"encoder\.pool: expected int, got x",
    ),
    (
        ["--encoder", "VJEPA2", "--encoder.pool", "2"],
        {"encoder": {"class_path": "VJEPA2", "init_args": {"pool": 2}}},
        r"unknown key encoder\.pool of VJEPA2; choose .*mode",
    ),
    (
        ["--encoder", "Lite0", "--encoder.pool", "3"],
        {"encoder": {"class_path": "Lite0", "init_args": {"pool": 3}}},
        r"pool is 3; choose one of",
    ),
    (
        ["--training.batch_size", "0"],
        {"training": {"batch_size": 0}},
        r"training\.batch_size must be at least 1, got 0",
    ),
    (["--data.frames", "1"], {"data": {"frames": 1}}, r"data\.frames is 1: an action needs two"),
    (["--data.fps", "0"], {"data": {"fps": 0}}, r"data\.fps is 0"),
    (["--data.held_out", "1"], {"data": {"held_out": 1}}, r"data\.held_out is 1"),
    (
        ["--model.bottleneck.dim", "0"],
        {"model": {"bottleneck": {"class_path": "Noisy", "init_args": {"dim": 0}}}},
        "dim",
    ),
]


@pytest.mark.parametrize(("arguments", "_values", "message"), MISTAKES, ids=[" ".join(m[0]) for m in MISTAKES])
def test_mistakes_on_the_command_line(arguments, _values, message):
    with pytest.raises(WildlamError, match=message) as error:
        parse(*arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("_arguments", "values", "message"), MISTAKES, ids=[" ".join(m[0]) for m in MISTAKES])
def test_mistakes_in_yaml(_arguments, values, message, tmp_path):
    with pytest.raises(WildlamError, match=message) as error:
        parse_yaml(tmp_path, values)
    assert "\n" not in str(error.value)


def test_keys_hold_those_of_every_choice():
    assert {"seed", "data.frames", "training.optimizer.clip", "encoder.mode", "model.bottleneck.l1"} <= set(
        keys_of(RunConfig)
    )


def test_keys_are_taken_by_their_old_names(tmp_path, caplog):
    said = "baseline is called action_free now; the old name will go"
    assert not parse("--baseline", "false").action_free
    assert not parse("--baseline=false").action_free
    assert not parse_yaml(tmp_path, {"baseline": False}).action_free
    assert caplog.messages == [said] * 3


def test_a_run_with_keys_by_their_old_names_opens(tmp_path, caplog):
    config = dataclasses.replace(parse(), action_free=False)
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config).replace("action_free:", "baseline:"))
    assert "\nbaseline: false\n" in path.read_text()
    assert read_config(path) == config
    assert not caplog.messages  # nobody typed it
    assert not list(differences(path.read_text(), dump_config(config)))


@pytest.mark.parametrize("asked", [Absent(), Additive(weight=0.5), Composition(weight=0.5), Cycle(weight=0.5)])
def test_every_consistency(asked, tmp_path):
    weight = [] if isinstance(asked, Absent) else ["--model.consistency.weight", "0.5"]
    config = parse("--model.consistency", type(asked).__name__, *weight)
    assert config.model.consistency == asked
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert read_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize("idm", [Transformer, Linear, Difference, Split])
def test_every_inverse_dynamics_model(idm, tmp_path):
    name = idm.__name__
    config = parse("--model.idm", name)
    assert config.model.idm == idm()
    assert parse_yaml(tmp_path, {"model": {"idm": name}}).model.idm == idm()
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert read_config(tmp_path / "config.yaml") == config


def test_a_moved_run_has_the_videos_in_its_folder_with_it(tmp_path):
    run = tmp_path / "there" / "runs" / "demo"
    (run / "videos").mkdir(parents=True)
    data = DataConfig(path=run / "videos", cache=run / "cache")
    (run / "config.yaml").write_text(dump_config(RunConfig(data=data, out=Path("runs/demo"))))
    assert read_config(run / "config.yaml").data == data
    copy, moved = tmp_path / "copy", tmp_path / "moved"
    shutil.copytree(run, copy)  # beside the one that it was made of
    assert read_config(copy / "config.yaml").data.path == copy / "videos"
    (copy / "videos").rename(tmp_path / "elsewhere")
    assert read_config(copy / "config.yaml").data.path == run / "videos"
    run.rename(moved)
    assert read_config(moved / "config.yaml").data == DataConfig(path=moved / "videos", cache=moved / "cache")
    (tmp_path / "link").symlink_to(moved)
    assert read_config(tmp_path / "link" / "config.yaml").data.path == tmp_path / "link" / "videos"


def test_a_moved_run_leaves_videos_that_lay_elsewhere(tmp_path):
    data = DataConfig(path=tmp_path / "runs" / "of_others")
    for out in ("runs/demo", "../demo", None):
        (tmp_path / "config.yaml").write_text(dump_config(RunConfig(data=data, out=out and Path(out))))
        assert read_config(tmp_path / "config.yaml").data == data
