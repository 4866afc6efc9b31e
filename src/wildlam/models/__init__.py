"""Models on states: attention, inverse dynamics model, limits on the latent action, world model."""

from wildlam.models.latent_action_model import LatentActionModel, ModelConfig
from wildlam.models.world_model import WorldModel

__all__ = ["LatentActionModel", "ModelConfig", "WorldModel"]
