"""One training loop and what it needs: optimisers, schedule, processes, checkpoints, run folders."""

from wildlam.training.loop import TrainingConfig, fit
from wildlam.training.run import Run

__all__ = ["Run", "TrainingConfig", "fit"]
