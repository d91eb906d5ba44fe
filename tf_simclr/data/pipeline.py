"""From a source to batches: shuffled views for training, every image once for evaluation.

Everything random is a function of (seed, epoch, example, view), so that the batches are the same whatever the
parallelism, on however many processes they are spread, and wherever training is resumed.
"""

from __future__ import annotations

import os

import tensorflow as tf

from tf_simclr.data.memory import held
from tf_simclr.data.source import ImageSource
from tf_simclr.data.stages import Batch, Stages
from tf_simclr.data.stages import evaluation_view as evaluation_view
from tf_simclr.data.views import ViewPolicy
from tf_simclr.errors import InputError, require_range
from tf_simclr.ops.draws import MAX_VIEWS

# Nothing here is Python control flow over tensors, and AutoGraph would look through it all at every start.
_plain = tf.autograph.experimental.do_not_convert
_SHUFFLE_STREAM = 0x5EED
_NO_END = 2**62
# What batches that are worked on at a time may take, whatever the number of cores.
_BYTES_IN_FLIGHT = 2 * 2**30
_READY_BATCHES = 2


def train_batches(
    source: ImageSource,
    *,
    policy: ViewPolicy,
    batch_size: int,
    num_views: int = 2,
    seed: int,
    start_step: int = 0,
    shard: tuple[int, int] = (1, 0),
    dealt: tf.Tensor | None = None,
    cache: bool = False,
    parallelism: int | None = None,
    plain: int = 0,
    eval_crop: float = 1.0,
    host_only: bool = False,
) -> tf.data.Dataset:
    """Endless batches of views. Batches run across the ends of epochs: every step has exactly `batch_size` examples.

    Args:
        source: the images.
        policy: the family of augmentations.
        batch_size: examples in a batch of this process; the global batch is shard[0] times that.
        num_views: views of every example.
        seed: the order of the examples and every augmentation depend on it.
        start_step: number of steps already done: the batches go on exactly where an uninterrupted run would be.
        shard: (number of processes, number of this one): this process takes every shard[0]-th example.
        dealt: int64 [3], perhaps symbolic: (d, N, n) for batches d + n, d + n + N, d + n + 2 N, ... alone, to be made
            on a machine that is not known here, with as much parallelism as suits it; None for all of them.
        cache: hold the images in memory, before augmentation: see `memory.held`.
        parallelism: images, and batches, worked on at a time; None takes as many as there are cores, and of batches
            no more than fit into 2 GiB. It never changes the batches.
        plain: of the first so many examples of a batch, also what evaluation sees.
        eval_crop: of it, as in `evaluation_view`.
        host_only: stop where a device can go on: before the operators, which `views.apply_views` applies.

    Returns:
        a dataset of {"views": num_views tensors float32 [batch, s, s, 3] in [0, 1], "label": int64 [batch],
        "index": int64 [batch], "epoch": int64 [batch]}, with static shapes; with `plain` also "plain": float32
        [plain, s, s, 3]. With `host_only` in place of "views": "crops", uint8 [batch, s, s, 3] for each view or one for
        all where they share it, and "draws", what the operators take; "plain" is uint8, too.

    Raises:
        InputError: the global batch is larger than the data, or a number is out of range.
    """
    require_range("num_views", num_views, at_least=1, at_most=MAX_VIEWS)
    require_range("start_step", start_step, at_least=0)
    require_range("plain", plain, at_least=0, at_most=batch_size)
    _require_shard(shard)
    global_batch = batch_size * shard[0]
    _require_batch(source, global_batch)
    if cache:
        source = held(source)
    stages = Stages(
        source,
        policy,
        seed=seed,
        num_views=num_views,
        batch_size=batch_size,
        plain=plain,
        eval_crop=eval_crop,
        host_only=host_only,
    )
    position = start_step * global_batch
    if dealt is not None:
        # In whole batches, before anything is decoded.
        records = _endless_records(source, seed, position + dealt[0] * global_batch).shard(*shard)
        records = records.batch(batch_size, drop_remainder=True).shard(dealt[1], dealt[2]).unbatch()
        return stages.batches(records, tf.data.AUTOTUNE, tf.data.AUTOTUNE).prefetch(_READY_BATCHES)
    records = _endless_records(source, seed, position).shard(*shard)
    in_flight = parallelism or _batches_in_flight(batch_size * num_views * policy.image_size**2)
    return ready(stages.batches(records, parallelism or _cores(), in_flight))


