"""Images a second that the host makes views of, beside a plain implementation of the same operators.

    python -m benchmarks.pipeline
    python -m benchmarks.pipeline --cases memory,host --repeats 9 --json pipeline.json

Photographs are those that come with scikit-learn, cut and resized to 500 x 375 pixels and stored as JPEG; small images
are random. Both sides run in one process, in turn, on all cores of the process. The table has medians, and in brackets
the least and the most. Plain is `benchmarks/plain/views.py` in a `tf.data` pipeline that tunes itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from PIL import Image

from benchmarks.alternate import Comparison, Rate, compare, rate, table
from benchmarks.plain.views import PlainViews, random_crop
from tf_simclr.data.datasets import load_sources
from tf_simclr.data.pipeline import train_batches
from tf_simclr.data.source import ImageSource, records_from_table
from tf_simclr.data.views import ViewPolicy
from tf_simclr.files import to_json, write_whole

PHOTO_SIDES = (375, 500)
STRENGTH = 0.5
QUALITY = 92


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all cases share.

    Attributes:
        folder: of the photographs, in one class each.
        batch: images of a batch.
        seconds: that one measurement takes at least.
        repeats: measurements of each side.
        small: images of 32 pixels.
    """

    folder: str
    batch: int
    seconds: float
    repeats: int
    small: int


def main() -> None:
    """Prints the table, and writes the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one measurement")
    parser.add_argument("--images", type=int, default=256, help="photographs")
    parser.add_argument("--small", type=int, default=10_000, help="images of 32 pixels")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--json", help="file for the numbers")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        write_photographs(folder, options.images)
        setting = Setting(folder, options.batch, options.seconds, options.repeats, options.small)
        for name in options.cases.split(","):
            results.append(CASES[name](setting))
            print(table(results[-1:]).splitlines()[-1], flush=True)
    print(table(results))
    if options.json:
        facts = {"cores": len(os.sched_getaffinity(0)), "tensorflow": tf.__version__, "load": os.getloadavg()[0]}
        values = {"setting": facts, "results": [dataclasses.asdict(result) for result in results]}
        write_whole(options.json, to_json(values, indent=2).encode())


# ---- Data ----


def write_photographs(folder: str, count: int) -> None:
    """Parts of two photographs, JPEG with the colour at half the resolution, as cameras write it."""
    from sklearn.datasets import load_sample_images

    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    generator = np.random.default_rng(0)
    height, width = PHOTO_SIDES
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        left, top = generator.integers(0, 60, 2).tolist()
        part = photograph.crop((left, top, photograph.width - 60 + left, photograph.height - 60 + top))
        path = os.path.join(folder, "train", f"class{number % 2}", f"{number:04}.jpg")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        part.resize((width, height), Image.Resampling.BICUBIC).save(path, "JPEG", quality=QUALITY)


def photographs_of(setting: Setting) -> ImageSource:
    """The folder as a source."""
    return load_sources("folder", data_dir=setting.folder, eval_split=None)[0]


def encoded(setting: Setting) -> tuple[ImageSource, tf.data.Dataset]:
    """The photographs' files in memory, for the library and for the plain pipeline."""
    source = photographs_of(setting)
    assert source.load is not None
    inside = source.load()
    contents = tf.stack([record["data"][0] for record in inside.records(None)])
    return inside, tf.data.Dataset.from_tensor_slices(contents)


def small_images(setting: Setting) -> tuple[ImageSource, tf.data.Dataset]:
    """Random images of 32 pixels in memory, likewise."""
    pixels = np.random.default_rng(0).integers(0, 256, (setting.small, 32, 32, 3), np.uint8)
    index = tf.range(setting.small, dtype=tf.int64)
    source = ImageSource(
        name="random",
        split="train",
        num_examples=setting.small,
        num_classes=0,
        class_names=(),
        image_shape=(32, 32, 3),
        records=records_from_table(index, tf.fill([setting.small], tf.constant(-1, tf.int64)), tf.constant(pixels)),
        decode=lambda one: tf.cast(one, tf.float32) / 255.0,
    )
    return source, tf.data.Dataset.from_tensor_slices(pixels)


# ---- Pipelines ----


