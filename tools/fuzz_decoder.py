"""Looks for image files that crash, hang or fool the decoders: python -m tools.fuzz_decoder --files=20000 --seed=0

Hypothesis mutates small files of every format: bytes, numbers, lengths, blocks, ends, and pieces of other formats. They
are decoded by the batch in a process of their own, with the C library's own checks of the heap where it has them. A
crash or a hang is traced to its file, which is kept. The same seed gives the same files.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

COMMAND = [sys.executable, "-m", "tools.fuzz_decoder"]
_BATCH = 500
_SECONDS_A_FILE = 120
_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
_HEAP_CHECKS = {"LD_PRELOAD": "libc_malloc_debug.so.0", "GLIBC_TUNABLES": "glibc.malloc.check=3"}


def encoded(image: Image.Image, format_name: str, **options: object) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()


def png(width: int, height: int, colour: int, depth: int, rows: bytes, *blocks: tuple[bytes, bytes]) -> bytes:
    """A png written block by block, for what Pillow does not write."""

    def block(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    between = b"".join(block(*one) for one in blocks)
    pixels = block(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + block(b"IHDR", head) + between + pixels + block(b"IEND", b"")


def base_files() -> list[bytes]:
    """Small valid files of every format and kind."""
    rng = np.random.default_rng(0)
    rgba = Image.fromarray(rng.integers(0, 256, (20, 24, 4), np.uint8))
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    deep = Image.fromarray(rng.integers(0, 65536, (20, 24), np.uint16))
    palette, exif = rgb.quantize(7), Image.Exif()
    exif[274] = 6
    moving = {"save_all": True, "append_images": [rgba.rotate(180)]}
    kinds: list[tuple[str, Image.Image, dict[str, object]]] = [
        *(("JPEG", image, {}) for image in (rgb, grey, rgb.convert("CMYK"))),
        ("JPEG", rgb, {"progressive": True, "exif": exif}),
        *(("PNG", image, {}) for image in (rgb, rgba, grey, palette, deep)),
        ("PNG", palette, {"transparency": 0, "exif": exif}),
        ("PNG", rgba, moving),
        *(("GIF", image, {}) for image in (rgb, grey)),
        ("GIF", palette, {"transparency": 0}),
        ("GIF", rgba, moving),
        *(("BMP", image, {}) for image in (rgb, rgba, grey, palette)),
        *(("WEBP", image, {}) for image in (rgb, rgba)),
        ("WEBP", rgb, {"lossless": True, "exif": exif}),
        ("WEBP", rgba, moving),
        *(("TIFF", image, {}) for image in (rgb, rgba, grey, palette, deep, rgb.convert("CMYK"))),
        ("TIFF", rgb, {"compression": "tiff_lzw"}),
        ("TIFF", rgb, {"compression": "jpeg"}),
        ("AVIF", rgb, {}),
        ("JPEG2000", rgb, {}),
    ]
    written = [encoded(image, name, **options) for name, image, options in kinds]
    hidden = png(2, 1, 2, 8, b"\0" + bytes(range(6)), (b"tRNS", struct.pack(">HHH", 0, 1, 2)))
    return [*written, hidden, *_heic(rgb)]


def _heic(image: Image.Image) -> list[bytes]:
    try:
        import pillow_heif
    except ImportError:
        return []
    pillow_heif.register_heif_opener()
    return [encoded(image, "HEIF")]


def mutated(rng: random.Random, files: list[bytes]) -> bytes:
    """One of the files after one to three changes, half of them near its beginning."""
    content = bytearray(rng.choice(files))
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        end = len(content) if rng.random() < 0.5 else min(len(content), 64)
        if end:
            _change(rng, content, rng.randrange(end), files)
    return _with_sums(content) if rng.random() < 0.5 else bytes(content)


def _change(rng: random.Random, content: bytearray, place: int, files: list[bytes]) -> None:
    kind = rng.choice(["byte", "byte", "bit", "bit", "number", "number", "remove", "repeat", "splice", "cut"])
    size = rng.randint(1, 40)
    if kind == "byte":
        content[place] = rng.randrange(256)
    elif kind == "bit":
        content[place] ^= 1 << rng.randrange(8)
    elif kind == "number":
        order = rng.choice([">H", "<H", ">I", "<I"])
        number = rng.choice(_NUMBERS) & (0xFFFF if "H" in order else 0xFFFFFFFF)
        content[place : place + struct.calcsize(order)] = struct.pack(order, number)
    elif kind == "cut":
        del content[place:]
    elif kind == "remove":
        del content[place : place + size]
    elif kind == "repeat":
        content[place:place] = content[place : place + size]
    else:
        other = rng.choice(files)
        start = rng.randrange(len(other))
        content[place : place + size] = other[start : start + size]


def _with_sums(content: bytearray) -> bytes:
    """A png with the right check sums, without which nothing behind a change is looked at."""
    place = 8
    while content.startswith(b"\x89PNG") and place + 12 <= len(content):
        end = place + 8 + int.from_bytes(content[place : place + 4], "big")
        if end + 4 > len(content):
            break
        content[end : end + 4] = struct.pack(">I", zlib.crc32(content[place + 4 : end]))
        place = end + 4
    return bytes(content)


def mutated_files(count: int, number: int) -> list[bytes]:
    """The files that a seed gives."""
    files, made = base_files(), []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=True).map(lambda rng: mutated(rng, files)))
    def collect(content: bytes) -> None:
        made.append(content)

    collect()
    return made


# ---- In the process that may crash ----


def work(path: str) -> None:
    """Decodes the files of a batch in every way; a line for each of them, as soon as it is done."""
    import tensorflow as tf

    from tf_simclr.data.decoding import decode_image, decode_named
    from tf_simclr.data.parts import cut_file

    def compiled(decode: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
        return tf.function(decode, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)

    ways = {
        "image": compiled(decode_image),
        **{
            name: compiled(lambda content, name=name: decode_named(content, tf.constant("file"), name))  # type: ignore[misc]
            for name in ("auto", "pillow")
        },
        "part": compiled(lambda content: cut_file(content, tf.constant("file"), "auto", _boxes, _first_box)),
    }
    print("ready", flush=True)
    for content in map(bytes.fromhex, json.loads(pathlib.Path(path).read_text())):
        began = time.monotonic()
        outcomes = {name: _outcome(decode, content) for name, decode in ways.items()}
        words = [f"{name}={said}" for name, (said, _) in outcomes.items()]
        wrong = _disagreement({name: image for name, (_, image) in outcomes.items()})
        print(f"{time.monotonic() - began:.2f}", *words, *wrong, flush=True)


def _boxes(height: Any, width: Any) -> Any:
    """Two boxes inside an image, as two views have: int32 [2, 4]."""
    import tensorflow as tf

    middle = [height // 4, width // 4, tf.maximum(height // 2, 1), tf.maximum(width // 2, 1)]
    third = [height // 3, width // 3, tf.maximum(height // 3, 1), tf.maximum(width // 3, 1)]
    return tf.cast(tf.stack([tf.stack(middle), tf.stack(third)]), tf.int32)


def _first_box(pixels: Any, boxes: Any) -> Any:
    """The pixels of the first box, float32 in [0, 1]."""
    import tensorflow as tf

    y, x, height, width = tf.unstack(boxes[0])
    return tf.image.convert_image_dtype(pixels[y : y + height, x : x + width], tf.float32)


def _disagreement(images: dict[str, np.ndarray | None]) -> list[str]:
    """What the ways make differently of a file: all must turn it alike, and a part must be one of the whole."""
    sizes = {image.shape[:2] for name, image in images.items() if image is not None and name != "part"}
    said = [f"sizes=WRONG:{'|'.join(sorted(map(str, sizes)))}".replace(" ", "")] if len(sizes) > 1 else []
    whole, part = images["auto"], images["part"]
    if whole is None:
        return said  # a part may lie before the damage
    if part is None:
        return [*said, "part=WRONG:none"]
    want = np.asarray(_first_box(whole, np.asarray(_boxes(*whole.shape[:2]))))
    if want.shape != part.shape:
        return [*said, f"part=WRONG:{list(part.shape)}for{list(want.shape)}".replace(" ", "")]
    off = float(np.abs(want - part).max())
    return [*said, f"part=WRONG:off_by_{off:.3f}"] if off > 2e-3 else said


def _outcome(decode: Callable[..., object], content: bytes) -> tuple[str, np.ndarray | None]:
    """What came of a file in one way, and the image where there is one."""
    import tensorflow as tf

    try:
        image = np.asarray(decode(tf.constant(content)))
    except tf.errors.InvalidArgumentError:
        return "refused", None
    except Exception as error:
        return f"WRONG:{type(error).__name__}", None
    if image.dtype != np.float32 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        return f"WRONG:{image.dtype}{list(image.shape)}".replace(" ", ""), None
    if not np.isfinite(image).all() or image.min() < 0 or image.max() > 1.0 + 1e-6:
        return "WRONG:range", None
    return "decoded", image


# ---- In the process that watches ----


def decode_batch(files: list[bytes]) -> tuple[list[str], str]:
    """The lines of the files that were decoded, and how the process ended: "", "crash ..." or "hang"."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "files"
        path.write_text(json.dumps([content.hex() for content in files], allow_nan=False))
        heap = _HEAP_CHECKS if pathlib.Path("/lib/x86_64-linux-gnu/libc_malloc_debug.so.0").exists() else {}
        environment = os.environ | heap | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        command = [*COMMAND, "--work", str(path)]
        with open(f"{path}.out", "w+b") as out, open(f"{path}.err", "w+b") as err:
            process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)
            end = _watch(process, f"{path}.out")
            out.seek(0)
            lines = out.read().decode().splitlines()
            err.seek(0)
            said = err.read().decode(errors="replace").strip().splitlines()[-1:]
    return [line for line in lines if "image=" in line], f"{end} {' '.join(said)}" if end.startswith("crash") else end