def ready(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Batches with two of them made ahead, for a process that trains."""
    return batches.prefetch(_READY_BATCHES).with_options(_options())


def eval_batches(
    source: ImageSource,
    *,
    image_size: int,
    batch_size: int,
    eval_crop: float,
    shard: tuple[int, int] = (1, 0),
    cache: bool = False,
    parallelism: int | None = None,
) -> tf.data.Dataset:
    """One pass over a split in its canonical order, every example exactly once (SimCLR, Appendix B.6).

    Every process gets the same number of batches of the same size; what is missing is filled up with black images
    whose mask is 0.

    Args:
        source: the images.
        image_size: side s of the result.
        batch_size: examples in a batch of this process.
        eval_crop: as in `evaluation_view`; see `config.eval_crop_for`.
        shard: (number of processes, number of this one).
        cache: hold the images in memory: see `memory.held`.
        parallelism: images worked on at a time; None takes as many as there are cores.

    Returns:
        a finite dataset of {"image": float32 [batch, s, s, 3] in [0, 1], "label": int64 [batch] (-1 in the filling),
        "mask": float32 [batch]}, with static shapes.

    Raises:
        InputError: a number is out of range.
    """
    require_range("batch_size", batch_size, at_least=1)
    require_range("image_size", image_size, at_least=1)
    require_range("eval_crop", eval_crop, above=0, at_most=1)
    _require_shard(shard)
    if cache:
        source = held(source)

    def prepare(record: Batch) -> Batch:
        image = evaluation_view(source.decode(record["data"]), image_size, eval_crop)
        return {"image": image, "label": record["label"], "mask": tf.ones([])}

    workers, worker = shard
    own = len(range(worker, source.num_examples, workers))
    most = -(-source.num_examples // workers)
    filling = -(-most // batch_size) * batch_size - own
    nothing = {
        "image": tf.zeros([image_size, image_size, 3]),
        "label": tf.constant(-1, tf.int64),
        "mask": tf.zeros([]),
    }
    batches = (
        source.records(None)
        .shard(workers, worker)
        .map(_plain(prepare), num_parallel_calls=parallelism or _cores())
        .concatenate(tf.data.Dataset.from_tensors(nothing).repeat(filling))
        .batch(batch_size, drop_remainder=True)
        .prefetch(_READY_BATCHES)
    )
    return batches.with_options(_options())


def _cores() -> int:
    """Cores that this process may use, which on a shared machine are not all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _batches_in_flight(pixels: int) -> int:
    """How many batches of so many pixels to work on at a time; never one alone, which would leave cores idle."""
    return min(_cores(), max(2, _BYTES_IN_FLIGHT // (pixels * 3 * tf.float32.size)))


def _require_shard(shard: tuple[int, int]) -> None:
    workers, worker = shard
    if not 0 <= worker < workers:
        raise InputError(
            "`shard` must be (number of processes, number of this one), the second below the first. "
            f"Received: shard={shard}"
        )


def _require_batch(source: ImageSource, global_batch: int) -> None:
    require_range("batch_size", global_batch, at_least=1)
    if global_batch > source.num_examples:
        raise InputError(
            f"The batch must not be larger than the data: {source.split!r} of {source.name} has "
            f"{source.num_examples} images. Received: a global batch of {global_batch}. Choose a smaller "
            "--train_batch_size or more images"
        )


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    # An iterator that is given up may wait for the autotuning thread until its next look, which after half a minute of
    # training is tens of seconds away (seen with TensorFlow 2.15 and 2.21): every run would end that much later.
    options.autotune.enabled = False
    # The shards are made here, on examples; a strategy must not cut them up a second time.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options


def _endless_records(source: ImageSource, seed: int, position: int | tf.Tensor) -> tf.data.Dataset:
    """The global stream of records, epoch after epoch, each in an order of its own, from `position` on."""
    first_epoch, skipped = position // source.num_examples, position % source.num_examples

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        key = tf.random.experimental.stateless_fold_in(tf.constant([seed, _SHUFFLE_STREAM], tf.int64), epoch)
        bits = tf.random.stateless_uniform([], key, minval=0, maxval=2**62, dtype=tf.int64, alg="philox")
        return source.records(bits).map(_plain(lambda record: record | {"epoch": epoch}))

    return tf.data.Dataset.range(first_epoch, _NO_END).flat_map(_plain(one_epoch)).skip(skipped)
