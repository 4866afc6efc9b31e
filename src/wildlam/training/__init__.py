"""One training loop and what it needs: optimisers, schedule, processes, checkpoints, run folders."""

from wildlam.runs.folder import Run
from wildlam.training.loop import TrainingConfig, fit

__all__ = ["Run", "TrainingConfig", "fit"]
