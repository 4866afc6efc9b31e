"""Discrete latent actions: vector quantisation, the usual baseline (van den Oord et al., 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from wildlam.models.bottlenecks.base import Bottleneck, BottleneckConfig

EPSILON = 1e-5


@dataclass(frozen=True, kw_only=True)
class Discrete(BottleneckConfig):
    """A codebook of latent actions.

    Args:
        codes: size of the codebook; larger leaves more capacity (paper: 16 to 32768).
        commitment: price of the IDM's squared distance from its code.
        decay: decay of the moving averages that the codes follow.
        reset_after: a code unused for this many latent actions starts anew from one of the batch (paper: 2.5 million of
            the 240 million seen; here as share of a shorter training).
    """

    codes: int = 256
    commitment: float = 0.25
    decay: float = 0.99
    reset_after: int = 20_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.codes < 2:
            raise ValueError(f"model.bottleneck.codes must be at least 2, got {self.codes}")
        if self.decay >= 1:
            raise ValueError(f"model.bottleneck.decay must be under 1, or codes never move, got {self.decay}")

    def build(self) -> DiscreteBottleneck:
        """Make the module."""
        return DiscreteBottleneck(self)


class DiscreteBottleneck(Bottleneck):
    """Nearest code, straight-through gradient, codes following moving averages of what is assigned to them.

    The codebook moves by exponential moving averages instead of a loss (van den Oord et al., appendix A.1), on the
    global batch. The first batch sets the codes.
    """

    codebook: Tensor
    sizes: Tensor
    sums: Tensor
    idle: Tensor
    ready: Tensor

    def __init__(self, config: Discrete) -> None:
        super().__init__()
        self.dim, self.in_width, self.config = config.dim, config.dim, config
        self.register_buffer("codebook", torch.randn(config.codes, config.dim))
        self.register_buffer("sizes", torch.zeros(config.codes))
        self.register_buffer("sums", torch.zeros(config.codes, config.dim))
        self.register_buffer("idle", torch.zeros(config.codes))
        self.register_buffer("ready", torch.zeros(()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Bottleneck.forward``; the penalty is ``commitment * ‖x - sg(code)‖²``, averaged over entries."""
        x = x.float()
        if self.training and not self.ready:
            self._restart(torch.ones_like(self.idle, dtype=torch.bool), x)
            self.ready.fill_(1.0)
        codes = self.assign(x)
        z = F.embedding(codes, self.codebook)
        penalty = self.config.commitment * F.mse_loss(x, z)
        if self.training:
            self._follow(x.detach().flatten(0, -2), codes.flatten())
        return x + (z - x).detach(), penalty

    def draw(self, x: Tensor) -> Tensor:
        """The nearest code, with straight-through gradient; no code follows."""
        x = x.float()
        return x + (self.encode(x) - x).detach()

    def encode(self, x: Tensor) -> Tensor:
        """The nearest code."""
        return F.embedding(self.assign(x), self.codebook)

    @torch.no_grad()
    def assign(self, x: Tensor) -> Tensor:
        """Index of the nearest code, ``[..., Z]`` to ``[...]`` int64."""
        distances = self.codebook.square().sum(dim=-1) - 2 * x.float() @ self.codebook.T
        return distances.argmin(dim=-1)

    @torch.no_grad()
    def _follow(self, x: Tensor, codes: Tensor) -> None:
        count = torch.bincount(codes, minlength=self.config.codes).to(x)
        total = torch.zeros_like(self.sums).index_add_(0, codes, x)
        if dist.is_initialized():
            dist.all_reduce(count)
            dist.all_reduce(total)
        self.sizes.lerp_(count, 1 - self.config.decay)
        self.sums.lerp_(total, 1 - self.config.decay)
        # A code moves only when used: a rare code's averages decay together, so their ratio stays.
        used = count > 0
        self.codebook[used] = (self.sums / self.sizes.clamp(min=EPSILON)[:, None])[used]
        self.idle.add_(count.sum()).masked_fill_(used, 0.0)
        unused = self.idle >= self.config.reset_after
        if unused.any():
            self._restart(unused, x)

    @torch.no_grad()
    def _restart(self, which: Tensor, x: Tensor) -> None:
        """Set codes to latent actions drawn from the batch (the first process's, so that all agree)."""
        x = x.detach().flatten(0, -2)
        wanted = int(which.sum())
        # Without replacement while the batch lasts; the jitter distinguishes repeated draws.
        order = torch.cat([torch.randperm(len(x), device=x.device) for _ in range(-(-wanted // len(x)))])[:wanted]
        drawn = x[order] + 0.01 * x.std() * torch.randn(wanted, self.dim, device=x.device)
        if dist.is_initialized():
            dist.broadcast(drawn, src=0)
        self.codebook[which] = drawn
        self.sizes[which] = 1.0
        self.sums[which] = drawn
        self.idle[which] = 0.0

    def statistics(self, x: Tensor) -> dict[str, Tensor]:
        """Codes used in this batch, their perplexity, and the squared distance of inputs from them over the spread."""
        x = x.detach().float().flatten(0, -2)
        codes = self.assign(x)
        share = torch.bincount(codes, minlength=self.config.codes).float() / len(codes)
        entropy = -(share * share.clamp(min=1e-12).log()).sum()
        distance = (x - self.codebook[codes]).square().sum(dim=-1).mean()
        spread = (x - x.mean(dim=0)).square().sum(dim=-1).mean()
        return {
            "codes_used": (share > 0).float().sum(),
            "perplexity": entropy.exp(),
            "quantisation_error": distance / spread.clamp(min=1e-12),
        }

    def sample(self, count: int) -> Tensor:
        """Draw codes in proportion to how often they are used."""
        weights = self.sizes if bool(self.ready) else torch.ones_like(self.sizes)
        return self.codebook[torch.multinomial(weights, count, replacement=True)]
