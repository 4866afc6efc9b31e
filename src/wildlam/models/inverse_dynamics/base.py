"""The contract of an inverse dynamics model: from pairs of states to what the bottleneck reads."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from wildlam.models.cells import Cells
from wildlam.models.transformer import Size


@dataclass(frozen=True)
class IdmShape:
    """What an inverse dynamics model reads and puts out, and how large it is.

    Attributes:
        state_width: width D of the states' tokens.
        grid: height and width of their map, ``N = h * w``.
        dim: width Z of a latent action.
        parts: of how many vectors of that width the output consists, such as a mean and a variance.
        size: width, depth and heads of its transformer, if it has one.
        place: give that transformer learnt embeddings of places.
    """

    state_width: int
    grid: tuple[int, int]
    dim: int
    parts: int
    size: Size
    place: bool = False

    @property
    def out_width(self) -> int:
        """What the bottleneck reads."""
        return self.parts * self.dim


@dataclass(frozen=True, kw_only=True)
class InverseDynamicsConfig:
    """An inverse dynamics model."""

    def build(self, shape: IdmShape) -> InverseDynamicsModel:
        """Make the module, randomly initialised, for what ``shape`` says."""
        raise TypeError("choose an inverse dynamics model: Transformer, Linear, Difference or Split")

    def parted(self, shape: IdmShape) -> Cells | None:
        """Which dimensions of z speak of one place alone, and are to act there; None if all speak of the whole."""
        return None

    def prices(self, shape: IdmShape) -> Tensor | None:
        """What each of z's dimensions ``[Z]`` costs, in units of the bottleneck's price; None if all cost alike."""
        return None


class InverseDynamicsModel(nn.Module):
    """Reads the transitions between neighbouring states."""

    @abstractmethod
    def forward(self, states_BTND: Tensor) -> Tensor:
        """Read all ``T - 1`` neighbouring pairs in one batch: ``[B, T, N, D]`` to ``[B, T - 1, out_width]``.

        Output t is a function of states t and t + 1 alone.
        """

    def drop(self, z: Tensor) -> Tensor:
        """In training, latent actions ``[B, T - 1, Z]`` of which a part may be zero; else the same."""
        return z
