"""Is a controller as good as the inverse dynamics model? Rollouts under both (arXiv 2601.05230, Tables S1 and S2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from wildlam.episodes.action_spaces import ActionSpace
from wildlam.episodes.clips import LabelledClips
from wildlam.episodes.vectors import Commands
from wildlam.evaluation.intervals import PerClip
from wildlam.models import LatentActionModel
from wildlam.models.controller import Controller

Read = Callable[[Tensor], Tensor]

AT_ONCE = 32
"""Clips unrolled together."""
SHOWN = 16
"""Clips that tell what is heeded."""


@dataclass
class ControlledRollout:
    """Rollouts from the first state of labelled clips.

    Attributes:
        per_clip: mean L1 error over the steps of ``idm`` (latent actions inferred from the true future), ``controller``
            (made of the real actions), ``zero`` and ``copy``; squared error of the controller's latent actions, given
            the true states, ``z``, and of their mean over all clips, ``z of the mean``; and mean size of the changes
            from one state to the next, ``true change`` and ``controller change``.
        steps: mean error after each step, of ``idm``, ``controller`` and ``copy``.
        heeded: by component of an action, how much of a true change its deviation makes: the mean L1 distance of the
            next states that are predicted with and without it, over the mean size of true changes.
    """

    per_clip: PerClip
    steps: dict[str, list[float]]
    heeded: dict[str, float]

    def summary(self) -> dict[str, Any]:
        """Errors; ``over_idm``, ``over_copy``: the controller's over the inferred actions' and over copying's; ``z``:
        error over that of the mean; ``movement``: size of predicted changes over that of true ones, near 0 for a
        controller that does not move; ``movement_idm``: the same under inferred actions."""
        estimate = self.per_clip.estimate
        return {
            **{name: asdict(estimate(name)) for name in ("idm", "controller", "zero", "copy")},
            "over_idm": asdict(estimate("controller", over="idm")),
            "over_copy": asdict(estimate("controller", over="copy")),
            "z": asdict(estimate("z", over="z of the mean")),
            "movement": asdict(estimate("controller change", over="true change")),
            "movement_idm": asdict(estimate("idm change", over="true change")),
            "steps": self.steps,
            "heeded": self.heeded,
        }


@torch.no_grad()
def controlled_rollout(model: LatentActionModel, controller: Controller, clips: LabelledClips) -> ControlledRollout:
    """Unroll labelled clips from their first states, by inferred latent actions and by the controller's.

    Args:
        model: the model, in evaluation mode.
        controller: controller of the model, in evaluation mode.
        clips: labelled ones that the controller has not seen.
    """
    device = next(model.parameters()).device
    values: dict[str, list[Tensor]] = {}
    by_step: dict[str, list[Tensor]] = {}
    all_z = []

    def keep(name: str, of_clips: Tensor) -> None:
        values.setdefault(name, []).append(of_clips.float().cpu())

    for states_BTND, actions_BTA in zip(clips.states.split(AT_ONCE), clips.actions.split(AT_ONCE), strict=True):
        states, actions = states_BTND.to(device).float(), actions_BTA.to(device)
        context, following = states[:, :1], states[:, 1:]
        z = model.infer(states)
        futures = {
            "idm": model.rollout(context, z),
            "controller": model.drive(context, actions, controller.act),
            "zero": model.rollout(context, torch.zeros_like(z)),
            "copy": context.expand_as(following),
        }
        for name, future in futures.items():
            off = (future.float() - following).abs().mean(dim=(2, 3))
            keep(name, off.mean(dim=1))
            by_step.setdefault(name, []).append(off.cpu())
        for name in ("idm", "controller"):
            keep(f"{name} change", torch.cat([context, futures[name]], dim=1).diff(dim=1).abs().mean(dim=(1, 2, 3)))
        keep("true change", states.diff(dim=1).abs().mean(dim=(1, 2, 3)))
        made = controller.act(actions.flatten(0, 1), states[:, :-1].flatten(0, 1)).view_as(z)
        keep("z", (made - z).square().mean(dim=(1, 2)))
        all_z.append(z.float().cpu())
    z = torch.cat(all_z)
    keep("z of the mean", (z - z.mean(dim=(0, 1))).square().mean(dim=(1, 2)))
    joined = {name: torch.cat(parts) for name, parts in values.items()}
    steps = {name: torch.cat(by_step[name]).mean(dim=0).tolist() for name in ("idm", "controller", "copy")}
    per_clip = PerClip(joined, clips.names, ["labelled"] * len(clips), clips.recordings)
    return ControlledRollout(per_clip, steps, heeded(model, controller, clips))


@torch.no_grad()
def heeded(model: LatentActionModel, controller: Controller, clips: LabelledClips) -> dict[str, float]:
    """How much each component of an action moves what is predicted; see ``ControlledRollout``."""
    device = next(model.parameters()).device
    some = clips.choose(range(min(len(clips), SHOWN)))
    states, actions = some.states.to(device).float(), some.actions.to(device)
    before, change = states[:, :-1], states.diff(dim=1).abs().mean()

    def predicted(actions: Tensor) -> Tensor:
        z = controller.act(actions.flatten(0, 1), before.flatten(0, 1)).unflatten(0, actions.shape[:2])
        return model.predict(before, z).float()

    usual, found = predicted(actions), {}
    names = _components(clips.space)
    for k, name in enumerate(names):  # of commands one behind the other, that component of all
        moved = actions.clone()
        moved[..., k :: len(names)] += controller.action_std[k :: len(names)]
        found[name] = float((predicted(moved) - usual).abs().mean() / change.clamp(min=1e-12))
    return found


@torch.no_grad()
def errors_by_component(
    model: LatentActionModel, controller: Controller, clips: LabelledClips, read: Read, mean: Tensor
) -> dict[str, dict[str, float]]:
    """How far actions that are read from latent ones are from the real ones, by component and in its own unit.

    Args:
        model: the model, in evaluation mode.
        controller: controller of the model, in evaluation mode.
        clips: labelled ones that the controller has not seen.
        read: reads actions ``[C, T - 1, A]`` from latent ones ``[C, T - 1, Z]``, as it was fitted to other clips.
        mean: mean action of those clips ``[A]``, which is read without any z.

    Returns:
        Mean distances of what is read from ``inferred`` latent actions, from the ``controller``'s, and of the ``mean``.
    """
    device = next(model.parameters()).device
    parts: dict[str, list[Tensor]] = {"inferred": [], "controller": [], "mean": []}
    for states_BTND, actions_BTA in zip(clips.states.split(AT_ONCE), clips.actions.split(AT_ONCE), strict=True):
        states, actions = states_BTND.to(device).float(), actions_BTA.to(device)
        z = model.infer(states).float()
        made = controller.act(actions.flatten(0, 1), states[:, :-1].flatten(0, 1)).view_as(z).float()
        for name, told in (("inferred", read(z)), ("controller", read(made)), ("mean", mean.to(device))):
            parts[name].append((told - actions).abs().cpu())
    names = _components(clips.space)  # of commands one behind the other, that component of all
    means = {name: torch.cat(off).unflatten(2, (-1, len(names))).mean(dim=(0, 1, 2)) for name, off in parts.items()}
    return {name: dict(zip(names, off.tolist(), strict=True)) for name, off in means.items()}


def _components(space: ActionSpace) -> tuple[str, ...]:
    """Names of what an action, or each of its commands, is made of."""
    return space.components if isinstance(space, Commands) else space.action_names
