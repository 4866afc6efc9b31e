"""The model card says what is known, and that nothing is where nothing is."""

import shutil
from pathlib import Path

import pytest
import yaml

from wildlam.pretrained import TINY
from wildlam.report.card import model_card
from wildlam.runs.folder import Run


@pytest.fixture
def tiny(tmp_path):
    return Path(shutil.copytree(TINY, tmp_path / "tiny"))


def test_without_an_evaluation_it_says_so(tiny):
    (tiny / "results.json").unlink()
    card = model_card(Run(tiny), "me/model", "mit", "", {})
    assert "\nIt has not been evaluated.\n" in card
    assert "under what licence is not told." in card
    assert "Trained for it" not in card


def test_an_encoder_of_the_hub_is_the_base_model(tiny):
    config = yaml.safe_load((tiny / "config.yaml").read_text())
    config["encoder"] = {"class_path": "VJEPA2", "init_args": {"model": "facebook/vjepa2-vitl-fpc64-256"}}
    (tiny / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    front = yaml.safe_load(model_card(Run(tiny), "me/model", "mit", "", {}).split("---")[1])
    assert front["base_model"] == "facebook/vjepa2-vitl-fpc64-256"


def test_without_figures_clip_by_clip_it_has_means_alone(tiny):
    card = model_card(Run(tiny), "me/model", "mit", "", {})
    assert "|  | inferred actions | another clip's actions | zero actions | copy the last frame |" in card
    assert "| all | 0.264 | 0.343 | 0.316 | 0.340 |" in card
    assert "bootstrap" not in card
    assert "so the uncertainty of the figures is unknown" in card
