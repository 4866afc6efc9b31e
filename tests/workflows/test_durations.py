"""What a command is said to take on this machine."""

import numpy as np
import pytest
import torch

from wildlam.encoders import Lite0
from wildlam.episodes.clips import cut_clips
from wildlam.episodes.formats import read_episodes
from wildlam.episodes.poses import write_poses
from wildlam.workflows import durations
from wildlam.workflows.durations import Part, announce, lines, scaled_seconds

CPU = torch.device("cpu")


def test_parts_are_told_in_their_order_with_their_sum():
    told = lines([Part("encode", "12 states", 90.0), Part("train", "3 steps", 30.0), Part("report", "", None)])
    assert [line.split()[0] for line in told] == ["encode", "train", "report", "all"]
    assert told[0].endswith("1.5 minutes")
    assert told[2].endswith("not measured")
    assert told[3].endswith("2.0 minutes, and what is not measured")


def test_long_names_leave_columns_where_they_are():
    told = lines([Part("latent", "20 steps", 9.0), Part("latent from policy", "20 steps", 16.0)])
    assert len({len(line) for line in told}) == 1
    assert len({line.index("20 steps") for line in told[:2]}) == 1


def test_what_is_over_at_once_is_not_announced(caplog):
    caplog.set_level("INFO", logger="wildlam")
    announce([Part("encode", "12 states", 1.0), Part("train", "3 steps", 1.0), Part("report", "", None)])
    announce([])
    assert not caplog.text
    announce([Part("encode", "12 states", 1.0), Part("train", "3 steps", 9.0)])
    assert "10.0 s" in caplog.text


@pytest.fixture
def measured(monkeypatch):
    """Steps of 0.01 s for each of what they do, of which the first takes 0.2 s longer; and how much each did."""
    done = []
    monkeypatch.setattr(durations, "BUDGET", 1.5)

    def seconds_of(step, device):
        step()
        return 0.01 * done[-1] + 0.2 * (len(done) == 1)

    monkeypatch.setattr(durations, "seconds_of", seconds_of)
    return done


def test_a_step_is_measured_on_ever_more_and_the_first_time_does_not_count(measured):
    assert scaled_seconds(measured.append, 6, CPU) == pytest.approx(0.06)
    assert measured == [1, 1, 4, 6]


def test_a_slow_step_is_not_measured_on_all(measured, monkeypatch):
    monkeypatch.setattr(durations, "BUDGET", 0.03)
    assert scaled_seconds(measured.append, 1000, CPU) == pytest.approx(10)
    assert measured == [1, 1, 4]
    measured.clear()
    monkeypatch.setattr(durations, "PATIENCE", 0.1)
    assert scaled_seconds(measured.append, 1000, CPU) == pytest.approx(210)
    assert measured == [1]


def test_what_every_step_takes_besides_is_not_multiplied(monkeypatch):
    monkeypatch.setattr(durations, "BUDGET", 1.0)
    done = []
    monkeypatch.setattr(durations, "seconds_of", lambda step, device: step() or 0.8 + 0.2 * done[-1])
    assert scaled_seconds(done.append, 100, CPU) == pytest.approx(0.8 + 0.2 * 100)
    assert done == [1, 1, 4]


def test_a_step_that_something_else_held_up_is_not_believed_alone(monkeypatch):
    times = iter([0.5, 1.4, 2.0])  # the second, of one clip, takes about as long as that of four
    done = []
    monkeypatch.setattr(durations, "seconds_of", lambda step, device: step() or next(times))
    assert scaled_seconds(done.append, 32, CPU) == pytest.approx(2.0 + 28 * 0.25)  # and not 32 * 1.4
    assert done == [1, 1, 4]


def test_labelled_clips_are_encoded_once(make_video, tmp_path):
    for name in ("train/a", "train/b", "test/c"):
        make_video(tmp_path / f"{name}.mp4", frames=50, fps=8)
        write_poses(tmp_path / f"{name}.mp4", np.arange(150.0).reshape(50, 3), fps=8)
    encoder = Lite0(image_size=64, dtype="float32").build("cpu")
    episodes = read_episodes(tmp_path)
    cuts = [cut_clips(episodes, encoder, s, states=8, fps=4, cache=tmp_path / "kept") for s in ("train", "held_out")]
    before = torch.get_rng_state()
    (part,) = durations.labelled(cuts, encoder)
    assert torch.equal(before, torch.get_rng_state())
    assert (part.name, part.amount) == ("encode", "9 labelled clips")
    assert part.seconds > 0
    clips = cuts[0].encoded(encoder, progress=False)
    assert torch.equal(cuts[0].encoded(encoder, progress=False).states, clips.states)
    (left,) = durations.labelled(cuts, encoder)
    assert left.amount == "3 labelled clips"
    cuts[1].encoded(encoder, progress=False)
    assert durations.labelled(cuts, encoder) == []
