"""wildlam: learn the action space of unlabelled video and put it to use.

``load`` gives a trained run; ``train``, ``evaluate``, ``infer``, ``transfer``, ``search``, ``build_search``, ``plan``,
``play``, ``sweep``, ``encode``, ``index`` and ``preview`` (`wildlam data`) do what the commands do, by a configuration
or its keywords, and return what came of it;
``push`` publishes a run on the Hugging Face Hub, ``export`` writes its functions for use without this package, and
``WorldModelEnv`` is its learnt world as an environment of gymnasium;
``train_controller``, ``train_baseline``, ``train_decoder``, ``train_prior`` and ``train_policy`` train what belongs to
a run, and return its folder.
Each name is imported when it is first used: ``import wildlam`` takes no PyTorch.
"""

# ruff: noqa: I001 (it would have a line for each "as", which says that a name is exported)
from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; the same names as below
    from wildlam.config import RunConfig as RunConfig
    from wildlam.encoders import VJEPA2 as VJEPA2, HFImage as HFImage, Lite0 as Lite0
    from wildlam.errors import WildlamError as WildlamError
    from wildlam.models import LatentActionModel as LatentActionModel, ModelConfig as ModelConfig
    from wildlam.models.bottlenecks import (
        Adaptive as Adaptive,
        Deterministic as Deterministic,
        Discrete as Discrete,
        Noisy as Noisy,
        Sparse as Sparse,
        Unconstrained as Unconstrained,
    )
    from wildlam.training import TrainingConfig as TrainingConfig
    from wildlam.training.optimizers import OptimizerConfig as OptimizerConfig
    from wildlam.video.config import DataConfig as DataConfig
    from wildlam.workflows.baseline import (
        LabelledModelConfig as LabelledModelConfig,
        train_baseline as train_baseline,
    )
    from wildlam.workflows.configs import (
        ExportConfig as ExportConfig,
        IndexConfig as IndexConfig,
        PushConfig as PushConfig,
        SearchConfig as SearchConfig,
        TransferConfig as TransferConfig,
    )
    from wildlam.workflows.controller import (
        ControllingConfig as ControllingConfig,
        train_controller as train_controller,
    )
    from wildlam.workflows.data import Preview as Preview, PreviewConfig as PreviewConfig, preview as preview
    from wildlam.workflows.decoded_films import DecodedRollout as DecodedRollout, Transfer as Transfer
    from wildlam.workflows.decoder import DecodingConfig as DecodingConfig, train_decoder as train_decoder
    from wildlam.workflows.encode import EncodeResult as EncodeResult, encode as encode
    from wildlam.workflows.environment import WorldModelEnv as WorldModelEnv
    from wildlam.workflows.evaluate import (
        EvaluateConfig as EvaluateConfig,
        EvaluateResult as EvaluateResult,
        evaluate as evaluate,
    )
    from wildlam.workflows.export import ExportResult as ExportResult, export as export
    from wildlam.workflows.index import IndexResult as IndexResult, index as index
    from wildlam.workflows.infer import InferConfig as InferConfig, InferResult as InferResult, infer as infer
    from wildlam.workflows.plan import PlanConfig as PlanConfig, PlanResult as PlanResult, plan as plan
    from wildlam.workflows.play import PlayConfig as PlayConfig, PlayResult as PlayResult, play as play
    from wildlam.workflows.policy import (
        PolicyTrainingConfig as PolicyTrainingConfig,
        train_policy as train_policy,
    )
    from wildlam.workflows.prior import (
        PriorTrainingConfig as PriorTrainingConfig,
        train_prior as train_prior,
    )
    from wildlam.workflows.push import PushResult as PushResult, push as push
    from wildlam.workflows.search import SearchResult as SearchResult, search as search
    from wildlam.workflows.search_build import (
        SearchBuildConfig as SearchBuildConfig,
        SearchBuildResult as SearchBuildResult,
        build_search as build_search,
    )
    from wildlam.workflows.search_index import SearchIndex as SearchIndex
    from wildlam.workflows.sweep import SweepConfig as SweepConfig, SweepResult as SweepResult, sweep as sweep
    from wildlam.workflows.train import TrainResult as TrainResult, train as train
    from wildlam.workflows.trained import LatentActions as LatentActions, Trained as Trained, load as load
    from wildlam.workflows.transfer import (
        TransferResult as TransferResult,
        transfer as transfer,
    )

__version__ = "0.1.0"

_MODULES = {
    "wildlam.config": ("RunConfig",),
    "wildlam.encoders": ("HFImage", "Lite0", "VJEPA2"),
    "wildlam.errors": ("WildlamError",),
    "wildlam.models": ("LatentActionModel", "ModelConfig"),
    "wildlam.models.bottlenecks": ("Adaptive", "Deterministic", "Discrete", "Noisy", "Sparse", "Unconstrained"),
    "wildlam.training": ("TrainingConfig",),
    "wildlam.training.optimizers": ("OptimizerConfig",),
    "wildlam.video.config": ("DataConfig",),
    "wildlam.workflows.baseline": ("LabelledModelConfig", "train_baseline"),
    "wildlam.workflows.configs": ("ExportConfig", "IndexConfig", "PushConfig", "SearchConfig", "TransferConfig"),
    "wildlam.workflows.controller": ("ControllingConfig", "train_controller"),
    "wildlam.workflows.data": ("Preview", "PreviewConfig", "preview"),
    "wildlam.workflows.decoded_films": ("DecodedRollout", "Transfer"),
    "wildlam.workflows.decoder": ("DecodingConfig", "train_decoder"),
    "wildlam.workflows.encode": ("EncodeResult", "encode"),
    "wildlam.workflows.environment": ("WorldModelEnv",),
    "wildlam.workflows.evaluate": ("EvaluateConfig", "EvaluateResult", "evaluate"),
    "wildlam.workflows.export": ("ExportResult", "export"),
    "wildlam.workflows.index": ("IndexResult", "index"),
    "wildlam.workflows.infer": ("InferConfig", "InferResult", "infer"),
    "wildlam.workflows.plan": ("PlanConfig", "PlanResult", "plan"),
    "wildlam.workflows.play": ("PlayConfig", "PlayResult", "play"),
    "wildlam.workflows.policy": ("PolicyTrainingConfig", "train_policy"),
    "wildlam.workflows.prior": ("PriorTrainingConfig", "train_prior"),
    "wildlam.workflows.push": ("PushResult", "push"),
    "wildlam.workflows.search": ("SearchResult", "search"),
    "wildlam.workflows.search_build": ("SearchBuildConfig", "SearchBuildResult", "build_search"),
    "wildlam.workflows.search_index": ("SearchIndex",),
    "wildlam.workflows.sweep": ("SweepConfig", "SweepResult", "sweep"),
    "wildlam.workflows.train": ("TrainResult", "train"),
    "wildlam.workflows.trained": ("LatentActions", "Trained", "load"),
    "wildlam.workflows.transfer": ("TransferResult", "transfer"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted([*_MODULE_OF, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'wildlam' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
