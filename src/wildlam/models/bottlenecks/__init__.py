"""Limits on what a latent action may carry (arXiv 2601.05230), one file each.

Each file holds a frozen config, named as users write it (``--model.bottleneck Noisy``), and the module that it builds.
A new file in this folder is found by itself.
"""

import importlib
import pkgutil

from wildlam.models.bottlenecks.adaptive import Adaptive
from wildlam.models.bottlenecks.base import Bottleneck, BottleneckConfig
from wildlam.models.bottlenecks.deterministic import Deterministic
from wildlam.models.bottlenecks.discrete import Discrete
from wildlam.models.bottlenecks.noisy import Noisy
from wildlam.models.bottlenecks.sparse import Sparse
from wildlam.models.bottlenecks.unconstrained import Unconstrained

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "Adaptive",
    "Bottleneck",
    "BottleneckConfig",
    "Deterministic",
    "Discrete",
    "Noisy",
    "Sparse",
    "Unconstrained",
]
