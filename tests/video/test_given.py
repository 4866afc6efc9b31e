"""Videos from memory are what the same pictures in a file are, and what is no video is named."""

import numpy as np
import pytest
import torch
from PIL import Image

from wildlam.errors import WildlamError
from wildlam.video.decode import decode_grid
from wildlam.video.given import VideoFile, given_videos

VIDEO = np.random.default_rng(0).integers(0, 255, (6, 20, 30, 3), dtype=np.uint8)


def grid(video, fps=8.0, at=4.0):
    pictures = given_videos({"video": video}, fps)["video"]
    times, frames = zip(*pictures.grid(at, 16, "pyav"), strict=True)
    assert pictures.seconds() == len(video) / fps
    assert torch.equal(pictures.first(2, at, 16, "pyav"), torch.cat(frames[:2]))
    return torch.cat(times), torch.cat(frames)


@pytest.mark.parametrize(
    "video",
    [
        torch.from_numpy(VIDEO),
        torch.from_numpy(VIDEO).permute(0, 3, 1, 2),
        VIDEO[:, :, ::-1][:, :, ::-1],
        list(VIDEO),
        tuple(Image.fromarray(picture) for picture in VIDEO),
    ],
)
def test_all_forms_are_the_same_video(video):
    times, frames = grid(video)
    assert times.tolist() == [0, 0.25, 0.5]
    assert frames.shape == (3, 3, 16, 16)
    assert torch.equal(frames, grid(VIDEO)[1])
    assert torch.equal(frames[1], grid(VIDEO[2:])[1][0])


def test_sampling_is_that_of_a_file(make_video, read_number, tmp_path):
    path = make_video(tmp_path / "v.mp4", frames=50, fps=24)
    (whole,) = list(decode_grid(path, 24.0, 64))
    for fps in (4.0, 5.0, 23.976, 24.0, 48.0):
        ((times, frames),) = list(decode_grid(path, fps, 64, chunk=200))
        pictures = given_videos({"video": whole[1]}, 24.0)["video"]
        own = list(pictures.grid(fps, 64, "pyav"))
        assert torch.equal(torch.cat([time for time, _ in own]), times)
        assert [read_number(frame[0]) for _, frame in own] == [read_number(frame) for frame in frames]


def test_a_rate_above_a_videos_own_is_told(make_video, tmp_path, caplog):
    slow = given_videos({"video": np.zeros((60, 12, 16, 3), np.uint8)}, 0.1)["video"]
    next(slow.grid(4.0, 16, "pyav"))
    told = "video has 0.1 frames/s, fewer than the 4 that the model takes: of 2,400 pictures 2,340 are repetitions"
    assert told in caplog.text
    assert caplog.text.rstrip().endswith("standing still; check fps=")
    caplog.clear()
    of_file = VideoFile(make_video(tmp_path / "v.mp4", frames=12, fps=6))
    next(of_file.grid(8.0, 16, "pyav"))
    assert "v.mp4 has 6 frames/s, fewer than the 8" in caplog.text
    caplog.clear()
    next(of_file.grid(6.0, 16, "pyav"))
    next(given_videos({"video": VIDEO}, 4)["video"].grid(4.0, 16, "pyav"))
    assert not caplog.text


def test_of_a_batch_each_is_a_video():
    first, second = given_videos({"video": np.stack([VIDEO, VIDEO[::-1]])}, 4)["video"]
    assert torch.equal(first.frames, torch.from_numpy(VIDEO))
    assert torch.equal(second.frames, torch.from_numpy(VIDEO[::-1].copy()))
    assert str(second) == "video[1]"


def test_files_say_their_own_rate(tmp_path):
    given = given_videos({"source": str(tmp_path / "a.mp4"), "target": VIDEO}, 4)
    assert given["source"] == VideoFile(tmp_path / "a.mp4")
    with pytest.raises(WildlamError, match=r"fps is for arrays and pictures; a\.mp4 says its own"):
        given_videos({"video": "a.mp4"}, 4)


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (None, "video is of type NoneType; give a path, uint8"),
        (3, "video is of type int; give a path"),
        (b"mp4", "video is of type bytes; give a path"),
        ((picture for picture in VIDEO), "video is of type generator"),
        (Image.fromarray(VIDEO[0]), "video is one picture; give a list of them"),
        (VIDEO[0], r"video has shape \[20, 30, 3\], one picture; give"),
        (VIDEO[..., 0], r"video has shape \[6, 20, 30\], without colours; give"),
        (VIDEO[..., :1], "repeat the grey channel three times"),
        (np.concatenate([VIDEO, VIDEO], axis=-1)[..., :4], r"leave out the fourth channel \(alpha\)"),
        (VIDEO[None, None], "video has shape"),
        (VIDEO[:0], "it holds no picture"),
        (VIDEO / 255, r"video holds float64, pictures are uint8, 0 to 255; multiply values from 0 to 1"),
        (torch.rand(4, 3, 8, 8), "video holds float32"),
        (VIDEO.astype(np.int64), "video holds int64, pictures are uint8, 0 to 255; convert them"),
        ([], "video is an empty list"),
        ([1, 2], r"video\[0\] is of type int"),
        ([Image.new("RGB", (4, 4)), "a"], r"video\[1\] is a path among pictures; give pictures alone, opened"),
        (["a.mp4", "b.mp4"], "video is a list of paths; give one video at a time"),
        ([VIDEO, VIDEO], "video is a list of videos"),
        ([VIDEO[0], VIDEO[0][:5]], r"pictures 0 and 1 are of different sizes \(20x30 and 5x30\)"),
        ([VIDEO[0, 0]], r"video\[0\] has shape \[30, 3\]"),
    ],
)
def test_what_is_no_video_is_named(video, message):
    with pytest.raises(WildlamError, match=message):
        given_videos({"video": video}, 4)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), "4"])
def test_a_rate_is_a_positive_number(fps):
    with pytest.raises(WildlamError, match="fps must be a positive number"):
        given_videos({"video": VIDEO}, fps)


def test_arrays_need_a_rate():
    with pytest.raises(WildlamError, match="video: an array does not say its frames per second; give fps="):
        given_videos({"video": VIDEO})
