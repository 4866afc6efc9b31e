"""A categorical distribution over the codes of a Discrete bottleneck: ``p(code | s)``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wildlam.errors import WildlamError
from wildlam.models.bottlenecks import Bottleneck
from wildlam.models.bottlenecks.discrete import DiscreteBottleneck
from wildlam.models.priors.base import LatentPrior, PriorConfig, state_reader


@dataclass(frozen=True, kw_only=True)
class Codes(PriorConfig):
    """How likely each code of the codebook is in a state, by a small network; for Discrete latent actions alone."""

    def build(self, state_shape: tuple[int, int], bottleneck: Bottleneck) -> CodesPrior:
        """Make the module; see ``PriorConfig.build``."""
        if not isinstance(bottleneck, DiscreteBottleneck):
            raise WildlamError("the prior Codes is for Discrete latent actions; choose Gaussian, Flow or Neighbours")
        return CodesPrior(self, state_shape, bottleneck)


class CodesPrior(LatentPrior):
    """The base space has a dimension for each code: noise that is added to its log-probability; the largest sum wins.

    Normal u are made Gumbel noise, so that a code wins as often as it is likely. Untrained, codes are as likely as they
    are frequent.
    """

    codebook: Tensor
    log_share: Tensor

    def __init__(self, config: Codes, state_shape: tuple[int, int], bottleneck: DiscreteBottleneck) -> None:
        count, dim = bottleneck.codebook.shape
        super().__init__(config, state_shape, dim, base=count)
        self.register_buffer("codebook", bottleneck.codebook.clone())
        self.register_buffer("log_share", torch.zeros(count))
        self.net = state_reader(config.components, count)

    def _fit(self, read: Tensor, z: Tensor) -> None:
        uses = torch.bincount(self._code(z), minlength=self.base) + 1.0
        self.log_share.copy_((uses / uses.sum()).log())

    def _act(self, u: Tensor, read: Tensor) -> Tensor:
        return self.codebook[self._chosen(u, read)]

    def _log_prob(self, z: Tensor, read: Tensor) -> Tensor:
        return self._log_shares(read).gather(-1, self._code(z)[..., None])[..., 0]

    def surprise(self, u: Tensor, states: Tensor) -> Tensor:
        """Minus the log-probability of the code that a point chooses; how far it lies out means nothing more."""
        with torch.autocast(states.device.type, enabled=False):
            read = self.read(states)
            return -self._log_shares(read).gather(-1, self._chosen(u.float(), read)[..., None])[..., 0]

    def _chosen(self, u: Tensor, read: Tensor) -> Tensor:
        # Phi(u) is its quantile; of its logarithm little is lost where u is far out.
        gumbel = -(-torch.special.log_ndtr(u)).log()
        return (self._log_shares(read) + gumbel).argmax(dim=-1)

    def _log_shares(self, read: Tensor) -> Tensor:
        return (self.log_share + self.net(read)).log_softmax(dim=-1)

    def _code(self, z: Tensor) -> Tensor:
        """Number of the code that a latent action is, int64 ``[...]``."""
        # Not by matrix product, under which the distance of equal codes is not quite zero.
        exactly = "donot_use_mm_for_euclid_dist"
        return torch.cdist(z.flatten(0, -2), self.codebook, compute_mode=exactly).argmin(dim=1).view(z.shape[:-1])
