"""The training loop: every model of this library is trained by it, on one core or under ``torchrun``.

A step is a function of (weights, optimiser state, seed, step): data and noise are both derived from seed and step. So a
run that is killed and resumed takes the same steps as an uninterrupted one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from wildlam.distributed import Processes
from wildlam.encoders.base import fast_dtype
from wildlam.errors import WildlamError, option
from wildlam.runs import checkpoints
from wildlam.runs.folder import Run, to_plain
from wildlam.training.log import Values, log, summary_writer
from wildlam.training.optimizers import MuonAdamW, OptimizerConfig, gradient_norm
from wildlam.training.parallel import compile_blocks, parallelise, recompute, unsynchronised, use_flex_attention, whole
from wildlam.types import Loss, StateBatch, VideoBatch


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Steps, batch, precision and memory of a training.

    Args:
        steps: optimiser steps.
        batch_size: clips per step, over all processes (paper: 1024 for latent actions).
        accumulate: micro-batches of each process's share of a step, to save memory; they are encoded one by one.
        shard: processes that share one copy of the model (FSDP2): 1 is a whole copy in each (DDP), the number of all
            processes is one copy in total, a number between is several copies (HSDP).
        shard_encoder: where clips are encoded at every step, keep the frozen encoder in as many parts as the model,
            gathered block by block.
        recompute: recompute each block in the backward pass (activation checkpointing): far less memory for a third
            more operations.
        compile: compile the transformer blocks (torch.compile) and, on CUDA, use flex attention, which skips masked
            blocks, and compile an encoder that is used at every step. Compiling takes a minute or more: for long
            trainings.
        precision: bf16 runs matrix products in bfloat16 (autocast), fp32 none; auto is bf16 where the device
            supports it in hardware; the run records which.
        ema: decay of a moving average of the weights, saved and evaluated in their place; 0 for none.
        log_every: steps between lines of metrics.jsonl.
        eval_every: steps between held-out evaluations.
        save_every: steps between checkpoints.
        keep: checkpoints kept, besides the best.
        optimizer: step sizes, decay, warm-up and clipping.
    """

    steps: int = 1000
    batch_size: int = 32
    accumulate: int = 1
    shard: int = 1
    shard_encoder: bool = False
    recompute: bool = False
    compile: bool = False
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    ema: float = 0.0
    log_every: int = 10
    eval_every: int = 100
    save_every: int = 100
    keep: int = 2
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "shard", "log_every", "eval_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"training.{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"training.ema must lie in [0, 1), got {self.ema}")
        if self.ema and self.shard > 1:
            raise ValueError("training.ema averages whole models; give training.shard=1, or ema=0")

    def bf16(self, device: torch.device) -> bool:
        """Whether matrix products are made in bfloat16 on ``device``."""
        return fast_dtype(device) == torch.bfloat16 if self.precision == "auto" else self.precision == "bf16"

    def is_due(self, done: int, every: int) -> bool:
        """Whether something that is done ``every`` so many steps, and at the end, is due after ``done`` steps."""
        return done % every == 0 or done == self.steps

    def settled(self, device: torch.device) -> TrainingConfig:
        """This configuration with the precision for ``device``, to be resumed elsewhere."""
        return replace(self, precision="bf16" if self.bf16(device) else "fp32")


