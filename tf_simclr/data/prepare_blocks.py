"""Blocks of images of a folder that is being prepared: workers reduce them, and one process writes the records."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import tensorflow as tf

from tf_simclr.data.blocks import between, read_block, write_blocks
from tf_simclr.data.listing import ListedSplit
from tf_simclr.data.prepare_images import shrunk_images
from tf_simclr.processes import temporary_of

# A block costs a second to begin with.
IMAGES_OF_A_BLOCK, LEAST_BLOCKS = 2048, 8


def shrunk_elsewhere(
    listed: ListedSplit, side: int, prefix: str, run: Callable[[list[str]], None]
) -> Iterator[tuple[bytes, int]]:
    """What is stored of each image, in their order, where workers did the work.

    Args:
        listed: the images.
        side: as in `shrunk`.
        prefix: of the paths of blocks and of what is made of them.
        run: has workers call `shrink_block` with every block, and waits for them.

    Raises:
        tf.errors.InvalidArgumentError: as `shrunk_images`.
    """
    size = min(IMAGES_OF_A_BLOCK, -(-listed.num_examples // LEAST_BLOCKS))
    blocks = write_blocks(prefix, listed, size)
    run(blocks)
    for block, start in zip(blocks, range(0, listed.num_examples, size), strict=True):
        part, done = between(listed, start, start + size), 0
        for record in tf.data.TFRecordDataset(_stored(block)).as_numpy_iterator():
            done += 1
            yield record[1:], record[0] - 1
        tf.io.gfile.remove(_stored(block))
        if done < part.num_examples:  # a worker met a damaged image, which this names
            yield from shrunk_images(between(part, done, part.num_examples), side)


def shrink_block(block: str, side: int) -> int:
    """Writes what is stored of the images of a block, a record each: the change + 1 as a byte, and the image.

    It ends at the first damaged image, unless these are to be left out.

    Returns:
        number of records.
    """
    stored, done = _stored(block), 0
    temporary = temporary_of(stored)
    with tf.io.TFRecordWriter(temporary) as writer:
        try:
            for content, change in shrunk_images(read_block(block), side):
                writer.write(bytes([change + 1]) + content)
                done += 1
        except (tf.errors.InvalidArgumentError, UnicodeDecodeError):
            pass
    tf.io.gfile.rename(temporary, stored, overwrite=True)
    return done


def _stored(block: str) -> str:
    return f"{block}.stored"
