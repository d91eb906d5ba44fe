"""The vectorised generator against published test vectors and against TensorFlow's own kernel."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_simclr.ops.philox import philox, philox_uniforms

# Known answers of the Random123 library for philox4x32 with 10 rounds: counter, key, output.
KNOWN_ANSWERS = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_known_answers(counter, key, expected):
    words = philox([tf.constant(c, tf.uint64) for c in counter], [tf.constant(k, tf.uint64) for k in key])
    assert [int(word) for word in words] == expected


@pytest.mark.parametrize("n", [1, 4, 14])
def test_equals_stateless_uniform_bit_for_bit(n):
    keys = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, size=(4, 3, 2))
    ours = philox_uniforms(tf.constant(keys), n).numpy()
    theirs = [tf.random.stateless_uniform([n], key, alg="philox") for key in keys.reshape(-1, 2)]
    np.testing.assert_array_equal(ours.reshape(-1, n), np.stack(theirs))


def test_int32_keys_are_taken_by_value():
    keys = tf.constant([[-5, 7], [1, -1]], tf.int32)
    theirs = tf.stack([tf.random.stateless_uniform([3], key, alg="philox") for key in keys])
    np.testing.assert_array_equal(philox_uniforms(keys, 3), theirs)


def test_same_numbers_under_xla():
    keys = tf.constant([[1, 2], [3, 4]], tf.int64)
    compiled = tf.function(lambda k: philox_uniforms(k, 14), jit_compile=True)
    np.testing.assert_array_equal(compiled(keys), philox_uniforms(keys, 14))


def test_static_shape_is_known():
    assert philox_uniforms(tf.zeros([3, 5, 2], tf.int64), 7).shape == [3, 5, 7]
