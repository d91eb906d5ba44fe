"""A short part of the fuzz of the decoders, and that it would find what it looks for."""

from __future__ import annotations

import sys

import pytest

from tf_simclr.data.pillow_images import decode_with_pillow
from tools import fuzz_decoder


def test_no_file_crashes_hangs_or_fools_a_decoder():
    counts = fuzz_decoder.run(300, 0, None)
    assert sum(number for name, number in counts.items() if name.startswith("auto=")) == 300
    assert counts["auto=decoded"] > 50 and counts["auto=refused"] > 50
    assert not [name for name in counts if "WRONG" in name or "crash" in name]


def test_the_same_seed_gives_the_same_files():
    first = fuzz_decoder.mutated_files(40, 3)
    assert first == fuzz_decoder.mutated_files(40, 3) != fuzz_decoder.mutated_files(40, 4)
    assert len(first) == 40


def test_a_crash_is_traced_to_its_file(monkeypatch):
    """A decoder that aborts two files after the bad one, as one with a damaged heap may."""
    program = (
        "import json, os, pathlib, sys\n"
        "left = 99\n"
        "for content in map(bytes.fromhex, json.loads(pathlib.Path(sys.argv[-1]).read_text())):\n"
        "    left = 3 if content == b'bad' else left - 1\n"
        "    if left <= 1: os.abort()\n"
        "    print('0.00 image=decoded', flush=True)\n"
        "if left < 50: os.abort()\n"
    )
    monkeypatch.setattr(fuzz_decoder, "COMMAND", [sys.executable, "-c", program])
    files = [bytes([number]) for number in range(9)]
    files[4] = b"bad"
    found = list(fuzz_decoder.findings(files))
    assert [content for line, content in found if line.startswith("crash")] == [b"bad"]


@pytest.mark.parametrize("content", fuzz_decoder.base_files())
def test_its_files_are_good_to_begin_with(content):
    pixels, reason = decode_with_pillow(content)
    assert pixels.size and not reason
