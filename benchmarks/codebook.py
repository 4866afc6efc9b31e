"""Our vector quantisation against ``vector-quantize-pytorch``: which keeps more codes alive, errs less, costs less?

    python benchmarks/codebook.py --out build/codebook.json [--short]

Both quantise the same inputs, batch by batch: 200 clusters of unequal weight whose centres drift, as an inverse
dynamics model's outputs do while it learns. Same codebook size, decay and commitment; the library with its k-means
start and its reset of dead codes. Measured on fresh inputs after the last batch, over three seeds.
"""

from __future__ import annotations

import statistics
import time

import torch
from common import arguments, finish, row
from torch import Tensor, nn
from vector_quantize_pytorch import VectorQuantize

from wildlam.models.bottlenecks import Discrete

DIM, CODES, BATCH = 32, 256, 448


class Drifting:
    """Inputs from clusters that move: ``[BATCH, DIM]`` at a time."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.centres = torch.randn(200, DIM, generator=self.generator)
        self.weights = torch.rand(200, generator=self.generator) ** 3
        self.velocity = 0.01 * torch.randn(200, DIM, generator=self.generator)

    def batch(self) -> Tensor:
        """Move the centres and draw a batch."""
        self.centres += self.velocity
        chosen = torch.multinomial(self.weights, BATCH, replacement=True, generator=self.generator)
        return self.centres[chosen] + 0.1 * torch.randn(BATCH, DIM, generator=self.generator)


def ours() -> nn.Module:
    """This package's codebook."""
    return Discrete(dim=DIM, codes=CODES, decay=0.99).build()


def theirs() -> nn.Module:
    """The library's, with the settings that its documentation recommends against dead codes."""
    return VectorQuantize(
        dim=DIM, codebook_size=CODES, decay=0.99, commitment_weight=0.25, kmeans_init=True, threshold_ema_dead_code=2
    )


def main() -> None:
    args = arguments(__doc__ or "")
    steps = 200 if args.short else 1000
    rows = []
    for name, build in (("ours", ours), ("vector-quantize-pytorch", theirs)):
        error, used, milliseconds = [], [], []
        for seed in range(3):
            torch.manual_seed(seed)
            quantiser, inputs = build().train(), Drifting(seed)
            began = time.perf_counter()
            for _ in range(steps):
                quantiser(inputs.batch()[None])
            milliseconds.append(1e3 * (time.perf_counter() - began) / steps)
            quantiser.eval()
            x = torch.cat([inputs.batch() for _ in range(8)])
            z = quantiser(x[None])[0][0]
            error.append(float((x - z).square().sum() / (x - x.mean(dim=0)).square().sum()))
            used.append(len(z.detach().round(decimals=4).unique(dim=0)))
        rows += [
            row(f"codebook, {name}: error over spread, mean of 3 seeds", statistics.mean(error), "share"),
            row(f"codebook, {name}: error, largest less smallest", max(error) - min(error), "share"),
            row(f"codebook, {name}: codes used, mean of 3 seeds", statistics.mean(used), f"of {CODES}"),
            row(f"codebook, {name}: time of a batch of {BATCH}", statistics.median(milliseconds), "ms"),
        ]
    finish(rows, args.out)


if __name__ == "__main__":
    main()
