"""What every command has: help, errors, exit status."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import wildlam
from wildlam import cli
from wildlam.cli.learn import COMMON_KEYS


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help(command, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main([command, "--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert re.search(rf"^Examples?:\n  wildlam {command} ?\S*", text, flags=re.MULTILINE)  # with its line breaks
    assert "<class" not in text
    assert "null" not in text


def test_help_is_in_our_words(capsys):
    with pytest.raises(SystemExit):
        cli.main(["controller", "train", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "--training CONFIG YAML file with the keys of this group" in told
    assert "print the whole configuration, as --config takes it" in told
    assert "configuration file" not in told
    assert "customizes" not in told


def test_help_of_a_choice(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--encoder.help", "VJEPA2"])
    assert "--encoder.mode {causal,per_frame}" in capsys.readouterr().out


def shown(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        cli.main(list(arguments))
    assert left.value.code == 0
    return set(re.findall(r"^  (?:-\w, )?--([\w.-]+)", capsys.readouterr().out, flags=re.MULTILINE))


def test_help_shows_what_most_people_need_and_help_all_the_rest(capsys):
    few, all_keys = shown(capsys, "train", "--help"), shown(capsys, "train", "--help-all")
    assert few == COMMON_KEYS | {"help", "help-all"}
    assert len(COMMON_KEYS - {"config"}) == 10
    assert few < all_keys
    assert {"data.mixture", "training.optimizer.clip", "training.shard"} <= all_keys - few


@pytest.mark.parametrize(
    ("arguments", "own"),
    [
        (["sweep"], {"limits", "bounds", "seeds", "only", "slurm", "data.path", "out"}),
        (["train", "--estimate"], {"gpus", "gpu", "utilisation"}),
    ],
)
def test_help_of_other_commands_shows_their_own_keys(capsys, arguments, own):
    assert shown(capsys, *arguments, "--help") == own | {"config", "help", "help-all"}
    assert own | {"training.steps", "encoder"} <= shown(capsys, *arguments, "--help-all")


def test_commands_are_grouped(call):
    out = call("--help")[1]
    assert re.findall(r"^(\w+):$", out, flags=re.MULTILINE) == ["data", "learn", "look", "act", "share"]


def test_usage(call):
    for arguments, expected in (([], 2), (["--help"], 0)):
        status, out, _ = call(*arguments)
        assert status == expected
        assert all(f"\n  {command} " in out for command in cli.COMMANDS)
    assert call("--version") == (0, f"wildlam {wildlam.__version__}\n", "")


AT_ONCE = (
    *("index", "store", "decoder", "controller", "prior", "policy", "eval", "infer", "show", "report", "transfer"),
    *("search", "app", "push", "export"),
)
"""Commands whose help takes no PyTorch; the keys of the others are those of models, or of plans."""


def test_help_does_not_wait_for_torch():
    code = """if True:
        import sys, wildlam.cli
        assert wildlam.cli.main(["--help"]) == 0
        for command in sys.argv[1:]:
            try:
                wildlam.cli.main([*command.split(), "--help"])
            except SystemExit:
                pass
            else:
                sys.exit(f"{command}: no help")
            slow = {"torch", "transformers", "matplotlib", "av", "numpy"} & set(sys.modules)
            if slow:
                sys.exit(f"{command} imports {slow}")
    """
    here = os.environ | {"PYTHONPATH": str(Path(wildlam.__file__).parents[1])}
    asked = [sys.executable, "-c", code, *AT_ONCE, "search build", "train --resume=run"]
    subprocess.run(asked, env=here, check=True, stdout=subprocess.DEVNULL)


def test_unknown_commands(refused):
    assert refused("trian") == "unknown command 'trian'; did you mean train?"
    assert refused("fly") == f"unknown command 'fly'; commands: {', '.join(cli.COMMANDS)}"
    assert refused("eval", "run", "--dat", "x") == "unrecognized arguments: --dat x; did you mean --data.path?"
    assert refused("index", "good", "--held-out", "0.2").endswith("--held-out 0.2; did you mean --held_out?")
    assert refused("infer", "a.mp4", "--run", "tiny", "--outptu", "b").endswith("did you mean --output?")
    assert refused("infer", "--vido", "a.mp4", "--run", "tiny").endswith("did you mean video?")  # no option
    assert refused("infer") == "give a run and videos: wildlam infer RUN VIDEO..."


def test_a_log_file_gets_few_lines_of_progress(call, monkeypatch, videos):
    monkeypatch.delenv("TQDM_MININTERVAL", raising=False)
    call("index", videos)
    assert os.environ["TQDM_MININTERVAL"] == "30"
    monkeypatch.setenv("TQDM_MININTERVAL", "1")  # and the user's own choice stays
    call("index", videos)
    assert os.environ["TQDM_MININTERVAL"] == "1"


def test_what_is_no_run_is_told_without_torch():
    code = """if True:
        import sys, wildlam.cli
        for command in sys.argv[1:]:
            assert wildlam.cli.main(command.split()) == 2, command
            slow = {"torch", "transformers", "matplotlib", "av"} & set(sys.modules)
            if slow:
                sys.exit(f"{command} imports {slow}")
    """
    here = os.environ | {"PYTHONPATH": str(Path(wildlam.__file__).parents[1])}
    runs = ("search nope --like a@1", "search build nope", "infer nope a.mp4", "transfer nope a.mp4 b.mp4", "show nope")
    more = ("push nope me/model --license mit", "export nope", "eval nope", "report nope")
    done = subprocess.run([sys.executable, "-c", code, *runs, *more], env=here, check=True, capture_output=True)
    assert done.stderr.count(b"nope is not a run folder: it has no config.yaml") == len(runs) + len(more)
