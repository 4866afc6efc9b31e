"""How messages name the fields of a configuration."""

from wildlam.errors import named, option, videos_given_by


def test_fields_are_named_by_the_options_of_the_command_that_runs():
    assert option("data.path") == "--data.path"
    with named(videos_given_by("--data")):
        assert (option("data.path"), option("data.cache"), option("data.fps")) == ("--data", None, "--data.fps")
        with named({"data.path": "PATH"}):
            assert (option("data.path"), option("data.cache")) == ("PATH", "--data.cache")
        assert option("data.path") == "--data"
    assert option("data.path") == "--data.path"
