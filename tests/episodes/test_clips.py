"""Clips with real actions, cut from episodes and encoded once."""

import numpy as np
import pytest
import torch

from wildlam.episodes.action_spaces import PLANAR
from wildlam.episodes.clips import labelled_clips
from wildlam.episodes.episode import Episode
from wildlam.episodes.formats import read_episodes
from wildlam.episodes.poses import poses_path, write_poses
from wildlam.errors import WildlamError
from wildlam.types import EncoderSpec


class Mean:
    """Each frame's mean colour, as a state of one token."""

    device = torch.device("cpu")

    def __init__(self, frames_per_state=1):
        self.spec = EncoderSpec("mean", frames_per_state, (1, 1), 3, 8, "frame", f"mean{frames_per_state}")
        self.calls = 0

    def encode(self, video):
        self.calls += 1
        frames = video.float().mean(dim=(3, 4))[:, :, None]
        step = self.spec.frames_per_state
        assert torch.equal(frames[:, ::step], frames[:, step - 1 :: step])  # every frame doubled
        return frames[:, ::step]


def episode(name, frames, split="train", rate=8.0):
    """Frame k is of brightness k, and stands at x = k."""
    poses = np.column_stack([np.arange(frames), np.zeros(frames), np.zeros(frames)]).astype(float)

    def pictures(chosen, size):
        return torch.tensor(chosen, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, size, size)

    return Episode(name, split, np.arange(frames) / rate, poses, PLANAR, pictures)


EPISODES = [episode("a", 17), episode("b", 9), episode("c", 3), episode("d", 20, "held_out")]


@pytest.mark.parametrize("frames_per_state", [1, 2])
def test_states_and_actions_belong_together(frames_per_state):
    clips = labelled_clips(EPISODES, Mean(frames_per_state), "train", states=4, fps=4, progress=False)
    assert clips.names == ["a", "a", "b"]
    assert clips.fps == 4
    np.testing.assert_array_equal(clips.states[:, :, 0, 0].float(), [[0, 2, 4, 6], [8, 10, 12, 14], [0, 2, 4, 6]])
    np.testing.assert_array_equal(clips.poses[:, :, 0], clips.states[:, :, 0, 0].double())
    np.testing.assert_array_equal(clips.actions[:, :, 0], np.full((3, 3), 2))


def test_no_clip_crosses_a_gap():
    """Frames 5 to 7 of 17 are missing: at every second frame, the clip around the gap would hold a longer action."""
    whole = episode("a", 17)
    there = np.delete(np.arange(17), [5, 6, 7])

    def pictures(chosen, size):
        return whole.frames(there[list(chosen)].tolist(), size)

    gapped = Episode("a", "train", whole.times[there], whole.poses[there], PLANAR, pictures)
    assert gapped.rate == 8
    clips = labelled_clips([gapped], Mean(), "train", states=3, fps=4, progress=False)
    np.testing.assert_array_equal(clips.states[:, :, 0, 0].float(), [[0, 2, 4], [9, 11, 13]])
    np.testing.assert_array_equal(clips.actions[:, :, 0], np.full((2, 2), 2))


def test_steps_that_are_all_uneven_have_a_rate():
    times = np.cumsum([0, 1, 3, 1, 3, 1, 3]) / 8.0
    uneven = Episode("a", "train", times, np.zeros((7, 3)), PLANAR, episode("a", 7).frames)
    assert uneven.rate == 4
    assert [run.tolist() for run in uneven.sampled(2)[0]] == [[0, 2, 4, 6]]


def test_a_rate_far_from_the_one_asked_for_is_told(caplog):
    few = {"states": 4, "progress": False}
    labelled_clips([episode("droid", 60, rate=15.0)], Mean(), "train", fps=4, **few)
    assert not caplog.records
    labelled_clips([episode("recon", 60, rate=4.0)], Mean(), "train", fps=8, **few)
    assert "give 4 states a second where 8 are asked for" in caplog.text


def test_folds_are_of_other_episodes():
    clips = labelled_clips([episode(name, 12) for name in "abcdef"], Mean(), "train", states=4, fps=8, progress=False)
    assert len(clips) == 18
    folds = clips.folds(3, most=18, seed=0)
    for rest, apart in folds:
        names, others = ({clips.names[i] for i in part} for part in (apart, rest))
        assert len(names) == 2
        assert not names & others
        assert sorted(rest + apart) == list(range(18))
    assert sorted(i for _, apart in folds for i in apart) == list(range(18))
    assert clips.folds(3, most=18, seed=1) != folds
    assert [len(apart) for _, apart in clips.folds(3, most=4, seed=0)] == [4, 4, 4]


def test_cameras_of_an_episode_are_one_recording(make_video, tmp_path):
    for name, frames in {"ep1/left": 24, "ep1/right": 24, "ep2/left": 36, "ep2/right": 36, "ep3/left": 48}.items():
        make_video(tmp_path / "train" / f"{name}.mp4", frames=frames, fps=8)
        write_poses(tmp_path / "train" / f"{name}.mp4", np.zeros((frames, 3)), fps=8)
    make_video(tmp_path / "test" / "other.mp4", frames=60, fps=8)
    clips = labelled_clips(read_episodes(tmp_path), Mean(), "train", states=4, fps=8, progress=False)
    assert len(set(clips.names)) == 5
    recordings = dict(zip(clips.names, clips.recordings, strict=True))
    assert recordings == {name: name.replace("right", "left") for name in recordings}
    for seed in range(5):  # what chooses the checkpoint is no other view of what was learnt from
        for rest, apart in clips.folds(3, 6, seed):
            both = {clips.recordings[i] for i in rest} & {clips.recordings[i] for i in apart}
            assert len(both) <= 2  # of more clips than were needed, at either end


