"""The recipes in ``configs/``: each parses, fits its encoder's states, and says nothing without a reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from wildlam.config import Parser, RunConfig, run_parser, to_config
from wildlam.encoders import HFImage, Lite0
from wildlam.encoders.base import fast_dtype
from wildlam.models.bottlenecks import Discrete, Noisy, Sparse
from wildlam.models.transformer import SIZES
from wildlam.training.optimizers import MuonAdamW
from wildlam.types import EncoderSpec
from wildlam.workflows.controller import ControllingConfig
from wildlam.workflows.decoder import DecodingConfig

FOLDER = Path(__file__).parent.parent / "configs"
RECIPES = sorted(FOLDER.glob("*.yaml"))
DINOV2_BASE = (14, 768)  # patch and width of facebook/dinov2-base


def parse(*arguments: str) -> RunConfig:
    parser = run_parser()
    return to_config(RunConfig, parser, parser.parse_args([*arguments, "--data.path", "videos"]))


def states(config: RunConfig) -> tuple[int, tuple[int, int]]:
    """Width and grid of the states, which the encoder itself would tell if its weights were at hand."""
    encoder = config.encoder
    if isinstance(encoder, Lite0):
        side, width = encoder.image_size // 16 // encoder.pool // encoder.fold, 112 * encoder.fold**2
    elif isinstance(encoder, HFImage):
        assert encoder.model == "facebook/dinov2-base"
        patch, width = DINOV2_BASE
        assert encoder.image_size % patch == 0
        side = encoder.image_size // patch
    else:
        transformers = pytest.importorskip("transformers")
        large = transformers.VJEPA2Config()  # its defaults are those of vjepa2-vitl-fpc64-256
        side, width = large.crop_size // large.patch_size, large.hidden_size
    return width, (side, side)


EXPECTED = {
    "laptop": (448, (4, 4), Noisy, 8),
    "sparse": (448, (4, 4), Sparse, 8),
    "discrete": (448, (4, 4), Discrete, 8),
    "gpu_dinov2": (768, (16, 16), Noisy, 8),
    "paper_vitl": (1024, (16, 16), Noisy, 16),
}


def test_every_recipe_is_expected_here():
    assert {path.stem for path in RECIPES} == set(EXPECTED)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_builds_its_model(path):
    config = parse("--config", str(path))
    width, grid, bottleneck, frames = EXPECTED[path.stem]
    assert states(config) == (width, grid)
    assert isinstance(config.model.bottleneck, bottleneck)
    assert config.data.frames == frames
    assert config.training.save_every % config.training.eval_every == 0
    with torch.device("meta"):
        model = config.model.build(width, grid)
    assert model.state_shape == (grid[0] * grid[1], width)
    assert model.bottleneck.dim == config.model.bottleneck.dim


def test_recipes_of_a_limit_override_the_laptop_recipe():
    laptop = str(FOLDER / "laptop.yaml")
    plain = parse("--config", laptop)
    for name, limit in (("sparse", Sparse), ("discrete", Discrete)):
        both = parse("--config", laptop, "--config", str(FOLDER / f"{name}.yaml"))
        assert isinstance(both.model.bottleneck, limit)
        assert (both.data, both.encoder, both.training) == (plain.data, plain.encoder, plain.training)


def test_paper_vitl_has_the_papers_numbers():
    config = parse("--config", str(FOLDER / "paper_vitl.yaml"))
    assert (config.training.batch_size, config.training.steps) == (1024, 30_000)
    assert (config.model.size, config.model.bottleneck.dim, config.data.fps) == ("L", 128, 4.0)
    assert not config.action_free


@pytest.mark.parametrize(
    ("overrides", "width", "depth"),
    [
        ([], 1024, 24),
        (["--model.size", "H"], 1280, 32),
        (["--model.size", "g"], 1408, 40),
        (["--model.bottleneck", "Sparse", "--model.bottleneck.dim", "128"], 1024, 24),
        (["--model.bottleneck", "Discrete", "--model.bottleneck.dim", "128"], 1024, 24),
    ],
)
def test_paper_vitl_and_its_variants_have_the_parameters_of_their_sizes(overrides, width, depth):
    config = parse("--config", str(FOLDER / "paper_vitl.yaml"), *overrides)
    with torch.device("meta"):
        model = config.model.build(1024, (16, 16))
        z = model.infer(torch.zeros(2, 8, 256, 1024))
    assert z.shape == (2, 7, 128)
    block = 12 * width**2 + 6 * width * (256 + 1)  # queries to values, output, MLP; AdaLN of a latent action of 256
    ends = 2 * width * 1024 + width + 1024 + 256 * (128 + 1) + 2 * width * (256 + 1)
    assert sum(p.numel() for p in model.world_model.parameters()) == depth * block + ends
    assert len(model.idm.blocks) == depth // 2
    assert all(tuple(b.attention.qkv.weight.shape) == (3 * width, width) for b in model.world_model.blocks)


SPEC = EncoderSpec("vjepa2", 2, (16, 16), 1024, 256, "past", "0")  # V-JEPA 2-L


def part_of(config: type, folder: str) -> Any:
    """The configuration of a decoder or controller, as ``wildlam decoder|controller train --config`` reads it."""
    parser = Parser()
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(config)
    data = ["--data", "labelled"] if config is ControllingConfig else []
    return to_config(config, parser, parser.parse_args(["--config", str(FOLDER / folder / "paper_vitl.yaml"), *data]))


def test_the_papers_controller():
    config = part_of(ControllingConfig, "controller")
    training, optimizer = config.training, config.training.optimizer
    assert (training.steps, training.batch_size, optimizer.warmup) == (3000, 256, 0.1)
    assert (optimizer.muon, optimizer.adamw_lr, optimizer.weight_decay) == (False, 1e-3, 0.04)
    assert (optimizer.beta1, optimizer.beta2) == (0.9, 0.999)
    assert config.controller.prediction == 0
    with torch.device("meta"):
        controller = config.controller.build(SPEC, 7, 128)
        z = controller.act(torch.zeros(3, 7), torch.zeros(3, 256, 1024))
        (only,) = MuonAdamW(controller, optimizer).optimizers
    assert z.shape == (3, 128)
    assert isinstance(only, torch.optim.AdamW)
    assert len(controller.blocks) == 2
    attention = sum(p.numel() for p in controller.blocks.parameters())
    assert attention == 2 * (12 * 1024**2 + 4 * 1024)  # two blocks of ViT-L, with their norms


def test_the_papers_decoder():
    config = part_of(DecodingConfig, "decoder")
    training, optimizer = config.training, config.training.optimizer
    assert (training.steps, training.batch_size) == (90_000, 512)
    assert optimizer.warmup * training.steps == pytest.approx(12_000, rel=1e-3)
    assert (optimizer.muon_lr, optimizer.adamw_lr, optimizer.weight_decay) == (0.02, 3e-4, 0.01)
    assert training.batch_size % training.accumulate == 0
    with torch.device("meta"):
        decoder = config.decoder.build(SPEC)
        pictures = decoder.decode(torch.zeros(1, 2, 256, 1024))
    assert pictures.shape[-2:] == (256, 256)
    assert len(decoder.blocks) == 24
    assert sum(p.numel() for p in decoder.blocks.parameters()) == 24 * (12 * 1024**2 + 4 * 1024)


@pytest.mark.slow
def test_a_real_step_of_vit_l(monkeypatch):
    """Of its width, with 4 of its 24 blocks, at batch 1, with fewer frames: 2 states of 256 tokens."""
    monkeypatch.setitem(SIZES, "L", replace(SIZES["L"], depth=4))
    config = parse("--config", str(FOLDER / "paper_vitl.yaml"))
    torch.manual_seed(0)
    model = config.model.build(1024, (16, 16))
    optimizer = MuonAdamW(model, config.training.optimizer)
    for group in optimizer.optimizers[1].param_groups:
        group["ns_steps"] = 1  # five take long
    states = torch.randn(1, 2, 256, 1024)
    before = {name: p[:1].clone() for name, p in model.named_parameters()}
    # Emulated, bfloat16 would take this step half an hour.
    with torch.autocast("cpu", torch.bfloat16, enabled=fast_dtype(torch.device("cpu")) == torch.bfloat16):
        loss = model(states).total
    loss.backward()
    optimizer.set_progress(5000, config.training.steps)
    optimizer.step()
    assert loss.isfinite()
    moved = [name for name, p in model.named_parameters() if not torch.equal(p[:1], before[name])]
    assert "world_model.head.weight" in moved
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_begins_with_what_it_is_for_and_its_command(path):
    head = path.read_text().split("\n\n")[0]
    assert head.startswith("# What for:")
    assert "# Needs:" in head
    assert f"--config configs/{path.name}" in head


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_keys_differ_from_the_default_or_have_a_comment(path):
    text = path.read_text()
    lines = text.splitlines()
    chosen = parse("--config", str(path))
    for keys, line in leaves(yaml.compose(text)):
        value, default = chosen, RunConfig(data=type(chosen.data)(path=Path("videos")))
        for key in keys:
            if key == "init_args":
                if type(value) is not type(default):
                    default = type(value)()  # keys of another class than the default one: against its own defaults
            elif key == "class_path":
                value, default = type(value), type(default)
            else:
                value, default = getattr(value, key), getattr(default, key)
        comment = lines[line].partition("#")[2].strip()
        name = ".".join(keys)
        assert value != default or comment, f"{name} is the default and has no comment"
        assert value == default or not comment.startswith("default"), f"{name}: the default is {default}"


def leaves(node, keys=()):
    """Paths of keys to the scalars of a YAML tree, and the lines these stand on."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from leaves(value, (*keys, key.value))
    else:
        yield keys, node.start_mark.line
