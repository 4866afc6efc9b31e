"""What a training logs: lines of the run's metrics, and the same for TensorBoard.

TensorBoard takes a second to import; a file of its own, as whoever parses a configuration imports all that the types
of its module name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wildlam.runs.folder import Run

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Values = dict[str, float | list[float]]
"""Scalars and vectors of a step, as they are logged."""


def summary_writer(run: Run, start: int) -> SummaryWriter:
    """TensorBoard's writer, without the entries of steps that are repeated."""
    from torch.utils.tensorboard import SummaryWriter

    run.forget_metrics_after(start)
    return SummaryWriter(str(run.path / "tensorboard"), purge_step=start)


def log(run: Run, writer: SummaryWriter, step: int, values: Values) -> None:
    """Log the values of a step; vectors are not for TensorBoard."""
    run.log(step, values)
    for key, value in values.items():
        if isinstance(value, float):
            writer.add_scalar(key, value, step)