def test_the_effective_rate_is_recorded():
    (frames,), rate = episode("droid", 60, rate=15.0).sampled(4)
    assert rate == pytest.approx(3.75)
    assert frames.tolist()[:3] == [0, 4, 8]


def test_states_are_kept(tmp_path):
    encoder = Mean()
    first = labelled_clips(EPISODES, encoder, "train", states=4, fps=4, cache=tmp_path, progress=False)
    calls = encoder.calls
    again = labelled_clips(EPISODES, encoder, "train", states=4, fps=4, cache=tmp_path, progress=False)
    assert encoder.calls == calls
    assert torch.equal(first.states, again.states)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:50])
    cut = labelled_clips(EPISODES, encoder, "train", states=4, fps=4, cache=tmp_path, progress=False)
    assert torch.equal(first.states, cut.states)
    assert encoder.calls > calls
    longer = labelled_clips(EPISODES, encoder, "train", states=5, fps=4, cache=tmp_path, progress=False)
    assert longer.states.shape[1] == 5


def test_states_of_a_film_that_has_changed_are_made_anew(make_video, tmp_path):
    encoder = Mean()

    def states():
        episodes = read_episodes(tmp_path)
        return labelled_clips(episodes, encoder, "train", states=2, fps=4, cache=tmp_path / "c", progress=False).states

    for name in ("train/one", "test/two"):
        make_video(tmp_path / f"{name}.mp4", frames=20, fps=8)
        write_poses(tmp_path / f"{name}.mp4", np.zeros((20, 3)), fps=8)
    first = states()
    calls = encoder.calls
    assert torch.equal(states(), first)
    assert encoder.calls == calls
    make_video(tmp_path / "train/one.mp4", frames=20, fps=8, rotation=90)
    states()
    assert encoder.calls > calls


def test_a_smaller_draw_is_part_of_a_larger():
    clips = labelled_clips(EPISODES, Mean(), "train", states=2, fps=4, progress=False)
    draws = [{(e.name, f[0]) for e, f in clips.few(n, seed=3).places} for n in (2, 4)]
    assert len(draws[0]) == 2
    assert draws[0] < draws[1]
    assert len(clips.few(None, seed=0)) == len(clips)


def test_what_cannot_be_is_refused():
    with pytest.raises(WildlamError, match="no held_out episode holds 40 states"):
        labelled_clips(EPISODES, Mean(), "held_out", states=40, fps=4, progress=False)
    with pytest.raises(WildlamError, match="differ in kind of action or in rate"):
        labelled_clips([EPISODES[0], episode("e", 40, rate=15.0)], Mean(), "train", states=2, fps=4, progress=False)


def test_videos_with_poses_are_episodes(make_video, read_number, tmp_path):
    for i, name in enumerate(("train/one", "train/two words ü", "test/three")):
        make_video(tmp_path / f"{name}.mp4", frames=20, fps=8)
        if i != 1:
            write_poses(tmp_path / f"{name}.mp4", np.arange(60.0).reshape(20, 3), fps=8)
    found = {e.name: e for e in read_episodes(tmp_path)}
    assert found.keys() == {"train/one.mp4", "test/three.mp4"}
    one = found["train/one.mp4"]
    assert (one.split, one.rate, one.space) == ("train", 8.0, PLANAR)
    assert [read_number(frame) for frame in one.frames([3, 0, 19], 64)] == [3, 0, 19]
    np.testing.assert_array_equal(one.poses[3], [9, 10, 11])


@pytest.mark.parametrize("fps", [24, 30, 7])
def test_every_frame_is_found_at_its_own_time(make_video, read_number, tmp_path, fps):
    for name in ("train/one", "test/two"):
        make_video(tmp_path / f"{name}.mp4", frames=40, fps=fps)
        write_poses(tmp_path / f"{name}.mp4", np.zeros((40, 3)), fps=fps)
    frames = read_episodes(tmp_path)[0].frames(range(40), 64)
    assert [read_number(frame) for frame in frames] == list(range(40))


def test_poses_get_the_frames_nearest_to_them(make_video, read_number, tmp_path, caplog):
    """Poses half a second apart from a film's frames in turn: those without a frame are left out, and told."""
    for name in ("train/one", "test/two"):
        make_video(tmp_path / f"{name}.mp4", frames=16, fps=8, times=[k / 8 for k in range(20) if not 7 <= k < 11])
        write_poses(tmp_path / f"{name}.mp4", np.arange(60.0).reshape(20, 3), fps=8)
        file = poses_path(tmp_path / f"{name}.mp4")
        head, *lines = file.read_text().splitlines()
        rows = [line.split(",") for line in lines]
        late = [",".join([f"{float(time) - 0.05:.6f}", *rest]) for time, *rest in rows]
        file.write_text("\n".join([head, *late, "", ""]))
    for found in read_episodes(tmp_path):
        assert found.poses[:, 0].tolist() == [3.0 * k for k in range(20) if not 7 <= k < 11]
        assert [read_number(frame) for frame in found.frames(range(16), 64)] == list(range(16))
        assert f"{found.name} 4 (up to 0." in caplog.text
        assert f"{found.name} (up to 0.40 of a frame)" in caplog.text
    with pytest.raises(WildlamError, match="4 of 20 states have no frame near them"):
        read_episodes(tmp_path, tolerance=0.1)


def test_videos_without_poses_are_told(make_video, tmp_path):
    for name in ("train/one", "test/two"):
        make_video(tmp_path / f"{name}.mp4")
    with pytest.raises(WildlamError, match="no poses"):
        read_episodes(tmp_path)
