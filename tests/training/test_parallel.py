"""Real processes over gloo: a model whole in each, in parts, or both, takes the steps of one process alone."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Noisy
from wildlam.training import Run, TrainingConfig, checkpoints
from wildlam.training.distributed import Processes
from wildlam.training.parallel import compile_blocks, recompute, share
from wildlam.types import WildlamError

from .test_distributed import HERE, torchrun

TOLERANCE = {"loss": 1e-5, "gradient": 5e-6, "parameter": 5e-4}
"""Of the largest entry of each tensor, in float32: sums are made in another order, and where an L1 error is about 0 its
sign, and so its gradient, may turn."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "one.safetensors"
    subprocess.run([sys.executable, str(HERE / "shared_steps.py"), str(out)], check=True, timeout=110)
    return load_file(out)


@pytest.mark.usefixtures("tiny_models")
def test_compiled_blocks_compute_the_same():
    """Traced by PyTorch's compiler but not made into kernels, which takes long; recomputed, as large models are."""
    gradients, unrolled = [], []
    for compiled in (False, True):
        torch.manual_seed(0)
        model = ModelConfig(bottleneck=Noisy(dim=4)).build(6, (2, 2))
        torch.nn.init.normal_(model.world_model.head.weight)
        if compiled:
            recompute(model)
            compile_blocks(model, backend="eager")
        states = torch.randn(2, 4, 4, 6)
        model(states).total.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        with torch.no_grad():
            unrolled.append(model.eval().rollout(states[:, :2], torch.randn(2, 3, 2, 4)))
    assert gradients[0].keys() == gradients[1].keys()  # those of an ordinary checkpoint
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, msg=name)
    torch.testing.assert_close(*unrolled)


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "shard"), [(2, 1), (2, 2), (4, 2)], ids=["DDP", "FSDP2", "HSDP"])
def test_the_steps_are_those_of_one_process(alone, processes, shard, tmp_path):
    torchrun(processes, "shared_steps.py", tmp_path / "shared.safetensors", "--shard", shard)
    shared = load_file(tmp_path / "shared.safetensors")
    assert shared.keys() == alone.keys()
    for name, expected in alone.items():
        kind = name.split(".")[2]
        scale = max(float(expected.abs().max()), 1e-3)
        torch.testing.assert_close(shared[name], expected, atol=TOLERANCE[kind] * scale, rtol=0, msg=name)


@pytest.mark.slow
def test_a_run_in_parts_goes_on_whole_and_the_other_way_round(tmp_path):
    """Others read what some wrote: 10 steps in parts, or 5 in parts and 5 whole, or the other way round."""
    parts, whole = ("--exact", "--shard", 2), ("--exact",)
    one = [sys.executable, str(HERE / "tiny_run.py")]
    torchrun(2, "tiny_run.py", tmp_path / "parts", 10, *parts)
    torchrun(2, "tiny_run.py", tmp_path / "whole", 5, *parts)
    subprocess.run([*one, str(tmp_path / "whole"), "10", "--resume", *whole], check=True, timeout=110)
    subprocess.run([*one, str(tmp_path / "back"), "5", *whole], check=True, timeout=110)
    torchrun(2, "tiny_run.py", tmp_path / "back", 10, "--resume", *parts)
    found = {name: checkpoints.last(Run(tmp_path / name).checkpoints) for name in ("parts", "whole", "back")}
    assert {checkpoint.step for checkpoint in found.values()} == {10}
    shapes = [{k: v.shape for k, v in checkpoint.state_tensors().items()} for checkpoint in found.values()]
    assert shapes[0] == shapes[1] == shapes[2]
    assert len(list((found["parts"].path / "state").iterdir())) == 2
    # The learning rate's schedule is that of 5 steps until the fifth, so only the last two are of one course.
    for key, expected in found["whole"].model_tensors().items():
        torch.testing.assert_close(found["back"].model_tensors()[key], expected, atol=0.02, rtol=0.05, msg=key)


def test_what_cannot_be_shared_is_refused():
    with pytest.raises(WildlamError, match=r"training.shard=3 does not divide 2 process\(es\)"):
        share(torch.nn.Linear(2, 2), Processes(0, 2, torch.device("cpu")), 3, bf16=False)
    with pytest.raises(WildlamError, match=r"training.shard=2 does not divide 1"):
        share(torch.nn.Linear(2, 2), Processes(0, 1, torch.device("cpu")), 2, bf16=False)
    with pytest.raises(ValueError, match=r"training.ema averages whole models"):
        TrainingConfig(ema=0.9, shard=2)
