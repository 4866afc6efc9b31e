"""Do latent actions predict the true ones? Regression from z, and from z with the past state, to known actions.

Probes are fitted on some videos and evaluated on others: ``R² = 1 - SSE / SST`` of each action dimension, SST about the
mean of the judged videos. Zero is what their mean would reach. A probe of the state alone, without z, is the baseline:
what it predicts is habit (a walker who keeps turning) and not due to the latent action.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wildlam.errors import WildlamError
from wildlam.evaluation.clips import InferredClips, spread
from wildlam.evaluation.components import leading_directions
from wildlam.evaluation.intervals import LEVEL, RESAMPLES, Estimate, PerClip, numbered

STATE_COMPONENTS = 64
"""Principal components, of all its tokens together, that stand for a past state."""
STATES_FOR_COMPONENTS = 512
"""Training states that they are computed from, at most."""
FOLDS = 5
PENALTIES = 10.0 ** torch.arange(-4, 4, dtype=torch.float64)
"""Ridge penalties, per transition; each action dimension gets the best in cross-validation over recordings."""
HIDDEN, BATCH, LEARNING_RATE, WEIGHT_DECAY, EPOCHS, PATIENCE = 128, 256, 3e-3, 1e-2, 100, 10

INPUTS = {"z": ("z",), "z and state": ("z", "state"), "state": ("state",)}


@dataclass
class Probes:
    """How well each probe predicts the true actions of held-out videos.

    Attributes:
        squared_errors: errors by probe and action (``"linear z: turn"``), each clip's mean squared error.
        actions: true actions of those clips, ``[clips, T - 1, A]``.
        action_names: names of the A dimensions.
    """

    squared_errors: PerClip
    actions: Tensor
    action_names: list[str]

    def r_squared(self, probe: str) -> dict[str, Estimate]:
        """R² of a probe by action, and their ``mean``; intervals draw whole recordings, and SST is each draw's own."""
        errors = torch.stack([self.squared_errors.values[f"{probe}: {a}"] for a in self.action_names], dim=-1).double()
        y = self.actions.double()
        y = y - y.mean(dim=(0, 1))
        count = y.new_full(errors.shape, y.shape[1])
        sums_4CA = torch.stack([errors * y.shape[1], y.square().sum(dim=1), y.sum(dim=1), count])
        recording = numbered(self.squared_errors.recordings)
        recordings = int(recording.max()) + 1
        sums_4RA = torch.zeros(4, recordings, y.shape[-1], dtype=torch.float64).index_add_(1, recording, sums_4CA)
        draws = torch.randint(recordings, (RESAMPLES, recordings), generator=torch.Generator().manual_seed(0))
        times_drawn = torch.zeros(RESAMPLES, recordings).scatter_add_(1, draws, torch.ones(RESAMPLES, recordings))
        drawn = torch.cat([torch.ones(1, recordings), times_drawn]).double() @ sums_4RA  # first, each once
        sse, squares, total, number = drawn
        r2 = 1 - sse / (squares - total.square() / number)
        r2 = torch.cat([r2, r2.mean(dim=-1, keepdim=True)], dim=-1).nan_to_num(nan=-torch.inf)
        ends = r2[1:].quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64), dim=0)
        names = [*self.action_names, "mean"]
        return {name: Estimate(float(r2[0, i]), *ends[:, i].tolist()) for i, name in enumerate(names)}

    @property
    def probes(self) -> list[str]:
        """Names of the probes."""
        return list(dict.fromkeys(key.split(": ")[0] for key in self.squared_errors.values))

    def of_source(self, source: str) -> Probes:
        """The same, judged on the clips of one source; the variance to explain is theirs, too."""
        chosen = [s == source for s in self.squared_errors.sources]
        return Probes(self.squared_errors.where(chosen), self.actions[torch.tensor(chosen)], self.action_names)

    def summary(self) -> dict[str, dict[str, dict[str, float]]]:
        """``{PROBE: {ACTION or "mean": {"mean", "low", "high"}}}`` of R²."""
        return {probe: {name: asdict(e) for name, e in self.r_squared(probe).items()} for probe in self.probes}


def summary_of_all(found: Sequence[Probes]) -> dict[str, Any] | None:
    """The summaries of the probes of several kinds of action as one; with a mean, if there is but one kind."""
    joined: dict[str, Any] = {}
    for one in found:
        for probe, of_action in one.summary().items():
            joined.setdefault(probe, {}).update(of_action)
    if len(found) > 1:
        for of_action in joined.values():
            del of_action["mean"]
    return joined or None


