"""Sampling and shape of latent spaces with known answers."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from wildlam.evaluation import latent_space as latent_spaces
from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.latent_space import latent_space
from wildlam.evaluation.two_sample import two_sample
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Adaptive, Deterministic, Discrete, Noisy, Sparse, Unconstrained

VIDEOS, CLIPS, STEPS, WIDTH = 20, 2, 5, 4
NAMES = [f"v{i // CLIPS}" for i in range(VIDEOS * CLIPS)]


def clips(z):
    states = torch.randn(len(z), z.shape[1] + 1, 4, 3, generator=torch.Generator().manual_seed(9))
    names = NAMES[: len(z)]
    return InferredClips(states, z, names, ["x"] * len(z), torch.zeros(len(z), z.shape[1] + 1))


def normal(seed, *shape):
    return torch.randn(*(shape or (VIDEOS * CLIPS, STEPS, WIDTH)), generator=torch.Generator().manual_seed(seed))


class Linear(nn.Module):
    """Adds a linear map of the action to all tokens; samples as the bottleneck it is given."""

    def __init__(self, bottleneck=None):
        super().__init__()
        self.weight = nn.Parameter(normal(5, WIDTH, 3))
        if bottleneck is not None:
            self.bottleneck = bottleneck.build()

    def predict(self, states, actions):
        return states + (actions @ self.weight)[:, :, None]


class Even(Linear):
    """Does the same for an action and for its opposite."""

    def predict(self, states, actions):
        return super().predict(states, actions.abs())


def test_samples_of_the_same_distribution_cannot_be_told_apart():
    found = [two_sample(clips(normal(seed)), normal(100 + seed), seed) for seed in range(12)]
    assert sum(test.accuracy.mean for test in found) / 12 == pytest.approx(0.5, abs=0.03)
    assert sum(test.p_value < 0.1 for test in found) <= 4
    assert max(test.coefficient for test in found) < 0.02


@pytest.mark.parametrize("change", [lambda z: z + 0.7, lambda z: 2 * z])
def test_a_shift_and_a_wider_spread_are_caught(change):
    test = two_sample(clips(normal(0)), change(normal(1)))
    assert test.p_value < 0.01
    assert test.accuracy.low > 0.5
    assert test.coefficient > 0.02


def test_videos_whose_moments_are_alike_do_not_feign_a_difference():
    # One latent action for each video, of the very distribution of the samples.
    found = []
    for seed in range(12):
        z = normal(seed, VIDEOS, 1, WIDTH).repeat_interleave(CLIPS, dim=0).expand(-1, STEPS, -1)
        found.append(two_sample(clips(z), normal(100 + seed), seed))
    assert sum(test.p_value < 0.1 for test in found) <= 4
    assert sum(test.accuracy.mean for test in found) / 12 < 0.6


def test_another_camera_of_a_recording_is_no_neighbour():
    """Cameras that infer the very same would each find the other, and tell inferred from sampled in every case."""
    z = normal(0)
    z[1::2] = z[::2]
    both = clips(z)
    apart, together = replace(both, names=[f"c{i}" for i in range(len(z))], recordings=[]), both
    assert two_sample(apart, normal(1)).accuracy.mean > 0.6
    assert two_sample(together, normal(1)).accuracy.mean == pytest.approx(0.5, abs=0.08)


def test_two_points_are_as_far_apart_as_can_be():
    test = two_sample(clips(torch.zeros(40, 5, 4)), torch.ones(40, 5, 4))
    assert test.coefficient == pytest.approx(1)
    assert test.accuracy.mean == 1


def test_equal_codes_are_told_apart_by_how_often_they_come():
    def codes(seed, common):
        drawn = torch.rand(len(NAMES), STEPS, generator=torch.Generator().manual_seed(seed)) < common
        return torch.eye(WIDTH)[drawn.long()]

    same = two_sample(clips(codes(0, 0.9)), codes(1, 0.9))
    assert same.accuracy.mean == pytest.approx(0.5, abs=0.08)
    assert same.p_value > 0.05
    other = two_sample(clips(codes(0, 0.9)), codes(1, 0.5))
    expected = ((0.9**2 + 0.5**2) / 1.4 + (0.1**2 + 0.5**2) / 0.6) / 2  # each code's neighbour is one of its own kind
    assert other.accuracy.mean == pytest.approx(expected, abs=0.06)
    assert other.p_value < 0.01


def test_the_prior_is_compared_and_embedded():
    result = latent_space(Linear(Noisy(dim=WIDTH)), clips(normal(0)))
    assert (result.note, result.sampling.p_value > 0.02) == ("", True)
    assert result.embedding.shape == (2 * VIDEOS * CLIPS * STEPS, 2)
    shifted = latent_space(Linear(Noisy(dim=WIDTH)), clips(normal(0) + 1))
    assert shifted.sampling.p_value < 0.01
    far = shifted.embedding.view(2, -1, 2).mean(dim=1)
    assert (far[0] - far[1]).norm() > 1  # in the picture, too
    assert latent_space(Linear(Noisy(dim=WIDTH)), clips(normal(0))).summary() == result.summary()


@pytest.mark.parametrize(
    ("bottleneck", "z", "note"),
    [
        (None, normal(0), "no bottleneck"),
        (Unconstrained(dim=WIDTH), normal(0), "no prior"),
        (Deterministic(dim=WIDTH), torch.zeros(40, STEPS, WIDTH), "nothing to sample"),
        (Noisy(dim=WIDTH), normal(0)[:2], "one recording"),
    ],
)
def test_where_there_is_nothing_to_sample_the_rest_is_told(bottleneck, z, note):
    result = latent_space(Linear(bottleneck), clips(z))
    assert note in result.note
    assert result.sampling is None
    assert result.summary()["sampling"] is None
    assert result.change.shape[1:] == (3, 5, 4)
    json.dumps(result.summary(), allow_nan=False)


def test_principal_directions_and_effective_dimensions():
    rotation = torch.linalg.qr(normal(3, WIDTH, WIDTH))[0]
    flat = normal(0).flatten(0, 1)
    white = torch.linalg.qr(flat - flat.mean(dim=0))[0] * (len(flat) - 1) ** 0.5  # its covariance is the identity
    z = (white * torch.tensor([3.0, 1, 0.1, 0.1]) @ rotation).view(-1, STEPS, WIDTH)
    result = latent_space(Linear(), clips(z))
    assert abs(result.directions[0] @ rotation[0]) > 0.99
    assert abs(result.directions[1] @ rotation[1]) > 0.99
    assert result.variance.tolist() == pytest.approx([9, 1, 0.01, 0.01], rel=1e-3)
    assert result.effective_dimensions == pytest.approx(10.02**2 / 82.0002, rel=1e-3)
    even = latent_space(Linear(), clips(white.view(-1, STEPS, WIDTH)))
    assert even.effective_dimensions == pytest.approx(4, rel=1e-3)
    assert latent_space(Linear(), clips(torch.zeros(40, STEPS, WIDTH))).effective_dimensions == 0


def test_a_traversal_of_a_linear_model_is_straight_and_its_ends_are_opposite():
    model = Linear()
    result = latent_space(model, clips(normal(0)))
    one = (result.variance[0].sqrt() * result.directions[0] @ model.weight.detach()).abs().mean()
    torch.testing.assert_close(result.change[0, 0, :, 0], one * torch.tensor([2.0, 1, 0, 1, 2]))
    assert result.traversal.estimate("opposition 1").mean == pytest.approx(1, abs=1e-4)
    assert result.traversal.estimate("effect 1").mean == pytest.approx(2 * float(one), rel=1e-4)


def test_ends_that_do_the_same_are_not_opposite():
    z = normal(0)
    result = latent_space(Even(), clips(z - z.mean(dim=(0, 1))))
    assert result.traversal.estimate("opposition 1").mean == pytest.approx(-1, abs=1e-3)


@pytest.mark.parametrize("bottleneck", [Noisy, Adaptive, Sparse, Discrete, Unconstrained, Deterministic])
def test_every_bottleneck(bottleneck, tiny_models):
    model = ModelConfig(bottleneck=bottleneck(dim=2)).build(3, (2, 2)).eval()
    states = normal(0, 6, 3, 4, 3)
    with torch.no_grad():
        inferred = InferredClips(states, model.infer(states), NAMES[:6], ["x"] * 6, torch.zeros(6, 3))
    result = latent_space(model, inferred)
    assert (result.sampling is None) == (bottleneck in (Unconstrained, Deterministic))
    assert result.change.shape == (6, 2, 5, 4)
    json.dumps(result.summary(), allow_nan=False)


@pytest.mark.slow
def test_umap_where_it_is_installed(monkeypatch):
    """In a process of its own, without numba's compiler, which takes far longer than these few points."""
    monkeypatch.delitem(sys.modules, "umap")
    if importlib.util.find_spec("umap") is None:
        pytest.skip("needs umap-learn")
    script = """
import torch
from wildlam.evaluation.latent_space import embed

torch.manual_seed(0)
two = torch.cat([torch.randn(10, 6) - 20, torch.randn(10, 6) + 20])
flat, method = embed(two, seed=0)
assert method == "UMAP"
assert flat.shape == (20, 2)
assert torch.equal(flat, embed(two, seed=0)[0])
assert torch.cdist(flat[:10], flat[10:]).min() > torch.pdist(flat[:10]).median()  # two groups stay two
"""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    environment.pop("PYTHONPATH", None)  # by which other tests do without
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr


def test_umap_compiles_once_where_it_is_installed(monkeypatch, tmp_path):
    monkeypatch.setattr(latent_spaces, "compiled", set())
    assert not latent_spaces.umap_to_compile()  # it is not installed
    (tmp_path / "umap.py").write_text(
        "class UMAP:\n def __init__(self, **_): pass\n def fit_transform(self, z): return z"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "umap")
    assert latent_spaces.umap_to_compile()
    latent_spaces.embed(normal(0, 5, 2), seed=0)
    assert not latent_spaces.umap_to_compile()


def test_umap_leaves_the_threads_as_they_were(monkeypatch):
    """Numba, on which it runs, sets OpenMP's to all cores."""
    threads = torch.get_num_threads()

    class Greedy:
        def __init__(self, **options):
            pass

        def fit_transform(self, z):
            torch.set_num_threads(threads + 1)
            return z[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Greedy))
    assert latent_spaces.embed(normal(0, 5, WIDTH), seed=0)[1] == "UMAP"
    assert torch.get_num_threads() == threads
