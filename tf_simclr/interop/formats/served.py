"""What exports compute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from tf_simclr import compat
from tf_simclr.interop.formats.compared import Answers
from tf_simclr.interop.saved_model import IMAGES
from tf_simclr.nn.model import SimCLRModel

OUTPUTS = ("final_avg_pool", "proj_head_output", "logits_sup")


class Served(tf.Module):
    """The networks as one function in inference: images [b, h, w, 3] in [0, 1] -> h, z and logits.

    Maps of features are left out: they would make every answer a hundred times as large.

    Args:
        model: the networks.

    Attributes:
        names: of the outputs.
        function: a tf.function with one signature.
    """

    def __init__(self, model: SimCLRModel):
        super().__init__()
        self.held = [compat.raw_variable(v) for v in model.named_variables().values()]
        parts = (model.encoder, model.projection_head, model.supervised_head)
        self.names = tuple(name for name, part in zip(OUTPUTS, parts, strict=True) if part is not None)
        names = self.names

        @tf.function(input_signature=[IMAGES], autograph=False)
        def function(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            endpoints = model.endpoints(inputs, training=False)
            return {name: endpoints[name] for name in names}

        self.function = function

    def answered(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, Answers]]:
        """Each batch of images, float32 [b, h, w, 3], with the outputs by name."""
        for batch in batches:
            outputs = self.function(tf.constant(batch))
            yield batch, {name: outputs[name].numpy() for name in self.names}
