"""``import wildlam``: what is there, without PyTorch until something is used."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import wildlam

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(wildlam.__file__).parents[1])}


def test_importing_takes_no_pytorch():
    code = "import sys, wildlam; dir(wildlam); wildlam.WildlamError; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=True)


def test_every_name_is_there_and_editors_know_it():
    assert dir(wildlam) == wildlam.__all__
    for name in wildlam.__all__:
        assert getattr(wildlam, name) is not None
    tree = ast.parse(Path(wildlam.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {name.asname: node.module for node in block.body for name in node.names}
    assert imported == wildlam._MODULE_OF
    assert (Path(wildlam.__file__).parent / "py.typed").is_file()
    with pytest.raises(AttributeError, match="module 'wildlam' has no attribute 'trian'"):
        _ = wildlam.trian


def test_python_m_wildlam():
    command = [sys.executable, "-m", "wildlam", "--version"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout == f"wildlam {wildlam.__version__}\n"


def test_the_packaged_model():
    trained = wildlam.load("tiny")
    assert len(repr(trained).splitlines()) == 1
    assert "LatentActionModel(tiny, Noisy z of width 256" in repr(trained)
    with pytest.raises(wildlam.WildlamError, match=r"load takes a run folder, 'tiny', or 'user/name' of the .*None"):
        wildlam.load(None)