def fit(
    model: nn.Module,
    batches: Callable[[int], Iterable[VideoBatch | StateBatch]],
    prepare: Callable[[Any], tuple[Tensor, ...]],
    config: TrainingConfig,
    run: Run,
    processes: Processes,
    *,
    seed: int = 0,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    score: str = "",
    resume: bool = False,
    title: str = "training",
) -> nn.Module:
    """Train ``model``, whose ``forward`` returns a ``types.Loss``, and leave checkpoints in ``run``.

    Args:
        model: the model, on any device; moved to that of ``processes``.
        batches: gives this process's share of the batches from a step on, in order.
        prepare: maps a part of a batch to the tensors that the model's ``forward`` takes.
        config: how to train.
        run: the folder to log and save to.
        processes: this process's place among all.
        seed: seed of the noise in the model.
        evaluate: held-out figures of the model in evaluation mode; called in the main process alone.
        score: which of these figures decides the best checkpoint (lower is better).
        resume: go on from the last checkpoint, if there is one.
        title: shown with the progress bar.

    Returns:
        The trained model, in evaluation mode (the averaged one if ``config.ema``). With ``config.shard`` it is whole in
        the main process alone, on the CPU.

    Raises:
        WildlamError: if a loss or gradient is not finite (naming the batch's clips), or a checkpoint cannot be written.
    """
    device = processes.device
    model = model.to(device)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema)) if config.ema else None
    checkpoint = checkpoints.last(run.checkpoints) if resume else None
    start = checkpoint.step if checkpoint else 0
    if checkpoint:
        checkpoints.load_weights(model, checkpoint.model_tensors(), checkpoint.path)
    evaluated: nn.Module = average.module if average is not None else model
    sharded = config.shard > 1
    if sharded and processes.is_main:
        evaluated = copy.deepcopy(model).cpu()  # whole, and brought up to date when it is needed
    bf16 = config.bf16(device)
    parallel = parallelise(_accelerated(model, config, device), processes, config.shard, bf16)
    optimizer = MuonAdamW(model, config.optimizer)
    learner = _Learner(model, parallel, optimizer, average, prepare, config, processes)
    if checkpoint and (start < config.steps or average is not None):  # a finished run needs its weights alone
        _restore(checkpoint, model, optimizer, average)
    saver = checkpoints.Writer(run.checkpoints, config.keep, processes)
    writer = summary_writer(run, start) if processes.is_main else None
    model.train()
    with closing(saver), _bar(title, config, start, processes.is_main) as bar, writer or nullcontext():
        for step, batch in enumerate(batches(start), start=start):
            values, figures = learner.learn(step, batch, seed, bar)
            done = step + 1
            evaluates = evaluate is not None and config.is_due(done, config.eval_every)
            saves = config.is_due(done, config.save_every)
            if sharded and (evaluates or saves):
                _gather(model, evaluated, processes)
            if processes.is_main and evaluate is not None and evaluates:
                values |= _held_out_figures(evaluate, evaluated, device, bf16)
                evaluated.to("cpu" if sharded else device).train()
            if values and writer is not None:
                values |= figures
                log(run, writer, done, values)
                shown = {key: f"{values[key]:.3f}" for key in ("loss", f"held_out/{score}") if key in values}
                bar.set_postfix(shown, refresh=False)
            if saves:
                measured = values.get(f"held_out/{score}")
                best_by = measured if isinstance(measured, float) else None
                saver.save(done, best_by, evaluated.state_dict(), _state(model, optimizer, average))
        saver.wait()
    return evaluated.eval()


def _bar(title: str, config: TrainingConfig, start: int, shown: bool) -> tqdm:
    """A progress bar that counts parts of steps, as a step of many parts may take minutes."""
    each = config.accumulate
    unit = "part" if each > 1 else "step"
    return tqdm(total=config.steps * each, initial=start * each, desc=title, unit=unit, disable=not shown)


def _accelerated(model: nn.Module, config: TrainingConfig, device: torch.device) -> nn.Module:
    """The model, changed in place to take less memory (``recompute``) or time (``compile``)."""
    if config.recompute:
        recompute(model)
    if config.compile:
        compile_blocks(model)
        if device.type == "cuda":
            use_flex_attention(model)
    return model


def _gather(model: nn.Module, whole_model: nn.Module, processes: Processes) -> None:
    """Bring the main process's whole copy of a model in parts up to date."""
    weights = whole(model.state_dict(), keep=processes.is_main)
    if processes.is_main:
        whole_model.load_state_dict(weights)


def _held_out_figures(
    evaluate: Callable[[nn.Module], dict[str, float]], model: nn.Module, device: torch.device, bf16: bool
) -> Values:
    model.to(device).eval()
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        return {f"held_out/{key}": value for key, value in evaluate(model).items()}


