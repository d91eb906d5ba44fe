"""Files as other programs write them, from a seed: every kind of name, and beside the weights what trainers save.

The names are built here layer by layer, by counting as those programs do, and not from the tables that are tested.
Values are drawn so that no two tensors are alike: scales near 1, small means, and variances well above 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}


@dataclass
class Spec:
    """A network of another program."""

    depth: int = 18
    width: int = 64
    sk: float = 0.0
    se: float = 0.0
    cifar: bool = False
    head: int = 3
    dim: int = 16
    classes: int = 5
    selector: int = 0
    seed: int = 0
    shapes_only: bool = False
    values: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def basic(self) -> bool:
        return self.depth in (18, 34)

    @property
    def features(self) -> int:
        return 8 * self.width * (1 if self.basic else 4)


class Drawer:
    """Draws tensors, or only says what shape they would have."""

    def __init__(self, spec: Spec):
        self._generator, self._empty = np.random.default_rng(spec.seed), spec.shapes_only

    def kernel(self, *shape):
        if self._empty:
            return np.broadcast_to(np.float32(0.5), shape)
        return self._generator.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape).astype(np.float32)

    def uniform(self, low, high, size):
        if self._empty:
            return np.broadcast_to(np.float32(low), (size,))
        return self._generator.uniform(low, high, size).astype(np.float32)

    def norm(self, channels, offset=True, gain=1.0):
        values = {"gamma": self.uniform(0.6 * gain, 1.4 * gain, channels)}
        if offset:
            values["beta"] = self.uniform(-0.3, 0.3, channels)
        values["moving_mean"] = self.uniform(-0.3, 0.3, channels)
        values["moving_variance"] = self.uniform(0.5, 2.0, channels)
        return values


# What a block ends with adds to its shortcut: a smaller scale keeps deep networks' activations near 1.
BRANCH_GAIN = 0.3


class Tf1Names:
    """Counts layers as TensorFlow 1 does inside `base_model`."""

    def __init__(self, spec):
        self.spec, self.draw, self.values = spec, Drawer(spec), {}
        self.counts = {"conv2d": 0, "batch_normalization": 0}

    def _next(self, kind):
        number = self.counts[kind]
        self.counts[kind] += 1
        return f"base_model/{kind}" + (f"_{number}" if number else "")

    def conv(self, size, inputs, outputs, bias=False):
        name = self._next("conv2d")
        self.values[f"{name}/kernel"] = self.draw.kernel(size, size, inputs, outputs)
        if bias:
            self.values[f"{name}/bias"] = self.draw.uniform(-0.2, 0.2, outputs)

    def norm(self, channels, gain=1.0):
        name = self._next("batch_normalization")
        self.values |= {f"{name}/{leaf}": value for leaf, value in self.draw.norm(channels, gain=gain).items()}

    def block(self, inputs, filters, first):
        spec = self.spec
        outputs = filters if spec.basic else 4 * filters
        if first:
            self.conv(1, inputs, outputs)
            self.norm(outputs)
        if spec.basic:
            self.conv(3, inputs, filters)
            self.norm(filters)
            self.conv(3, filters, filters)
        else:
            self.conv(1, inputs, filters)
            self.norm(filters)
            if spec.sk:
                self.conv(3, filters, 2 * filters)
                self.norm(2 * filters)
                mixing = max(int(filters * spec.sk), 32)
                self.conv(1, filters, mixing)
                self.norm(mixing)
                self.conv(1, mixing, 2 * filters)
            else:
                self.conv(3, filters, filters)
                self.norm(filters)
            self.conv(1, filters, outputs)
        self.norm(outputs, gain=BRANCH_GAIN)
        if spec.se:
            squeezed = max(1, int(filters * spec.se))
            self.conv(1, outputs, squeezed, bias=True)
            self.conv(1, squeezed, outputs, bias=True)
        return outputs


def tf1_values(spec: Spec) -> dict[str, np.ndarray]:
    """Encoder and heads under the names of the authors' TensorFlow 1 code."""
    names = Tf1Names(spec)
    channels = spec.width
    if spec.sk and not spec.cifar:
        names.conv(3, 3, channels // 2)
        names.norm(channels // 2)
        names.conv(3, channels // 2, channels // 2)
        names.norm(channels // 2)
        names.conv(3, channels // 2, channels)
    else:
        names.conv(3 if spec.cifar else 7, 3, channels)
    names.norm(channels)
    for group, blocks in enumerate(BLOCKS[spec.depth]):
        for block in range(blocks):
            channels = names.block(channels, spec.width * 2**group, block == 0)
    values, draw = names.values, names.draw
    for layer in range(spec.head):
        last = layer == spec.head - 1
        scope, outputs = f"head_contrastive/nl_{layer}", spec.dim if last else spec.features
        values[f"{scope}/dense/kernel"] = draw.kernel(spec.features, outputs)
        norm = draw.norm(outputs, offset=not last)
        values |= {f"{scope}/batch_normalization/{leaf}": value for leaf, value in norm.items()}
    if spec.classes:
        inputs = spec.dim if spec.head and spec.selector in (-1, spec.head) else spec.features
        values["head_supervised/linear_layer/dense/kernel"] = draw.kernel(inputs, spec.classes)
        values["head_supervised/linear_layer/dense/bias"] = draw.uniform(-0.2, 0.2, spec.classes)
    return values


def write_tf1(prefix, spec: Spec, *, ema=False, without=(), extra=None) -> dict[str, np.ndarray]:
    """Writes a TensorFlow 1 checkpoint with Momentum slots and a step; returns its weights.

    With `ema` the averages are other values, and returned under the names they are averages of.
    """
    values = {name: value for name, value in tf1_values(spec).items() if name not in without}
    stored = dict(values)
    stored |= {f"{n}/Momentum": v + 100 for n, v in values.items() if "moving" not in n}
    stored["global_step"] = np.int64(225206)
    averages = {n: v * np.float32(0.9) for n, v in values.items() if not n.startswith("head_supervised")}
    if ema:
        stored |= {f"ema_model/{n}": v for n, v in averages.items()}
    stored |= extra or {}
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(stored),
        shape_and_slices=[""] * len(stored),
        tensors=[tf.constant(value) for value in stored.values()],
    )
    return {**values, **averages} if ema else values


def tf2_paths(spec: Spec) -> dict[str, str]:
    """The path of attributes of every weight in the authors' TensorFlow 2 code -> its name in TensorFlow 1."""
    order = list(tf1_values(Spec(**{**spec.__dict__, "shapes_only": True, "values": {}})))
    convs = iter(dict.fromkeys(n.rpartition("/")[0] for n in order if n.startswith("base_model/conv2d")))
    norms = iter(dict.fromkeys(n.rpartition("/")[0] for n in order if n.startswith("base_model/batch")))
    pairs: list[tuple[str, str]] = []

    def conv(path):
        pairs.append((f"resnet_model/{path}", next(convs)))

    def norm(path):
        pairs.append((f"resnet_model/{path}/bn", next(norms)))

    stem = "initial_conv_relu_max_pool"
    if spec.sk and not spec.cifar:
        for place in (0, 2):
            conv(f"{stem}/{place}/conv2d")
            norm(f"{stem}/{place + 1}")
        conv(f"{stem}/4/conv2d")
        norm(f"{stem}/6")
    else:
        conv(f"{stem}/0/conv2d")
        norm(f"{stem}/2")
    for group, blocks in enumerate(BLOCKS[spec.depth]):
        for block in range(blocks):
            _tf2_block(spec, f"block_groups/{group}/layers/{block}", group, block, conv, norm)
    for layer in range(spec.head):
        scope, ours = f"head_contrastive/nl_{layer}", f"_projection_head/linear_layers/{layer}"
        pairs += [(f"{ours}/dense", f"{scope}/dense"), (f"{ours}/bn_relu/bn", f"{scope}/batch_normalization")]
    if spec.classes:
        pairs.append(("supervised_head/linear_layer/dense", "head_supervised/linear_layer/dense"))
    leaves: dict[str, list[str]] = {}
    for name in order:
        layer, _, leaf = name.rpartition("/")
        leaves.setdefault(layer, []).append(leaf)
    return {f"{path}/{leaf}": f"{name}/{leaf}" for path, name in pairs for leaf in leaves[name]}


def _tf2_block(spec, path, group, block, conv, norm):
    shortcut = "shortcut_layers" if spec.basic else "projection_layers"
    if block == 0:
        place = 0 if not spec.sk else 1 if group == 0 else 2
        conv(f"{path}/{shortcut}/{place}/conv2d")
        norm(f"{path}/{shortcut}/{place + 1}")
    if spec.basic:
        for place in (0, 2):
            conv(f"{path}/conv2d_bn_layers/{place}/conv2d")
            norm(f"{path}/conv2d_bn_layers/{place + 1}")
        se = f"{path}/se_layer"
    else:
        layers = f"{path}/conv_relu_dropblock_layers"
        conv(f"{layers}/0/conv2d")
        norm(f"{layers}/1")
        if spec.sk:
            conv(f"{layers}/3/conv2d_fixed_padding/conv2d")
            norm(f"{layers}/3/batch_norm_relu")
            conv(f"{layers}/3/conv2d_0")
            norm(f"{layers}/3/batch_norm_relu_1")
            conv(f"{layers}/3/conv2d_1")
            conv(f"{layers}/5/conv2d")
            norm(f"{layers}/6")
            se = f"{layers}/8"
        else:
            conv(f"{layers}/3/conv2d")
            norm(f"{layers}/4")
            conv(f"{layers}/6/conv2d")
            norm(f"{layers}/7")
            se = f"{layers}/9"
    if spec.se:
        conv(f"{se}/se_reduce")
        conv(f"{se}/se_expand")


class Tracked(tf.__internal__.tracking.AutoTrackable):
    """An object with attributes, as Keras's layers are to a checkpoint."""


def tf2_model(spec: Spec) -> tuple[Tracked, dict[str, np.ndarray], dict[str, tf.Variable]]:
    """The objects of the authors' TensorFlow 2 model; values and variables by TensorFlow 1's names."""
    values, root, variables = tf1_values(spec), Tracked(), {}
    for path, name in tf2_paths(spec).items():
        node, words = root, path.split("/")
        for word in words[:-1]:
            children = node.__dict__.setdefault("_tests_children", {})
            node = children.setdefault(word, Tracked())
        variable = tf.Variable(values[name], trainable="moving" not in name)
        node.__dict__.setdefault("_tests_children", {})[words[-1]] = variable
        variables[name] = variable
    _attach(root)
    return root, values, variables


def _attach(node) -> None:
    """Children that count from 0 or more become attributes by their number: what a checkpoint sees of a list."""
    for word, child in node.__dict__.pop("_tests_children", {}).items():
        if isinstance(child, Tracked):
            _attach(child)
        node._track_trackable(child, word, overwrite=True)
        if not word.isdigit():
            object.__setattr__(node, word, child)


def write_tf2(prefix, spec: Spec) -> dict[str, np.ndarray]:
    """Writes a TensorFlow 2 checkpoint with an optimizer's slots and a step; returns the weights by TF 1's names."""
    model, values, variables = tf2_model(spec)
    optimizer = Tracked()
    optimizer.momentum = tf.Variable(0.9)
    optimizer.slots = [tf.Variable(v + 100) for v in variables.values()]
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, global_step=tf.Variable(7, dtype=tf.int64))
    checkpoint.write(str(prefix))
    return values


def write_tf2_saved_model(directory, spec: Spec, frozen=0) -> dict[str, np.ndarray]:
    """Writes a SavedModel as the authors' run.py does: the first `frozen` weights are not among the trainable ones."""
    model, values, by_name = tf2_model(spec)
    trainable = [v for n, v in by_name.items() if "moving" not in n][frozen:]
    rest = [v for n, v in by_name.items() if n.startswith("base_model") and all(v is not t for t in trainable)]
    model.resnet_model._track_trackable(_listed(rest), "variables")
    root = Tracked()
    root.trainable_variables_list = trainable
    root.model = model
    root.call = tf.function(lambda x: x + trainable[0][0, 0, 0, 0], input_signature=[tf.TensorSpec([], tf.float32)])
    tf.saved_model.save(root, str(directory))
    return values


def _listed(variables):
    holder = Tracked()
    for number, variable in enumerate(variables):
        holder._track_trackable(variable, str(number))
    return holder


def torchvision_values(spec: Spec) -> dict[str, np.ndarray]:
    """A state dict under torchvision's names: [outputs, inputs, height, width]; no projection in group 1 of 18, 34."""
    draw, values = Drawer(spec), {}

    def conv(name, size, inputs, outputs):
        values[f"{name}.weight"] = np.ascontiguousarray(draw.kernel(size, size, inputs, outputs).transpose(3, 2, 0, 1))

    def norm(name, channels, gain=1.0):
        leaves = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
        drawn = draw.norm(channels, gain=gain)
        values.update({f"{name}.{leaves[leaf]}": value for leaf, value in drawn.items()})
        values[f"{name}.num_batches_tracked"] = np.int64(17)

    conv("conv1", 3 if spec.cifar else 7, 3, spec.width)
    norm("bn1", spec.width)
    channels = spec.width
    for group, blocks in enumerate(BLOCKS[spec.depth]):
        filters = spec.width * 2**group
        outputs = filters if spec.basic else 4 * filters
        for block in range(blocks):
            name = f"layer{group + 1}.{block}"
            sizes = (3, 3) if spec.basic else (1, 3, 1)
            widths = [filters, filters] if spec.basic else [filters, filters, outputs]
            inputs = channels
            for number, (size, width) in enumerate(zip(sizes, widths, strict=True), start=1):
                conv(f"{name}.conv{number}", size, inputs, width)
                norm(f"{name}.bn{number}", width, BRANCH_GAIN if number == len(sizes) else 1.0)
                inputs = width
            if block == 0 and channels != outputs:
                conv(f"{name}.downsample.0", 1, channels, outputs)
                norm(f"{name}.downsample.1", outputs)
            channels = outputs
    if spec.classes:
        values["fc.weight"] = np.ascontiguousarray(draw.kernel(spec.features, spec.classes).T)
        values["fc.bias"] = draw.uniform(-0.2, 0.2, spec.classes)
    return values


MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


class Forward:
    """What the authors' network computes, from the values by TensorFlow 1's names, by plain operators."""

    def __init__(self, values, spec: Spec):
        self.values, self.spec, self.counts = values, spec, {"conv2d": 0, "batch_normalization": 0}

    def _next(self, kind):
        number = self.counts[kind]
        self.counts[kind] += 1
        return f"base_model/{kind}" + (f"_{number}" if number else "")

    def conv(self, x, stride=1):
        name = self._next("conv2d")
        kernel = self.values[f"{name}/kernel"]
        if stride > 1:
            pad = kernel.shape[0] - 1
            x = tf.pad(x, ((0, 0), (pad // 2, pad - pad // 2), (pad // 2, pad - pad // 2), (0, 0)))
        x = tf.nn.conv2d(x, kernel, stride, "SAME" if stride == 1 else "VALID")
        return x + self.values.get(f"{name}/bias", np.float32(0))

    def norm(self, x):
        return normalized(x, self.values, self._next("batch_normalization"))

    def block(self, x, stride, first):
        spec, shortcut = self.spec, x
        if first:
            if spec.sk:
                padded = tf.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0))) if stride > 1 else x
                shortcut = tf.nn.avg_pool2d(padded, 2, stride, "SAME" if stride == 1 else "VALID")
            shortcut = self.norm(self.conv(shortcut, 1 if spec.sk else stride))
        if spec.basic:
            x = tf.nn.relu(self.norm(self.conv(x, stride)))
            x = self.norm(self.conv(x))
        else:
            x = tf.nn.relu(self.norm(self.conv(x)))
            x = tf.nn.relu(self.norm(self.conv(x, stride)))
            if spec.sk:
                branches = tf.stack(tf.split(x, 2, axis=-1))
                pooled = tf.reduce_mean(tf.reduce_sum(branches, 0), (1, 2), keepdims=True)
                mixing = self.conv(tf.nn.relu(self.norm(self.conv(pooled))))
                x = tf.reduce_sum(branches * tf.nn.softmax(tf.stack(tf.split(mixing, 2, axis=-1)), axis=0), 0)
            x = self.norm(self.conv(x))
        if spec.se:
            gates = tf.nn.relu(self.conv(tf.reduce_mean(x, (1, 2), keepdims=True)))
            x = x * tf.sigmoid(self.conv(gates))
        return tf.nn.relu(x + shortcut)

    def __call__(self, images):
        spec, found = self.spec, {}
        if spec.sk and not spec.cifar:
            images = tf.nn.relu(self.norm(self.conv(images, 2)))
            images = tf.nn.relu(self.norm(self.conv(images)))
            x = self.conv(images)
        else:
            x = self.conv(images, 1 if spec.cifar else 2)
        found["initial_conv"] = x
        x = tf.nn.relu(self.norm(x))
        found["initial_max_pool"] = x = x if spec.cifar else tf.nn.max_pool2d(x, 3, 2, "SAME")
        for group, blocks in enumerate(BLOCKS[spec.depth]):
            for block in range(blocks):
                x = self.block(x, 2 if group and not block else 1, block == 0)
            found[f"block_group{group + 1}"] = x
        found["final_avg_pool"] = h = tf.reduce_mean(x, (1, 2))
        layers = [h]
        for layer in range(spec.head):
            scope = f"head_contrastive/nl_{layer}"
            z = layers[-1] @ self.values[f"{scope}/dense/kernel"]
            z = normalized(z, self.values, f"{scope}/batch_normalization")
            layers.append(z if layer == spec.head - 1 else tf.nn.relu(z))
        found["proj_head_output"] = layers[-1]
        if spec.classes:
            scope = "head_supervised/linear_layer/dense"
            found["logits_sup"] = layers[spec.selector] @ self.values[f"{scope}/kernel"] + self.values[f"{scope}/bias"]
        return {name: np.asarray(value) for name, value in found.items()}


def normalized(x, values, name):
    """Batch norm in inference, by the formula."""
    mean, variance = values[f"{name}/moving_mean"], values[f"{name}/moving_variance"]
    y = (x - mean) / np.sqrt(variance + np.float32(1e-5)) * values[f"{name}/gamma"]
    return y + values.get(f"{name}/beta", np.float32(0))


def torchvision_h(values, spec: Spec, images):
    """h of torchvision's network on images in [0, 1], which it wants normalised, and its logits; by plain operators."""

    def conv(x, name, stride=1):
        kernel = values[f"{name}.weight"].transpose(2, 3, 1, 0)
        pad = kernel.shape[0] // 2
        return tf.nn.conv2d(x, kernel, stride, [[0, 0], [pad, pad], [pad, pad], [0, 0]])

    def norm(x, name):
        mean, variance = values[f"{name}.running_mean"], values[f"{name}.running_var"]
        return (x - mean) / np.sqrt(variance + np.float32(1e-5)) * values[f"{name}.weight"] + values[f"{name}.bias"]

    x = tf.nn.relu(norm(conv((images - MEAN) / STD, "conv1", 1 if spec.cifar else 2), "bn1"))
    if not spec.cifar:
        x = tf.nn.max_pool2d(tf.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-1.0), 3, 2, "VALID")
    for group, blocks in enumerate(BLOCKS[spec.depth]):
        for block in range(blocks):
            name, stride = f"layer{group + 1}.{block}", 2 if group and not block else 1
            shortcut = x
            if f"{name}.downsample.0.weight" in values:
                shortcut = norm(conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
            strides = (stride, 1) if spec.basic else (1, stride, 1)
            for number, step in enumerate(strides, start=1):
                x = norm(conv(x, f"{name}.conv{number}", step), f"{name}.bn{number}")
                x = tf.nn.relu(x if number < len(strides) else x + shortcut)
    h = np.asarray(tf.reduce_mean(x, (1, 2)))
    return h, h @ values["fc.weight"].T + values["fc.bias"] if "fc.weight" in values else None
