"""Layers and networks of the public API."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_simclr import compat
from tf_simclr.data.views import ViewPolicy, make_views
from tf_simclr.errors import InputError, require_range
from tf_simclr.nn.heads import build_projection_head, projection_layers
from tf_simclr.nn.normalization import BatchNorm
from tf_simclr.nn.resnet import build_encoder
from tf_simclr.ops import collectives
from tf_simclr.ops.draws import MAX_EXAMPLES, MAX_VIEWS, MIN_CROP_AREA, example_key
from tf_simclr.ops.image import to_rgb

__all__ = ["GlobalBatchNorm", "ProjectionHead", "SimCLRAugmentation", "resnet"]

GlobalBatchNorm = BatchNorm
_register = tf.keras.utils.register_keras_serializable(package="tf_simclr")


def resnet(
    depth: int = 50,
    width: float = 1.0,
    stem: str = "imagenet",
    sk_ratio: float = 0.0,
    se_ratio: float = 0.0,
    *,
    batch_norm_decay: float = 0.9,
    global_bn: bool = True,
    pool_padding: str = "same",
    identity_shortcut: bool = False,
    input_mean: Sequence[float] = (),
    input_std: Sequence[float] = (),
    dtype: Any = None,
) -> tf.keras.Model:
    """The ResNet encoder of SimCLR, with batch norm over all replicas and without a classifier.

    Args:
        depth: 10, 18, 34 (basic blocks), 50, 101, 152 or 200 (bottlenecks).
        width: > 0, multiplies every filter count; fractions are rounded. Default 1.
        stem: "imagenet" (7x7 stride 2, and max pool) or "cifar" (3x3 stride 1), which suits images up to 32 pixels.
        sk_ratio: in [0, 1]; > 0 turns on selective kernels and ResNet-D (SimCLRv2: 0.0625).
        se_ratio: in [0, 1]; > 0 turns on squeeze-and-excitation.
        batch_norm_decay: of the moving statistics, in [0, 1]. Default 0.9.
        global_bn: whether batch norms take the moments over all replicas. Default True.
        pool_padding: of the stem's max pool: "same" (TensorFlow's) or "symmetric" (PyTorch's). Default "same".
        identity_shortcut: depths 10, 18 and 34: whether group 1 begins without a projection, as torchvision's does.
        input_mean: three numbers that are subtracted from the channels first; empty, the default, for none.
        input_std: three numbers > 0 that the channels are divided by after that; empty, the default, for none.
        dtype: Keras dtype policy or its name, as "mixed_bfloat16"; None for the global policy.

    Returns:
        a functional Keras model: images float32 [b, h, w, 3] in [0, 1], of any size -> a dict of the feature maps
        initial_conv, initial_max_pool, block_group1..4 and of final_avg_pool, the representation h, float32 [b, d].

    Raises:
        InputError: an argument is out of its range.

    Example:
        import tensorflow as tf
        import tf_simclr

        encoder = tf_simclr.resnet(18, width=0.125, stem="cifar")
        h = encoder(tf.random.uniform([2, 32, 32, 3]))["final_avg_pool"]
        assert h.shape == (2, 64)

    Reference: SimCLR, Section 2.2 and Appendix B; SimCLRv2, Section 2.
    """
    norm = functools.partial(BatchNorm, momentum=batch_norm_decay, global_moments=global_bn)
    policy = compat.global_policy() if dtype is None else dtype
    return build_encoder(
        depth,
        width,
        sk_ratio,
        se_ratio,
        stem,
        norm,
        policy,
        pool_padding=pool_padding,
        identity_shortcut=identity_shortcut,
        input_mean=input_mean,
        input_std=input_std,
    )


@_register
class ProjectionHead(tf.keras.layers.Layer):
    """The projection head g: h -> z, which is thrown away after pretraining.

    Dense layers without bias, each followed by a batch norm over all replicas, with ReLU between them. The hidden
    layers are as wide as h.

    Args:
        out_dim: width of z, >= 1. Default 128.
        num_layers: >= 1, of a nonlinear head. Default 3, as in the authors' code; the paper has 2.
        mode: "nonlinear", "linear" (one layer) or "none" (z = h).
        batch_norm_decay: of the moving statistics, in [0, 1]. Default 0.9.
        global_bn: whether batch norms take the moments over all replicas. Default True.
        offset: whether the last batch norm has an offset, as lightly's has. Default False, as in the authors' code.
        **kwargs: name and dtype, as in every Keras layer.

    Raises:
        InputError: an argument is out of its range.

    Example:
        import tensorflow as tf
        import tf_simclr

        head = tf_simclr.layers.ProjectionHead(out_dim=16, num_layers=2)
        assert head(tf.random.normal([4, 32])).shape == (4, 16)

    Reference: SimCLR, Sections 2.1 and 4.2; SimCLRv2, Section 2 (deeper heads).
    """

    def __init__(
        self,
        out_dim: int = 128,
        num_layers: int = 3,
        mode: str = "nonlinear",
        batch_norm_decay: float = 0.9,
        global_bn: bool = True,
        offset: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**{"name": "projection_head", **kwargs})
        projection_layers(mode, num_layers)
        require_range("out_dim", out_dim, at_least=1)
        require_range("batch_norm_decay", batch_norm_decay, at_least=0, at_most=1)
        self.out_dim = out_dim
        self.num_layers = num_layers
        self.mode = mode
        self.batch_norm_decay = batch_norm_decay
        self.global_bn = global_bn
        self.offset = offset

    def build(self, input_shape: Any) -> None:
        """Makes the layers for h [b, d], whose d must be known."""
        width = input_shape[-1]
        if width is None:
            raise InputError(
                f"ProjectionHead needs a known width of h. Received: inputs of shape {input_shape}. Set the last "
                "dimension of the input"
            )
        norm = functools.partial(BatchNorm, momentum=self.batch_norm_decay, global_moments=self.global_bn)
        # A functional model, h -> dict of endpoints.
        self.network = build_projection_head(
            self.mode, int(width), self.out_dim, self.num_layers, norm, compat.policy_of(self), self.offset
        )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """z float32 [b, out_dim] of h [b, d]."""
        return self.network(inputs, training=training)["proj_head_output"]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """[b, out_dim]."""
        return (input_shape[0], input_shape[-1] if self.mode == "none" else self.out_dim)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "out_dim": self.out_dim,
            "num_layers": self.num_layers,
            "mode": self.mode,
            "offset": self.offset,
            "batch_norm_decay": self.batch_norm_decay,
            "global_bn": self.global_bn,
        }


@_register
class SimCLRAugmentation(tf.keras.layers.Layer):
    """The random views of SimCLR: crop, flip, colour distortion and blur, as `run.py` draws them.

    A view is a function of `seed`, of the image's place and of the view's number. Its place is a counter of the images
    that the layer has seen, or what the caller says: `layer(images, index=..., epoch=...)` gives the same views for the
    same numbers, whatever was called before, and those that `run.py` draws for the example `index` in `epoch`. The
    counter is a variable of the layer: it is saved with it. In `tf.data` with parallel calls the order in which images
    are counted is not fixed; give the index there if the views must be the same again. On several replicas make the
    layer inside the strategy's scope where the model calls it, and outside where `tf.data` does.

    Args:
        size: side s of a view in pixels, >= 1.
        strength: s >= 0 of the colour distortion; 0 turns it off. Default 1.
        blur: whether half of the views are blurred. Default True; off for CIFAR-sized images in the paper.
        min_area: smallest area of a crop, as a share of the image, in (0, 1]. Default 0.08.
        views: views of every image, in 1..128. Default 2.
        seed: any integer. Default 0.
        impl: brightness jitter: "simclrv1" adds (the paper), "simclrv2" multiplies (the authors' later code).
        **kwargs: name, as in every Keras layer.

    Raises:
        InputError: an argument is out of its range.

    Example:
        import tensorflow as tf
        import tf_simclr

        images = tf.random.uniform([4, 48, 48, 3])  # or uint8 in [0, 255]
        augmentation = tf_simclr.layers.SimCLRAugmentation(32, seed=1)
        view_a, view_b = augmentation(images)
        assert view_a.shape == (4, 32, 32, 3)

        pairs = tf.data.Dataset.from_tensor_slices(images).batch(2).map(augmentation)
        again = augmentation(images, index=tf.range(4), epoch=0)

    Reference: SimCLR, Section 3 and Appendix A.
    """

    def __init__(
        self,
        size: int,
        strength: float = 1.0,
        blur: bool = True,
        min_area: float = MIN_CROP_AREA,
        views: int = 2,
        seed: int = 0,
        impl: str = "simclrv1",
        **kwargs: Any,
    ):
        # Under a mixed policy Keras would round the images before they are augmented.
        super().__init__(**{**kwargs, "dtype": "float32", "trainable": False})
        self.policy = ViewPolicy(
            image_size=size,
            color_jitter_strength=strength,
            color_jitter_impl=impl,
            blur=blur,
            min_crop_area=min_area,
        )
        require_range("views", views, at_least=1, at_most=MAX_VIEWS)
        self.views = views
        self.seed = seed
        self.images_seen = compat.add_counter(self, "images_seen")

    def call(self, inputs: tf.Tensor, index: Any = None, epoch: Any = None) -> tuple[tf.Tensor, ...]:
        """Views of images.

        Args:
            inputs: [n, h, w, 3] or one image [h, w, 3]; integers are scaled by their dtype's range, floats must be in
                [0, 1].
            index: int [n], the number of each image, below 2^36; None counts them.
            epoch: int scalar or [n], below 2^20; None for 0. Only with `index`.

        Returns:
            `views` tensors float32 [n, s, s, 3] in [0, 1], or [s, s, 3] of one image.
        """
        images = to_rgb(tf.convert_to_tensor(inputs))
        single = images.shape.rank == 3
        if single:
            images = images[tf.newaxis]
        if index is None and epoch is not None:
            raise InputError("`epoch` belongs to `index`. Received: epoch without index. Pass both, or neither")
        if index is None:
            index, epoch = self._count(tf.shape(images)[0]), 0
        index = tf.broadcast_to(tf.cast(index, tf.int64), [tf.shape(images)[0]])
        epoch = tf.broadcast_to(tf.cast(0 if epoch is None else epoch, tf.int64), tf.shape(index))
        keys = example_key(self.seed, epoch[:, tf.newaxis], index[:, tf.newaxis], tf.range(self.views))  # [n, v, 2]
        views = make_views(self.policy, images, keys)
        return tuple(view[0] for view in views) if single else views

    def _count(self, images: tf.Tensor) -> tf.Tensor:
        """The numbers of the images of this call, int64 [n]; all replicas together count on."""
        n = tf.cast(images, tf.int64)
        seen = tf.convert_to_tensor(self.images_seen)
        first = seen + n * tf.cast(collectives.replica_id(), tf.int64)
        with tf.control_dependencies([seen]):
            self.images_seen.assign((seen + n * collectives.replica_count()) % MAX_EXAMPLES)
        return first + tf.range(n)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """`views` times [n, s, s, 3]."""
        side = self.policy.image_size
        return ((*input_shape[:-3], side, side, 3),) * self.views

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "name": self.name,
            "size": self.policy.image_size,
            "strength": self.policy.color_jitter_strength,
            "blur": self.policy.blur,
            "min_area": self.policy.min_crop_area,
            "views": self.views,
            "seed": self.seed,
            "impl": self.policy.color_jitter_impl,
        }
