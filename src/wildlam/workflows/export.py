"""Write a run's functions for use without this package: ``wildlam export``."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from wildlam import __version__
from wildlam.config import config_from
from wildlam.errors import WildlamError, option
from wildlam.fileio import writing
from wildlam.models import LatentActionModel
from wildlam.models.attention import always_fused
from wildlam.models.decoder import Decoder
from wildlam.workflows.configs import ExportConfig
from wildlam.workflows.decoder import find_decoder, load_decoder
from wildlam.workflows.open_run import OpenRun, open_run

log = logging.getLogger(__name__)

FACTS = "about.json"
"""Name, in a file of PyTorch's, of what describes its functions; in one of ONNX it is metadata under that name."""

TOLERANCE = 1e-4
"""Largest difference of an exported function's values from the model's, whose states have deviation 1 or so."""

SHAPES = ((1, 1), (1, 2), (2, 7), (3, 1))
"""Batches and times that each exported function is compared with the model's at."""


@dataclass(frozen=True)
class ExportResult:
    """What was written. Printed, each function with its largest difference from the model's.

    Attributes:
        files: the files.
        facts: what the files say of themselves: shapes, rates, the encoder.
        differences: largest difference of each function's values from the model's, on random inputs.
    """

    files: list[Path]
    facts: dict[str, Any] = field(repr=False)
    differences: dict[str, float]

    def __str__(self) -> str:
        takes = self.facts["functions"]
        lines = [f"{takes[name]}; differs by at most {difference:.1g}" for name, difference in self.differences.items()]
        return "\n".join([*lines, *(f"written    {file} ({file.stat().st_size / 1e6:.1f} MB)" for file in self.files)])


class _Infer(nn.Module):
    """Latent actions between pairs of states: a graph of T states in a row, whose actions are T - 1, could not take two
    of them."""

    def __init__(self, model: LatentActionModel) -> None:
        super().__init__()
        if model.bottleneck.widths or model.idm is None:  # how long an action has to be is up to the whole model
            self.model = model
        else:
            self.idm, self.bottleneck = model.idm, model.bottleneck

    def forward(self, states: Tensor, following: Tensor) -> Tensor:
        pairs = _pairs(states, following)
        z = self.model.infer(pairs) if hasattr(self, "model") else self.bottleneck.encode(self.idm(pairs))
        return z.float().view(*states.shape[:2], -1)


class _Predict(nn.Module):
    def __init__(self, model: LatentActionModel) -> None:
        super().__init__()
        self.world_model = model.world_model

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        return self.world_model(states, actions)


class _Decode(nn.Module):
    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, states: Tensor) -> Tensor:
        return self.decoder.decode(states)


@dataclass(frozen=True)
class _Function:
    """A function to export: as a module, and as the run itself computes it."""

    module: nn.Module
    truth: Callable[..., Tensor]
    side: int = 0
    """Of the pictures that it gives, in pixels."""


def export(config: ExportConfig | str | Path | None = None, /, **keywords: Any) -> ExportResult:
    """Write the functions of a run for use without this package; each is loaded again and compared with the model.

    ``encode`` (where the encoder can be written out: Lite0), ``infer``, ``predict`` and, with a decoder, ``decode``; of
    any batch and any number of steps, in float32, on a CPU.

    Args:
        config: what to do, or a path, that of ``run``.
        keywords: fields of ``ExportConfig``, in its place or to replace what it says.

    Raises:
        WildlamError: something is wrong with the run, a package is missing, a function cannot be exported or is not the
            same afterwards, or the file cannot be written. Nothing is left behind then.
    """
    config = config_from(ExportConfig, config, keywords)
    opened = open_run(config.run, torch.device("cpu"))
    functions = _functions(opened, config.decoder)
    facts = _facts(opened, functions)
    output = config.output
    assert output is not None
    with writing(output, f"choose another {option('output')}"):
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".export-") as folder:
            written, loaded = _WRITERS[config.format](functions, opened, facts, Path(folder) / output.name)
            differences = {name: _compared(name, functions[name].truth, loaded[name], opened) for name in functions}
            files = [output.with_name(file.name) for file in written]
            for file, final in zip(written, files, strict=True):
                os.replace(file, final)
    return ExportResult(files, facts, differences)


def _functions(opened: OpenRun, decoder: Path | None) -> dict[str, _Function]:
    """The functions of a run."""
    encoder, model = opened.encoder, opened.model()
    functions: dict[str, _Function] = {}
    if hasattr(encoder, "as_module"):
        module = encoder.as_module()
        functions["encode"] = _Function(module, module)
    else:
        log.info(
            "without encode: %s cannot be written out; states for these functions are made by that encoder",
            encoder.spec.name,
        )
    functions["infer"] = _Function(
        _Infer(model), lambda states, following: model.infer(_pairs(states, following)).view(*states.shape[:2], -1)
    )
    functions["predict"] = _Function(_Predict(model), model.predict)
    if find_decoder(opened.run.path, encoder.spec, decoder) is not None:
        painter = load_decoder(opened.run.path, encoder.spec, "cpu", decoder)
        functions["decode"] = _Function(_Decode(painter), painter.decode, painter.config.image_size)
    for function in functions.values():
        for tensor in (*function.module.parameters(), *function.module.buffers()):
            # Archives hold tensors that do not fill their memory, or lie in another order, with a warning alone.
            tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    return functions


def _pairs(states: Tensor, following: Tensor) -> Tensor:
    """Clips of two states ``[B T, 2, N, D]``."""
    return torch.stack([states, following], dim=2).flatten(0, 1)


