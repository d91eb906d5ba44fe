"""Names that would do something to who reads them stay text."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tf_simclr.escape import as_command, as_text, escape_controls


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31mred", "\\x9b31mred"),
        ("a\nerror: b", "a\\nerror: b"),
        ("a\r\x08\tb", "a\\r\\x08\\tb"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("\u2066\u2069\u200f\ufeff", "\\u2066\\u2069\\u200f\\ufeff"),
        ("line\u2028end", "line\\u2028end"),
        (os.fsdecode(b"latin \xe9"), "latin \\xe9"),
        ("half \ud83d", "half \\ud83d"),
        # Letters, spaces and emoji of any language stay as they are, also those that are joined.
        ("näive 日本\u3000語 \u0645\u06cc\u200c\u062e \U0001f468\u200d\U0001f469", None),
        ("back\\slash <b> 'q'", None),
    ],
)
def test_names_become_text(name, shown):
    assert as_text(name) == (name if shown is None else shown)


def test_only_control_characters_where_bytes_are_kept():
    name = os.fsdecode(b"\xe9\x1b[0m")
    assert escape_controls(name) == os.fsdecode(b"\xe9") + "\\x1b[0m"


@pytest.mark.parametrize(
    "word",
    ["plain", "--x=two words", "a'b", "", "\x1b[31m1", "a\n```\n'b\\n$HOME`id`!", os.fsdecode(b"\xe9\n7"), "ü\t1"],
)
def test_a_command_gives_its_words_back_in_one_line(word):
    program = "import os, sys; sys.stdout.buffer.write(os.fsencode(sys.argv[1]))"
    command = as_command([sys.executable, "-c", program, word])
    assert "\n" not in command and "\x1b" not in command
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert done.stdout == os.fsencode(word)
