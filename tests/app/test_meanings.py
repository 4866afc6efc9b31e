"""Each statistic that a training logs is explained in a sentence."""

import json

import pytest

from wildlam.app.meanings import MEANINGS, meaning
from wildlam.pretrained import TINY


@pytest.mark.parametrize("file", sorted(TINY.rglob("metrics.jsonl")), ids=lambda file: file.parent.name)
def test_whatever_is_logged_as_a_number_has_a_meaning(file):
    names = {name for line in file.read_text().splitlines() for name, value in json.loads(line).items()
             if not isinstance(value, list)}  # fmt: skip
    assert not [name for name in names - {"step"} if name != "held_out/loss" and not meaning(name)]


def test_held_out_ones_say_of_which_videos():
    assert meaning("held_out/idm") == f"{MEANINGS['idm']} Held-out videos."
    assert meaning("held_out/arm/psnr") == f"{MEANINGS['psnr']} Held-out videos of arm."
    assert meaning("something/else") == meaning("else") == ""
