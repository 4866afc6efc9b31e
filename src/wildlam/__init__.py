"""wildlam: learn the action space of unlabelled video and put it to use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wildlam.workflows.infer import Trained

__version__ = "0.1.0"


def load(run: str | Path) -> Trained:
    """Load a trained run folder; see ``wildlam.workflows.infer.load``. (PyTorch is imported only now.)"""
    from wildlam.workflows.infer import load

    return load(run)
