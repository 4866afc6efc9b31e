"""Priors: which latent actions are likely in a state, ``p(z | s)``, one file each.

Each file holds a frozen config, named as users write it (``--prior Gaussian``), and the module that it builds. A new
file in this folder is found by itself.
"""

import importlib
import pkgutil

from wildlam.models.priors.base import LatentPrior, PriorConfig
from wildlam.models.priors.codes import Codes
from wildlam.models.priors.flow import Flow
from wildlam.models.priors.gaussian import Gaussian
from wildlam.models.priors.neighbours import Neighbours

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Codes", "Flow", "Gaussian", "LatentPrior", "Neighbours", "PriorConfig"]
