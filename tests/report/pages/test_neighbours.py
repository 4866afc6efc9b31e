"""Which transitions stand next to each other."""

import dataclasses
import re
from pathlib import PurePosixPath

import pytest
import torch

from wildlam.report.pages.neighbours import NEIGHBOURS, QUERIES, nearest_transitions, neighbours_section
from wildlam.video.index import index

from .made_up import inferred


@pytest.fixture
def manifest(videos):
    return index(videos, progress=False)


def test_neighbours_are_near_and_of_other_videos(manifest):
    names = [video.path for video in manifest]
    actions = torch.arange(1.0, 7.0).view(6, 1, 1).expand(-1, 3, 2).clone()  # each video has its own action, all alike
    result = inferred(actions, names)
    queries, neighbours = nearest_transitions(result, manifest)
    assert len(queries) == QUERIES
    for query, found in zip(queries, neighbours, strict=True):
        videos = [transition.name for transition in found]
        assert len(set(videos)) == NEIGHBOURS
        assert query.name not in videos
        distances = [transition.distance for transition in found]
        assert distances == sorted(distances)
        position = names.index(query.name)
        expected = sorted(2**0.5 * abs(position - other) for other in range(6) if other != position)
        assert distances == pytest.approx(expected, rel=1e-3)


def test_another_camera_of_the_same_recording_is_no_neighbour(manifest):
    names = [video.path for video in manifest]
    actions = torch.randn(6, 3, 2, generator=torch.Generator().manual_seed(0))
    cameras = dataclasses.replace(inferred(actions, names), recordings=[names[i // 2 * 2] for i in range(6)])
    for query, found in zip(*nearest_transitions(cameras, manifest), strict=True):
        assert len(found) == 2  # of the other two recordings, one each
        assert len({names.index(transition.name) // 2 for transition in [query, *found]}) == 3


def test_queries_are_unlike_large_and_occur_more_than_once(manifest):
    actions = torch.zeros(6, 3, 2)  # of the fifth video no action, of the others:
    actions[:2, :, 0], actions[2:4, :, 0], actions[5, :, 1] = 5.0, -5.0, 50.0
    names = [video.path for video in manifest]
    queries, _ = nearest_transitions(inferred(actions, names), manifest)
    chosen = {names.index(query.name) for query in queries}
    assert chosen & {0, 1}
    assert chosen & {2, 3}
    assert not chosen & {4, 5}


def test_only_the_source_with_the_most_clips_is_shown(manifest):
    names = [video.path for video in manifest]
    actions = torch.randn(6, 3, 2, generator=torch.Generator().manual_seed(0))
    sources = ["few", "few", "many", "many", "many", "many"]
    queries, neighbours = nearest_transitions(inferred(actions, names, sources), manifest)
    assert {t.name for t in [*queries, *(t for found in neighbours for t in found)]} <= set(names[2:])


def test_a_source_of_one_video_gives_way_to_one_of_several(manifest):
    names = [video.path for video in manifest]
    names = [names[0]] * 4 + names[1:3]
    actions = torch.randn(6, 3, 2, generator=torch.Generator().manual_seed(0))
    queries, neighbours = nearest_transitions(inferred(actions, names, ["lone"] * 4 + ["pair"] * 2), manifest)
    assert {query.name for query in queries} <= set(names[4:])
    assert all(len(found) == 1 for found in neighbours)


def test_they_play_and_are_drawn(manifest, tmp_path):
    actions = torch.randn(6, 3, 2, generator=torch.Generator().manual_seed(0))
    clips = inferred(actions, [video.path for video in manifest])
    section = neighbours_section(clips, manifest, tmp_path / "actions.svg")
    assert section.html.count('class="frames"') == QUERIES * (1 + NEIGHBOURS)
    assert section.html.count(">query: ") == QUERIES


def test_other_sources_of_several_recordings_are_shown_too(manifest, tmp_path):
    names = [video.path for video in manifest]
    actions = torch.randn(6, 3, 2, generator=torch.Generator().manual_seed(0))
    clips = inferred(actions, names, ["many", "many", "many", "pair", "pair", "lone"])
    section = neighbours_section(clips, manifest, tmp_path / "actions.svg")
    queries = re.findall(r">query: (\w+)<", section.html)
    assert [PurePosixPath(name).stem for name in names].index(queries[-1]) in (3, 4)
    assert all(query not in queries[-1] for query in queries[:-1])
    assert b"<svg" in (tmp_path / "actions.svg").read_bytes()
