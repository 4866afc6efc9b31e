"""Distances between videos in pixels: L1, PSNR, SSIM and a perceptual one."""

from __future__ import annotations

import torch
from torch import Tensor

from wildlam.models.perceptual import PerceptualMetric


@torch.no_grad()
def pixel_metrics(
    predicted_BTCHW: Tensor, truth_BTCHW: Tensor, perceptual: PerceptualMetric | None = None
) -> dict[str, Tensor]:
    """Compare videos frame by frame, each with its truth.

    Args:
        predicted_BTCHW: float ``[B, T, 3, S, S]`` in 0..1.
        truth_BTCHW: likewise.
        perceptual: a perceptual distance to add.

    Returns:
        Means over a clip's frames, float ``[B]``: ``l1`` of values in 0..1; ``psnr`` in decibels, infinite for
        equal frames; ``ssim`` (Gaussian window of 11 pixels, sigma 1.5); and the perceptual distance under its name.

    Raises:
        ValueError: the videos differ in shape.
    """
    # Not above: it takes seconds, which every start of every command would wait for.
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    if predicted_BTCHW.shape != truth_BTCHW.shape:
        raise ValueError(f"expected videos of one shape, got {list(predicted_BTCHW.shape)}, {list(truth_BTCHW.shape)}")
    clips = predicted_BTCHW.shape[:2]
    predicted, truth = predicted_BTCHW.flatten(0, 1).float(), truth_BTCHW.flatten(0, 1).float()
    l1 = (predicted - truth).abs().mean(dim=(1, 2, 3))
    psnr = peak_signal_noise_ratio(predicted, truth, data_range=1.0, reduction="none", dim=(1, 2, 3))
    ssim = structural_similarity_index_measure(predicted, truth, data_range=1.0, reduction="none")
    assert isinstance(ssim, Tensor)
    frames = {"l1": l1, "psnr": psnr, "ssim": ssim.view(-1)}
    metrics = {name: values.view(clips).mean(dim=1) for name, values in frames.items()}
    if perceptual is not None:
        metrics[perceptual.name] = perceptual.per_frame(predicted_BTCHW, truth_BTCHW).mean(dim=1)
    return metrics
