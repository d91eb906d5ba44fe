"""What differs between Keras 2 (TensorFlow 2.15) and Keras 3 (TensorFlow 2.16 and later), and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tf_simclr.errors import InputError

KERAS_3: bool = hasattr(tf.keras, "ops")
_optimizers = tf.keras.optimizers
# serialize_keras_object and deserialize_keras_object; under tf.keras.utils Keras 2 has older ones of the same names.
saving: Any = tf.keras.utils if KERAS_3 else tf.keras.saving
_WITH_TWO_MOMENTS = (_optimizers.Adam, _optimizers.Lamb) if KERAS_3 else (_optimizers.Adam,)


def raw_variable(variable: Any) -> tf.Variable:
    """The tf.Variable (or distributed variable) behind a Keras variable; a tf.Variable is returned as it is."""
    if KERAS_3 and isinstance(variable, tf.keras.Variable):
        return variable.value
    return variable


def leaf_name(variable: Any) -> str:
    """The last part of a variable's name, "kernel" or "gamma", without the ":0" of Keras 2."""
    return variable.name.split("/")[-1].split(":")[0]


def variable_path(variable: Any) -> str:
    """The full name of a variable, "block_group1_block1_norm1/gamma", alike on both stacks for named layers."""
    path = getattr(variable, "path", None) or variable.name
    return path.split(":")[0]


def add_float32_weight(
    layer: tf.keras.layers.Layer,
    *,
    name: str,
    shape: tuple[int, ...],
    initializer: Any,
    trainable: bool = True,
    averaged_over_replicas: bool = False,
) -> Any:
    """Adds a weight that stays float32 under every mixed-precision policy.

    Args:
        layer: the layer that owns the weight.
        name: leaf name.
        shape: static shape.
        initializer: Keras initializer or its identifier.
        trainable: whether the optimizer sees it.
        averaged_over_replicas: an assignment inside a replica is averaged over replicas (moving statistics).

    Returns:
        the Keras variable, read as float32 inside `call` whatever the compute dtype.
    """
    differing: dict[str, Any] = {"autocast": False} if KERAS_3 else {"experimental_autocast": False}
    if averaged_over_replicas:
        differing["aggregation"] = "mean" if KERAS_3 else tf.VariableAggregation.MEAN
        if not KERAS_3:
            differing["synchronization"] = tf.VariableSynchronization.ON_READ
    return layer.add_weight(
        name=name,
        shape=shape,
        initializer=initializer,
        trainable=trainable,
        dtype="float32",
        **differing,
    )


def add_counter(layer: tf.keras.layers.Layer, name: str) -> Any:
    """Adds an int64 weight that starts at 0 and that every replica moves by the same amount."""
    aggregation = "only_first_replica" if KERAS_3 else tf.VariableAggregation.ONLY_FIRST_REPLICA
    return layer.add_weight(
        name=name, shape=(), initializer="zeros", trainable=False, dtype="int64", aggregation=aggregation
    )


def global_policy() -> Any:
    """The dtype policy of layers that name none."""
    mixed = tf.keras.mixed_precision
    return mixed.dtype_policy() if KERAS_3 else mixed.global_policy()


def policy_of(layer: tf.keras.layers.Layer) -> Any:
    """A layer's dtype policy."""
    return layer.dtype_policy


def unscaled_loss() -> dict[str, Any]:
    """Arguments of `Model.compile` that keep Keras from wrapping the optimizer: losses are scaled by `Updater`."""
    return {"auto_scale_loss": False} if KERAS_3 else {}


class SlottedOptimizer(tf.keras.optimizers.Optimizer):
    """A Keras optimizer of ours with one slot a variable, written once for both stacks.

    A subclass implements `update_variable`; the differing hooks of the two base classes end here.

    Args:
        learning_rate: float or LearningRateSchedule.
        name: name of the optimizer.
        slot_name: name of the slot's variables.
    """

    def __init__(self, learning_rate: Any, name: str, slot_name: str):
        if KERAS_3:
            super().__init__(learning_rate=learning_rate, name=name)
        else:
            super().__init__(name=name)
            self._learning_rate = self._build_learning_rate(learning_rate)
        self._slot_name = slot_name
        self.slots: list[Any] = []

    def build(self, variables: Any) -> None:
        """Creates the slots, one a variable, zeros of its shape; a second call does nothing."""
        super().build(variables)
        if self.slots:
            return
        name_argument = "name" if KERAS_3 else "variable_name"
        self.slots = [self.add_variable_from_reference(v, **{name_argument: self._slot_name}) for v in variables]
        self._built = True

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: Any = None) -> None:
        """Keras's hook: one variable's update."""
        index = variable_index(self, variable)
        if not KERAS_3:
            learning_rate = self.learning_rate
        rate = tf.cast(learning_rate, variable.dtype)
        self.update_variable(tf.cast(gradient, variable.dtype), variable, self.slots[index], index, rate)

    def update_variable(
        self, gradient: tf.Tensor, variable: Any, slot: Any, index: int, learning_rate: tf.Tensor
    ) -> None:
        """Updates `variable` and `slot` in place; `index` is the variable's place in the list given to `build`."""
        raise NotImplementedError


