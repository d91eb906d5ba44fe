"""From records to batches of views: what is done with one image, and what with a batch.

Small images and views are worked on a batch at a time, large ones one by one (`source.is_small`): the work on a small
image is over before TensorFlow has begun the next operation, and a large one falls out of the cache between two.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tf_simclr.data.parts import cut_record
from tf_simclr.data.source import ImageSource, is_small
from tf_simclr.data.views import (
    ViewPolicy,
    apply_views,
    cut_crops,
    draw_before_decoding,
    shared_crops,
    to_levels,
)
from tf_simclr.ops.draws import box_of_shares, example_key
from tf_simclr.ops.image import center_crop, central_box_in, crop_and_resize, resize

Batch = dict[str, Any]
# Nothing here is Python control flow over tensors, and AutoGraph would look through it all at every start.
_plain = tf.autograph.experimental.do_not_convert


def evaluation_view(image: tf.Tensor, image_size: int, eval_crop: float) -> tf.Tensor:
    """What evaluation sees of an image (SimCLR, Appendix B.6).

    Args:
        image: float32 [h, w, 3] in [0, 1].
        image_size: side s of the result.
        eval_crop: share of the shorter side that is kept, a central square, in (0, 1]; 1 resizes the whole image,
            whatever its shape.

    Returns:
        float32 [s, s, 3] in [0, 1].
    """
    shape = (image_size, image_size)
    view = center_crop(image, shape, eval_crop) if eval_crop < 1 else resize(image, shape)
    return tf.ensure_shape(view, [*shape, 3])


class Stages:
    """Makes batches of records.

    Attributes:
        policy: the family of augmentations.
        by_batch: whether a batch is worked on as a whole.
    """

    def __init__(
        self,
        source: ImageSource,
        policy: ViewPolicy,
        *,
        seed: int,
        num_views: int,
        batch_size: int,
        plain: int,
        eval_crop: float,
        host_only: bool,
    ):
        """Stages for one stream of batches; the arguments are those of `train_batches`."""
        self.policy = policy
        side = policy.image_size
        self._small_views = is_small((side, side, 3))
        self.by_batch = is_small(source.image_shape) and self._small_views
        self._source, self._seed, self._num_views, self._batch_size = source, seed, num_views, batch_size
        self._plain_images, self._eval_crop, self._host_only = plain, eval_crop, host_only

    def batches(self, records: tf.data.Dataset, calls: int, in_flight: int) -> tf.data.Dataset:
        """The batches of a stream of records.

        Args:
            records: of the source, each with its "epoch".
            calls: images worked on at a time.
            in_flight: batches worked on at a time.
        """
        if self.by_batch:
            images = records.map(_plain(self._decoded), num_parallel_calls=calls)
            batches = images.batch(self._batch_size, drop_remainder=True)
            return batches.map(_plain(self._views_of_batch), num_parallel_calls=in_flight)
        crops = self._drawn(records).map(_plain(self._views_of_one), num_parallel_calls=calls)
        batches = crops.batch(self._batch_size, drop_remainder=True)
        return batches.map(_plain(self._finished), num_parallel_calls=in_flight)

    # ---- A batch as a whole ----

    def _decoded(self, record: Batch) -> Batch:
        image = tf.ensure_shape(self._source.decode(record["data"]), self._source.image_shape)
        prepared = _identity_of(record) | {"image": image}
        if self._plain_images:
            prepared["plain"] = evaluation_view(image, self.policy.image_size, self._eval_crop)
        return prepared

    def _views_of_batch(self, batch: Batch) -> Batch:
        shape = self._source.image_shape
        assert shape is not None
        shares, drawn = draw_before_decoding(self.policy, self._keys(batch))
        crops = shared_crops(self.policy, batch["image"], {"box": box_of_shares(shares, shape[0], shape[1])})
        return self._finished(batch | {"crops": crops, "draws": drawn})

    # ---- One by one ----

    def _drawn(self, records: tf.data.Dataset) -> tf.data.Dataset:
        """The records with what is drawn before decoding, of a batch at a time: the work is the same for one."""

        def draw(batch: Batch) -> Batch:
            shares, drawn = draw_before_decoding(self.policy, self._keys(batch))
            place = tf.range(self._batch_size)
            return batch | {"shares": shares, "draws": drawn, "plain": place < self._plain_images}

        return records.batch(self._batch_size, drop_remainder=True).map(_plain(draw)).unbatch()

    def _views_of_one(self, record: Batch) -> Batch:
        """Crops of one image, or its views where they are large."""
        shown = _identity_of(record) | {"draws": record["draws"]} | self._cut(record)
        if self._host_only:
            shown["crops"] = tuple(to_levels(crop) for crop in shown["crops"])
        elif not self._small_views:
            shown["views"] = apply_views(
                self.policy, shown.pop("crops"), shown.pop("draws"), self._num_views, one_by_one=True
            )
        return shown

    def _cut(self, record: Batch) -> Batch:
        """ "crops" of one image, and "plain" where evaluation's view of it is wanted."""
        size = (self.policy.image_size,) * 2

        def boxes_of(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
            boxes = box_of_shares(record["shares"], height, width)
            if not self._plain_images:
                return boxes
            seen = central_box_in(height, width, size, self._eval_crop)
            if self._eval_crop == 1:
                seen = tf.stack([0, 0, height, width])
            return tf.concat([boxes, tf.where(record["plain"], seen, boxes[0])[tf.newaxis]], 0)

        def cut(pixels: tf.Tensor, boxes: tf.Tensor) -> Batch:
            found: Batch = {"crops": cut_crops(self.policy, pixels, boxes[: self._num_views])}
            if self._plain_images:
                found["plain"] = tf.cond(
                    record["plain"], lambda: crop_and_resize(pixels, boxes[-1], size), lambda: tf.zeros([*size, 3])
                )
            return found

        return cut_record(self._source.decode, record["data"], boxes_of, cut)

    # ---- Both ----

    def _finished(self, batch: Batch) -> Batch:
        """The views of a batch of crops, or of views."""
        if self._host_only:
            crops = batch["crops"]
            crops = tf.unstack(crops, axis=1) if tf.is_tensor(crops) else crops
            made = {"crops": tuple(_levels(crop) for crop in crops), "draws": batch["draws"]}
        elif "views" in batch:
            made = {"views": batch["views"]}
        else:
            made = {"views": apply_views(self.policy, batch["crops"], batch["draws"], self._num_views)}
        if self._plain_images:
            plain = batch["plain"][: self._plain_images]
            made["plain"] = to_levels(plain) if self._host_only else plain
        return _identity_of(batch) | made

    def _keys(self, record: Batch) -> tf.Tensor:
        """int64 [..., num_views, 2]: the keys of all views of one record or of a batch of them."""
        epoch, index = (record[field][..., tf.newaxis] for field in ("epoch", "index"))
        return example_key(self._seed, epoch, index, tf.range(self._num_views))


def _levels(crop: tf.Tensor) -> tf.Tensor:
    return crop if crop.dtype == tf.uint8 else to_levels(crop)


def _identity_of(record: Batch) -> Batch:
    return {field: record[field] for field in ("index", "label", "epoch")}
