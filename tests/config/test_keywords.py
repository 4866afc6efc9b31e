"""Configurations from Python: by themselves or by keywords, and what is said of wrong ones."""

from pathlib import Path

import numpy as np
import pytest
import yaml

import wildlam
from wildlam.config import RunConfig, config_from, dump_config
from wildlam.config.run import CHOSEN_BY_NAME, OF_RUNS
from wildlam.encoders import Lite0
from wildlam.errors import WildlamError
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Sparse
from wildlam.pretrained import TINY
from wildlam.training import TrainingConfig
from wildlam.video.config import DataConfig
from wildlam.workflows.evaluate import EvaluateConfig
from wildlam.workflows.index import IndexConfig
from wildlam.workflows.infer import InferConfig
from wildlam.workflows.plan import PlanConfig
from wildlam.workflows.play import PlayConfig
from wildlam.workflows.prior import PriorTrainingConfig
from wildlam.workflows.search import SearchConfig
from wildlam.workflows.sweep import SweepConfig
from wildlam.workflows.transfer import TransferConfig


@pytest.mark.parametrize("key", CHOSEN_BY_NAME)
def test_whatever_is_chosen_by_name_says_how_it_is_given(key):
    *parents, last = key.split(".")
    keywords = {last: "Nothing"}
    for parent in reversed(parents):
        keywords = {parent: keywords}
    cls, more = (RunConfig, {"data": {"path": "v"}}) if key in OF_RUNS else (PriorTrainingConfig, {})
    with pytest.raises(WildlamError, match=rf"^{key} must be \w+ or .*, such as wildlam.*, got 'Nothing'") as error:
        config_from(cls, None, {**more, **keywords})
    example = str(error.value).split("such as ")[1].split(", got")[0]
    assert isinstance(eval(example, {"wildlam": wildlam}), CHOSEN_BY_NAME[key])


def test_keywords_make_a_configuration_or_change_one():
    config = config_from(RunConfig, None, {"data": {"path": "videos"}, "training": {"steps": 3}, "out": "run"})
    assert config == RunConfig(data=DataConfig(path=Path("videos")), training=config.training, out=Path("run"))
    assert config.training.steps == 3
    changed = config_from(RunConfig, config, {"training": {"batch_size": 2}, "model": {"bottleneck": Sparse()}})
    assert (changed.training.steps, changed.training.batch_size) == (3, 2)
    assert isinstance(changed.model.bottleneck, Sparse)
    assert config_from(RunConfig, changed, {}) == changed


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({}, "RunConfig needs data"),
        ({"data": "videos"}, r"data must be DataConfig\(...\) or a dict of its fields, got 'videos'"),
        ({"data": {"path": 3}}, "data.path must be a path or a URL, got 3"),
        ({"data": {"path": "v"}, "trainin": {}}, "RunConfig has no trainin; did you mean training?"),
        ({"data": {"path": "v"}, "xyz": {}}, "RunConfig has no xyz; it has data, encoder"),
        ({"data": {"path": "v"}, "training": {"steps": -1}}, "training.steps must be at least 1, got -1"),
        ({"data": {"path": "v"}, "training": {"steps": "x"}}, "^training.steps: expected int, got x$"),
        ({"data": {"path": "v"}, "training": {"steps": True}}, "^training.steps: expected int, got True$"),
        ({"data": {"path": "v"}, "training": TrainingConfig(steps=True)}, "^training.steps: expected int, got True$"),
        ({"data": {"path": "v"}, "training": {"optimizer": {"muon": 1}}}, "optimizer.muon: expected bool, got 1"),
        ({"data": {"path": "v"}, "training": {"precision": "half"}}, "training.precision must be auto, bf16 or fp32"),
        ({"data": {"path": "v", "fps": "4"}}, "^data.fps: expected float, got 4$"),
        ({"data": {"path": "v", "exclude": "*.gif"}}, r"^data.exclude: expected a list of str, got '\*.gif'$"),
        ({"data": {"path": "v", "mixture": {"a": "x"}}}, "^data.mixture.a: expected float, got x$"),
        ({"data": {"path": "v", "mixture": [1]}}, "^data.mixture: expected a dict"),
        ({"data": {"path": "v"}, "encoder": Lite0(image_size=64.0)}, "^encoder.image_size: expected int, got 64.0$"),
        (
            {"data": {"path": "v"}, "encoder": "Lite0"},
            r"encoder must be HFImage or Lite0 or VJEPA2, such as wildlam.Lite0\(image_size=64\), got 'Lite0'",
        ),
        ({"data": {"path": "v"}, "encoder": {"class_path": "Lite1"}}, "encoder must be HFImage or Lite0 or VJEPA2"),
        ({"data": {"path": "v"}, "encoder": {"class_path": "Lite0", "init_args": {"size": 1}}}, "Lite0 has no size"),
        (
            {"data": {"path": "v"}, "encoder": {"class_path": "Lite0", "init_args": {"image_size": "64"}}},
            "^encoder.image_size: expected int, got 64$",
        ),
        (
            {"data": {"path": "v"}, "model": {"bottleneck": {"dim": 3}}},
            r"model.bottleneck must be .*Sparse.*, such as wildlam.Sparse\(dim=32\)",
        ),
        ({"data": {"path": "v"}, "out": 3}, "out must be a path, got 3"),
    ],
)
def test_what_is_wrong_is_named(keywords, message):
    with pytest.raises(WildlamError, match=message):
        config_from(RunConfig, None, keywords)