def variable_index(optimizer: Any, variable: Any) -> int:
    """The place of a variable in the list that an optimizer was built with."""
    if KERAS_3:
        return optimizer._get_variable_index(variable)
    return optimizer._index_dict[optimizer._var_key(variable)]


def learning_rate_config(optimizer: Any) -> Any:
    """An optimizer's learning rate for its config: a serialised schedule, or a number."""
    rate = optimizer._learning_rate
    if isinstance(rate, _optimizers.schedules.LearningRateSchedule):
        return _optimizers.schedules.serialize(rate)
    return float(rate.numpy())


def learning_rate_schedule(optimizer: Any) -> Any:
    """The schedule that an optimizer was made with, or its first learning rate, a number or a variable."""
    if _is_legacy(optimizer):
        return optimizer._hyper["learning_rate"]
    return optimizer._learning_rate


@contextlib.contextmanager
def graph_without_values() -> Iterator[tf.Graph]:
    """A graph in which networks can be built and called: their variables exist there, and no value of them does.

    Keras 2 gives the classes of layers that are built in such a graph TensorFlow 1's base class, and so breaks all
    layers of the process that were built before. At the end they get their own base class again.
    """
    before = _layer_classes_of_tensorflow_1()
    try:
        with tf.Graph().as_default() as graph:
            yield graph
    finally:
        for layer_class in _layer_classes_of_tensorflow_1() - before:
            layer_class.__new__(layer_class)  # which chooses the base class, eagerly now


def _layer_classes_of_tensorflow_1() -> set[Any]:
    """Classes that derive from TensorFlow 1's layers at this moment; none with Keras 3."""
    if KERAS_3:
        return set()
    from keras.src.engine import base_layer_v1

    found: set[Any] = set()
    waiting: list[Any] = [base_layer_v1.Layer]
    while waiting:
        below = set(waiting.pop().__subclasses__()) - found
        found |= below
        waiting += below
    return found


def register_python_function(token: str, function: Callable[..., Any]) -> None:
    """Makes a Python function known to PyFunc operations of this process under a name of our own.

    TensorFlow gives functions numbers, which mean nothing in another process that is sent the graph. It keeps no
    reference: the caller must.
    """
    from tensorflow.python.ops import script_ops

    script_ops._py_funcs._funcs[token] = function


class CancellableReads:
    """Elements of a dataset's iterator, which one thread waits for and another may give up.

    TensorFlow's own context for cancelling counts for all threads of a process: a training step would be cancelled too.

    Args:
        iterator: of a tf.data.Dataset, made eagerly.
        manager: what `cancellation` returned.
    """

    def __init__(self, iterator: Any, manager: Any):
        self._iterator, self._manager = iterator, manager

    def __next__(self) -> Any:
        from tensorflow.python.data.util import structure
        from tensorflow.python.eager import context, execute

        of = self._iterator
        flat = execute.execute_with_cancellation(
            "IteratorGetNext",
            len(of._flat_output_types),
            [of._iterator_resource],
            (
                "output_types",
                [dtype.as_datatype_enum for dtype in of._flat_output_types],
                "output_shapes",
                [execute.make_shape(shape, "output_shapes") for shape in of._flat_output_shapes],
            ),
            context.context(),
            self._manager,
        )
        return structure.from_compatible_tensor_list(of._element_spec, flat)


def cancellation() -> Any:
    """What ends the reads of `CancellableReads`, those under way and all later ones, by its `start_cancel()`."""
    from tensorflow.python.eager.cancellation import CancellationManager

    return CancellationManager()


def addons() -> Any:
    """TensorFlow Addons, which exist for Keras 2 only.

    Raises:
        InputError: they are not installed.
    """
    try:
        import tensorflow_addons
    except ImportError as error:
        raise InputError(
            f"TensorFlow Addons are needed for this on TensorFlow {tf.__version__}. Received: {error}. Install "
            "requirements-addons.txt"
        ) from error
    return tensorflow_addons


def build_slots(optimizer: Any, variables: list[Any]) -> None:
    """Creates an optimizer's slots: created lazily inside a tf.function they fail on several replicas."""
    if _is_legacy(optimizer):
        optimizer._create_all_weights(variables)
    else:
        optimizer.build(variables)


def _is_legacy(optimizer: Any) -> bool:
    """Whether it has the optimizer interface of before Keras 2.11, as TensorFlow Addons' do."""
    return not KERAS_3 and isinstance(optimizer, tf.keras.optimizers.legacy.Optimizer)


def optimizer_slots(optimizer: Any) -> dict[str, list[Any]]:
    """The optimizer's slots by name, each a list in the order of the variables it was built with."""
    if _is_legacy(optimizer):
        slots = optimizer.weights[1:]  # after the iterations: all first moments, then all second ones
        return {"first_moment": slots[: len(slots) // 2], "second_moment": slots[len(slots) // 2 :]}
    if isinstance(optimizer, SlottedOptimizer):
        return {optimizer._slot_name: optimizer.slots}
    if isinstance(optimizer, tf.keras.optimizers.SGD):
        return {"momentum": list(optimizer.momentums)}
    if isinstance(optimizer, _WITH_TWO_MOMENTS):
        return {"first_moment": list(optimizer._momentums), "second_moment": list(optimizer._velocities)}
    raise TypeError(f"unknown optimizer: {type(optimizer).__name__}")
