"""How messages name the fields of a configuration."""

from concurrent.futures import ThreadPoolExecutor

import pytest

import wildlam
from wildlam import cli
from wildlam.config import read_config
from wildlam.errors import WildlamError, fields_as_options, named, option, shows_options, videos_given_by


def test_a_field_is_itself_from_python_and_an_option_in_a_command():
    assert (option("data.path"), shows_options()) == ("data.path", False)
    with fields_as_options(), ThreadPoolExecutor(1) as threads:
        assert (option("data.path"), shows_options()) == ("--data.path", True)
        assert threads.submit(option, "data.path").result() == "--data.path"
        with fields_as_options(False):
            assert option("data.path") == "data.path"
        assert option("data.path") == "--data.path"
    assert option("data.path") == "data.path"


def test_fields_are_named_by_the_options_of_the_command_that_runs():
    with fields_as_options(), named(videos_given_by("--data")):
        assert (option("data.path"), option("data.fps"), option("data.backend")) == ("--data", None, "--data.backend")
        with named({"data.path": "PATH"}):
            assert (option("data.path"), option("data.cache")) == ("PATH", "--data.cache")
        assert option("data.path") == "--data"
    with named(videos_given_by(option("unlabelled"))):
        assert (option("data.path"), option("data.cache")) == ("unlabelled", None)


def test_a_workflow_says_what_its_caller_can_give(tmp_path, capsys):
    with pytest.raises(WildlamError, match=r"^out \S+ is the folder of the videos"):
        wildlam.train(data={"path": str(tmp_path)}, out=str(tmp_path))
    assert cli.main(["train", "--data.path", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "error: --out " in capsys.readouterr().err
    with pytest.raises(WildlamError, match=r"no videos found .* check path$"):
        wildlam.index(path=tmp_path)
    assert cli.main(["index", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith("check PATH\n")
    with pytest.raises(WildlamError, match=r"^episodes must be at least 1, got 0$"):
        wildlam.plan(run="run", data="videos", episodes=0)
    assert cli.main(["plan", "run", "--data", "videos", "--episodes", "0"]) == 2
    assert capsys.readouterr().err == "wildlam: error: --episodes must be at least 1, got 0\n"


def test_a_file_is_said_to_have_keys_and_no_options(tmp_path):
    (tmp_path / "config.yaml").write_text("data: {path: videos}\nseed: -1\n")
    with fields_as_options(), pytest.raises(WildlamError, match=r"config\.yaml: seed must not be negative"):
        read_config(tmp_path / "config.yaml")