def plain_batches(images: tf.data.Dataset, views: Callable[[tf.Tensor], object], setting: Setting) -> tf.data.Dataset:
    """Endless batches as the plain pipeline makes them."""
    shuffled = images.shuffle(setting.small, seed=0).repeat()
    mapped = shuffled.map(views, num_parallel_calls=tf.data.AUTOTUNE)
    return mapped.batch(setting.batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def decoded(content: tf.Tensor) -> tf.Tensor:
    """A JPEG as the plain pipeline decodes it."""
    return tf.io.decode_jpeg(content, channels=3)


def measured(batches: tf.data.Dataset, setting: Setting) -> Callable[[], Rate]:
    """Times a new iterator each time, once its buffers have filled."""

    def once() -> Rate:
        iterator = iter(batches)
        for _ in range(6):
            next(iterator)
        done = 0

        def work() -> int:
            nonlocal done
            end = tf.timestamp() + setting.seconds
            while tf.timestamp() < end:
                next(iterator)
                done += setting.batch
            return done

        return rate(work)

    return once


def compared(work: str, ours: tf.data.Dataset, plain: tf.data.Dataset, setting: Setting) -> Comparison:
    """Both pipelines, in turn."""
    return compare(work, measured(ours, setting), measured(plain, setting), setting.repeats)


# ---- Cases ----


def from_memory(setting: Setting, blur: bool = False) -> Comparison:
    """JPEG in memory."""
    source, contents = encoded(setting)
    policy = ViewPolicy(224, STRENGTH, blur=blur)
    plain = PlainViews(224, STRENGTH, blur)
    return compared(
        "JPEG of 500 x 375 in memory -> two views of 224 px, colour 0.5" + ", blur" * blur,
        train_batches(source, policy=policy, batch_size=setting.batch, seed=0),
        plain_batches(contents, lambda content: plain(decoded(content)), setting),
        setting,
    )


def from_folder(setting: Setting) -> Comparison:
    """A folder that is read once."""
    source = photographs_of(setting)
    paths = tf.data.Dataset.list_files(os.path.join(setting.folder, "*", "*", "*.jpg"), shuffle=False)
    plain = PlainViews(224, STRENGTH)
    return compared(
        "the same from a folder, --cache_dataset",
        train_batches(
            source, policy=ViewPolicy(224, STRENGTH, blur=False), batch_size=setting.batch, seed=0, cache=True
        ),
        plain_batches(paths.map(tf.io.read_file).cache(), lambda content: plain(decoded(content)), setting),
        setting,
    )


def host_part(setting: Setting) -> Comparison:
    """What the host does where the device augments, against the whole of the plain one."""
    source, contents = encoded(setting)
    plain = PlainViews(224, STRENGTH)
    return compared(
        "host part alone: decode, crop, uint8 (plain: everything on the host)",
        train_batches(
            source, policy=ViewPolicy(224, STRENGTH, blur=False), batch_size=setting.batch, seed=0, host_only=True
        ),
        plain_batches(contents, lambda content: plain(decoded(content)), setting),
        setting,
    )


def host_part_each(setting: Setting) -> Comparison:
    """The same part of both."""
    source, contents = encoded(setting)

    def crops(content: tf.Tensor) -> list[tf.Tensor]:
        image = tf.image.convert_image_dtype(decoded(content), tf.float32)
        return [random_crop(image, 224) for _ in range(2)]

    return compared(
        "host part alone (plain: decode, crop, float32)",
        train_batches(
            source, policy=ViewPolicy(224, STRENGTH, blur=False), batch_size=setting.batch, seed=0, host_only=True
        ),
        plain_batches(contents, crops, setting),
        setting,
    )


def small(setting: Setting) -> Comparison:
    """Images of 32 pixels."""
    source, pixels = small_images(setting)
    larger = dataclasses.replace(setting, batch=512)
    return compared(
        f"{setting.small:,} images of 32 px in memory -> two views, colour 0.5",
        train_batches(source, policy=ViewPolicy(32, STRENGTH, blur=False), batch_size=512, seed=0),
        plain_batches(pixels, PlainViews(32, STRENGTH), larger),
        larger,
    )


CASES: dict[str, Callable[[Setting], Comparison]] = {
    "memory": from_memory,
    "folder": from_folder,
    "blur": lambda setting: from_memory(setting, blur=True),
    "host": host_part,
    "host_each": host_part_each,
    "small": small,
}

if __name__ == "__main__":
    main()
