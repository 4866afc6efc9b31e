"""Labelled data are looked at, by the command and from Python."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import wildlam
from wildlam import cli
from wildlam.episodes.formats import read_episodes
from wildlam.errors import WildlamError

from ..aloha import write_aloha


@pytest.fixture
def aloha(tmp_path, make_video):
    return write_aloha(tmp_path / "aloha", make_video, numbers=range(4))


def test_the_command(aloha, capsys, tmp_path):
    page = tmp_path / "pages" / "data.html"
    assert cli.main(["data", str(aloha), "--camera", "cam_left_wrist", "--shown", "2", "--out", str(page)]) == 0
    said = capsys.readouterr().out
    assert "4 episodes of 4 recordings (lerobot), 0.00 hours; 3 for training and 1 held out" in said
    assert "actions: recorded actions of 14 numbers (action 0, action 1, " in said
    assert "cameras: observation.images.cam_high, observation.images.cam_left_wrist" in said
    assert "odd: 4 episodes are too short" not in said
    text = page.read_text()
    assert text.count("<img") == 2
    assert "(train)" in text


@pytest.mark.parametrize(
    "angles",
    [
        ["--angles", "state 3", "state 5"],
        ["--angles", '["state 3", "state 5"]'],
        ["--angles=state 3", "--angles", "state 3", "state 5"],  # the last counts
    ],
)
def test_angles_are_named(aloha, monkeypatch, angles):
    given = []
    monkeypatch.setattr("wildlam.workflows.data.preview", lambda config: given.append(config))
    for args in ([str(aloha), *angles, "--actions", "states"], [str(aloha), "--actions", "states", *angles]):
        assert cli.main(["data", *args]) == 0
        assert given.pop().reading.angles == ("state 3", "state 5")


def test_units_are_said(aloha, capsys):
    assert cli.main(["data", str(aloha), "--units", "action 1=rad", "action 0=mm"]) == 0
    assert "14 numbers (action 0 (mm), action 1 (rad), action 2, " in capsys.readouterr().out
    found = wildlam.preview(path=aloha, actions="states", units=["state 2=deg/s"], shown=1)
    assert "d state 1, d state 2 (deg/s), " in str(found)


def test_rotations_are_said(aloha, capsys):
    said = ["--rotations", "vector=state 3,state 4,state 5", "euler=state 9,state 10,state 11"]
    assert cli.main(["data", str(aloha), "--actions", "states", *said]) == 0
    told = capsys.readouterr().out
    assert "with rotations vector=state 3,state 4,state 5 euler=state 9,state 10,state 11" in told
    assert "d state 2, d state 3 (rad), d state 4 (rad)" in told
    said = ["--rotations", "quaternion=state 0,state 1,state 2,state 3"]
    assert cli.main(["data", str(aloha), "--actions", "states", *said]) == 0
    assert "odd: are no orientation, and their steps left out here: episode_000000" in capsys.readouterr().out


def test_from_python(aloha):
    found = wildlam.preview(path=aloha, actions="states", shown=1)
    assert found.page == aloha / ".wildlam" / "data.html"
    assert found.page.is_file()
    assert found.summary.space.name == "states"
    assert "states actions of 14 numbers" in found._repr_html_()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--actions", "poses"], "records no poses of an arm or on the ground; --actions can be recorded or states"),
        (["--camera", "top"], "has no camera top; there are observation.images.cam_high"),
        (["--fps", "0"], "--fps must be a positive number"),
        (["--actions", "states", "--angles", "elbow"], "has no elbow; its states are state 0, state 1"),
        (["--angles", "state 3"], "--angles are of changes of states; give --actions states, too"),
        (["--actions", "states", "--angles"], "angles"),
        (["--actions", "states", "--rotations", "vector=elbow"], "has no elbow; its states are state 0"),
        (["--rotations", "vector=elbow"], "--rotations are of changes of states; give --actions states, too"),
        (["--shown", "0"], "--shown must be"),
        (["--units", "elbow"], "--units are NAME=UNIT, such as elbow=rad; got 'elbow'"),
        (["--units", "elbow=rad"], "has no elbow to have a unit; there are action 0, action 1"),
    ],
)
def test_what_cannot_be_is_refused(aloha, capsys, options, said):
    assert cli.main(["data", str(aloha), *options]) == 2
    assert said in capsys.readouterr().err


def test_no_folder(tmp_path, capsys):
    assert cli.main(["data", str(tmp_path / "none")]) == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_numbers_that_are_not_finite_are_shown(aloha, capsys, tmp_path):
    """By episode and component, where training on them is refused."""
    file = next(aloha.glob("data/*/*000002.parquet"))
    rows = pq.read_table(file).to_pylist()
    rows[7]["action"][2] = rows[9]["action"][2] = rows[9]["observation.state"][0] = float("nan")
    pq.write_table(pa.Table.from_pylist(rows), file)
    assert cli.main(["data", str(aloha)]) == 0
    said = capsys.readouterr().out
    assert "4 episodes of 4 recordings" in said
    assert "odd: 3 numbers are not finite, and their steps left out here: episode_000002 action 2 (2 of 40), " in said
    assert "episode_000002 state 0 (1 of 40)" in said
    assert "nan" not in said
    with pytest.raises(WildlamError, match="episode_000002: numbers must be finite; action 2 of frame 7 is nan"):
        read_episodes(aloha)


def test_commands_beside_videos_with_gaps_are_shown(make_video, tmp_path, capsys):
    for name in "ab":
        make_video(tmp_path / f"{name}.mp4", frames=60, fps=8)
        lines = [f"{k / 8},{'' if k == 5 else k}" for k in range(60)]
        (tmp_path / f"{name}.actions.csv").write_text("\n".join(["time,gas", *lines]))
    assert cli.main(["data", str(tmp_path)]) == 0
    assert "2 numbers are not finite, and their steps left out here: a.mp4 gas (1 of 60), b" in capsys.readouterr().out
