"""What a training run will cost, without training: ``wildlam train --estimate``.

One training step runs on PyTorch's fake tensors, which have shapes but no data; a counter gives the operations of each
part, a tracker the peak memory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count
from torch.utils.weak import WeakIdKeyDictionary

from wildlam.config import RunConfig, without_actions
from wildlam.distributed import default_device
from wildlam.errors import WildlamError
from wildlam.models.attention import always_fused
from wildlam.report.text import figure_line
from wildlam.training.optimizers import MuonAdamW, gradient_norm
from wildlam.training.parallel import blocks_of, check_shard, recompute
from wildlam.types import Encoder
from wildlam.video.index import cores
from wildlam.workflows import durations
from wildlam.workflows.durations import in_words


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU.

    Attributes:
        flops: rate of dense matrix products in bfloat16, FLOP/s, as its maker states it.
        memory: bytes.
    """

    flops: float
    memory: float


GPUS = {
    "H100": Gpu(989e12, 80e9),
    "H200": Gpu(989e12, 141e9),
    "B200": Gpu(2250e12, 180e9),
    "A100": Gpu(312e12, 80e9),
    "L40S": Gpu(362e12, 48e9),
    "RTX4090": Gpu(165e12, 24e9),
}
UTILISATION = 0.4
"""Share of a GPU's stated FLOP/s that training reaches, assumed: a compiled ViT-L step on an H200 reached 0.4."""
VIDEO_BYTES = 125_000
"""Bytes of a second of video, assumed: 1 Mbit/s, H.264 of about 256 pixels."""
STATE_BYTES = 2
"""Bytes of a number in the store of states."""


@dataclass(frozen=True)
class TrainingCost:
    """What a run costs. Operations are multiplications and additions of matrix products, FLOP.

    Attributes:
        parameters: number of parameters of each part.
        clips: clips of a step, over all processes.
        steps: steps of the run.
        part: clips that a process takes at once: its share of a step over ``training.accumulate``.
        flops: operations of a step, by part, forward and backward; the encoder's is 0 if states are stored.
        optimizer_flops: operations of a step's update, in each process.
        memory: bytes that a process holds at the peak, by use.
        read: bytes that a step reads, over all processes.
        stored: whether states are read, or videos.
        hour_flops: operations that encode an hour of video, once.
        hour_bytes: size of its states in the store.
        recomputed: whether blocks are run again in the backward pass.
        baseline: cost of the model without actions that is trained for comparison, if one is.
    """

    parameters: dict[str, int]
    clips: int
    steps: int
    part: int
    flops: dict[str, int]
    optimizer_flops: int
    memory: dict[str, int]
    read: float
    stored: bool
    hour_flops: float
    hour_bytes: float
    recomputed: bool
    baseline: TrainingCost | None = None

    def step_seconds(self, gpu: Gpu, count: int, utilisation: float) -> float:
        """Seconds of a step on ``count`` GPUs that reach a share ``utilisation`` of their stated FLOP/s."""
        return (sum(self.flops.values()) / count + self.optimizer_flops) / (gpu.flops * utilisation)


def flop_counter() -> FlopCounterMode:
    """PyTorch's counter, extended by the CPU's attention kernel, which it does not count itself."""
    aten = torch.ops.aten
    return FlopCounterMode(
        display=False,
        custom_mapping={
            aten._scaled_dot_product_flash_attention_for_cpu: lambda query, key, value, *_, **__: sdpa_flop_count(
                query, key, value
            ),
            aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda grad, query, key, value, *_, **__: (
                sdpa_backward_flop_count(grad, query, key, value)
            ),
        },
    )


_NO_MODULES = WeakIdKeyDictionary()


class _PeakTracker(MemTracker):
    """Tracks the overall peak only: tracking that of each module would take most of the time."""

    def _update_peak_stats(self, peak_state: Any) -> None:
        modules, self.memory_tracking = self.memory_tracking, _NO_MODULES
        super()._update_peak_stats(peak_state)
        self.memory_tracking = modules


