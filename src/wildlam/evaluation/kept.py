"""Evaluations on disk, so that a report can be drawn again without what it shows being computed again.

One file of safetensors: tensors, and how they make the results as JSON. Each evaluation lies there under a hash of all
that it was computed from, and is given back for that alone.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from wildlam.encoders.base import fingerprint
from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.cycle import Cycle
from wildlam.evaluation.intervals import PerClip
from wildlam.evaluation.latent_space import LatentSpace
from wildlam.evaluation.leakage import Leakage
from wildlam.evaluation.locality import Locality
from wildlam.evaluation.pixel_rollout import PixelRollout
from wildlam.evaluation.probes import Probes
from wildlam.evaluation.rollout import Rollout
from wildlam.evaluation.suite import Evaluations, Labelled
from wildlam.evaluation.two_sample import TwoSample
from wildlam.fileio import readable
from wildlam.models import LatentActionModel

log = logging.getLogger(__name__)

FILE = "evaluations.safetensors"
VERSION = 1
"""Of the file, and of the evaluations: one that is computed in another way takes another."""
_CLASSES = {
    one.__name__: one
    for one in (Cycle, LatentSpace, Leakage, Locality, PerClip, PixelRollout, Probes, Rollout, TwoSample)
}


def keys(
    model: LatentActionModel,
    clips: InferredClips,
    *,
    version: str,
    encoder: str,
    bounds: Mapping[str, LatentActionModel],
    decoder: nn.Module | None,
    backgrounds: tuple[Tensor, Sequence[str]],
    labelled: Sequence[Labelled],
    prior: nn.Module | None,
) -> dict[str, str]:
    """Of each evaluation, a hash of what it is computed from: weights, clips, and what else it sees.

    Args:
        model: see ``evaluate_all``, as of all but:
        version: version of the software.
        encoder: fingerprint of the encoder.
        decoder: the decoder, if there is one.
    """
    shown = {name: getattr(clips, name) for name in ("names", "sources", "recordings")}
    of_clips = [("states", clips.states), ("z", clips.z), ("times", clips.times)]
    common = fingerprint(version, {"version": VERSION, "encoder": encoder, **shown}, [*of_clips, *_weights(model)])
    compared = {name: fingerprint(name, {}, _weights(bound)) for name, bound in sorted(bounds.items())}
    probed = [
        fingerprint(
            " ".join(one.action_names),
            {"clips": one.held_out.names},
            [("train", one.train_actions), ("held_out", one.held_out_actions), ("z", one.train.z)],
        )
        for one in labelled
    ]
    umap = importlib.util.find_spec("umap") is not None
    seen: dict[str, Any] = {
        **dict.fromkeys(("one_step", "rollout", "leakage", "cycle"), compared),
        "pixel_rollout": decoder and fingerprint("decoder", {}, _weights(decoder)),
        "locality": fingerprint("frames", {"recordings": list(backgrounds[1])}, [("frames", backgrounds[0])]),
        "probes": probed,
        "latent_space": [umap, prior and fingerprint("prior", {}, _weights(prior))],
    }
    return {name: fingerprint(name, {"common": common, "seen": what}, []) for name, what in seen.items()}


def _weights(module: nn.Module) -> list[tuple[str, Tensor]]:
    return sorted(module.state_dict().items())


def write(folder: Path, found: Evaluations, under: Mapping[str, str]) -> None:
    """Keep all evaluations in a folder, under their ``keys``.

    Raises:
        OSError: there is no room.
    """
    tensors: dict[str, Tensor] = {}
    trees = {name: {"key": key, "tree": _taken_apart(getattr(found, name), tensors)} for name, key in under.items()}
    temporary = folder / f".{FILE}.{os.getpid()}.tmp"
    try:
        save_file(tensors, temporary, {"evaluations": json.dumps(trees)})
        readable(temporary)
        os.replace(temporary, folder / FILE)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def read(folder: Path, under: Mapping[str, str]) -> dict[str, Any]:
    """The evaluations that are kept in a folder and were computed from what these ``keys`` stand for."""
    file = folder / FILE
    if not file.is_file():
        return {}
    try:
        with safe_open(file, "pt") as opened:
            trees = json.loads(opened.metadata()["evaluations"])
            same = {name: one["tree"] for name, one in trees.items() if one["key"] == under.get(name)}
            return {name: _put_together(tree, opened) for name, tree in same.items()}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        log.warning("%s is damaged (%s); all of it is evaluated again", file, error)
        return {}


def _taken_apart(value: Any, tensors: dict[str, Tensor]) -> Any:
    """What JSON takes; tensors are put aside under their numbers."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()  # views share memory
        return {"tensor": name}
    if dataclasses.is_dataclass(value):
        fields = {part.name: _taken_apart(getattr(value, part.name), tensors) for part in dataclasses.fields(value)}
        return {"class": type(value).__name__, "fields": fields}
    if isinstance(value, dict):
        return {"dict": [[key, _taken_apart(one, tensors)] for key, one in value.items()]}
    if isinstance(value, list | tuple):
        return [_taken_apart(one, tensors) for one in value]
    return value


def _put_together(tree: Any, opened: Any) -> Any:
    if isinstance(tree, list):
        return [_put_together(one, opened) for one in tree]
    if not isinstance(tree, dict):
        return tree
    if "tensor" in tree:
        return opened.get_tensor(tree["tensor"])
    if "dict" in tree:
        return {key: _put_together(one, opened) for key, one in tree["dict"]}
    return _CLASSES[tree["class"]](**{name: _put_together(one, opened) for name, one in tree["fields"].items()})
