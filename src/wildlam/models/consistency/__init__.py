"""What is asked of latent actions besides prediction: to mean the same everywhere. One file each; none uses labels.

Each file holds a frozen config, named as users write it (``--model.consistency Additive``), and the module that it
builds. A new file in this folder is found by itself.
"""

import importlib
import pkgutil

from wildlam.models.consistency.absent import Absent
from wildlam.models.consistency.additive import Additive
from wildlam.models.consistency.base import Consistency, ConsistencyConfig
from wildlam.models.consistency.composition import Composition
from wildlam.models.consistency.cycle import Cycle

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Absent", "Additive", "Composition", "Consistency", "ConsistencyConfig", "Cycle"]