def estimate(config: RunConfig, processes: int = 1, accelerated: bool = True) -> TrainingCost:
    """Count what a run costs.

    Args:
        config: configuration of the run; its videos are not looked at.
        processes: number of processes that share each step's clips and, by ``training.shard``, the parameters.
        accelerated: count memory for attention as accelerators compute it, in one kernel; else as the CPU does.

    Raises:
        WildlamError: the clips cannot be shared so, or the encoder's size cannot be had.
    """
    training, data = config.training, config.data
    parts = processes * training.accumulate
    if training.batch_size % parts:
        raise WildlamError(
            f"training.batch_size={training.batch_size} cannot be shared by {processes} processes in "
            f"{training.accumulate} parts each (training.accumulate); give a multiple of {parts}"
        )
    check_shard(training.shard, processes)
    encoder = config.encoder.hollow()
    spec = encoder.spec
    if data.frames % spec.frames_per_state or data.frames < 2 * spec.frames_per_state:
        raise WildlamError(f"data.frames={data.frames} does not make two states of {spec.frames_per_state} frames")
    with FakeTensorMode(allow_non_fake_inputs=True), flop_counter() as counter:
        encoder.encode(torch.zeros(1, data.frames, 3, spec.image_size, spec.image_size, dtype=torch.uint8))
    counted = partial(_estimate, encoder, counter.get_total_flops(), processes=processes, accelerated=accelerated)
    bare = without_actions(config)
    return replace(counted(config), baseline=counted(bare) if bare else None)


def _estimate(
    encoder: Encoder, encoder_flops: int, config: RunConfig, *, processes: int, accelerated: bool
) -> TrainingCost:
    """Count what one training costs, with an encoder whose operations on a clip are known."""
    training, data, spec, network = config.training, config.data, encoder.spec, encoder.network
    parts = processes * training.accumulate
    part = training.batch_size // parts
    # Every GPU of GPUS multiplies bfloat16.
    bf16 = training.bf16(torch.device("cpu")) or (accelerated and training.precision == "auto")
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = config.model.build(spec.width, spec.grid)
        model.bottleneck.eval()  # a codebook follows the data, and there are none
        if training.recompute:
            recompute(model)
        optimizer = MuonAdamW(model, training.optimizer)
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        with flop_counter() as counter:
            optimizer.step()  # makes its state, too
        optimizer_flops = counter.get_total_flops()
        optimizer.zero_grad()
        states = torch.zeros(part, data.frames // spec.frames_per_state, spec.tokens, spec.width)
        tracker = _PeakTracker()
        tracker.track_external(model, *optimizer.optimizers, states)
        with (
            always_fused() if accelerated else nullcontext(),
            flop_counter() as counter,
            tracker,
        ):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = model(states).total
            loss.backward()
            del loss
            gradient_norm(model.parameters(), training.optimizer.clip)
            optimizer.step()
        peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]
        by_module = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    inverse = by_module.get("LatentActionModel.idm", 0)
    memory = _memory_by_use(peak, model, network, config, processes)
    shape = states.shape[1:]
    return TrainingCost(
        parameters={
            "encoder (frozen)": _parameters(network),
            "inverse dynamics model": _parameters(model.idm),
            "world model": _parameters(model.world_model),
            "bottleneck": _parameters(model.bottleneck),
        },
        clips=training.batch_size,
        steps=training.steps,
        part=part,
        flops={
            "encoder": 0 if data.store else encoder_flops * training.batch_size,
            "inverse dynamics model": inverse * parts,
            "world model": (counter.get_total_flops() - optimizer_flops - inverse) * parts,
        },
        optimizer_flops=optimizer_flops // (training.shard if training.shard > 1 else processes),
        memory=memory,
        read=training.batch_size
        * (shape.numel() * STATE_BYTES if data.store else (data.frames - 1) / data.fps * VIDEO_BYTES),
        stored=data.store,
        hour_flops=encoder_flops / data.frames * data.fps * 3600,
        hour_bytes=spec.tokens * spec.width * STATE_BYTES / spec.frames_per_state * data.fps * 3600,
        recomputed=training.recompute,
    )


