import pytest
import torch

from wildlam.evaluation.intervals import FEWEST_CLIPS, FEWEST_RECORDINGS, Estimate, PerClip, ratio_of_means


def test_means_and_ratios_of_all_and_of_a_source():
    values = {"a": torch.tensor([1.0, 3.0, 5.0]), "b": torch.tensor([1.0, 1.0, 2.0])}
    result = PerClip(values, ["u", "v", "w"], ["x", "x", "y"])
    assert result.estimate("a").mean == pytest.approx(3)
    assert result.estimate("a", source="x").mean == pytest.approx(2)
    assert result.estimate("a", over="b").mean == pytest.approx(9 / 4)
    assert result.estimate("a", over="b", source="x").mean == pytest.approx(2)


def test_an_interval_holds_the_true_mean_about_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    names = [str(i) for i in range(40)]
    hits = 0
    for _ in range(200):
        values = torch.randn(40, generator=generator)
        found = ratio_of_means(values, torch.ones(40), names)
        hits += found.low <= 0 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_clips_of_one_video_count_as_one():
    """Ten copies of every clip tell no more than the clips did."""
    values = torch.randn(20, generator=torch.Generator().manual_seed(0))
    once = ratio_of_means(values, torch.ones(20), [str(i) for i in range(20)])
    copied = ratio_of_means(values.repeat(10), torch.ones(200), [str(i) for i in range(20)] * 10)
    assert copied.low == pytest.approx(once.low)
    assert copied.high == pytest.approx(once.high)


def test_a_ratio_is_resampled_in_pairs():
    bottom = torch.rand(30, generator=torch.Generator().manual_seed(0)) + 0.1
    found = ratio_of_means(2 * bottom, bottom, [str(i) for i in range(30)])
    assert (found.low, found.mean, found.high) == pytest.approx((2, 2, 2))


def test_json_holds_every_value():
    result = PerClip({"a": torch.tensor([1.0, 2.0])}, ["u", "v"], ["x", "y"], ["u", "u"])
    told = {"names": ["u", "v"], "sources": ["x", "y"], "recordings": ["u", "u"], "values": {"a": [1.0, 2.0]}}
    assert result.to_json() == told
    assert PerClip.from_json(told).recordings == ["u", "u"]


def test_json_of_before_takes_every_video_for_a_recording():
    told = {"names": ["u", "v"], "sources": ["x", "y"], "values": {"a": [1.0, 2.0]}}
    assert PerClip.from_json(told).recordings == ["u", "v"]


def test_cameras_of_a_recording_are_drawn_together():
    """Three cameras that see the same say no more than one."""
    values = {"a": torch.arange(4.0).repeat_interleave(3)}
    names = [f"{i}_{camera}" for i in range(4) for camera in range(3)]
    cameras = PerClip(values, names, ["x"] * 12, [name[0] for name in names])
    one = PerClip({"a": torch.arange(4.0)}, list("0123"), ["x"] * 4)
    assert cameras.estimate("a") == one.estimate("a")
    assert not cameras.is_enough
    assert PerClip(values, names, ["x"] * 12).is_enough


def test_an_interval_without_width_is_not_shown():
    assert str(Estimate(0.5, 0.5, 0.5)) == "0.500"
    assert str(Estimate(0.5, 0.4, 0.6)) == "0.500 (0.400 to 0.600)"


@pytest.mark.parametrize(
    ("recordings", "clips", "enough"),
    [
        (FEWEST_RECORDINGS, FEWEST_CLIPS, True),
        (FEWEST_RECORDINGS - 1, 10 * FEWEST_CLIPS, False),
        (FEWEST_RECORDINGS, FEWEST_CLIPS - 1, False),
    ],
)
def test_how_much_is_enough(recordings, clips, enough):
    names = [str(i % recordings) for i in range(clips)]
    found = PerClip({"a": torch.zeros(clips)}, names, ["x"] * clips)
    assert found.is_enough is enough
    assert PerClip.from_json(found.to_json()).is_enough is enough


def test_some_of_the_clips():
    found = PerClip({"a": torch.tensor([1.0, 2.0, 3.0])}, ["u", "v", "w"], ["x", "y", "x"], ["r", "s", "r"])
    some = found.where([True, False, True])
    assert (some.names, some.sources, some.values["a"].tolist()) == (["u", "w"], ["x", "x"], [1.0, 3.0])
    assert some.recordings == ["r", "r"]