def probes(
    train: InferredClips,
    train_actions: Tensor,
    held_out: InferredClips,
    held_out_actions: Tensor,
    action_names: Sequence[str],
    seed: int = 0,
) -> Probes:
    """Fit linear (ridge) and small MLP probes on one set of videos and evaluate them on another.

    The probes read z, the past state (its first principal components), or both. Inputs and targets are standardised by
    the training videos, the components by one factor for all. Clips whose true actions are unknown (NaN) and dimensions
    that never vary are left out.

    Args:
        train: clips to fit on, of two recordings or more.
        train_actions: their true actions ``[clips, T - 1, A]``.
        held_out: clips to judge on, none of a video in ``train``.
        held_out_actions: their true actions.
        action_names: names of the A dimensions.
        seed: seed of the MLP's initialisation and order.

    Raises:
        WildlamError: a video is in both sets, or too little is known to fit or judge.
    """
    parts = [_known(train, train_actions), _known(held_out, held_out_actions)]
    (train_kept, train_y), (kept, y) = parts
    train, held_out = train.choose(train_kept), held_out.choose(kept)
    if shared := sorted(set(train.names) & set(held_out.names)):
        raise WildlamError(f"{shared[0]}: is among both the training and the held-out videos of the probes")
    if len(of_train := set(train.recordings)) < 2 or not len(held_out):
        raise WildlamError(
            f"true actions are known of {len(of_train)} training and {len(set(held_out.recordings))} held-out "
            "recordings; probes need two and one: add videos with poses"
        )
    varies = (train_y.flatten(0, 1).std(dim=0) > 0) & (y.flatten(0, 1).std(dim=0) > 0)
    if not varies.any():
        raise WildlamError("the true actions never vary, so there is nothing to predict; film other motions")
    train_y, y = train_y[..., varies], y[..., varies]
    chosen = [name for name, v in zip(action_names, varies.tolist(), strict=True) if v]

    train_z, z = train.z.double(), held_out.z.double()
    train_past, past = train.states[:, :-1], held_out.states[:, :-1]
    reduce = _principal_components(train_past)
    train_state, state = reduce(train_past), reduce(past)
    scale_y, scale_z = standardiser(train_y), standardiser(train_z)
    # By one factor for all: alike, the last components would be mostly noise, blown up.
    scale_state = standardiser(train_state, together=True)
    features = {
        "z": (scale_z(train_z), scale_z(z)),
        "state": (scale_state(train_state), scale_state(state)),
    }
    recordings = numbered(train.recordings).repeat_interleave(train_y.shape[1])
    errors: dict[str, Tensor] = {}
    for kind, fit in (("linear", fit_ridge), ("mlp", partial(fit_mlp, seed=seed))):
        for what, inputs in INPUTS.items():
            train_x, x = (torch.cat([features[name][side] for name in inputs], dim=-1) for side in (0, 1))
            predict = fit(train_x.flatten(0, 1), scale_y(train_y).flatten(0, 1), recordings)
            missed = predict(x.flatten(0, 1)).unflatten(0, y.shape[:2]) - scale_y(y)
            deviation = train_y.flatten(0, 1).std(dim=0)  # back to the actions' own units
            squared = (missed * deviation).square().mean(dim=1)
            errors |= {f"{kind} {what}: {name}": squared[:, i].float() for i, name in enumerate(chosen)}
    return Probes(held_out.per_clip(errors), y.float(), chosen)


Predict = Callable[[Tensor], Tensor]


def _known(clips: InferredClips, actions: Tensor) -> tuple[list[int], Tensor]:
    """Which clips have true actions, and those actions."""
    known = actions.isfinite().all(dim=2).all(dim=1)
    return known.nonzero()[:, 0].tolist(), actions[known].double()


def standardiser(x: Tensor, together: bool = False) -> Predict:
    """To mean 0 and variance 1 over all but the last axis, or 1 on average over it; constants to 0."""
    flat = x.flatten(0, -2)
    mean, variance = flat.mean(dim=0), flat.var(dim=0)
    std = (variance.mean() if together else variance).sqrt()
    return lambda values: (values - mean) / std.where(std > 1e-9, torch.inf)


