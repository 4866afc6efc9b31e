"""Frozen video encoders behind one protocol, `wildlam.types.Encoder`; each has a config with a ``build`` method."""

from wildlam.encoders.base import EncoderConfig
from wildlam.encoders.hf_image import HFImage, HFImageEncoder
from wildlam.encoders.lite0 import Lite0, Lite0Encoder
from wildlam.encoders.vjepa2 import VJEPA2, VJEPA2Encoder

__all__ = ["VJEPA2", "EncoderConfig", "HFImage", "HFImageEncoder", "Lite0", "Lite0Encoder", "VJEPA2Encoder"]
