"""Inverse dynamics models, one file each: which latent action turned one state into the next? ``z_t = g(s_t, s_{t+1})``

Each file holds a frozen config, named as users write it (``--model.idm Linear``), and the module that it builds. A new
file in this folder is found by itself.
"""

import importlib
import pkgutil

from wildlam.models.inverse_dynamics.base import IdmShape, InverseDynamicsConfig, InverseDynamicsModel
from wildlam.models.inverse_dynamics.difference import Difference
from wildlam.models.inverse_dynamics.linear import Linear
from wildlam.models.inverse_dynamics.split import Split
from wildlam.models.inverse_dynamics.transformer import Transformer

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Difference", "IdmShape", "InverseDynamicsConfig", "InverseDynamicsModel", "Linear", "Split", "Transformer"]
