"""Histograms of the pixel intensities of random crops: the shortcut that colour distortion closes.

Crops of one image have much the same colours. Without colour distortion a histogram of them is enough to tell which
crops belong together, and a network may learn no more than that.

Source: SimCLR, Section 3.2 and Figure 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tf_simclr.data.pipeline import train_batches
from tf_simclr.data.source import ImageSource
from tf_simclr.data.views import ViewPolicy
from tf_simclr.errors import require_range
from tf_simclr.ops.draws import MAX_VIEWS, MIN_CROP_AREA

_CHANNELS = 3
_SHOWN_IMAGES = 2


@dataclass(frozen=True, eq=False)
class CropHistograms:
    """Densities over the intensities in [0, 1], cut into equal bins.

    Attributes:
        pooled: float64 [images, crops, bins], of all channels together; the mean over the bins is 1.
        channels: float64 [images, crops, 3, bins], of red, green and blue.
        index: int64 [images], the image's index in the source.
    """

    pooled: np.ndarray
    channels: np.ndarray
    index: np.ndarray

    @property
    def centres(self) -> np.ndarray:
        """Float64 [bins], the middle of every bin."""
        bins = self.pooled.shape[-1]
        return (np.arange(bins) + 0.5) / bins


def crop_histograms(
    source: ImageSource,
    *,
    images: int,
    crops: int,
    image_size: int,
    color_jitter_strength: float | None,
    seed: int,
    min_crop_area: float = MIN_CROP_AREA,
    bins: int = 64,
) -> CropHistograms:
    """Histograms of views as pretraining draws them in its first epoch, blur left out.

    Images, crops and flips are the same for every strength: only the colours differ.

    Args:
        source: with labels or without.
        images: chosen at random, at least 1 and at most as many as there are.
        crops: of every image, 1 to 128.
        image_size: side of a crop.
        color_jitter_strength: of colour jitter, before some of the crops turn grey; None or 0 for crop and flip alone.
        seed: images, crops and colours depend on it.
        min_crop_area: of every image: the smallest area of a crop.
        bins: at least 2.

    Returns:
        CropHistograms.

    Raises:
        InputError: a number out of range.
    """
    require_range("images", images, at_least=1, at_most=source.num_examples)
    require_range("crops", crops, at_least=1, at_most=MAX_VIEWS)
    require_range("bins", bins, at_least=2)
    policy = ViewPolicy(
        image_size, color_jitter_strength=color_jitter_strength or 0.0, blur=False, min_crop_area=min_crop_area
    )
    # One image a batch: how many views are in memory does not grow with the number of images.
    batches = train_batches(source, policy=policy, batch_size=1, num_views=crops, seed=seed)
    index: np.ndarray = np.empty(images, np.int64)
    channels = np.empty([images, crops, _CHANNELS, bins])
    for place, batch in enumerate(batches.take(images).as_numpy_iterator()):
        index[place] = batch["index"][0]
        for crop, view in enumerate(batch["views"]):
            for channel in range(_CHANNELS):
                channels[place, crop, channel] = np.histogram(view[..., channel], bins, (0.0, 1.0), density=True)[0]
    return CropHistograms(channels.mean(axis=2), channels, index)  # every channel has as many pixels


def nearest_is_own(histograms: CropHistograms) -> float:
    """Share of crops whose nearest other crop, by the L1 distance of pooled histograms, is of the same image.

    Where several are equally near, it counts the share of them that is of the same image.

    Args:
        histograms: of at least 2 images and 2 crops of each.

    Returns:
        a number in [0, 1]; a choice at random gives (crops - 1) / (images * crops - 1).

    Raises:
        InputError: too few images or crops.
    """
    images, crops, bins = histograms.pooled.shape
    require_range("images", images, at_least=2)
    require_range("crops", crops, at_least=2)
    rows = histograms.pooled.reshape(-1, bins)
    image: np.ndarray = np.repeat(np.arange(images), crops)
    shares = []
    for number, row in enumerate(rows):
        distance = np.abs(rows - row).sum(axis=1)
        distance[number] = np.inf
        nearest = distance == distance.min()
        shares.append((image[nearest] == image[number]).mean())
    return float(np.mean(shares))


def histogram_curves(histograms: CropHistograms) -> dict[str, dict[str, list[float]]]:
    """The pooled histograms of the first images as curves of a `CellResult`: the paper shows crops of two.

    Returns:
        "image 1, crop 1" -> {"x": middles of the bins, "y": densities}.
    """
    x = histograms.centres.tolist()
    return {
        f"image {i}, crop {j}": {"x": x, "y": y.tolist()}
        for i, of_image in enumerate(histograms.pooled[:_SHOWN_IMAGES], start=1)
        for j, y in enumerate(of_image, start=1)
    }
