"""SimCLR, contrastive learning of visual representations, in TensorFlow 2 and Keras.

Importing this package does not import TensorFlow: the names below are loaded when they are first used.
"""

from typing import TYPE_CHECKING

from tf_simclr.lazy import attach

if TYPE_CHECKING:  # so that editors and type checkers know the names
    from tf_simclr import callbacks, evaluate, layers, losses, optimizers, schedules
    from tf_simclr.image_data import image_dataset
    from tf_simclr.layers import resnet
    from tf_simclr.loading import load, load_encoder
    from tf_simclr.simclr import SimCLR
    from tf_simclr.tasks import convert, embed, evaluate_checkpoint, explore, prepare, run, run_study, search

__version__ = "0.2.0"

# The public API: name -> module that holds it. A module of the same name stands for itself.
PUBLIC = {
    "SimCLR": "tf_simclr.simclr",
    "resnet": "tf_simclr.layers",
    "load": "tf_simclr.loading",
    "load_encoder": "tf_simclr.loading",
    "image_dataset": "tf_simclr.image_data",
    "run": "tf_simclr.tasks",
    "distill": "tf_simclr.tasks",
    "evaluate_checkpoint": "tf_simclr.tasks",
    "run_study": "tf_simclr.tasks",
    "prepare": "tf_simclr.tasks",
    "embed": "tf_simclr.tasks",
    "search": "tf_simclr.tasks",
    "explore": "tf_simclr.tasks",
    "convert": "tf_simclr.tasks",
    "layers": "tf_simclr.layers",
    "losses": "tf_simclr.losses",
    "optimizers": "tf_simclr.optimizers",
    "schedules": "tf_simclr.schedules",
    "callbacks": "tf_simclr.callbacks",
    "evaluate": "tf_simclr.evaluate",
}

__all__ = [
    "SimCLR",
    "callbacks",
    "convert",
    "distill",
    "embed",
    "evaluate",
    "evaluate_checkpoint",
    "explore",
    "image_dataset",
    "layers",
    "load",
    "load_encoder",
    "losses",
    "optimizers",
    "prepare",
    "resnet",
    "run",
    "run_study",
    "schedules",
    "search",
]

__getattr__, __dir__ = attach(__name__, PUBLIC)