def _principal_components(states_CTND: Tensor) -> Predict:
    """A map from states ``[C, T, N, D]`` to their first principal components ``[C, T, components]``."""
    flat = states_CTND.flatten(2).flatten(0, 1)
    rows = spread(len(flat), STATES_FOR_COMPONENTS)
    mean, directions = leading_directions(flat[rows].float(), STATE_COMPONENTS)
    return lambda states: torch.stack([(clip.flatten(1).float() - mean) @ directions for clip in states]).double()


def fit_ridge(x: Tensor, y: Tensor, recordings: Tensor) -> Predict:
    """A linear map from standardised x ``[rows, X]`` to y ``[rows, Y]``, each y's penalty chosen across recordings.

    Args:
        x: inputs.
        y: targets.
        recordings: number of the recording that each row is of, from 0.
    """
    fold = recordings % min(FOLDS, int(recordings.max()) + 1)
    parts = [(x[fold == i], y[fold == i]) for i in range(int(fold.max()) + 1)]
    products = [(part.T @ part, part.T @ told, len(part)) for part, told in parts]  # each once, not with every fold
    squares, cross, rows = (sum(column) for column in zip(*products, strict=True))
    sse = torch.zeros(len(PENALTIES), y.shape[1], dtype=torch.float64)
    for (part, told), (of_squares, of_cross, of_rows) in zip(parts, products, strict=True):
        inner = _ridge(squares - of_squares, cross - of_cross, rows - of_rows)
        sse += (part @ inner - told).square().sum(dim=1)
    weights = _ridge(squares, cross, rows)[sse.argmin(dim=0), :, torch.arange(y.shape[1])].T
    return lambda inputs: inputs @ weights


def fit_clips(
    x: Tensor,
    y: Tensor,
    fit: Callable[[Tensor, Tensor, Tensor], Predict] = fit_ridge,
    recordings: Tensor | None = None,
) -> Predict:
    """A map from standardised x to y in y's own units, from clips; what is chosen in the fit is chosen across
    recordings.

    Args:
        x: inputs ``float64 [C, P, X]``.
        y: targets ``[C, P, Y]``.
        fit: see ``fit_ridge``.
        recordings: number of the recording that each clip is of; each is of its own if not given. If all are of one, it
            is chosen across clips, or of a single clip across its rows.
    """
    rows = y.double().flatten(0, 1)
    mean, std = rows.mean(dim=0), rows.std(dim=0).clamp(min=1e-9)
    groups = [torch.arange(len(y)).repeat_interleave(y.shape[1]), torch.arange(len(rows))]
    if recordings is not None:  # numbered anew, as some may be left out
        groups.insert(0, recordings.unique(return_inverse=True)[1].repeat_interleave(y.shape[1]))
    predict = fit(x.flatten(0, 1), (rows - mean) / std, next(group for group in groups if group.max() > 0))
    return lambda inputs: mean + std * predict(inputs)


def _ridge(squares: Tensor, cross: Tensor, rows: int) -> Tensor:
    """Weights ``[penalties, inputs, actions]``, from the products of the inputs, with themselves and the actions."""
    variance, basis = torch.linalg.eigh(squares / rows)
    return basis @ ((basis.T @ (cross / rows)) / (variance.clamp(min=0) + PENALTIES[:, None])[..., None])


def fit_mlp(x: Tensor, y: Tensor, recordings: Tensor, seed: int) -> Predict:
    """A small network from standardised x ``[rows, X]`` to y ``[rows, Y]``; see ``fit_ridge``.

    It stops early by every fifth recording (at least one), which the fit does not see.

    Args:
        x: inputs.
        y: targets.
        recordings: number of the recording that each row is of, from 0; two at least.
        seed: seed of the initialisation and of the order.
    """
    aside = recordings % min(FOLDS, int(recordings.max()) + 1) == 0
    x, y = x.float(), y.float()
    inner_x, inner_y = x[~aside], y[~aside]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Linear(x.shape[1], HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU(),
            nn.Linear(HIDDEN, y.shape[1]),
        )  # fmt: skip
        optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
        best, best_net, waited = torch.inf, copy.deepcopy(net), 0
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(inner_x)).split(BATCH):
                optimizer.zero_grad()
                F.mse_loss(net(inner_x[rows]), inner_y[rows]).backward()
                optimizer.step()
            with torch.no_grad():
                loss = float(F.mse_loss(net(x[aside]), y[aside]))
            if loss < best:
                best, best_net, waited = loss, copy.deepcopy(net), 0
            else:
                waited += 1
                if waited == PATIENCE:
                    break
    best_net.requires_grad_(False)
    return lambda inputs: best_net(inputs.float()).double()
