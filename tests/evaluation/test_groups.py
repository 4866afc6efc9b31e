"""Groups of latent actions."""

import torch

from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.groups import GROUPS, group_actions


def clips_of(z, sources=None, recordings=None):
    count, steps = z.shape[:2]
    names = [f"{i}.mp4" for i in range(count)]
    times = torch.arange(steps + 1).double().expand(count, -1)
    return InferredClips(
        torch.zeros(count, steps + 1, 1, 1), z, names, sources or ["one"] * count, times, recordings or names
    )


def test_like_actions_are_a_group_the_largest_first():
    generator = torch.Generator().manual_seed(0)
    centres = 20 * torch.eye(GROUPS, 64)
    true = torch.arange(GROUPS).repeat_interleave(torch.arange(GROUPS, 0, -1) * 5)
    z = centres[true] + 0.1 * torch.randn(len(true), 64, generator=generator)
    groups = group_actions(clips_of(z[:, None]))
    assert groups.labels[:, 0].tolist() == true.tolist()
    assert torch.allclose(groups.centres, centres, atol=0.5)
    assert groups.shares == sorted(groups.shares, reverse=True)
    assert abs(sum(groups.shares) - 1) < 1e-6


def test_each_code_is_a_group_and_those_used_least_are_in_none():
    codes = torch.tensor([0] * 20 + list(range(1, 12)) + [3])
    book = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    groups = group_actions(clips_of(book[codes][:, None]), codes=True)
    assert groups.are_codes
    assert len(groups) == GROUPS
    assert groups.labels[:20].unique().tolist() == [0]
    assert groups.labels[[22, 31]].unique().tolist() == [1]  # code 3, used twice
    assert int((groups.labels == -1).sum()) == 12 - GROUPS
    assert torch.allclose(groups.centres[0], book[0])


def test_one_action_is_one_group():
    groups = group_actions(clips_of(torch.zeros(5, 3, 2)))
    assert len(groups) == 1
    assert groups.shares == [1.0]


def test_few_transitions_make_few_groups():
    z = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))
    assert 1 <= len(group_actions(clips_of(z))) <= 3


def test_examples_are_near_of_other_recordings_and_of_the_larger_sources_in_turn():
    away = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.05])
    sources = ["a", "a", "a", "a", "b", "b", "a"]
    recordings = ["r0", "r0", "r2", "r3", "r4", "r5", "r6"]
    clips = clips_of(away[:, None, None], sources, recordings)
    groups = group_actions(clips)
    groups.labels.zero_()
    groups.centres = torch.zeros(1, 1)
    alike = torch.ones(7, 1)
    assert groups.examples(clips, 0, 5, alike) == [(0, 0), (4, 0), (6, 0), (5, 0), (2, 0)]
    assert len(groups.examples(clips, 0, 10, alike)) == 7  # where recordings are few, they are shown again
    more = torch.arange(7.0)[:, None]  # in the later ones more is to be seen
    assert groups.examples(clips, 0, 10, more) == [(6, 0), (4, 0), (3, 0), (5, 0)]
    assert groups.sources(clips, 0) == {"a": 5 / 7, "b": 2 / 7}
