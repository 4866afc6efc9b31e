"""What the report says of groups, moments and the map."""

import dataclasses
import re

import pytest
import torch

from wildlam.evaluation.groups import Groups
from wildlam.evaluation.suite import Labelled
from wildlam.report.pages.actions import _true_actions, groups_section, map_section, timeline_section
from wildlam.video.index import index

from .made_up import inferred


@pytest.fixture
def manifest(videos):
    return index(videos, progress=False)


@pytest.fixture
def clips(manifest):
    """A clip of 4 states of each of six videos, whose states change at the first of four places."""
    actions = torch.randn(6, 3, 2, generator=torch.Generator().manual_seed(0))
    found = inferred(actions, [video.path for video in manifest], [video.source for video in manifest])
    states = torch.zeros(6, 4, 4, 2)
    states[:, :, 0] = torch.arange(4.0)[:, None]
    return dataclasses.replace(found, states=states)


@pytest.fixture
def groups(clips):
    """The first transition of each clip is A, the others B."""
    labels = torch.tensor([[1, 0, 0]] * 6)
    return Groups(labels, torch.stack([clips.z[:, 1:].flatten(0, 1).mean(dim=0), clips.z[:, 0].mean(dim=0)]))


def labelled(clips, actions):
    return Labelled(clips, actions, clips, actions, ["turn", "forward"])


def test_groups_say_how_often_and_what_was_really_done(clips, groups, manifest):
    true = torch.zeros(6, 3, 2)
    true[:, 0, 0] = 1.0  # A group B turns
    true[..., 1] = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)) * 1e-3
    html = groups_section(clips, groups, [labelled(clips, true)], manifest, (2, 2)).html
    assert re.findall(r"</span> (\d+) %</h3>", html) == ["67", "33"]
    assert html.count("In truth (a, b): turn") == 1  # of A, it is no more than chance
    assert "turn +1.4 sd" in html
    assert "forward" not in html  # nothing to tell
    assert "In truth (a, b): no clear action; the strongest component, which may be chance: turn -0.7 sd" in html
    assert "the average change of a transition, most of it in the upper left part of the picture. Of" in html
    assert "No true actions are known" not in html
    assert html.count('alt="Where group') == 2
    assert html.count("Transition of") == 12


def test_few_true_actions_tell_nothing(clips, groups, manifest):
    true = torch.full((6, 3, 2), torch.nan)
    true[0] = torch.tensor([[5.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    html = groups_section(clips, groups, [labelled(clips, true)], manifest, (2, 2)).html
    assert "In truth" not in html
    assert html.count("What was really done is known of too few of them.") == 2
    assert "No true actions are known" in groups_section(clips, groups, [], manifest, (2, 2)).html


def test_a_weak_component_is_told_as_one(clips, manifest):
    """Of 3,600 transitions, the half that is in A goes a fifth of a deviation further than all."""
    names = [name for name in clips.names for _ in range(200)]
    times = torch.arange(1200).double()[:, None] + torch.arange(4).double()
    many = dataclasses.replace(
        clips,
        states=clips.states.repeat_interleave(200, dim=0),
        z=clips.z.repeat_interleave(200, dim=0),
        names=names,
        sources=["a"] * 1200,
        recordings=names,
        times=times,
    )
    groups = Groups(torch.tensor([[0, 1, 0], [1, 0, 1]] * 600), torch.zeros(2, 2))
    true = torch.randn(1200, 3, 2, generator=torch.Generator().manual_seed(0))
    true[..., 1] += torch.where(groups.labels == 0, 0.2, -0.2)
    words = [_true_actions(many, groups, group, [labelled(many, true)]) for group in (0, 1)]
    assert words[0] == ["In truth (a): weakly, forward +0.2 sd of all true actions (± 0.05)."]
    assert words[1] == ["In truth (a): weakly, forward -0.2 sd of all true actions (± 0.05)."]


def test_a_timeline_shows_a_video_of_each_source_in_order(clips, groups, manifest):
    html = timeline_section(clips, groups, manifest).html
    assert html.count("<h3>") == 2
    assert re.findall(r'<span class="badge"[^>]*>(\w)</span>', html) == ["B", "A", "A"] * 2
    assert re.findall(r"<figcaption>(.*?)</figcaption>", html)[:3] == ["0.00 s", "0.25 s", "0.50 s"]


def test_points_of_the_map_know_their_frames(clips, groups, manifest):
    from wildlam.evaluation.latent_space import latent_space

    class Nothing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def predict(self, states, z):
            return states

    space = latent_space(Nothing(), clips)
    html = map_section(space, clips, groups, manifest).html
    places = re.findall(r'data-at="(\d+) (\d+)"', html)
    assert sorted((int(row), int(step)) for row, step in places) == [(i, t) for i in range(6) for t in range(3)]
    assert 'data-rows="6" data-columns="4"' in html
    assert html.count("<title>B: ") == 6
