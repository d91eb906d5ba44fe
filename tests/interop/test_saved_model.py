"""Every way out of an export, with the real readers: TensorFlow, TensorFlow Hub, Keras, serving by bytes."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from tf_simclr import compat
from tf_simclr.data.decoding import decode_image
from tf_simclr.data.pipeline import evaluation_view
from tf_simclr.interop.card import ModelCard
from tf_simclr.interop.saved_model import export_saved_model, export_step
from tf_simclr.interop.stock_encoder import write_stock_encoder
from tf_simclr.nn.model import build_model
from tf_simclr.nn.resnet import freeze_through
from tf_simclr.ops import image as image_ops
from tf_simclr.train import checkpoints

IMAGE_SIZE = 40


def encode(image, format_name, **options):
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()


CLASSES = ("circle", "square", "star")


def tiny_model(**options):
    tf.keras.utils.set_random_seed(0)
    sizes = {"depth": 10, "width_multiplier": 0.0625, "stem": "cifar", "proj_out_dim": 8, "num_proj_layers": 2}
    model = build_model(num_classes=3, **(sizes | options))
    # Moved off their initial values: a residual branch starts at zero, and ones and zeros hide what is mixed up.
    generator = tf.random.Generator.from_seed(1)
    for variable in model.named_variables().values():
        raw = compat.raw_variable(variable)
        raw.assign(raw + generator.uniform(raw.shape, 0.0, 0.1))
    return model


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def export(model, tmp_path_factory):
    """The export of step 7 in a run's directory, which had a step 6 and half of a step 7."""
    run = tmp_path_factory.mktemp("export")
    for stale in ("6", "7.partial"):
        directory = run / "saved_model" / stale
        directory.mkdir(parents=True)
        (directory / "saved_model.pb").write_bytes(b"half")
    freeze_through(model.encoder, 2)  # what a run froze must not bind whoever reads it
    card = ModelCard(IMAGE_SIZE, step=7, dataset="toys", class_names=CLASSES)
    path = export_step(model, str(run), card, keep_max=1)
    assert model.encoder.get_layer("stem_conv").trainable is False
    return path


@pytest.fixture(scope="module")
def images():
    return tf.random.stateless_uniform([4, 16, 16, 3], [0, 1])


def assert_same(got, want):
    """Each endpoint to 1e-5 of its own largest value: sums of large feature maps round in another order."""
    assert set(got) == set(want)
    for name in want:
        limit = 1e-5 * max(np.abs(want[name]).max(), 1.0)
        np.testing.assert_allclose(got[name], want[name], rtol=0, atol=limit, err_msg=name)


def test_hub_load_returns_every_endpoint(export, model, images):
    loaded = hub.load(export)
    assert_same(loaded(images, trainable=False), model.endpoints(images, training=False))
    assert_same(loaded(images), model.endpoints(images, training=False))
    assert_same(loaded.signatures["serving_default"](inputs=images), model.endpoints(images, training=False))


def test_the_reusable_interface_lists_every_variable_once(export, model):
    loaded = hub.load(export)
    named = model.named_variables()
    assert len(loaded.variables) == len({id(v) for v in loaded.variables}) == len(named)
    moving = [path for path in named if "moving" in path]
    assert len(loaded.trainable_variables) == len(named) - len(moving)
    assert list(loaded.regularization_losses) == []
    assert set(loaded.named_variables) == set(named)
    for path, variable in named.items():
        np.testing.assert_array_equal(loaded.named_variables[path], compat.raw_variable(variable), err_msg=path)


@pytest.mark.parametrize("crop", [1.0, 0.6])
def test_serving_bytes_sees_as_much_of_an_image_as_its_run(model, tmp_path, crop):
    path = str(tmp_path / "export")
    export_saved_model(model, path, ModelCard(IMAGE_SIZE, eval_crop=crop))
    card = json.loads(Path(path, "simclr.json").read_text())
    assert (card["eval_crop"], card["central_crop"]) == (crop, crop < 1)
    pixels = np.random.default_rng(1).integers(0, 256, [50, 70, 3], dtype=np.uint8)
    served = hub.load(path).signatures["serving_bytes"](encoded=tf.constant([tf.io.encode_png(pixels).numpy()]))
    image, size = tf.constant(pixels / np.float32(255)), (IMAGE_SIZE, IMAGE_SIZE)
    view = image_ops.resize(image, size) if crop == 1 else image_ops.center_crop(image, size, crop)
    assert_same(served, model.endpoints(view[tf.newaxis], training=False))


