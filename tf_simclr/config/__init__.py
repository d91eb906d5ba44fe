"""The configuration of a run: frozen dataclasses, checked as a whole, before any long work and without TensorFlow.

Every field is also a command-line flag of the same name; its help, and the choices where there are any, stand in
the field's metadata, so that flags, defaults, documentation and config are written once.
"""

from tf_simclr.config.augmentation import (
    BRANCHES,
    OPERATORS,
    OperatorOption,
    read_augmentation,
)
from tf_simclr.config.convert import ConvertConfig
from tf_simclr.config.data import (
    CIFAR_STEM_MAX_SIZE,
    FOLDER,
    HOLD_OUT_DRAWS,
    SHAPES,
    AugmentationConfig,
    DataConfig,
    eval_crop_for,
    may_lie_elsewhere,
)
from tf_simclr.config.distillation import DistillationConfig
from tf_simclr.config.durations import Durations, resolve_durations, with_warmup_that_ends
from tf_simclr.config.experiment import (
    CARD_FILE,
    FLAGS_FILE,
    ExperimentConfig,
    build_config,
    known_flags,
    of_recorded,
    parts,
)
from tf_simclr.config.index import (
    BrowseConfig,
    ClusterConfig,
    DuplicatesConfig,
    EmbedConfig,
    IndexConfig,
    NeighboursConfig,
    ProjectorConfig,
    ResultConfig,
    SearchConfig,
    SelectConfig,
)
from tf_simclr.config.model import RESNET_DEPTHS, LossConfig, ModelConfig
from tf_simclr.config.option import option
from tf_simclr.config.protocols import (
    FROZEN_PROTOCOLS,
    LabelledTraining,
    ProtocolConfig,
    read_labelled_training,
)
from tf_simclr.config.runtime import AUTO_PRECISION, PRECISIONS, RuntimeConfig
from tf_simclr.config.study import SCALE_NAMES, STUDY_NAMES, StudyConfig
from tf_simclr.config.training import (
    ADAPTIVE_OPTIMIZERS,
    OPTIMIZERS,
    CheckpointConfig,
    EvalConfig,
    OptimizerConfig,
    TrainConfig,
)

__all__ = [
    "ADAPTIVE_OPTIMIZERS",
    "AUTO_PRECISION",
    "BRANCHES",
    "CARD_FILE",
    "CIFAR_STEM_MAX_SIZE",
    "FLAGS_FILE",
    "FOLDER",
    "FROZEN_PROTOCOLS",
    "HOLD_OUT_DRAWS",
    "OPERATORS",
    "OPTIMIZERS",
    "PRECISIONS",
    "RESNET_DEPTHS",
    "SCALE_NAMES",
    "SHAPES",
    "STUDY_NAMES",
    "AugmentationConfig",
    "BrowseConfig",
    "CheckpointConfig",
    "ClusterConfig",
    "ConvertConfig",
    "DataConfig",
    "DistillationConfig",
    "DuplicatesConfig",
    "Durations",
    "EmbedConfig",
    "EvalConfig",
    "ExperimentConfig",
    "IndexConfig",
    "LabelledTraining",
    "LossConfig",
    "ModelConfig",
    "NeighboursConfig",
    "OperatorOption",
    "OptimizerConfig",
    "ProjectorConfig",
    "ProtocolConfig",
    "ResultConfig",
    "RuntimeConfig",
    "SearchConfig",
    "SelectConfig",
    "StudyConfig",
    "TrainConfig",
    "build_config",
    "eval_crop_for",
    "known_flags",
    "may_lie_elsewhere",
    "of_recorded",
    "option",
    "parts",
    "read_augmentation",
    "read_labelled_training",
    "resolve_durations",
    "with_warmup_that_ends",
]
