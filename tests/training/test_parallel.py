"""Real processes over gloo: a model whole in each, in parts, or both, takes the steps of one process alone."""

import json
import os
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from wildlam.distributed import Processes
from wildlam.errors import WildlamError
from wildlam.fileio import locked
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Noisy
from wildlam.models.transformer import SIZES
from wildlam.runs import checkpoints
from wildlam.runs.folder import Run
from wildlam.training import TrainingConfig
from wildlam.training.parallel import compile_blocks, parallelise, recompute

from ..helpers import ranks, save_tiny

TOLERANCE = 1e-8
"""Of the largest entry of each tensor, in float64: sums are made in another order."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The steps of one process; of the processes that run these tests the first takes them, for all."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    out = folder / "alone.safetensors"
    with locked(out, "training"):
        if not out.is_file():
            ranks(1, "training/shared_steps.py", out, "--compiled")
    return load_file(out)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_models")
def test_compiled_blocks_compute_the_same(monkeypatch):
    """Traced by PyTorch's compiler but not made into kernels, which takes long; recomputed, as large models are."""
    monkeypatch.setitem(SIZES, "tiny", replace(SIZES["tiny"], depth=1))  # each block is traced by itself
    gradients, unrolled = [], []
    for compiled in (False, True):
        torch.manual_seed(0)
        model = ModelConfig(bottleneck=Noisy(dim=4)).build(6, (2, 2))
        torch.nn.init.normal_(model.world_model.head.weight)
        if compiled:
            recompute(model)
            compile_blocks(model, backend="eager")
        states = torch.randn(2, 3, 4, 6)
        model(states).total.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        with torch.no_grad():
            unrolled.append(model.eval().rollout(states[:, :2], torch.randn(2, 3, 2, 4)))
    assert gradients[0].keys() == gradients[1].keys()  # those of an ordinary checkpoint
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, msg=name)
    torch.testing.assert_close(*unrolled)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bottleneck", "how"),
    [("Unconstrained", "2"), ("Noisy", "2"), ("Deterministic", "2"), ("Noisy", "compiled")],
)
def test_neither_accumulation_nor_compilation_changes_the_steps(alone, bottleneck, how):
    """Of ``Sparse`` and ``Discrete`` accumulation does: their moments are those of a part."""
    plain = {name: tensor for name, tensor in alone.items() if name.startswith(f"{bottleneck}.1.")}
    assert len(plain) > 50
    for name, expected in plain.items():
        scale = max(float(expected.abs().max()), 1e-3)
        other = alone[name.replace(".1.", f".{how}.", 1)]
        torch.testing.assert_close(other, expected, atol=TOLERANCE * scale, rtol=0, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "shard"), [(2, 1), (2, 2), (4, 2)], ids=["DDP", "FSDP2", "HSDP"])
def test_the_steps_are_those_of_one_process(alone, processes, shard, tmp_path):
    compiled = ("--compiled",) if processes == 2 else ()  # takes long to trace
    ranks(processes, "training/shared_steps.py", tmp_path / "shared.safetensors", "--shard", shard, *compiled)
    shared = load_file(tmp_path / "shared.safetensors")
    left_out = [f"{bottleneck}.2." for bottleneck in ("Unconstrained", "Sparse", "Deterministic")]
    left_out += [] if compiled else ["Noisy.compiled."]
    expected_of = {name: tensor for name, tensor in alone.items() if not name.startswith(tuple(left_out))}
    assert shared.keys() == expected_of.keys()
    for name, expected in expected_of.items():
        scale = max(float(expected.abs().max()), 1e-3)
        torch.testing.assert_close(shared[name], expected, atol=TOLERANCE * scale, rtol=0, msg=name)


@pytest.mark.slow
def test_an_encoder_in_parts_makes_the_same_states(videos, tmp_path):
    """Training encodes every step's clips; the states, and so the whole run, are those of whole encoders."""
    model = save_tiny(tmp_path / "vjepa2")
    for name, how in (("whole", ()), ("parts", ("--parts",))):
        ranks(2, "training/encoder_in_parts.py", videos, model, tmp_path / name, *how)
    runs = [Run(tmp_path / name) for name in ("whole", "parts")]
    assert runs[0].metrics() == runs[1].metrics()
    results = [json.loads((run.path / "results.json").read_text())["all"] for run in runs]
    assert results[0] == results[1]  # of the main process, which has put its encoder together again
    held = [int((run.path / "held_0").read_text()) for run in runs]
    assert held[1] < 0.6 * held[0]


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(tmp_path):
    """Broken off after five steps of ten and gone on by others, it ends as a run left alone: weights and optimiser."""
    alone, parts, copies = ("--exact",), ("--exact", "--shard", 2), ("--exact", "--shard", 2)
    ranks(1, "training/tiny_run.py", tmp_path / "unbroken", 10, *alone)
    ranks(2, "training/tiny_run.py", tmp_path / "parts then one", 10, "--until", 5, *parts)
    shutil.copytree(tmp_path / "parts then one", tmp_path / "two then four")
    ranks(1, "training/tiny_run.py", tmp_path / "parts then one", 10, "--resume", *alone)
    shutil.copytree(tmp_path / "unbroken", tmp_path / "one then parts")
    shutil.rmtree(checkpoints.last(Run(tmp_path / "one then parts").checkpoints).path)  # as if broken off after five
    ranks(2, "training/tiny_run.py", tmp_path / "one then parts", 10, "--resume", *parts)
    assert len(list((checkpoints.last(Run(tmp_path / "two then four").checkpoints).path / "state").iterdir())) == 2
    ranks(4, "training/tiny_run.py", tmp_path / "two then four", 10, "--resume", *copies)
    unbroken = checkpoints.last(Run(tmp_path / "unbroken").checkpoints)
    for name in ("parts then one", "one then parts", "two then four"):
        found = checkpoints.last(Run(tmp_path / name).checkpoints)
        assert found.step == unbroken.step == 10
        for expected, tensors in (
            (unbroken.model_tensors(), found.model_tensors()),
            (unbroken.state_tensors(), found.state_tensors()),
        ):
            assert expected.keys() == tensors.keys()
            for key, tensor in expected.items():
                scale = max(float(tensor.abs().max()), 1e-3)
                close = {"atol": TOLERANCE * scale, "rtol": 0, "msg": f"{name}: {key}"}
                torch.testing.assert_close(tensors[key], tensor, **close)


@pytest.mark.slow
def test_parts_in_bfloat16_learn_as_one_process_does(tmp_path):
    ranks(1, "training/tiny_run.py", tmp_path / "alone", 10, "--quiet")
    ranks(2, "training/tiny_run.py", tmp_path / "parts", 10, "--quiet", "--shard", 2)
    alone, parts = ([row["loss"] for row in Run(tmp_path / name).metrics()] for name in ("alone", "parts"))
    assert parts == pytest.approx(alone, rel=0.02)
    assert alone[-1] != alone[0]


def test_what_cannot_be_shared_is_refused():
    with pytest.raises(WildlamError, match=r"training.shard=3 does not divide 2 process\(es\)"):
        parallelise(torch.nn.Linear(2, 2), Processes(0, 2, torch.device("cpu")), 3, bf16=False)
    with pytest.raises(WildlamError, match=r"training.shard=2 does not divide 1"):
        parallelise(torch.nn.Linear(2, 2), Processes(0, 1, torch.device("cpu")), 2, bf16=False)
    with pytest.raises(ValueError, match=r"training.ema averages whole models"):
        TrainingConfig(ema=0.9, shard=2)
