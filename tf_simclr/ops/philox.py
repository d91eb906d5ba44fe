"""The Philox 4x32-10 generator for a whole batch of keys at once.

`tf.random.stateless_uniform` takes one key a call, and a call costs far more than the handful of numbers that one view
needs. These few integer operations give, for every key of a batch, the very values of that function with
`alg="philox"`; integers also make them the same with and without XLA and on both supported stacks.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

Words = list[tf.Tensor]  # 32-bit words, each held in an uint64 so that a product keeps its high half

_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_SEED_SCRAMBLE = (0x3EC8F720, 0x02461E29)  # the constant key with which TensorFlow mixes a seed
_LOW_WORD = 0xFFFFFFFF
_MANTISSA_BITS = 23
_KEYS = tf.TensorSpec([None, 2], tf.int64)


def _u64(value: int) -> tf.Tensor:
    return tf.constant(value, tf.uint64)


def _low(x: tf.Tensor) -> tf.Tensor:
    return tf.bitwise.bitwise_and(x, _u64(_LOW_WORD))


def _high(x: tf.Tensor) -> tf.Tensor:
    return tf.bitwise.right_shift(x, _u64(32))


def _xor3(a: tf.Tensor, b: tf.Tensor, c: tf.Tensor) -> tf.Tensor:
    return tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(a, b), c)


def philox(counter: Words, key: Words) -> Words:
    """Four random 32-bit words for every counter and key.

    Args:
        counter: four uint64 tensors below 2^32, broadcastable with one another and with `key`.
        key: two such tensors.

    Returns:
        four uint64 tensors below 2^32.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0 = c0 * _u64(_MULTIPLIERS[0])
        product1 = c2 * _u64(_MULTIPLIERS[1])
        c0, c2 = _xor3(_high(product1), c1, k0), _xor3(_high(product0), c3, k1)
        c1, c3 = _low(product1), _low(product0)
        k0, k1 = _low(k0 + _u64(_KEY_STEPS[0])), _low(k1 + _u64(_KEY_STEPS[1]))
    return [c0, c1, c2, c3]


def philox_uniforms(keys: tf.Tensor, n: int) -> tf.Tensor:
    """`tf.random.stateless_uniform([n], key, alg="philox")` for every key of a batch, bit for bit.

    Args:
        keys: int64 [..., 2] stateless seeds.
        n: how many numbers a key gives.

    Returns:
        float32 [..., n] in [0, 1).
    """
    keys = tf.cast(keys, tf.int64)
    values = tf.reshape(_generator(n)(tf.reshape(keys, [-1, 2])), tf.concat([tf.shape(keys)[:-1], [n]], 0))
    values.set_shape([*keys.shape[:-1], n])
    return values


@functools.cache
def _generator(n: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """n numbers for every key of [b, 2], traced once in a process: hundreds of operations, in every graph of views."""
    return tf.function(lambda keys: _uniforms(keys, n), input_signature=[_KEYS], autograph=False)


def _uniforms(keys: tf.Tensor, n: int) -> tf.Tensor:
    seeds = tf.bitcast(keys, tf.uint64)  # [b, 2]
    seed0, seed1 = seeds[:, :1], seeds[:, 1:]  # [b, 1]
    mixed = philox([_low(seed0), _high(seed0), _low(seed1), _high(seed1)], [_u64(x) for x in _SEED_SCRAMBLE])
    blocks = -(-n // 4)
    counter0 = tf.cast(tf.range(blocks), tf.uint64) + tf.zeros_like(mixed[0])  # [b, blocks]
    words = philox([counter0, tf.zeros_like(counter0), *mixed[2:]], mixed[:2])
    bits = tf.reshape(tf.stack(words, axis=-1), [-1, 4 * blocks])[:, :n]
    mantissa = tf.bitwise.bitwise_and(bits, _u64((1 << _MANTISSA_BITS) - 1))
    # Below 2^23, so both the cast and the product are exact. The cast goes through int64, which every stack has.
    return tf.cast(tf.cast(mantissa, tf.int64), tf.float32) * 2.0**-_MANTISSA_BITS
