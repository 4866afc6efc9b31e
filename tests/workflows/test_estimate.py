"""Costs counted without training, against those of real training steps."""

import functools
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from wildlam import cli
from wildlam.config import RunConfig
from wildlam.encoders import VJEPA2, Lite0
from wildlam.errors import WildlamError
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Discrete, Noisy
from wildlam.models.consistency import Composition, Cycle
from wildlam.models.inverse_dynamics import Transformer
from wildlam.models.transformer import SIZES
from wildlam.training import TrainingConfig
from wildlam.training.optimizers import MuonAdamW
from wildlam.video.config import DataConfig
from wildlam.workflows.estimate import GPUS, estimate, flop_counter, text


def config(**training) -> RunConfig:
    return RunConfig(
        data=DataConfig(path=Path("videos")),
        encoder=Lite0(image_size=64),
        model=training.pop("model", ModelConfig(size="nano")),
        training=TrainingConfig(batch_size=16, **training),
        action_free=False,
    )


@pytest.fixture(autouse=True, scope="module")
def _shallow():
    """Models of one block, as three take longer and show no more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "nano", replace(SIZES["nano"], depth=1))
        yield


@functools.cache
def cost(processes=1, accelerated=True, **training):
    """What ``config(**training)`` costs; each is counted once, as that takes seconds."""
    return estimate(config(**training), processes, accelerated)


def usual():
    return cost()


def real_step(of: RunConfig, clips: int):
    """A model of the configuration, its optimiser with all of its state, and one real step."""
    model = of.model.build(448, (2, 2))
    optimizer = MuonAdamW(model, of.training.optimizer)
    states = torch.randn(clips, 8, 4, 448)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=of.training.bf16(torch.device("cpu"))):
            loss = model(states).total
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    step()
    held = [states, *model.parameters(), *model.buffers(), *optimizer.state_tensors().values()]
    return step, sum(t.numel() * t.element_size() for t in held)


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"bottleneck": Discrete()},
        {"place": False},
        {"idm": Transformer()},
        {"consistency": Composition()},
        {"consistency": Cycle()},
    ],
    ids=str,
)
def test_operations_are_those_of_a_real_step(choice):
    model = ModelConfig(size="nano", **choice)
    found = cost(accelerated=False, model=model)
    step, _ = real_step(config(model=model), 16)
    with flop_counter() as counter:
        step()
    assert sum(found.flops.values()) + found.optimizer_flops == counter.get_total_flops()


def test_attention_counts_whatever_computes_it():
    """In one kernel the backward pass makes the scores again: five products for the four of an explicit one."""
    queries, width = 7 * 4, 128
    product = 2 * queries * queries * width
    with flop_counter() as counter:
        x = torch.zeros(1, 4, queries, width // 4, requires_grad=True)
        torch.nn.functional.scaled_dot_product_attention(x, x, x).sum().backward()
    assert counter.get_total_flops() == (2 + 5) * product
    explicit, fused = cost(accelerated=False, model=ModelConfig(size="nano")), usual()
    blocks = len(config().model.build(448, (2, 2)).world_model.blocks)
    assert fused.flops["world model"] - explicit.flops["world model"] == 16 * blocks * product


def test_operations_are_near_six_for_each_parameter_and_token():
    """Two for each product forward, four backward; attention and what sees a frame once are small beside it.

    But for Split and models that know places: they have large maps that see a transition once.
    """
    found = cost(model=ModelConfig(size="nano", idm=Transformer(), place=False, bottleneck=Noisy(dim=32)))
    tokens = 16 * 7 * 4
    model = found.parameters["world model"] + found.parameters["inverse dynamics model"]
    assert sum(found.flops.values()) < 6 * model * tokens
    assert sum(found.flops.values()) > 3 * model * tokens


def test_recomputing_spares_memory_for_more_operations():
    plain, again = usual(), cost(recompute=True)
    assert again.memory["act"] < 0.7 * plain.memory["act"]
    assert 1.1 < sum(again.flops.values()) / sum(plain.flops.values()) < 1.4


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_memory_is_that_of_a_real_step(precision):
    of = config(precision=precision, accumulate=2)
    found = estimate(of, accelerated=False)
    step, held = real_step(of, 8)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    more = most = 0
    for event in sorted(profiler.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            more += event.nbytes()
            most = max(most, more)
    assert found.part == 8
    assert found.memory["total"] == pytest.approx(held + most, rel=0.1)


def test_sharing_among_processes_leaves_the_operations_and_spares_memory():
    one, four = usual(), cost(processes=4)
    assert four.flops == one.flops
    assert four.memory["act"] < 0.5 * one.memory["act"]
    assert four.memory["param"] == one.memory["param"]
    assert four.memory["grad"] >= one.memory["param"]  # DDP's buckets
    parts = cost(processes=4, shard=4)
    assert parts.memory["param"] == one.memory["param"] // 4
    assert parts.memory["total"] < four.memory["total"]
    assert parts.memory["total"] == sum(size for kind, size in parts.memory.items() if kind != "total")
    h100 = GPUS["H100"]
    assert one.step_seconds(h100, 1, 0.5) == pytest.approx(2 * one.step_seconds(h100, 1, 1.0))
    assert four.step_seconds(h100, 4, 0.5) < one.step_seconds(h100, 1, 0.5)
    with pytest.raises(WildlamError, match=r"training.batch_size=16 cannot be shared by 3 processes"):
        estimate(config(), processes=3)


def test_an_encoder_in_parts_is_held_in_parts(monkeypatch):
    """All of V-JEPA 2-L's 24 blocks but the two in use, and what is in no block."""
    encoder = VJEPA2().hollow()
    monkeypatch.setattr(VJEPA2, "hollow", lambda self: encoder)
    monkeypatch.setattr(type(encoder), "encode", lambda self, video: None)  # its operations are not asked for
    of = config(shard=4, shard_encoder=True)
    found = estimate(replace(of, encoder=VJEPA2(), data=replace(of.data, store=False)), processes=4)
    whole = found.parameters["encoder (frozen)"] * encoder.dtype.itemsize
    assert found.memory["encoder"] == pytest.approx(whole * (1 / 4 + 2 / 24), rel=0.03)


