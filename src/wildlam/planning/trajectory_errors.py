"""How far a planned trajectory on the ground lies from the true one, by ``evo``: ATE and RPE."""

from __future__ import annotations

from typing import Any

import numpy as np

from wildlam.errors import WildlamError


def evo() -> tuple[Any, Any]:
    """evo's ``core.metrics`` and ``core.trajectory``, of an extra.

    Raises:
        WildlamError: it is not installed.
    """
    try:
        from evo.core import metrics, trajectory
    except ImportError as error:
        raise WildlamError("trajectory errors need evo: pip install 'wildlam[plan]'") from error
    return metrics, trajectory


def trajectory_errors(planned: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Compare poses ``[T, 3]`` (x, y, heading in degrees), step by step.

    Returns:
        ``ate``: root mean square distance of positions, not aligned, as both start at one pose; ``rpe``: root mean
        square error of the displacements from one pose to the next, each in the frame of the pose before it.

    Raises:
        WildlamError: evo is not installed.
    """
    metrics, trajectory = evo()

    def path(poses: np.ndarray) -> Any:
        half = np.radians(poses[:, 2]) / 2
        flat = np.zeros(len(poses))
        return trajectory.PosePath3D(
            positions_xyz=np.column_stack([poses[:, :2], flat]),
            orientations_quat_wxyz=np.column_stack([np.cos(half), flat, flat, np.sin(half)]),
        )

    both = (path(true), path(planned))
    absolute = metrics.APE(metrics.PoseRelation.translation_part)
    relative = metrics.RPE(metrics.PoseRelation.translation_part, delta=1, delta_unit=metrics.Unit.frames)
    for metric in (absolute, relative):
        metric.process_data(both)
    return {name: m.get_statistic(metrics.StatisticsType.rmse) for name, m in (("ate", absolute), ("rpe", relative))}
