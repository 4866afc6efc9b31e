"""States and frames, paired by time."""

import numpy as np
import pytest

from wildlam.episodes.formats.droid import counted
from wildlam.episodes.pairing import pair, read_film, report_pairs
from wildlam.errors import WildlamError

TEN = np.arange(20) / 10


@pytest.mark.parametrize("off", [-0.049, -0.02, 0, 0.02, 0.049])
def test_an_offset_of_either_sign_within_half_a_frame(off):
    pairs = pair(TEN + off, TEN, "a")
    assert pairs.states.tolist() == pairs.frames.tolist() == list(range(20))
    assert (pairs.lost, pairs.farthest, pairs.apart) == (0, 0, pytest.approx(abs(off) * 10))


def test_an_offset_of_more_loses_states_at_one_end():
    early, late = pair(TEN - 0.16, TEN, "a"), pair(TEN + 0.16, TEN, "a")
    assert (early.lost, early.farthest, early.states[0], early.frames[0]) == (2, pytest.approx(0.16), 2, 0)
    assert (late.lost, late.farthest, late.states[-1], late.frames[-1]) == (2, pytest.approx(0.16), 17, 19)


def test_drift_moves_pairs_and_does_not_add_up():
    """A film of 9.5 frames a second under ten states: each state has the frame nearest to it."""
    frames = np.arange(200) / 9.5
    pairs = pair(np.arange(200) / 10, frames, "a")
    nearest = np.abs(frames[None] - np.arange(200)[:, None] / 10).argmin(axis=1)
    assert pairs.frames.tolist() == nearest.tolist()
    assert pairs.lost == 0


def test_jitter_of_both_moves_no_pair():
    rng = np.random.default_rng(0)
    pairs = pair(TEN + rng.uniform(-0.024, 0.024, 20), TEN + rng.uniform(-0.024, 0.024, 20), "a")
    assert pairs.states.tolist() == pairs.frames.tolist() == list(range(20))


def test_a_gap_leaves_states_out_and_moves_no_other():
    there = np.delete(np.arange(20), [7, 8, 9])
    pairs = pair(TEN, TEN[there], "a")
    assert pairs.states.tolist() == there.tolist()
    assert pairs.frames.tolist() == list(range(17))
    assert (pairs.lost, pairs.farthest) == (3, pytest.approx(0.2))


@pytest.mark.parametrize(
    ("states", "frames", "tolerance", "said"),
    [
        (TEN, TEN[:1], 1.0, "a: 1 frames for 20 states; two are needed"),
        (TEN + 0.95, TEN[:2], 9.0, "a: 0 of 20 states have a frame near them; two are needed"),
        (TEN, TEN[:5], 1.0, r"a: 15 of 20 states .* one is 1\.50 s from every frame, 1 s are tolerated"),
        (TEN + 1.7e9, TEN, 1.0, "a: 20 of 20 states .* counts time from another moment"),
    ],
)
def test_what_cannot_be_paired_is_refused(states, frames, tolerance, said):
    with pytest.raises(WildlamError, match=said):
        pair(states, frames, "a", tolerance)


def test_what_is_left_out_is_told_episode_by_episode(tmp_path, caplog):
    sound, short, off = pair(TEN, TEN, "s"), pair(TEN, TEN[:18], "a"), pair(TEN + 0.04, TEN, "b")
    report_pairs(tmp_path, {"sound": sound})
    assert not caplog.records
    report_pairs(tmp_path, {"sound": sound, "short": short, "off": off, **{f"e{i}": short for i in range(30)}})
    lost, doubtful = caplog.messages
    assert "62 of the states: short 2 (up to 0.200 s away); e0 2" in lost
    assert lost.endswith("; and 11 more episodes")
    assert doubtful.endswith(": off (up to 0.40 of a frame)")


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_films_frames_are_found_when_they_are_shown(make_video, read_number, tmp_path, codec, suffix):
    times = [0.25, 0.3, 0.45, 0.5, 1.0, 1.04, 1.3]
    film = read_film(make_video(tmp_path / f"a{suffix}", frames=7, fps=10, codec=codec, times=times))
    np.testing.assert_allclose(film.times, np.array(times) - 0.25, atol=1e-3)
    assert film.plain
    assert film.start == pytest.approx(0.25, abs=0.11)  # Matroska's are moved where frames are reordered
    frames = film.frames(np.array([0, 2, 3, 6]))
    assert [read_number(frame) for frame in frames([3, 0, 1, 2], 64)] == [6, 0, 2, 3]


def test_places_of_frames_are_counted_from_one_to_the_next():
    there = np.delete(np.arange(300), [4, 90, 91, 200])
    rng = np.random.default_rng(0)
    for rate in (15.0, 14.7, 60.0):
        times = np.round((there + rng.uniform(-0.1, 0.1, len(there))) / rate, 3)
        assert np.rint(counted(times)).tolist() == there.tolist()
    assert counted(np.array([0.0])).tolist() == [0]