@dataclass
class _Learner:
    """A model and what changes it.

    Attributes:
        model: the model.
        parallel: the same, which shares its gradients among processes.
        optimizer: its optimiser.
        average: moving average of its weights, if one is kept.
        prepare: see ``fit``.
        config: see ``fit``.
        processes: see ``fit``.
    """

    model: nn.Module
    parallel: nn.Module
    optimizer: MuonAdamW
    average: AveragedModel | None
    prepare: Callable[[Any], tuple[Tensor, ...]]
    config: TrainingConfig
    processes: Processes

    def learn(self, step: int, batch: VideoBatch | StateBatch, seed: int, bar: tqdm) -> tuple[Values, Values]:
        """Take an optimiser step; give the model's statistics, if it is one to be logged, and the step's own figures.

        Raises:
            WildlamError: the loss or a gradient is not finite.
        """
        config, is_logged = self.config, self.config.is_due(step + 1, self.config.log_every)
        factor = self.optimizer.set_progress(step, config.steps)
        torch.manual_seed(_noise_seed(seed, step, self.processes.rank))
        total, loss = self._accumulate_gradients(_parts(batch, config.accumulate), bar)
        statistics: Values = to_plain(loss.statistics()) if is_logged and self.processes.is_main else {}
        del loss
        if is_logged:
            total = self.processes.mean(total)
        norm = gradient_norm(self.model.parameters(), config.optimizer.clip)
        if not math.isfinite(float(total)) or not math.isfinite(float(norm)):
            raise WildlamError(_not_finite(step, float(total), float(norm), batch))
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.model)
        bar.update()
        return statistics, {"loss": float(total), "gradient_norm": float(norm), "lr_factor": factor}

    def _accumulate_gradients(self, parts: list[VideoBatch | StateBatch], bar: tqdm) -> tuple[Tensor, Loss]:
        """Leave the gradients of all parts in the model; give their mean loss, and the last part's loss."""
        device = self.processes.device
        total, bf16 = torch.zeros((), device=device), self.config.bf16(device)
        for i, part in enumerate(parts):
            inputs = self.prepare(part)
            with unsynchronised(self.parallel, last=i + 1 == len(parts)):
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    loss: Loss = self.parallel(*inputs)
                (loss.total / len(parts)).backward()
            total += loss.total.detach() / len(parts)
            if i + 1 < len(parts):
                bar.update()
        return total, loss


def _state(model: nn.Module, optimizer: MuonAdamW, average: AveragedModel | None) -> dict[str, Tensor]:
    """State of a checkpoint besides the evaluated weights; see `_restore`."""
    state = optimizer.state_tensors()
    if average is not None:
        state |= {f"raw.{k}": v for k, v in model.state_dict().items()}
        state["averaged"] = average.n_averaged
    return state


def _parts(batch: VideoBatch | StateBatch, count: int) -> list[VideoBatch | StateBatch]:
    """Cut a batch into ``count`` equal parts: every ``count``-th clip, so that the parts of all processes together are
    those of one with all clips."""
    check_accumulate(count, len(batch.names))
    return [
        replace(batch, **{name: of_clips[i::count] for name, of_clips in vars(batch).items()}) for i in range(count)
    ]


def check_accumulate(count: int, clips: int) -> None:
    """Refuse to cut a process's ``clips`` of a batch into ``count`` unequal parts: WildlamError."""
    if clips % count:
        divisors = [n for n in range(1, clips + 1) if clips % n == 0]
        raise WildlamError(
            f"training.accumulate={count} does not divide the {clips} clips of a process's share of a batch; give "
            f"{option('training.accumulate')} one of {', '.join(map(str, divisors))}"
        )


def _noise_seed(seed: int, step: int, rank: int) -> int:
    """A seed for the noise of one step of one process; the factors keep neighbouring triples apart."""
    return (seed * 1_000_003 + step) * 4_093 + rank


def _restore(
    checkpoint: checkpoints.Checkpoint, model: nn.Module, optimizer: MuonAdamW, average: AveragedModel | None
) -> None:
    """Put the optimisers' state back; and with an average, the weights that it averages, which the model has so far."""

    def placed(name: str, empty: Tensor) -> Tensor:
        return optimizer.place(name, empty) if ":" in name else empty

    state = checkpoint.state_tensors(placed)
    if average is not None:
        checkpoints.load_weights(average.module, checkpoint.model_tensors(), checkpoint.path)
        average.n_averaged.copy_(state.pop("averaged"))
        raw = {k.removeprefix("raw."): state.pop(k) for k in list(state) if k.startswith("raw.")}
        checkpoints.load_weights(model, raw, checkpoint.path)
    optimizer.load_state_tensors(state)


def _not_finite(step: int, loss: float, norm: float, batch: VideoBatch | StateBatch) -> str:
    clips = ", ".join(f"{name} at {start:.2f} s" for name, start in zip(batch.names, batch.starts, strict=True))
    return (
        f"step {step}: the loss is {loss} and the norm of its gradient {norm}. Look at the clips of this batch, or "
        f"start over, in another {option('out')}, with lower training.optimizer.muon_lr and adamw_lr: "
        f"{option('resume')} repeats it. "
        f"Checkpoints up to here are good. Clips: {clips}"
    )
