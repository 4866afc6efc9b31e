import itertools

import pytest
import torch

from wildlam.models import ModelConfig
from wildlam.training.optimizers import Muon, MuonAdamW, OptimizerConfig, is_hidden_matrix, warmup_cosine


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ModelConfig().build(6, (2, 2))


def test_schedule_rises_to_one_and_falls_to_zero():
    factors = [warmup_cosine(step, 100, 0.1) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0.0)
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))


@pytest.mark.parametrize(
    "bad", [{"muon_lr": 0.0}, {"adamw_lr": float("nan")}, {"warmup": 1.5}, {"weight_decay": -1.0}, {"beta2": 1.0}]
)
def test_impossible_settings_are_named(bad):
    with pytest.raises(ValueError, match=f"training.optimizer.{next(iter(bad))}"):
        OptimizerConfig(**bad)


def test_muon_takes_the_hidden_matrices_and_adamw_the_rest(model):
    hidden = {name for name, p in model.named_parameters() if is_hidden_matrix(name, p)}
    assert "world_model.blocks.0.attention.qkv.weight" in hidden
    assert "idm.transformer.blocks.0.mlp.up.weight" in hidden
    idm = ("idm.linear.head.weight", "idm.transformer.embed.weight", "idm.transformer.blocks.0.norm1.weight")
    for name in ("world_model.embed.weight", "world_model.head.weight", *idm):
        assert name in dict(model.named_parameters())
        assert name not in hidden
    assert "world_model.blocks.0.modulation.linear.weight" in hidden
    adamw, muon = MuonAdamW(model, OptimizerConfig()).optimizers
    trained = [p for o in (adamw, muon) for g in o.param_groups for p in g["params"]]
    assert len(trained) == len(set(trained)) == len(list(model.parameters()))
    assert all(p.ndim == 2 for g in muon.param_groups for p in g["params"])


def test_adamw_alone_takes_all(model):
    (adamw,) = MuonAdamW(model, OptimizerConfig(muon=False, beta2=0.999)).optimizers
    assert sum(len(group["params"]) for group in adamw.param_groups) == len(list(model.parameters()))
    assert all(group["betas"] == (0.9, 0.999) for group in adamw.param_groups)
    decayed = {p for group in adamw.param_groups if group["weight_decay"] for p in group["params"]}
    assert {p.ndim for p in decayed} == {2}


def test_matrices_orthogonalised_together_take_the_steps_of_pytorchs_muon():
    torch.manual_seed(0)
    start = [torch.randn(shape) for shape in ((12, 4), (4, 12), (8, 8), (12, 4), (12, 4))]
    ours, theirs = ([torch.nn.Parameter(p.clone()) for p in start] for _ in range(2))
    pair = [
        (ours, Muon(ours, lr=0.02, weight_decay=0.1)),
        (theirs, torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1)),
    ]
    for _ in range(5):
        gradients = [torch.randn_like(p) for p in start]
        for parameters, optimizer in pair:
            for p, gradient in zip(parameters, gradients, strict=True):
                p.grad = gradient.clone()
            optimizer.step()
    for a, b, before in zip(ours, theirs, start, strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=0)
        assert (a - before).abs().max() > 0.02


def test_only_matrices_decay(model):
    adamw = MuonAdamW(model, OptimizerConfig(weight_decay=0.5)).optimizers[0]
    for group in adamw.param_groups:
        assert all((p.ndim == 2) == (group["weight_decay"] == 0.5) for p in group["params"])


def test_state_round_trip_gives_the_same_next_step(model):
    def step(net, optimizer, seed):
        torch.manual_seed(seed)
        net(torch.randn(2, 3, 4, 6)).total.backward()
        optimizer.set_progress(seed, 10)
        optimizer.step()
        optimizer.zero_grad()

    optimizer = MuonAdamW(model, OptimizerConfig())
    for seed in range(3):
        step(model, optimizer, seed)
    twin = ModelConfig().build(6, (2, 2))
    twin.load_state_dict(model.state_dict())
    restored = MuonAdamW(twin, OptimizerConfig())
    restored.load_state_tensors({k: v.clone() for k, v in optimizer.state_tensors().items()})
    step(model, optimizer, 3)
    step(twin, restored, 3)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
