"""How long it takes to list a folder of many files, to look at their first bytes, and to compute their fingerprint.

    python -m benchmarks.fingerprint --files=200000

Makes a temporary folder of N small png files in 100 classes, and prints the best of three tries of each part, and the
time of the CPU, which counts no waiting for other programs. The operating system has the folder in memory by then: a
disk that is read for the first time, or over a network, takes longer.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

from PIL import Image

from tf_simclr.data import fingerprint
from tf_simclr.data.headers import Headers
from tf_simclr.data.image_files import Look
from tf_simclr.data.listing import Listing, relative_paths
from tf_simclr.data.scan import Files, list_files

PAST = 1_600_000_000
CLASSES, TRIES = 100, 3


def make_files(folder: str, number: int) -> None:
    """Writes the files, as many in one class as in another. They are old: new ones are not remembered."""
    png = io.BytesIO()
    Image.new("RGB", (32, 32)).save(png, "png")
    for label in range(CLASSES):
        os.mkdir(os.path.join(folder, f"class{label:03d}"))
    for place in range(number):
        path = os.path.join(folder, f"class{place % CLASSES:03d}", f"image_{place:07d}.png")
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.write(file, png.getvalue())
        os.utime(file, (PAST, PAST))
        os.close(file)


def best(name: str, number: int, function: Callable[[], Any]) -> Any:
    """Calls a function three times, prints the shortest time and time of the CPU, and returns what it gave."""
    times, busy = [], []
    for _ in range(TRIES):
        began, busy_before = time.perf_counter(), time.process_time()
        result = function()
        times.append(time.perf_counter() - began)
        busy.append(time.process_time() - busy_before)
    print(
        f"{name:30} {min(times):6.2f} s, {1e6 * min(times) / number:5.1f} us a file; CPU {min(busy):.2f} s", flush=True
    )
    return result


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200_000)
    number = parser.parse_args().files
    with tempfile.TemporaryDirectory() as folder:
        make_files(folder, number)
        found = best("list and stat (os.scandir)", number, lambda: list_files(folder, Files(), recursive=True))
        headers = Headers()
        looks = best("read the headers", number, lambda: headers.look(found))
        assert len(found) == number and set(looks) == {Look(None)}
        known = headers.plain()
        best("headers that are remembered", number, lambda: Headers(known=known).look(found))

        def digest() -> str:
            return fingerprint.of_files(
                relative_paths(folder, Listing(found, [0] * number, ("class",), ())),
                (file.size for file in found),
                (file.changed for file in found),
                (file.path.rsplit("/", 2)[1] for file in found),
            )

        print(best("fingerprint", number, digest))


if __name__ == "__main__":
    main()
