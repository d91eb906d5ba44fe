"""The ten outlines of the built-in images, as signed distances.

Coordinates (u, v) are such that a shape fills the unit disc around its centre. A distance is negative inside and, near
the outline, so close to the true one that it serves for anti-aliasing. No rotation makes two shapes alike.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray


def _box(u: Array, v: Array, half_width: float, half_height: float) -> Array:
    return np.maximum(np.abs(u) - half_width, np.abs(v) - half_height)


def _disc(u: Array, v: Array, radius: float = 1.0) -> Array:
    return np.sqrt(u * u + v * v) - radius


def _ring(u: Array, v: Array) -> Array:
    return np.abs(_disc(u, v, 0.76)) - 0.24


def _crescent(u: Array, v: Array) -> Array:
    return np.maximum(_disc(u, v), -_disc(u - 0.5, v, 0.8))


def _polygon(u: Array, v: Array, corners: int) -> Array:
    """A regular polygon: fold the plane onto the sector of one edge, whose distance is a straight line's."""
    sector = 2 * np.pi / corners
    angle = np.mod(np.arctan2(v, u) + sector / 2, sector) - sector / 2
    return np.sqrt(u * u + v * v) * np.cos(angle) - np.cos(sector / 2)


def _triangle(u: Array, v: Array) -> Array:
    return _polygon(u, v, 3)


def _square(u: Array, v: Array) -> Array:
    return _polygon(u, v, 4)


def _star(u: Array, v: Array) -> Array:
    """Five points: within half a sector the outline is the line from the tip (radius 1) to the notch (0.42)."""
    half = np.pi / 5
    angle = np.abs(np.mod(np.arctan2(v, u) + half, 2 * half) - half)
    radius = np.sqrt(u * u + v * v)
    notch_x, notch_y = 0.42 * np.cos(half), 0.42 * np.sin(half)
    normal_x, normal_y = notch_y, 1.0 - notch_x
    length = np.hypot(normal_x, normal_y)
    along = (radius * np.cos(angle) - 1.0) * normal_x + radius * np.sin(angle) * normal_y
    return along / length


def _cross(u: Array, v: Array) -> Array:
    return np.minimum(_box(u, v, 0.95, 0.3), _box(u, v, 0.3, 0.95))


def _heart(u: Array, v: Array) -> Array:
    """A square standing on its corner with a disc on each of its two upper edges."""
    v = v - 0.08
    square = (np.abs(u) + np.abs(v)) / np.sqrt(2.0) - 0.62 / np.sqrt(2.0) * 1.2
    edge = 0.62 * 1.2 / 2
    lobes = _disc(np.abs(u) - edge, v + edge, edge * np.sqrt(2.0))
    return np.minimum(square, lobes)


def _bars(u: Array, v: Array) -> Array:
    return _box(u, np.abs(np.abs(v) - 0.33) - 0.33, 0.78, 0.16)


def _arrow(u: Array, v: Array) -> Array:
    shaft = _box(u + 0.4, v, 0.6, 0.2)
    head = np.maximum(-u - 0.02, (u + np.abs(v) * 1.25 - 1.0) / 1.6)
    return np.minimum(shaft, head)


SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    "disc": _disc,
    "ring": _ring,
    "crescent": _crescent,
    "triangle": _triangle,
    "square": _square,
    "star": _star,
    "cross": _cross,
    "heart": _heart,
    "bars": _bars,
    "arrow": _arrow,
}
