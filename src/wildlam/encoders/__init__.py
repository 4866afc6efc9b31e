"""Frozen video encoders behind one protocol, `wildlam.types.Encoder`; each has a config with a ``build`` method.

A new file in this folder is found by itself.
"""

import importlib
import pkgutil

from wildlam.encoders.base import EncoderConfig
from wildlam.encoders.hf_image import HFImage, HFImageEncoder
from wildlam.encoders.lite0 import Lite0, Lite0Encoder
from wildlam.encoders.vjepa2 import VJEPA2, VJEPA2Encoder

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["VJEPA2", "EncoderConfig", "HFImage", "HFImageEncoder", "Lite0", "Lite0Encoder", "VJEPA2Encoder"]
