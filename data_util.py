"""Preprocessing and augmentation of images, under the names of the authors' code."""

from tf_simclr.data.preprocess import (
    batch_random_blur,
    center_crop,
    color_jitter,
    crop_and_resize,
    gaussian_blur,
    preprocess_for_eval,
    preprocess_for_train,
    preprocess_image,
    random_apply,
    random_blur,
    random_brightness,
    random_color_jitter,
    random_crop_with_resize,
    to_grayscale,
)

__all__ = [
    "batch_random_blur",
    "center_crop",
    "color_jitter",
    "crop_and_resize",
    "gaussian_blur",
    "preprocess_for_eval",
    "preprocess_for_train",
    "preprocess_image",
    "random_apply",
    "random_blur",
    "random_brightness",
    "random_color_jitter",
    "random_crop_with_resize",
    "to_grayscale",
]