def _facts(opened: OpenRun, functions: Mapping[str, _Function]) -> dict[str, Any]:
    """What a file says of itself, for who has nothing but that file."""
    spec, model = opened.encoder.spec, opened.model()
    (tokens, width), z, size = model.state_shape, model.bottleneck.dim, spec.image_size
    states = f"float32 [B, T, {tokens}, {width}]"
    frames = "T" if spec.frames_per_state == 1 else f"{spec.frames_per_state} T"
    takes = {
        "encode": f"encode(video: uint8 [B, {frames}, 3, {size}, {size}]) -> states: {states}",
        "infer": f"infer(states: {states}, the next states: {states}) -> actions: float32 [B, T, {z}]",
        "predict": f"predict(states: {states}, actions: float32 [B, T, {z}]) -> the next states: {states}",
    }
    if "decode" in functions:
        side = functions["decode"].side
        takes["decode"] = f"decode(states: {states}) -> frames: float32 [B, {frames}, 3, {side}, {side}] in 0..1"
    return {
        "wildlam": __version__,
        "functions": {name: takes[name] for name in functions},
        "frames per second": opened.config.data.fps,
        "frames per state": spec.frames_per_state,
        "image size": size,
        "encoder": {"name": spec.name, "fingerprint": spec.fingerprint},
    }


def _inputs(name: str, opened: OpenRun, batch: int, steps: int) -> tuple[Tensor, ...]:
    """Random inputs of a function, the same every time."""
    spec, draw = opened.encoder.spec, torch.Generator().manual_seed(batch * 1000 + steps)
    if name == "encode":
        shape = (batch, steps * spec.frames_per_state, 3, spec.image_size, spec.image_size)
        return (torch.randint(256, shape, generator=draw, dtype=torch.uint8),)
    states = torch.randn(batch, steps, spec.tokens, spec.width, generator=draw)
    if name == "decode":
        return (states,)
    second = (opened.config.model.bottleneck.dim,) if name == "predict" else states.shape[2:]
    return states, torch.randn(batch, steps, *second, generator=draw)


@torch.no_grad()
def _program(name: str, module: nn.Module, opened: OpenRun) -> Any:
    """A function as a graph that takes any batch and any number of steps.

    Raises:
        WildlamError: PyTorch cannot trace it.
    """
    given = _inputs(name, opened, 3, 5)
    module.eval().requires_grad_(False)
    any_size = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    try:
        with always_fused():  # else attention would be of so many keys at most
            return torch.export.export(module, given, dynamic_shapes=tuple(any_size for _ in given))
    except Exception as error:  # whatever a model does that cannot be traced
        raise WildlamError(
            f"{name} of this model cannot be exported by torch {torch.__version__}: {str(error).splitlines()[0]}"
        ) from error


def _compared(name: str, truth: Callable[..., Tensor], loaded: Callable[..., Tensor], opened: OpenRun) -> float:
    """Largest difference of a loaded function's values from the model's.

    Raises:
        WildlamError: they differ by more than rounding, or the function does not take what the model does.
    """
    largest = 0.0
    for batch, steps in SHAPES:
        given = _inputs(name, opened, batch, steps)
        try:
            with torch.no_grad():
                true, found = truth(*given), loaded(*given)
        except Exception as error:  # whatever the loaded graph objects to
            raise WildlamError(
                f"the exported {name} does not take a batch of {batch} with {steps} steps "
                f"({str(error).splitlines()[0]}), and is not kept"
            ) from error
        if found.shape != true.shape or not torch.allclose(found, true, rtol=TOLERANCE, atol=TOLERANCE):
            raise WildlamError(f"the exported {name} is not the model's, and is not kept")
        largest = max(largest, float((found - true).abs().max()))
    return largest


Written = tuple[list[Path], dict[str, Callable[..., Tensor]]]


def _write_torch(functions: Mapping[str, _Function], opened: OpenRun, facts: Mapping[str, Any], file: Path) -> Written:
    """Write one file, and load it again."""
    from torch.export.pt2_archive._package import load_pt2, package_pt2

    programs = {name: _program(name, functions[name].module, opened) for name in tqdm(functions, desc="exporting")}
    package_pt2(file, exported_programs=programs, extra_files={FACTS: json.dumps(facts)})
    loaded = load_pt2(file).exported_programs
    return [file], {name: loaded[name].module() for name in functions}


def _write_onnx(functions: Mapping[str, _Function], opened: OpenRun, facts: Mapping[str, Any], file: Path) -> Written:
    """Write a file for each function, and load them again."""
    import onnxruntime

    files, loaded = [], {}
    for name in tqdm(functions, desc="exporting"):
        program = _program(name, functions[name].module, opened)
        path = file.with_suffix(f".{name}.onnx")
        with _quiet():
            made = torch.onnx.export(program, dynamo=True, verbose=False, external_data=False)
        assert made is not None
        made.model.metadata_props[FACTS] = json.dumps(facts)
        made.save(path)
        files.append(path)
        loaded[name] = _onnx_function(onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]))
    return files, loaded


_WRITERS: dict[str, Callable[..., Written]] = {"torch": _write_torch, "onnx": _write_onnx}


def _onnx_function(session: Any) -> Callable[..., Tensor]:
    names = [one.name for one in session.get_inputs()]

    def call(*given: Tensor) -> Tensor:
        (found,) = session.run(None, {name: one.numpy() for name, one in zip(names, given, strict=True)})
        return torch.from_numpy(found)

    return call


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of packages that it does not need, and of its own future."""
    noisy = logging.getLogger("torch.onnx")
    before = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(None):
            warnings.simplefilter("ignore")
            yield
    finally:
        noisy.setLevel(before)