def test_what_config_yaml_says_is_taken():
    config = RunConfig(
        data=DataConfig(path=Path("v")), encoder=Lite0(image_size=64), model=ModelConfig(bottleneck=Sparse(dim=3))
    )
    assert config_from(RunConfig, None, yaml.safe_load(dump_config(config))) == config
    keywords = {"data": {"path": "v"}, "encoder": {"class_path": "wildlam.encoders.Lite0"}}
    assert config_from(RunConfig, config, keywords).encoder == Lite0()


def test_values_that_do_for_the_type_of_their_field_are_made_of_that_type():
    """NumPy's numbers are no YAML, and a run's configuration is written as such."""
    data = {"path": "v", "fps": 4, "exclude": ("*.gif",), "held_out": np.float32(0.5)}
    config = config_from(RunConfig, None, {"data": data, "training": {"steps": np.int64(3)}})
    assert [type(value) for value in (config.training.steps, config.data.fps, config.data.held_out)] == [
        int,
        float,
        float,
    ]
    assert config.data.exclude == ["*.gif"]
    assert "steps: 3" in dump_config(config)
    assert config_from(PlanConfig, None, {"run": "r", "data": "d", "samples": None}).samples is None


def test_a_path_stands_for_the_run_or_else_the_folder():
    of_run = config_from(PlanConfig, "runs/demo", {"data": "d"})
    assert of_run == config_from(PlanConfig, None, {"run": "runs/demo", "data": "d"})
    assert config_from(SearchConfig, "tiny", {"like": "x"}).run == TINY
    assert config_from(IndexConfig, Path("good"), {}).path == Path("good")
    with pytest.raises(WildlamError, match="run is given twice, as 'a' and 'b'; give one"):
        config_from(PlanConfig, "a", {"run": "b", "data": "d"})


def test_something_else_than_a_configuration_is_refused():
    with pytest.raises(WildlamError, match=r"give a RunConfig, or its keywords \(data, .*; got 'runs/demo'"):
        config_from(RunConfig, "runs/demo", {})  # type: ignore[type-var]
    with pytest.raises(WildlamError, match=r"give a SweepConfig, or its keywords \(.*; got 'runs/demo'"):
        config_from(SweepConfig, "runs/demo", {})  # whose run is none of a path
    with pytest.raises(WildlamError, match="got Lite0"):
        config_from(RunConfig, Lite0(), {})  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PlanConfig(run="r", data="d", episodes=0), "episodes must be at least 1, got 0"),
        (lambda: PlanConfig(run="r", data="d", samples=1.5), "samples must be at least 1, got 1.5"),
        (lambda: PlanConfig(run="r", data="d", protocol="x"), "protocol must be droid or recon, got 'x'"),
        (lambda: PlanConfig(run="r", data="d", solver="x"), "solver must be cem, icem or mppi"),
        (lambda: PlanConfig(run="r", data="d", seed=-1), "seed must be 0 to"),
        (lambda: PlanConfig(run="r", data="d", tolerance=float("nan")), "tolerance must be"),
        (lambda: PlanConfig(run=None, data=3), "data must be a path, got 3"),
        (lambda: PlayConfig(run="r", world="moon"), "world must be arm, nav or pusht, got 'moon'"),
        (lambda: PlayConfig(run="r", world="nav", baselines=3), "baselines must be a list of paths, got 3"),
        (lambda: EvaluateConfig(run="r", bounds=[1]), "bounds must be a list of paths"),
        (lambda: IndexConfig(path="p", held_out=2), "^held_out is 2: give a share"),
        (lambda: InferConfig(run="r", videos=[]), "videos is empty"),
        (lambda: TransferConfig(run="r", source="a", target="b", seconds=0), "seconds must be a positive number"),
    ],
)
def test_values_out_of_their_range_are_named_by_their_field(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_texts_become_paths():
    config = PlanConfig(run="r", data="d", baselines="b")
    assert (config.run, config.data, config.baselines) == (Path("r"), Path("d"), [Path("b")])
    assert InferConfig(run="r", videos="a.mp4").videos == [Path("a.mp4")]