def test_what_is_encoded_before_is_told():
    assert "more (" not in text(usual(), "H100", 1, 0.4)
    of = config()
    found = estimate(replace(of, data=replace(of.data, fps=8)))
    assert found.hour_bytes == 8 * 3600 * 4 * 448 * 2  # an hour of 2 x 2 tokens in bfloat16
    assert found.hour_flops == pytest.approx(2 * usual().hour_flops)
    assert found.flops["encoder"] == 0  # of a step
    assert "of one GPU, without decoding, and 0.103 GB of disk" in text(found, "H100", 1, 0.4)


def test_what_is_trained_beside_is_told_and_the_encoder_of_both_is_counted_once(monkeypatch):
    """Its operations on a clip, that is; without a store each training encodes its clips anew."""
    calls, encode = [], type(Lite0().hollow()).encode
    monkeypatch.setattr(
        type(Lite0().hollow()), "encode", lambda self, video: calls.append(len(video)) or encode(self, video)
    )
    found = estimate(replace(config(), data=replace(config().data, store=False), action_free=True))
    assert calls == [1]
    assert found.baseline.flops["encoder"] == found.flops["encoder"] > 0
    assert re.search(r"baseline +\S+ \w+ more", text(found, "H100", 1, 0.4))


@pytest.mark.parametrize(
    ("memory", "part", "recomputed", "remedy"),
    [
        ({"param": 20e9, "opt": 20e9, "act": 0}, 1, False, "raise training.shard"),
        ({"param": 1e9, "act": 30e9}, 4, False, "raise training.accumulate"),
        ({"param": 1e9, "act": 30e9}, 1, False, "give training.recompute true"),
        ({"param": 1e9, "act": 30e9}, 1, True, "raise training.shard"),
    ],
)
def test_what_does_not_fit_is_told_what_would_help(memory, part, recomputed, remedy):
    memory = memory | {"total": sum(memory.values())}
    found = replace(usual(), memory=memory, part=part, recomputed=recomputed)
    told = text(found, "RTX4090", 1, 0.4)
    assert re.search(rf"does not fit: .*{remedy}\n", told)
    assert ("no activations are held" in told) == (memory["act"] == 0)


@pytest.mark.slow
def test_the_command_tells_costs_without_videos(capsys):
    small = ["--model.size", "nano", "--encoder.image_size", "64", "--data.store", "false"]
    cli.main(["train", "--estimate", *small, "--gpus", "2", "--gpu", "A100", "--action_free", "false"])
    told = capsys.readouterr().out
    for words in ("world model", "Time on 2 x A100", "encoder (frozen)", "videos of 1 Mbit/s", "A100 has 75 GiB: fits"):
        assert words in told
    cli.main(["train", "--estimate", *small, "--training.batch_size", "2"])
    told = capsys.readouterr().out
    for words in ("world model", "Time on this machine", "measured on a few steps", "this machine has"):
        assert words in told
    assert re.search(r"\n  1,000 steps +[\d.]+ (s|minutes|hours)\n", told)
    assert "H100 at" not in told
    assert not Path("videos").exists()
    assert cli.main(["train", "--estimate", "--gpus", "0"]) == 2
    assert "--gpus must be at least 1" in capsys.readouterr().err
