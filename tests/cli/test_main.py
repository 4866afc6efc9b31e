"""What every command has: help, errors, exit status."""

import os
import re
import subprocess
import sys

import pytest

import wildlam
from wildlam import cli


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help(command, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main([command, "--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert re.search(rf"^Examples?:\n  wildlam {command} ?\S*", text, flags=re.MULTILINE)  # with its line breaks
    assert "<class" not in text
    assert "null" not in text


def test_help_of_a_choice(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--encoder.help", "VJEPA2"])
    assert "--encoder.mode {causal,per_frame}" in capsys.readouterr().out


def test_usage(call):
    for arguments, expected in (([], 2), (["--help"], 0)):
        status, out, _ = call(*arguments)
        assert status == expected
        assert all(f"\n  {command} " in out for command in cli.COMMANDS)
    assert call("--version") == (0, f"wildlam {wildlam.__version__}\n", "")


def test_help_does_not_wait_for_torch():
    code = "import sys, wildlam.cli; wildlam.cli.main(['--help']); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_unknown_commands(refused):
    assert refused("trian") == "unknown command 'trian'; did you mean train?"
    assert refused("fly") == f"unknown command 'fly'; commands: {', '.join(cli.COMMANDS)}"
    assert refused("eval", "run", "--dat", "x") == "unrecognized arguments: --dat x; did you mean data.path?"


def test_a_log_file_gets_few_lines_of_progress(call, monkeypatch, videos):
    monkeypatch.delenv("TQDM_MININTERVAL", raising=False)
    call("index", videos)
    assert os.environ["TQDM_MININTERVAL"] == "30"
    monkeypatch.setenv("TQDM_MININTERVAL", "1")  # and the user's own choice stays
    call("index", videos)
    assert os.environ["TQDM_MININTERVAL"] == "1"
