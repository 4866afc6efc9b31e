from dataclasses import fields

import numpy as np
import pytest

from wildlam.episodes.movers import Truth, read_truth, truth_path, write_truth
from wildlam.errors import WildlamError


def truth(movers, frames=3):
    values = np.arange(frames * movers * 4, dtype=np.float32)
    return Truth(
        fps=np.array(8.0),
        background=np.array("still"),
        shapes=np.array(["star"] * movers, dtype=str),
        radius=np.ones(movers, np.float32),
        position=values[: frames * movers * 2].reshape(frames, movers, 2),
        velocity=values[: frames * movers * 2].reshape(frames, movers, 2),
        angle=values[: frames * movers].reshape(frames, movers),
        scale=values[: frames * movers].reshape(frames, movers),
        visible=values[: frames * movers].reshape(frames, movers),
        box=values.reshape(frames, movers, 4).astype(np.int16),
        shift=np.zeros((frames, 2), np.float32),
    )


@pytest.mark.parametrize("movers", [0, 2])
def test_what_is_written_is_read_again(tmp_path, movers):
    wanted = truth(movers)
    write_truth(tmp_path / "train" / "film.mp4", wanted)
    found = read_truth(tmp_path / "train" / "film.mp4")
    for one in fields(Truth):
        assert np.array_equal(getattr(found, one.name), getattr(wanted, one.name))
        assert getattr(found, one.name).dtype == getattr(wanted, one.name).dtype


def test_the_same_truth_is_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_truth(tmp_path / f"{name}.mp4", truth(2))
    assert truth_path(tmp_path / "a.mp4").read_bytes() == truth_path(tmp_path / "b.mp4").read_bytes()


def test_a_missing_or_broken_truth_names_its_file(tmp_path):
    film = tmp_path / "film.mp4"
    with pytest.raises(WildlamError, match=r"cannot read the truth .*film\.truth\.npz: .*film it again"):
        read_truth(film)
    write_truth(film, truth(1))
    truth_path(film).write_bytes(truth_path(film).read_bytes()[:200])
    with pytest.raises(WildlamError, match=r"cannot read the truth .*film\.truth\.npz"):
        read_truth(film)
    np.savez(truth_path(film), fps=np.array(8.0))
    with pytest.raises(WildlamError, match=r"cannot read the truth .*background"):
        read_truth(film)
    np.savez(truth_path(film), fps=np.array(None))  # a pickle, which is never opened
    with pytest.raises(WildlamError, match="cannot read the truth"):
        read_truth(film)
