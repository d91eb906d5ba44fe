"""Finds a task, parses its flags, and turns what a person can fix into one line and an exit code."""

from __future__ import annotations

import difflib
import importlib
import io
import os
import sys
from collections.abc import Sequence

from tf_simclr import __version__
from tf_simclr.cli.failures import EXIT_NO_FILE, described
from tf_simclr.cli.start_noise import quiet_start
from tf_simclr.errors import InputError, StoppedError, UnwritableError
from tf_simclr.escape import as_text
from tf_simclr.train.interrupts import EXIT_CODES, own_process

# A task is one module with USAGE, FLAG_GROUPS and main(parsed) -> a result with an exit code, and one line here. WORDS,
# where it has them, name the flags that may be written as words alone.
TASKS = {
    "train": "tf_simclr.cli.train_flags",
    "distill": "tf_simclr.cli.distill_flags",
    "evaluate": "tf_simclr.cli.evaluate_flags",
    "compare": "tf_simclr.cli.compare_flags",
    "recipe": "tf_simclr.cli.recipe_flags",
    "study": "tf_simclr.cli.study_flags",
    "prepare": "tf_simclr.cli.prepare_flags",
    "views": "tf_simclr.cli.views_flags",
    "convert": "tf_simclr.cli.convert_flags",
    "embed": "tf_simclr.cli.embed_flags",
    "predict": "tf_simclr.cli.predict_flags",
    "search": "tf_simclr.cli.search_flags",
    "browse": "tf_simclr.cli.browse_flags",
    "duplicates": "tf_simclr.cli.duplicates_flags",
    "outliers": "tf_simclr.cli.outliers_flags",
    "cluster": "tf_simclr.cli.cluster_flags",
    "select": "tf_simclr.cli.select_flags",
    "label_errors": "tf_simclr.cli.label_errors_flags",
    "projector": "tf_simclr.cli.projector_flags",
    "plan": "tf_simclr.cli.budget_flags",
    "input_worker": "tf_simclr.cli.input_worker_flags",
}
EXIT_BAD_INPUT = 2
_VERSION = ("--version", "-version")
_HELP, _FULL_HELP = ("--help", "-help", "-h"), ("--helpfull", "-helpfull")


def say(line: str) -> None:
    """Prints a line at once, also into a pipe; what it holds of names stays text on this line."""
    print(as_text(line), flush=True)


def say_error(line: str) -> None:
    """Prints a line for what went wrong."""
    print(f"error: {as_text(line)}", file=sys.stderr, flush=True)


def run_task(name: str, argv: Sequence[str]) -> int:
    """Runs a task on a command line without the program's name; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A class or a file may have a name that the terminal's encoding has no letters for.
            stream.reconfigure(errors="backslashreplace")
    if list(argv) in ([word] for word in _VERSION):
        say(f"tf_simclr {__version__}")
        return 0
    task = importlib.import_module(TASKS[name])
    from tf_simclr.cli import flags, next_steps

    if {*_HELP, *_FULL_HELP} & set(argv):
        from tf_simclr.cli.help_pages import help_text

        full = bool({*_FULL_HELP} & set(argv))
        _print_page(help_text(name, task.USAGE, task.FLAG_GROUPS, full=full))
        return 0
    from tf_simclr.cli.header_lines import HeaderLines
    from tf_simclr.data.headers import WATCH

    WATCH.set(HeaderLines(say))
    try:
        with own_process(), quiet_start():
            parsed = flags.parse(argv, task.FLAG_GROUPS, getattr(task, "WORDS", ()))
            result = task.main(parsed)
            for suggestion in next_steps.lines(name, argv, parsed, result):
                say(suggestion)
            return int(result.exit_code)
    except InputError as error:
        say_error(str(error))
        return EXIT_NO_FILE if isinstance(error, UnwritableError) else EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("SIGINT received: ended; what was saved before is kept", file=sys.stderr, flush=True)
        return EXIT_CODES["SIGINT"]
    except StoppedError:
        print("SIGTERM received: ended; what was saved before is kept", file=sys.stderr, flush=True)
        return EXIT_CODES["SIGTERM"]
    except Exception as error:
        line = described(error)
        if line is None:
            raise
        say_error(line)
        return EXIT_NO_FILE


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m tf_simclr TASK [flags]`; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in TASKS:
        return run_task(words[0], words[1:])
    if not words or words[0] in (*_HELP, *_FULL_HELP):
        from tf_simclr.cli.help_pages import task_list

        _print_page(task_list({name: _purpose(name) for name in TASKS}))
        return 0 if words else EXIT_BAD_INPUT
    if words[0] in _VERSION:
        say(f"tf_simclr {__version__}")
        return 0
    close = difflib.get_close_matches(words[0], TASKS)
    meant = f". Did you mean: {', '.join(close)}?" if close else ""
    say_error(f"`TASK` must be one of: {', '.join(TASKS)}. Received: {words[0]}{meant}")
    return EXIT_BAD_INPUT


def _print_page(text: str) -> None:
    """Prints a text whose reader may leave before its end, as `head` and `less` do."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python flushes standard output once more at its end, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _purpose(name: str) -> str:
    return (importlib.import_module(TASKS[name]).__doc__ or "").splitlines()[0]