def _memory_by_use(
    peak: Mapping[Any, int], model: torch.nn.Module, encoder: torch.nn.Module, config: RunConfig, processes: int
) -> dict[str, int]:
    """Bytes that a process holds at the peak of a step, from those of the model alone in one process."""
    training, held = config.training, _bytes(model)
    memory = {str(kind).rsplit(".", 1)[-1].lower(): size for kind, size in peak.items()}
    if not config.data.store:
        memory["encoder"] = _bytes(encoder)
        if training.shard > 1 and training.shard_encoder:
            memory["encoder"] = memory["encoder"] // training.shard + _gathered(encoder)
        # What it makes of a part is gone, layer by layer, before the part's activations are kept, which are far more.
        memory["total"] += memory["encoder"]
    if training.shard > 1:
        memory["gathered"] = _gathered(model)
        for kind in ("param", "grad", "opt"):
            memory["total"] -= memory[kind] - memory[kind] // training.shard
            memory[kind] //= training.shard
        memory["total"] += memory["gathered"]
    elif processes > 1:
        memory["grad"] += held  # DDP's buckets, which are there before the gradients
        memory["total"] += held
    if training.ema:
        memory["average"] = held
        memory["total"] += held
    return memory


def text(found: TrainingCost, kind: str, count: int, utilisation: float) -> str:
    """The estimate as text, for a number and kind of GPU."""
    gpu = GPUS[kind]
    seconds = found.step_seconds(gpu, count, utilisation)
    lines = _operations(found, count, "optimiser, each GPU")
    if found.stored:
        lines.append("  The encoder is not counted: states are encoded once, before, and read from the store.")
        once, room = found.hour_flops / (gpu.flops * utilisation), found.hour_bytes / 1e9
        lines.append(
            f"  An hour of video takes {in_words(once)} of one GPU, without decoding, and {room:.3g} GB of disk."
        )
    lines += ["", f"Memory of each GPU at the peak, {found.part} clips at once", *_memory(found, kind, gpu.memory)]
    what = "states" if found.stored else f"videos of {VIDEO_BYTES * 8 / 1e6:g} Mbit/s"
    lines += ["", "Reading", figure_line(what, f"{found.read / seconds / 1e6:,.1f}", " MB/s in all")]
    lines += ["", f"Time on {count} x {kind} at {utilisation:.0%} of {gpu.flops / 1e12:g} TFLOP/s each"]
    lines.append(figure_line("step", in_words(seconds), f"; {found.clips / seconds / count:,.1f} clips/s of each GPU"))
    lines.append(figure_line(f"{found.steps:,} steps", in_words(seconds * found.steps)))
    if found.baseline:
        more = found.baseline.step_seconds(gpu, count, utilisation) * found.steps
        lines.append(figure_line("baseline", in_words(more), " more (--action_free false does without)"))
    if not found.stored:
        lines.append("  Videos are decoded by the CPU meanwhile, which may take longer: it is not counted.")
    return "\n".join(lines)


