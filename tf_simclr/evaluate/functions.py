"""What the protocols measure, as functions of features: thin faces of `measures`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tf_simclr.errors import InputError, require_choice, require_range
from tf_simclr.evaluate.extraction import averaged_over_space
from tf_simclr.evaluate.measures.arrays import as_features, as_labels
from tf_simclr.evaluate.measures.health import Health, representation_health
from tf_simclr.evaluate.measures.knn import knn_accuracies
from tf_simclr.evaluate.measures.linear import linear_probe as train_linear
from tf_simclr.evaluate.measures.logistic_regression import fit_logistic_regression
from tf_simclr.ops.image import to_rgb

ENDPOINT = "final_avg_pool"
_LARGEST_BATCH = 4096  # of SimCLR's Appendix B.6
_IMAGES = tf.TensorSpec([None, None, None, 3], tf.float32)


def feature_function(model: Any, endpoint: str = ENDPOINT) -> Callable[[Any], np.ndarray]:
    """The compiled pass of a network over a batch of images, to be called again and again while it is trained.

    Args:
        model: as in `extract`.
        endpoint: as in `extract`.

    Returns:
        a function: images [n, h, w, 3] -> features float32 [n, d].
    """

    @tf.function(input_signature=[_IMAGES])
    def features(images: tf.Tensor) -> tf.Tensor:
        found = model(images, training=False)
        if isinstance(found, dict):
            require_choice("endpoint", endpoint, found)
            found = found[endpoint]
        return tf.cast(averaged_over_space(found), tf.float32)

    return lambda images: features(to_rgb(tf.convert_to_tensor(images))).numpy()


def extract(
    model: Any, data: Any, *, endpoint: str = ENDPOINT, batch_size: int = 256
) -> tuple[np.ndarray, np.ndarray | None]:
    """The features of images, of a frozen network in inference mode.

    Args:
        model: a `SimCLR`, an encoder of `resnet` or `load_encoder`, or a Keras model from images to a tensor.
        data: a finite tf.data.Dataset of batches of images or of (images, labels); or arrays, images [n, h, w, 3] or
            (images, labels). Floats in [0, 1], or integers in their dtype's range.
        endpoint: which output, where the model has several; of feature maps [n, h, w, d] the mean over space is taken.
            Default "final_avg_pool", which is h.
        batch_size: images at a time, of arrays.

    Returns:
        features float32 [n, d], and labels int64 [n], or None where the data have none.

    Raises:
        InputError: no image, an endless data set, or an unknown endpoint.

    Example:
        import numpy as np
        import tf_simclr

        encoder = tf_simclr.resnet(18, width=0.0625, stem="cifar")
        images = np.random.default_rng(0).random((6, 16, 16, 3), dtype=np.float32)
        h, labels = tf_simclr.evaluate.extract(encoder, (images, np.arange(6) % 2))
        assert h.shape == (6, 32)

    Reference: SimCLR, Appendix B.6 and B.8.
    """
    return features_of(feature_function(model, endpoint), data, batch_size)


def features_of(
    function: Callable[[Any], np.ndarray], data: Any, batch_size: int = 256
) -> tuple[np.ndarray, np.ndarray | None]:
    """`extract` by a function of `feature_function`."""
    features, labels = [], []
    for images, some_labels in batches_of(data, batch_size):
        features.append(function(images))
        if some_labels is not None:
            labels.append(np.asarray(some_labels).reshape(-1))
    if not features:
        raise InputError("`data` must have an image. Received: no batch. Check the split, and that it is not used up")
    found = np.concatenate(features)
    return found, np.concatenate(labels).astype(np.int64) if labels else None


def batches_of(data: Any, batch_size: int) -> Iterable[tuple[Any, Any]]:
    """Batches of (images, labels), labels None where there are none.

    Raises:
        InputError: an endless data set, or images that are no batches.
    """
    if not isinstance(data, tf.data.Dataset):
        require_range("batch_size", batch_size, at_least=1)
        data = tf.data.Dataset.from_tensor_slices(data).batch(batch_size)
    elif int(data.cardinality()) == tf.data.INFINITE_CARDINALITY:
        raise InputError(
            "`data` must end. Received: an endless tf.data.Dataset. Take tf_simclr.image_dataset without augmentation, "
            "or dataset.take(batches)"
        )
    for element in data:
        images, labels = element if isinstance(element, tuple) else (element, None)
        if isinstance(images, (tuple, dict)) or images.shape.rank != 4:
            shape = getattr(images, "shape", None)
            raise InputError(
                f"`data` must hold batches of images [n, h, w, 3]. Received: {type(images).__name__} of shape {shape}. "
                "Batch the data set, and leave out what makes views"
            )
        yield images, labels


def knn(
    train_features: npt.ArrayLike,
    train_labels: npt.ArrayLike,
    test_features: npt.ArrayLike,
    test_labels: npt.ArrayLike,
    *,
    k: int = 200,
    temperature: float = 0.1,
) -> float:
    """Top-1 accuracy of the k nearest neighbours by cosine, each with a vote of exp(similarity / temperature).

    Args:
        train_features: real numbers [n, d], the neighbours.
        train_labels: integers [n] >= 0.
        test_features: real numbers [m, d].
        test_labels: integers [m] >= 0.
        k: neighbours that vote, >= 1; all n where there are fewer. Default 200.
        temperature: > 0. Default 0.1.

    Returns:
        the accuracy in [0, 1].

    Raises:
        InputError: arrays that do not belong together, features that are not finite, or a number out of its range.

    Example:
        import numpy as np
        import tf_simclr

        features, labels = np.eye(4), np.array([0, 1, 2, 3])
        assert tf_simclr.evaluate.knn(features, labels, features, labels, k=1) == 1.0

    Reference: Wu et al. 2018, Unsupervised Feature Learning via Non-Parametric Instance Discrimination.
    """
    gallery = as_features("train_features", train_features)
    k = min(k, len(gallery))
    found = knn_accuracies(test_features, test_labels, gallery, train_labels, ks=[k], temperatures=[temperature])
    return found[k, temperature]


def linear_probe(
    train_features: npt.ArrayLike,
    train_labels: npt.ArrayLike,
    test_features: npt.ArrayLike,
    test_labels: npt.ArrayLike,
    *,
    epochs: float = 90.0,
    batch_size: int | None = None,
    learning_rate: float = 0.1,
    weight_decay: float = 0.0,
    standardise: bool = True,
    seed: int = 0,
) -> float:
    """Top-1 accuracy of a linear classifier that is trained by SGD on features.

    Args:
        train_features: real numbers [n, d].
        train_labels: integers [n] >= 0, of two classes or more.
        test_features: real numbers [m, d].
        test_labels: integers [m] >= 0.
        epochs: > 0. Default 90.
        batch_size: features a step, at most n; None for 4,096, but at most a quarter of n, so that a small n has steps
            to learn in.
        learning_rate: for a batch of 256, > 0; it is scaled linearly. Default 0.1.
        weight_decay: of the kernel, >= 0. Default 0.
        standardise: whether features are brought to mean 0 and variance 1, by the statistics of `train_features`.
            Default True: without it the accuracy depends on the scale of the features.
        seed: of the order of the features.

    Returns:
        the accuracy in [0, 1].

    Raises:
        InputError: arrays that do not belong together, features that are not finite, a number out of its range, or
            training that diverged.

    Example:
        import numpy as np
        import tf_simclr

        features, labels = np.eye(4), np.array([0, 1, 0, 1])
        assert tf_simclr.evaluate.linear_probe(features, labels, features, labels) == 1.0

    Reference: SimCLR, Appendix B.6.
    """
    labels = as_labels("train_labels", train_labels, rows=len(as_features("train_features", train_features)))
    classifier = train_linear(
        np.asarray(train_features, np.float32),
        labels,
        int(labels.max()) + 1,
        epochs=epochs,
        batch_size=min(_LARGEST_BATCH, max(len(labels) // 4, 1)) if batch_size is None else batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        seed=seed,
        standardise=standardise,
    )
    return _accuracy(lambda test: classifier.logits(test).argmax(axis=1), test_features, test_labels)


def logistic_regression(
    train_features: npt.ArrayLike,
    train_labels: npt.ArrayLike,
    test_features: npt.ArrayLike,
    test_labels: npt.ArrayLike,
    *,
    validation: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    seed: int = 0,
) -> float:
    """Top-1 accuracy of logistic regression by L-BFGS, its l2 strength chosen among 45 on validation features.

    It needs scikit-learn: `pip install scikit-learn`.

    Args:
        train_features: real numbers [n, d].
        train_labels: integers [n] >= 0, every class with an example.
        test_features: real numbers [m, d].
        test_labels: integers [m] >= 0.
        validation: features and labels to choose the strength on; None takes a stratified tenth of the training ones.
        seed: of that tenth.

    Returns:
        the accuracy in [0, 1].

    Raises:
        InputError: arrays that do not belong together, features that are not finite, or no scikit-learn.

    Example:
        import numpy as np
        import tf_simclr

        rng = np.random.default_rng(0)
        labels = np.arange(40) % 2
        features = rng.normal(size=(40, 3)) + 10 * labels[:, None]
        assert tf_simclr.evaluate.logistic_regression(features, labels, features, labels) == 1.0

    Reference: SimCLR, Appendix B.8.
    """
    fitted = fit_logistic_regression(train_features, train_labels, validation=validation, seed=seed)
    return _accuracy(fitted.predict, test_features, test_labels)


def _accuracy(predict: Callable[[np.ndarray], np.ndarray], features: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    test = as_features("test_features", features)
    truth = as_labels("test_labels", labels, rows=len(test))
    return float(np.mean(predict(test) == truth))


def health(features: npt.ArrayLike) -> Health:
    """Whether features fill their space, or have collapsed. No labels are needed.

    Args:
        features: real numbers [n, d], n >= 2.

    Returns:
        examples, dimensions, zero_rows (share in [0, 1]), uniformity (lower is more uniform), std_ratio (1 for features
        spread over the sphere, 0 for collapsed ones) and effective_rank.

    Raises:
        InputError: fewer than two features, or features that are not finite.

    Example:
        import numpy as np
        import tf_simclr

        found = tf_simclr.evaluate.health(np.random.default_rng(0).normal(size=(100, 8)))
        assert found.effective_rank > 7

    Reference: Wang and Isola 2020 (uniformity); Roy and Vetterli 2007 (effective rank).
    """
    return representation_health(features)