def _watch(process: subprocess.Popen[bytes], output: str) -> str:
    """Waits for a process that must write something every now and then."""
    size, since = 0, time.monotonic()
    while True:
        try:
            code = process.wait(timeout=1)
            return "" if code == 0 else f"crash {code}"
        except subprocess.TimeoutExpired:
            now = os.path.getsize(output)
            if now != size:
                size, since = now, time.monotonic()
            # The start, before anything is written, takes as long as TensorFlow does.
            if time.monotonic() - since > _SECONDS_A_FILE * (1 if size else 5):
                process.kill()
                process.wait()
                return "hang"


def findings(files: list[bytes]) -> Iterator[tuple[str, bytes | None]]:
    """(what happened, the file where something went wrong) of every file."""
    while files:
        lines, end = decode_batch(files)
        for line, content in zip(lines, files, strict=False):
            yield line, content if "WRONG" in line else None
        if not end:
            return
        last = len(lines)
        yield end, _culprit(files[: last + 1])
        files = files[last + 1 :]


def _culprit(files: list[bytes]) -> bytes:
    """The file behind a crash: the last one, unless the heap was damaged by one before."""
    while len(files) > 1 and not decode_batch(files[-1:])[1]:
        half = len(files) // 2
        files = files[:half] if decode_batch(files[:half])[1] else files[half:]
    return files[-1]


