"""Models on states: attention, inverse dynamics models, limits on latent actions, losses on them, world model."""

from wildlam.models.latent_action_model import LatentActionModel, ModelConfig
from wildlam.models.world_model import WorldModel

__all__ = ["LatentActionModel", "ModelConfig", "WorldModel"]
