"""Labelled data are looked at, by the command and from Python."""

import pytest

import wildlam
from wildlam import cli

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
        (["--shown", "0"], "--shown must be"),
    ],
)
def test_what_cannot_be_is_refused(aloha, capsys, options, said):
    assert cli.main(["data", str(aloha), *options]) == 2
    assert said in capsys.readouterr().err


def test_no_folder(tmp_path, capsys):
    assert cli.main(["data", str(tmp_path / "none")]) == 2
    assert "there is no such folder" in capsys.readouterr().err
