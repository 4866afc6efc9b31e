"""A few of the faults that ``python -m tests.faults`` makes many of."""

import sys

import pytest

from tests.faults.__main__ import unwanted
from tests.faults.commands import make_folder
from tests.faults.full_disk import FREE, fill_disks, small_disk
from tests.faults.kills import kill_all
from tests.faults.mutations import mutate_all, prepare

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def pattern(tmp_path_factory, make_video):
    folder = tmp_path_factory.mktemp("faults")
    clips = [make_video(folder / f"{name}.mp4", frames=36, size=(80, 64)) for name in ("a", "b")]
    return make_folder(folder, clips, copies=6)


def test_kills(pattern, tmp_path):
    tallies = {"kills": kill_all(pattern, pattern, tmp_path, kills=3)}  # not of the sweep
    assert unwanted(tallies) == 0, tallies
    assert all(tally["same"] for tally in tallies["kills"].values())


def test_damaged_files(pattern, tmp_path):
    tallies = {"mutations": mutate_all(prepare(pattern), tmp_path, mutations=25)}
    assert unwanted(tallies) == 0, tallies


@pytest.mark.skipif(sys.platform != "linux", reason="makes a tmpfs")
def test_full_disks(pattern, tmp_path, monkeypatch):
    try:
        with small_disk(tmp_path / "any"):
            pass
    except OSError as error:
        pytest.skip(str(error))
    monkeypatch.setattr("tests.faults.full_disk.FREE", {"encode": FREE["encode"][1:2], "train": FREE["train"][-1:]})
    tallies = {"full disk": fill_disks(pattern, tmp_path)}
    assert unwanted(tallies) == 0, tallies
    assert tallies["full disk"]["encode"]["error"] == 1
    assert tallies["full disk"]["train"]["of a checkpoint"] == 1