def test_serving_bytes_decodes_and_crops_as_evaluation_does(export, model):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, shape, np.uint8) for shape in ((50, 70, 3), (41, 40, 3), (90, 33, 1), (40, 40, 4))]
    encoded = [tf.io.encode_png(p).numpy() for p in images] + [tf.io.encode_jpeg(images[0]).numpy()]
    served = hub.load(export).signatures["serving_bytes"](encoded=tf.constant(encoded))
    views = tf.stack([evaluation_view(decode_image(content), IMAGE_SIZE, 0.875) for content in encoded])
    assert_same(served, model.endpoints(views, training=False))


def test_serving_bytes_applies_orientation_and_transparency(export, model):
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8)).resize((70, 50))
    tags = Image.Exif()
    tags[274] = 6
    encoded = [encode(smooth, "JPEG", quality=100, exif=tags), encode(smooth.quantize(9), "PNG", transparency=0)]
    served = hub.load(export).signatures["serving_bytes"](encoded=tf.constant(encoded))
    views = tf.stack([evaluation_view(decode_image(content), IMAGE_SIZE, 0.875) for content in encoded])
    assert_same(served, model.endpoints(views, training=False))
    upright = decode_image(encode(smooth.transpose(Image.Transpose.ROTATE_270), "JPEG", quality=100))
    np.testing.assert_allclose(decode_image(encoded[0]), upright, atol=0.1)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("animated webp", "webp"),
        ("transparent gif", "transparency of a gif"),
        ("bomb", "65000 x 65000"),
        ("text", "format"),
    ],
)
def test_serving_bytes_refuses_what_must_not_reach_the_decoder(export, kind, message):
    frames = [Image.fromarray(np.random.default_rng(n).integers(0, 256, (48, 64, 3), np.uint8)) for n in range(3)]
    size = (65000).to_bytes(2, "little") * 2
    content = {
        "animated webp": encode(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "transparent gif": encode(frames[0].quantize(5), "GIF", transparency=0),
        "bomb": b"GIF89a" + size + bytes(3) + b"\x2c" + bytes(4) + size + bytes(20),
        "text": b"once upon a time",
    }[kind]
    serve = hub.load(export).signatures["serving_bytes"]
    good = encode(frames[0], "PNG")
    for _ in range(3):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            serve(encoded=tf.constant([good, content]))
    assert np.isfinite(serve(encoded=tf.constant([good]))["final_avg_pool"]).all()


def trained_by_one_step(layer, images, **training):
    """Gradients of a loss of h, and how many of the layer's other variables its forward pass moved."""
    moving = [v for v in layer.variables if all(v is not t for t in layer.trainable_variables)]
    before = [v.numpy() for v in moving]
    with tf.GradientTape() as tape:
        outputs = layer(images, **training)
        h = outputs["final_avg_pool"] if isinstance(outputs, dict) else outputs
        loss = tf.reduce_sum(tf.square(h))
    gradients = tape.gradient(loss, layer.trainable_variables)
    moved = sum(bool(np.any(v.numpy() != old)) for v, old in zip(moving, before, strict=True))
    return gradients, moved, len(moving)


def test_a_hub_keras_layer_fine_tunes_every_weight(export, model, images):
    layer = hub.KerasLayer(f"{export}/feature_vector", trainable=True)
    want = model.endpoints(images, training=False)["final_avg_pool"]
    np.testing.assert_allclose(layer(images), want, rtol=1e-5, atol=1e-5)
    assert layer(images).shape == (4, 32)
    gradients, moved, statistics = trained_by_one_step(layer, images, training=True)
    assert len(gradients) == len(encoder_weights(model))
    assert all(g is not None and np.abs(g).max() > 0 for g in gradients)
    assert moved == statistics == len([p for p in model.named_variables() if re.match("encoder/.*/moving", p)])
    before = layer(images)
    for variable, gradient in zip(layer.trainable_variables, gradients, strict=True):
        variable.assign_sub(0.01 * gradient)
    assert np.abs(layer(images) - before).max() > 1e-3


def test_a_hub_keras_layer_that_is_frozen_stays(export, images):
    layer = hub.KerasLayer(f"{export}/feature_vector", trainable=False)
    assert layer.trainable_variables == []
    _, moved, _ = trained_by_one_step(layer, images, training=False)
    assert moved == 0


def test_the_feature_vector_holds_the_encoder_alone(export, model):
    loaded = hub.load(f"{export}/feature_vector")
    assert set(loaded.named_variables) == {p for p in model.named_variables() if p.startswith("encoder/")}


def test_a_keras_layer_of_the_endpoints_trains_too(export, model, images):
    layer = hub.KerasLayer(export, trainable=True, arguments={"trainable": True})
    gradients, moved, _ = trained_by_one_step(layer, images)
    assert sum(g is not None and np.abs(g).max() > 0 for g in gradients) == len(encoder_weights(model))
    assert moved >= len([p for p in model.named_variables() if re.match("encoder/.*/moving", p)]) > 0


def test_the_keras_file_gives_the_same_endpoints(export, model, images):
    encoder = tf.keras.models.load_model(f"{export}/encoder.keras")
    assert_same(encoder(images, training=False), model.encoder(images, training=False))
    assert not own_layers(encoder)
    named = model.named_variables()
    assert len(encoder.variables) == len([p for p in named if p.startswith("encoder/")])
    assert len(encoder.trainable_variables) == len(encoder_weights(model))


NORMALIZED = {"input_mean": (0.485, 0.456, 0.406), "input_std": (0.229, 0.224, 0.225)}


@pytest.mark.parametrize(
    "options",
    [
        {"se_ratio": 0.25},
        {"depth": 50, "sk_ratio": 0.0625},
        {"stem": "imagenet", "pool_padding": "symmetric", "identity_shortcut": True, **NORMALIZED},
    ],
)
def test_every_kind_of_encoder_becomes_a_keras_file(options, images, tmp_path):
    model = tiny_model(**options)
    write_stock_encoder(model.encoder, str(tmp_path))
    encoder = tf.keras.models.load_model(str(tmp_path / "encoder.keras"))
    assert_same(encoder(images, training=False), model.encoder(images, training=False))
    assert own_layers(encoder) == set()


def own_layers(encoder):
    return {type(layer).__name__ for layer in encoder.layers if type(layer).__module__.startswith("tf_simclr")}


def encoder_weights(model):
    return [p for p in model.named_variables() if p.startswith("encoder/") and "moving" not in p]


@pytest.mark.skipif(not compat.KERAS_3, reason="TFSMLayer came with Keras 3")
def test_tfsm_layer_reads_it(export, model, images):
    layer = tf.keras.layers.TFSMLayer(export, call_endpoint="serving_default")
    assert_same(layer(images), model.endpoints(images, training=False))


def test_a_mixed_precision_model_exports_float32_endpoints(tmp_path, images):
    model = tiny_model(dtype="mixed_bfloat16")
    export_saved_model(model, str(tmp_path / "1"), ModelCard(IMAGE_SIZE))
    loaded = hub.load(str(tmp_path / "1"))
    assert {v.dtype for v in loaded(images).values()} == {tf.float32}
    encoder = tf.keras.models.load_model(str(tmp_path / "1" / "encoder.keras"))
    h = encoder(images, training=False)["final_avg_pool"]
    assert {layer.compute_dtype for layer in encoder.layers} == {"float32"}
    np.testing.assert_allclose(h, loaded(images)["final_avg_pool"], rtol=0.1, atol=0.05)


def test_the_card_says_what_the_tensors_do_not(export):
    card = json.loads(Path(export, "simclr.json").read_text())
    assert card["image_size"] == IMAGE_SIZE and card["value_range"] == [0, 1] and card["central_crop"] is True
    assert card["eval_crop"] == 0.875
    assert card["class_names"] == list(CLASSES) and card["num_classes"] == 3 and card["dataset"] == "toys"
    assert card["feature_dim"] == 32 and card["step"] == 7 and card["written_by"]["tensorflow"] == tf.__version__


def test_a_saved_model_is_read_like_a_checkpoint(export, model):
    prefix = checkpoints.resolve(export)
    named = model.named_variables()
    assert checkpoints.shapes_in(prefix) == {path: tuple(v.shape) for path, v in named.items()}
    values = checkpoints.read_values(prefix, named)
    for path, variable in named.items():
        np.testing.assert_array_equal(values[path], compat.raw_variable(variable), err_msg=path)


def test_nothing_random_is_exported(export):
    """Blur and other augmentations belong to the data, not to the networks."""
    for directory in (export, f"{export}/feature_vector"):
        graph = saved_model_pb2.SavedModel.FromString(Path(directory, "saved_model.pb").read_bytes()).meta_graphs[0]
        operations = {node.op for function in graph.graph_def.library.function for node in function.node_def}
        assert "Conv2D" in operations
        assert not {name for name in operations if "Random" in name}


def test_only_the_newest_are_kept_and_no_half_written_one_stays(export):
    assert [p.name for p in Path(export).parent.iterdir()] == ["7"] and export.endswith("7")
    assert Path(export, "saved_model.pb").stat().st_size > 1000
