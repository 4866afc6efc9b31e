"""Encoding into a store: nothing twice, and nothing of what has changed stays."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from wildlam.errors import WildlamError
from wildlam.states import encode
from wildlam.states.encode import encode_videos
from wildlam.states.loader import eval_batches
from wildlam.states.sequences import StoredVideo
from wildlam.states.store import FeatureStore
from wildlam.video.decode import VideoError

from .toys import CLIP, FRAME, ToyEncoder, fill, random_states, row, videos_of, write_video


@pytest.mark.parametrize("spec", [FRAME, CLIP])
def test_a_cpu_encodes_little_at_once_and_the_same(videos, tmp_path, spec, monkeypatch):
    """So that the bar moves on."""
    root, rows = videos

    def encoded(name):
        made = FeatureStore.create_or_resume(tmp_path / name, spec, 4.0, 4)
        encoder = ToyEncoder(spec)
        encode_videos(rows, root, encoder, made, progress=False)
        return encoder.calls, torch.cat([batch.states for batch in eval_batches(made, "train", 2, None, 4)])

    calls, states = encoded("one")
    monkeypatch.setattr(encode, "ON_CPU", 3)
    more, same = encoded("other")
    assert torch.equal(states, same)
    assert (calls, more) == ((6, 25) if spec is FRAME else (19, 19))


def test_nothing_is_encoded_twice(tmp_path, videos):
    path, (_, rows) = tmp_path / "store", videos
    _, report, _ = fill(path, videos, rows=rows[:2])
    assert (report.encoded, report.kept) == (2, 0)
    _, report, _ = fill(path, videos)
    assert (report.encoded, report.kept) == (3, 2)
    made, report, encoder = fill(path, videos)
    assert (report.encoded, report.kept, encoder.calls) == (0, 5, 0)
    whole, _, _ = fill(tmp_path / "whole", videos)
    assert torch.equal(made.read_all(), whole.read_all())


def test_a_changed_video_is_encoded_anew_and_a_moved_one_relabelled(tmp_path, videos):
    path, (root, rows) = tmp_path / "store", videos
    fill(path, videos)
    write_video(root / rows[1].path, frames=40, seed=99)
    changed = [*rows[:1], row(root, rows[1].path), *rows[2:4], replace(rows[4], split="train", source="it's")]
    made, report, _ = fill(path, videos, rows=changed)
    assert (report.encoded, report.kept) == (1, 4)
    lengths = {video.path: n for video, n in zip(made.sequences().of(), made.sequences().length, strict=True)}
    assert lengths == {row.path: n for row, n in zip(rows, [10, 20, 14, 16, 18], strict=True)}
    moved = videos_of(made)[rows[4].path]
    assert (moved.split, moved.source) == ("train", "it's")
    fresh, _, _ = fill(tmp_path / "fresh", videos, rows=changed)
    for name in lengths:
        states = []
        for each in (made, fresh):
            at = [video.path for video in each.sequences().of()].index(name)
            states.append(each.read(each.sequences().first[at] + np.arange(lengths[name])))
        assert torch.equal(*states)


@pytest.mark.parametrize("spec", [FRAME, CLIP], ids=["frame", "clip"])
def test_what_an_earlier_version_may_have_taken_wrongly_is_encoded_anew_once(tmp_path, videos, caplog, spec):
    """Its stores do not tell by what rules frames were found; here, all its states are zeros."""
    path, (root, rows) = tmp_path / "store", videos
    rows = [replace(row, duration=(20 + 4 * i) / 8, odd=[]) for i, row in enumerate(rows)]
    write_video(root / "c/6.avi", frames=20, seed=6)
    rows.append(replace(row(root, "c/6.avi"), duration=2.5, odd=[]))
    made = FeatureStore.create_or_resume(path, spec, fps=4.0, frames=4)
    for i, video in enumerate(rows):
        states = (10 + 2 * i if i < 5 else 10) // spec.frames_per_state
        times = torch.arange(states, dtype=torch.float64) * spec.frames_per_state / 4
        made.append(replace(StoredVideo.of(video), rules=None), [(0, times, random_states(states, spec) * 0)])
    made.commit()
    made.dataset.drop_columns(["rules"])
    assert len(FeatureStore.open(path).sequences().videos) == len(rows)  # opens as it is

    odd = ["discontinuity: timestamps jump at 1.00 s; shots end there"]
    rows[1] = replace(rows[1], odd=odd)
    rows[2] = replace(rows[2], duration=rows[2].duration + 2)
    rows[3] = replace(rows[3], odd=None)  # of a manifest that does not tell
    with caplog.at_level("WARNING"):
        made, report, _ = fill(path, videos, spec, rows=rows)
    assert (report.encoded, report.kept) == (3, 3)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "3 videos are encoded again (a/it's 2.mp4, b/3.mp4, c/6.avi)" in told[0]
    for i, found in enumerate(made.sequences().of()):
        states = made.read(made.sequences().first[i] + np.arange(made.sequences().length[i]))
        assert bool(states.any()) == (found.path in ("a/it's 2.mp4", "b/3.mp4", "c/6.avi"))

    made, report, encoder = fill(path, videos, spec, rows=rows)
    assert (report.encoded, report.kept, encoder.calls) == (0, 6, 0)


def test_a_failing_video_leaves_nothing_behind(tmp_path, videos):
    root, rows = videos
    broken = root / rows[2].path
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(VideoError, match=r"3\.mp4"):
        fill(tmp_path / "store", videos)
    assert len(FeatureStore.open(tmp_path / "store")) == 10 + 12  # the two before it
    made, report, _ = fill(tmp_path / "store", videos, on_error="skip", max_skipped=0.5)
    assert (report.encoded, report.kept) == (2, 2)
    assert [path for path, _ in report.skipped] == [str(broken)]
    assert broken.name not in "".join(videos_of(made))
    with pytest.raises(WildlamError, match="more than the 10% that may be skipped"):
        fill(tmp_path / "other", videos, on_error="skip")


@pytest.mark.parametrize("name", ["a b", "a%20b", "a#b", "a?b", "a:b", "c%03d", "[x]", "ü"])
def test_names_are_no_patterns_and_no_addresses(tmp_path, name):
    root = tmp_path / name
    root.mkdir()
    path = f"{name}.mp4"
    write_video(root / path, frames=20, seed=1)
    made, report, _ = fill(root / f"store {name}", (root, [row(root, path)]))
    assert (report.encoded, report.kept) == (1, 0)
    again, report, _ = fill(root / f"store {name}", (root, [row(root, path)]))
    assert (report.encoded, report.kept) == (0, 1)
    assert torch.equal(made.read_all(), again.read_all())
    assert [video.path for video in again.sequences().of()] == [path]
