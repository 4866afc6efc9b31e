from dataclasses import replace

import pytest
import torch

from wildlam.evaluation.clips import another_clip, infer_clips
from wildlam.evaluation.one_step import one_step

from .conftest import make_batches


def test_batches_are_put_together(model):
    batches = make_batches()
    clips = infer_clips(model, batches)
    assert len(clips) == 24
    assert clips.z.shape == (24, 8, 8)
    assert clips.names == batches[0].names + batches[1].names
    torch.testing.assert_close(clips.z[12:], model.infer(batches[1].states))
    covered = [i for part in clips.batches() for i in range(part.start, part.stop)]
    assert covered == list(range(24))


def test_evaluations_report_their_progress(model):
    told = []
    clips = replace(infer_clips(model, [make_batches()[0]] * 3), counted=told.append)
    one_step(model, clips)
    assert told == [32, 4]


def test_states_stay_in_bfloat16_and_actions_are_float32(model):
    batches = make_batches()
    for batch in batches:
        batch.states = batch.states.bfloat16()
    clips = infer_clips(model, batches)
    assert (clips.states.dtype, clips.z.dtype) == (torch.bfloat16, torch.float32)


def test_some_clips_alone(clips):
    chosen = torch.zeros(24, dtype=torch.bool)
    chosen[[3, 17]] = True
    some = clips.where(chosen)
    assert (len(some), some.names) == (2, [clips.names[3], clips.names[17]])
    assert torch.equal(some.states[1], clips.states[17])
    assert torch.equal(some.z[0], clips.z[3])


@pytest.mark.parametrize("clips_per_video", [1, 2, 5])
@pytest.mark.parametrize("videos", [2, 3, 4])
def test_the_other_clip_is_of_another_video_of_the_same_source(clips_per_video, videos):
    sources = [s for s in "xy" for _ in range(videos * clips_per_video)]
    names = [f"{s}{v}" for s in "xy" for v in range(videos) for _ in range(clips_per_video)]
    for i, j in enumerate(another_clip(sources, names)):
        assert sources[i] == sources[j]
        assert names[i] != names[j]


def test_the_other_clip_is_of_no_other_camera_of_the_same_recording(model):
    """``x/0.mp4`` and ``x/1.mp4`` are two cameras, and so are those of ``y``; there are four more videos of each."""
    batches = make_batches()
    clips = infer_clips(model, batches, {f"{s}/1.mp4": f"{s}/0.mp4" for s in "xy"})
    assert clips.recordings[4:6] == ["x/0.mp4", "y/0.mp4"]
    assert all(clips.recordings[i] != clips.recordings[j] for i, j in enumerate(clips.partners))
    assert clips.choose([5, 23]).recordings == ["y/0.mp4", "y/5.mp4"]
    assert one_step(model, clips).recordings == clips.recordings


def test_the_other_clip_where_one_video_has_most_clips():
    assert another_clip(["x"] * 4, ["a", "a", "a", "b"])[:3] == [3, 3, 3]


def test_the_other_clip_where_there_is_no_other_video_or_source():
    assert all(i != j for i, j in enumerate(another_clip(["x"] * 3, ["a"] * 3)))
    assert another_clip(["x", "y"], ["a", "b"]) == [1, 0]  # borrowed from the other source
