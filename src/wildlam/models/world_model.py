"""World model: predict the next state from the past and a latent action, ``ŝ_{t+1} = p(s_{0:t}, z_t)``.

Each frame's tokens are conditioned on that frame's own action, so what a token sees of earlier frames carries their
actions too: strictly, ``p(s_{0:t}, z_{0:t})``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wildlam.models.attention import KeyValueCache, Mask, frame_causal_bias, rotations
from wildlam.models.cells import Cells
from wildlam.models.transformer import ConditionedBlock, Modulation, Size, modulate, place_embeddings

CONDITION_WIDTH = 256

Act = Callable[[Tensor, Tensor], Tensor]
"""From actions, and the states that they are taken in, to latent actions."""


class WorldModel(nn.Module):
    """Frame-causal transformer on states, conditioned on latent actions by frame-wise AdaLN-zero.

    Args:
        state_width: width D of the states' tokens.
        grid: height and width of their map, ``N = h * w``.
        action_width: width Z of a latent action.
        size: width, depth and heads of the transformer.
        predict: ``"change"`` adds the output to the last state, which makes the untrained model an exact copy;
            ``"state"`` takes the output as the state itself.
        place: add to the embedded tokens learnt embeddings of their places, and what a linear map of its own, zero at
            first, makes of the action for each: else an action says the same to all places of a frame.
        cells: which parts of an action act in one place, if any do: tokens are conditioned by those of their own cell,
            everywhere in the same way, and what moves is learnt once for all places.
    """

    def __init__(
        self,
        state_width: int,
        grid: tuple[int, int],
        action_width: int,
        size: Size,
        predict: Literal["change", "state"] = "change",
        place: bool = False,
        cells: Cells | None = None,
    ) -> None:
        super().__init__()
        self.grid, self.head_dim, self.predict, self.cells = grid, size.width // size.heads, predict, cells
        self.mask: Mask = frame_causal_bias
        everywhere = cells.everywhere if cells else action_width
        self.embed = nn.Linear(state_width, size.width)
        self.embed_action = nn.Linear(everywhere, CONDITION_WIDTH)
        self.embed_local = nn.Linear(cells.each, CONDITION_WIDTH, bias=False) if cells else None
        self.blocks = nn.ModuleList(
            ConditionedBlock(size.width, size.heads, CONDITION_WIDTH) for _ in range(size.depth)
        )
        self.modulation = Modulation(CONDITION_WIDTH, size.width, 2)
        self.head = nn.Linear(size.width, state_width)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.embed_place = place_embeddings(grid, size.width) if place else None
        # To the optimiser a hidden matrix, as its name does not begin with "embed".
        self.action_at_place = nn.Linear(everywhere, grid[0] * grid[1] * size.width) if place else None
        if self.action_at_place is not None:
            nn.init.zeros_(self.action_at_place.weight)
            nn.init.zeros_(self.action_at_place.bias)

    def forward(self, states_BTND: Tensor, actions_BTZ: Tensor) -> Tensor:
        """Predict the state after each of T states under the T actions taken there, teacher-forced.

        ``[B, T, N, D]`` and ``[B, T, Z]`` to ``[B, T, N, D]``; prediction t depends on states and actions <= t alone.
        """
        return self._step(states_BTND, actions_BTZ, first_frame=0, caches=None)

    @property
    def bytes_per_state(self) -> int:
        """Bytes of the keys and values that a rollout caches for a state, in 32 bits."""
        return 2 * 4 * len(self.blocks) * self.grid[0] * self.grid[1] * self.embed.out_features

    def rollout(self, context_BCND: Tensor, past_BCZ: Tensor, actions_BSHA: Tensor, act: Act | None = None) -> Tensor:
        """Unroll S candidate action sequences from one context, feeding predictions back.

        What they share, and each later frame, is computed once; see ``Unrolling``.

        Args:
            context_BCND: C >= 1 known states, ``[B, C, N, D]``.
            past_BCZ: the latent actions between them, ``[B, C - 1, Z]``.
            actions_BSHA: S candidates of H actions, ``[B, S, H, A]``.
            act: makes of actions ``[B S, A]`` and of the states ``[B S, N, D]`` that they are taken in the latent
                actions ``[B S, Z]``, such as a controller; without one the actions are latent ones.

        Returns:
            The H predicted states of each candidate, ``[B, S, H, N, D]``.
        """
        batch, candidates, horizon = actions_BSHA.shape[:3]
        unrolling = Unrolling(self, context_BCND, past_BCZ, horizon, candidates)
        predictions = []
        for action in actions_BSHA.flatten(0, 1).unbind(dim=1):
            latent = action if act is None else act(action, unrolling.state[:, 0])
            predictions.append(unrolling.step(latent))
        return torch.cat(predictions, dim=1).unflatten(0, (batch, candidates))

    def _step(self, states: Tensor, actions: Tensor, first_frame: int, caches: list[KeyValueCache] | None) -> Tensor:
        frames, tokens = states.shape[1:3]
        everywhere, condition = self._condition(actions)
        x = self._embed(states, everywhere)
        # A condition for all tokens, or for each, needs no telling whose it is.
        places = None if self.cells is None or self.cells.count in (1, tokens) else self.cells.of_tokens(x.device)
        index = torch.arange(first_frame, first_frame + frames, device=x.device)
        cos_sin = rotations(index, self.grid, self.head_dim, x.dtype)
        mask = self.mask(frames, tokens, x) if frames > 1 else None
        for i, block in enumerate(self.blocks):
            x = block(x, condition, cos_sin, mask, caches[i] if caches else None, places)
        shift, scale = self.modulation(condition, places)
        out = self.head(modulate(x, shift, scale))
        return states + out if self.predict == "change" else out

    def _condition(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """What acts everywhere ``[B, T, Z]``, and the condition of each frame, or of each of its tokens."""
        if self.cells is None or self.embed_local is None:
            return actions, F.silu(self.embed_action(actions))[:, :, None]
        everywhere, local = self.cells.parted(actions)
        of_cells = F.silu(self.embed_action(everywhere)[:, :, None] + self.embed_local(local))
        return everywhere, of_cells

    def _embed(self, states: Tensor, actions: Tensor) -> Tensor:
        x = self.embed(states)
        if self.embed_place is None or self.action_at_place is None:
            return x
        return x + self.embed_place.to(x.dtype) + self.action_at_place(actions).view_as(x)


class Unrolling:
    """Candidates of one context that are unrolled action by action, their keys and values cached.

    The keys and values of the context's first C - 1 states are computed once and shared by the candidates, who differ
    from the last state on: it is there that their first action enters.

    Args:
        model: the world model.
        context_BCND: C >= 1 known states, ``[B, C, N, D]``.
        past_BCZ: the latent actions between them, ``[B, C - 1, Z]``.
        room: how many steps can follow.
        candidates: S candidates of each context.

    Attributes:
        state: the last state of each candidate, ``[B S, 1, N, D]``.

    Raises:
        ValueError: there are not as many past actions as lie between the states.
    """

    def __init__(
        self, model: WorldModel, context_BCND: Tensor, past_BCZ: Tensor, room: int, candidates: int = 1
    ) -> None:
        context = context_BCND.shape[1]
        if past_BCZ.shape[1] != context - 1:
            raise ValueError(f"{context} context states need {context - 1} past actions, got {past_BCZ.shape[1]}")
        self._model, self._frame = model, context - 1
        self._caches = [KeyValueCache() for _ in model.blocks]
        if context > 1:
            model._step(context_BCND[:, :-1], past_BCZ, first_frame=0, caches=self._caches)
        for cache in self._caches:
            cache.branch(capacity=room * context_BCND.shape[2])
        self.state = context_BCND[:, -1:].repeat_interleave(candidates, dim=0)

    def step(self, latents_BZ: Tensor) -> Tensor:
        """Take the latent actions ``[B S, Z]`` in the last states; return the next ones, ``[B S, 1, N, D]``."""
        self.state = self._model._step(self.state, latents_BZ[:, None], first_frame=self._frame, caches=self._caches)
        self._frame += 1
        return self.state