def text_here(config: RunConfig) -> str:
    """The estimate as text for one process on this machine, whose time is measured on a few real steps.

    Raises:
        WildlamError: as ``estimate`` does.
    """
    device = default_device()
    cpu = device.type == "cpu"
    found = estimate(config, accelerated=not cpu)
    lines = _operations(found, 1, "optimiser")
    room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if device.type == "cuda":
        room = torch.cuda.get_device_properties(device).total_memory
    lines += ["", f"Memory at the peak, {found.part} clips at once", *_memory(found, "this machine", room)]
    name = f"{cores()} cores" if cpu else torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    if sum(found.memory[kind] for kind in ("param", "grad", "opt")) > 0.9 * room:
        lines += ["", f"Time on this machine ({name}): not measured, as the model does not fit; see --gpu"]
        return "\n".join(lines)
    encoder = config.encoder.hollow()
    seconds = durations.step_seconds(config, encoder.spec, device, found.clips)
    if cpu:
        frame = durations.encode_seconds(encoder, config.data.frames)
        how = "training and encoder measured on a few steps"
    else:  # the encoder without weights lies on the CPU
        learnt = sum(found.flops.values()) - found.flops["encoder"] + found.optimizer_flops
        frame = found.hour_flops / (config.data.fps * 3600) / (learnt / seconds)
        how = "training measured on a few steps, the encoder by that rate"
    lines += ["", f"Time on this machine ({name}); {how}"]
    if found.stored:
        once = in_words(frame * config.data.fps * 3600)
        lines.append(
            figure_line("an hour of video", once, f" to encode, once, and {found.hour_bytes / 1e9:.3g} GB of disk")
        )
    else:
        seconds += frame * config.data.frames * found.clips
    lines.append(figure_line("step", in_words(seconds), f"; {found.clips / seconds:,.1f} clips/s"))
    lines.append(figure_line(f"{found.steps:,} steps", in_words(seconds * found.steps)))
    if found.baseline:
        share = sum(found.baseline.flops.values()) / sum(found.flops.values())
        more = in_words(seconds * found.steps * share)
        lines.append(figure_line("baseline", more, " more, by its operations (--action_free false does without)"))
    lines.append("  Decoding and the evaluation at the end are not counted. Of a kind of GPU: --gpu H100")
    return "\n".join(lines)


def _operations(found: TrainingCost, count: int, updates: str) -> list[str]:
    total = sum(found.flops.values()) + found.optimizer_flops * count
    lines = ["Parameters"]
    lines += [figure_line(name, f"{number / 1e6:,.1f}", " M") for name, number in found.parameters.items() if number]
    lines += ["", f"Operations of a step of {found.clips:,} clips (matrix products, forward and backward)"]
    lines += [figure_line(name, f"{flops / 1e12:,.3f}", " TFLOP") for name, flops in found.flops.items() if flops]
    lines.append(figure_line(updates, f"{found.optimizer_flops / 1e12:,.3f}", " TFLOP"))
    return [*lines, figure_line("all", f"{total / 1e12:,.3f}", " TFLOP")]


def _memory(found: TrainingCost, name: str, room: float) -> list[str]:
    sizes = {words: found.memory[kind] / 2**30 for kind, words in MEMORY.items() if kind in found.memory}
    lines = [figure_line(words, f"{size:,.2f}", " GiB") for words, size in sizes.items()]
    if not found.memory["act"]:
        lines.append("  The peak is that of the update, when no activations are held.")
    fits = "fits" if found.memory["total"] < 0.9 * room else f"does not fit: {_remedy(found, room)}"
    return [*lines, f"  {name} has {room / 2**30:.0f} GiB: {fits}"]


def _remedy(found: TrainingCost, room: float) -> str:
    """The option that reduces memory next."""
    if sum(found.memory.get(kind, 0) for kind in ("param", "grad", "opt", "encoder")) > 0.9 * room:
        return "parameters and what belongs to them alone are too many; raise training.shard"
    if found.part > 1:
        return "raise training.accumulate"
    return "raise training.shard" if found.recomputed else "give training.recompute true"


MEMORY = {
    "param": "parameters",
    "grad": "gradients",
    "opt": "optimiser",
    "gathered": "gathered of others",
    "act": "activations",
    "encoder": "encoder (frozen)",
    "temp": "temporary",
    "average": "averaged parameters",
    "total": "all",
}


def _bytes(module: torch.nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())


def _gathered(module: torch.nn.Module) -> int:
    """Bytes of other processes' parts: two blocks, one in use and the next on its way, and what is in no block."""
    sizes = [_bytes(block) for block in blocks_of(module)]
    return 2 * max(sizes, default=0) + _bytes(module) - sum(sizes)


def _parameters(module: torch.nn.Module | None) -> int:
    return sum(p.numel() for p in module.parameters()) if module is not None else 0