def run(count: int, number: int, keep: pathlib.Path | None) -> collections.Counter[str]:
    """Decodes the files of a seed, says what goes wrong, and counts."""
    counts: collections.Counter[str] = collections.Counter()
    files = mutated_files(count, number)
    slowest = 0.0
    for start in range(0, len(files), _BATCH):
        for line, bad in findings(files[start : start + _BATCH]):
            crashed = "image=" not in line
            counts.update(["crash or hang"] if crashed else line.split()[1:])
            slowest = slowest if crashed else max(slowest, float(line.split()[0]))
            if bad is not None:
                print(f"{line}: {len(bad)} bytes, {bad[:64].hex()}", flush=True)
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{zlib.crc32(bad):08x}").write_bytes(bad)
        print(f"{min(start + _BATCH, len(files))} of {len(files)} files, slowest {slowest:.2f} s", flush=True)
    return counts


def main() -> int:
    """Exit code 1 where a file crashes, hangs or fools a decoder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=pathlib.Path, help="Folder for the files that something is wrong with.")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work)
        return 0
    began = time.monotonic()
    counts = run(options.files, options.seed, options.keep)
    for outcome, number in sorted(counts.items()):
        print(f"{outcome}: {number}")
    print(f"seed {options.seed}, {time.monotonic() - began:.0f} s")
    return 1 if any("WRONG" in name or "crash" in name for name in counts) else 0


if __name__ == "__main__":
    sys.exit(main())
