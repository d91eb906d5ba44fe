"""Optimizers of the public API: LARS and LAMB that know by themselves what they must not decay."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.errors import require_range
from tf_simclr.optim.lamb import ExcludingLamb
from tf_simclr.optim.lars import EETA_DEFAULT, LARSOptimizer

__all__ = ["LAMB", "LARS"]

_register = tf.keras.utils.register_keras_serializable(package="tf_simclr")


def is_no_kernel(variable: Any) -> bool:
    """Whether a variable is neither decayed nor adapted.

    A kernel has two dimensions or more, a bias, a scale and an offset have one. Names would not do: Keras 3 calls every
    batch-norm scale "gamma".
    """
    return len(variable.shape) < 2


class KernelsOnly:
    """What both optimizers have in common for `SimCLR`.

    Attributes:
        decay: weight decay, for whoever decays what the optimizer does not train.
    """

    decay: float


@_register
class LARS(KernelsOnly, LARSOptimizer):
    """LARS, layer-wise adaptive rate scaling, as SimCLR uses it.

    It decays and adapts kernels only. Biases and the scales and offsets of batch norms are updated with plain momentum.
    `SimCLR` gives its probe the same weight decay, but trains it by an optimizer of the probe's own.

    Args:
        learning_rate: float or schedule. The paper's peak is 0.3 * batch / 256.
        momentum: in [0, 1]. Default 0.9.
        weight_decay: >= 0, added to the gradient of a kernel before the trust ratio. Default 1e-6.
        nesterov: whether to look one momentum step ahead. Default False.
        eeta: trust coefficient, > 0. Default 0.001.
        name: of the optimizer.

    Raises:
        InputError: a number out of its range.

    Example:
        import numpy as np
        import tensorflow as tf
        import tf_simclr

        model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(2)])
        schedule = tf_simclr.schedules.WarmupCosine(peak=0.3, warmup_steps=1, total_steps=4)
        model.compile(optimizer=tf_simclr.optimizers.LARS(schedule, weight_decay=1e-4), loss="mse")
        model.fit(np.ones([8, 4], "float32"), np.ones([8, 2], "float32"), epochs=2, verbose=0)

    Reference: You et al. 2017; SimCLR, Section 2.2 and Appendix B.6.
    """

    def __init__(
        self,
        learning_rate: Any,
        momentum: float = 0.9,
        weight_decay: float = 1e-6,
        nesterov: bool = False,
        eeta: float = EETA_DEFAULT,
        name: str = "LARS",
    ):
        require_range("momentum", momentum, at_least=0, at_most=1)
        require_range("weight_decay", weight_decay, at_least=0)
        require_range("eeta", eeta, above=0)
        super().__init__(
            learning_rate,
            momentum=momentum,
            use_nesterov=nesterov,
            weight_decay=weight_decay,
            exclude_from_weight_decay=is_no_kernel,
            eeta=eeta,
            name=name,
        )
        self.decay = weight_decay

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "learning_rate": compat.learning_rate_config(self),
            "momentum": self.momentum,
            "weight_decay": self.decay,
            "nesterov": self.use_nesterov,
            "eeta": self.eeta,
            "name": self.name,
        }


@_register
class LAMB(KernelsOnly, ExcludingLamb):
    """LAMB, Adam with the trust ratio of LARS, with beta_1 = 0.9, beta_2 = 0.999 and epsilon = 1e-6.

    It decays and adapts kernels only, as `LARS`.

    Args:
        learning_rate: float or schedule.
        weight_decay: >= 0, added to the update of a kernel before the trust ratio. Default 1e-6.
        name: of the optimizer.

    Raises:
        InputError: the weight decay is out of its range.

    Example:
        import numpy as np
        import tensorflow as tf
        import tf_simclr

        model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(2)])
        model.compile(optimizer=tf_simclr.optimizers.LAMB(0.01), loss="mse")
        model.fit(np.ones([8, 4], "float32"), np.ones([8, 2], "float32"), epochs=2, verbose=0)

    Reference: You et al. 2020, Algorithm 2.
    """

    def __init__(self, learning_rate: Any, weight_decay: float = 1e-6, name: str = "LAMB"):
        require_range("weight_decay", weight_decay, at_least=0)
        super().__init__(learning_rate, weight_decay, is_no_kernel, name=name)
        self.decay = weight_decay

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "learning_rate": compat.learning_rate_config(self),
            "weight_decay": self.decay,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> LAMB:
        """The optimizer of a config made by `get_config`; `config` is left as it is."""
        del custom_objects  # part of Keras's interface; our schedule is registered
        values = dict(config)
        if isinstance(values["learning_rate"], dict):
            values["learning_rate"] = tf.keras.optimizers.schedules.deserialize(values["learning_rate"])
        return cls(**values)
