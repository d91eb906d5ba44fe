"""Writes docs/api.md, the reference of the public API, from the docstrings.

python -m tools.api_reference          writes the file
python -m tools.api_reference --check  only says whether it is up to date (exit code 1 when it is not)
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.generated_page import write_or_check

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "api.md"
COMMAND = "python -m tools.api_reference"

# Public name, without "tf_simclr.", -> where its docstring is. Sources are read, not imported: the page is the same on
# every stack.
ENTRIES = {
    "SimCLR": "tf_simclr.simclr:SimCLR",
    "resnet": "tf_simclr.layers:resnet",
    "load": "tf_simclr.loading:load",
    "load_encoder": "tf_simclr.loading:load_encoder",
    "image_dataset": "tf_simclr.image_data:image_dataset",
    "run": "tf_simclr.tasks:run",
    "evaluate_checkpoint": "tf_simclr.tasks:evaluate_checkpoint",
    "distill": "tf_simclr.tasks:distill",
    "run_study": "tf_simclr.tasks:run_study",
    "prepare": "tf_simclr.tasks:prepare",
    "embed": "tf_simclr.tasks:embed",
    "search": "tf_simclr.tasks:search",
    "explore": "tf_simclr.tasks:explore",
    "convert": "tf_simclr.tasks:convert",
    "layers.SimCLRAugmentation": "tf_simclr.layers:SimCLRAugmentation",
    "layers.ProjectionHead": "tf_simclr.layers:ProjectionHead",
    "layers.GlobalBatchNorm": "tf_simclr.nn.normalization:BatchNorm",
    "losses.NTXent": "tf_simclr.losses.objects:NTXent",
    "losses.NTLogistic": "tf_simclr.losses.objects:NTLogistic",
    "losses.MarginTriplet": "tf_simclr.losses.objects:MarginTriplet",
    "losses.DCL": "tf_simclr.losses.variants:DCL",
    "losses.DebiasedNTXent": "tf_simclr.losses.variants:DebiasedNTXent",
    "losses.SupCon": "tf_simclr.losses.variants:SupCon",
    "losses.ContrastiveLoss": "tf_simclr.losses.loss_object:ContrastiveLoss",
    "losses.contrastive_statistics": "tf_simclr.losses.objects:contrastive_statistics",
    "optimizers.LARS": "tf_simclr.optimizers:LARS",
    "optimizers.LAMB": "tf_simclr.optimizers:LAMB",
    "schedules.WarmupCosine": "tf_simclr.optim.schedules:WarmupCosine",
    "callbacks.Probe": "tf_simclr.callbacks:Probe",
    "evaluate.extract": "tf_simclr.evaluate.functions:extract",
    "evaluate.knn": "tf_simclr.evaluate.functions:knn",
    "evaluate.linear_probe": "tf_simclr.evaluate.functions:linear_probe",
    "evaluate.logistic_regression": "tf_simclr.evaluate.functions:logistic_regression",
    "evaluate.health": "tf_simclr.evaluate.functions:health",
}
SECTIONS = ("Args", "Returns", "Raises", "Example", "Reference", "Source", "Attributes", "Yields")

INTRODUCTION = f"""# Python API

`import tf_simclr` gives the parts that `run.py` is made of, as objects that compose with Keras. The import itself does
not load TensorFlow. This page is made from the docstrings by `{COMMAND}`; do not edit it. A test runs every example.
"""

Definition = ast.FunctionDef | ast.ClassDef


def definition(place: str) -> Definition:
    """The class or function at "module:name", from its source."""
    module, _, name = place.partition(":")
    tree = ast.parse(ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8"))
    [found] = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name]
    return found


def sections_of(docstring: str) -> list[tuple[str, str]]:
    """A docstring taken apart: ("", prose), ("Args", text), ..., in order; the text of a section is dedented."""
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in docstring.splitlines():
        match = re.match(rf"({'|'.join(SECTIONS)}):\s*(.*)$", line)
        if match:
            found.append((match[1], [match[2]] if match[2] else []))
        else:
            found[-1][1].append(line)
    return [(name, _dedented(lines)) for name, lines in found]


def _dedented(lines: list[str]) -> str:
    first = [line for line in lines if line.strip()][:1]
    if first and first[0].startswith(" "):
        return textwrap.dedent("\n".join(lines)).strip("\n")
    # A section that begins on its own line: what follows is indented.
    return "\n".join(line.strip() if lines else line for line in lines).strip("\n")


def bullets(text: str) -> Iterator[str]:
    """A section of "name: text" entries, whose further lines are indented, as a Markdown list."""
    entries: list[str] = []
    for line in text.splitlines():
        if line.startswith(" ") and entries:
            entries[-1] += " " + line.strip()
        elif line.strip():
            entries.append(line.strip())
    for entry in entries:
        name, colon, meaning = entry.partition(": ")
        yield f"- `{name}`: {meaning}" if colon and re.fullmatch(r"[\w*]+", name) else f"- {entry}"


def signature(name: str, found: Definition, owner: bool = False) -> str:
    """The call, with defaults and without types."""
    if isinstance(found, ast.ClassDef):
        inits = [node for node in found.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
        return f"{name}()" if not inits else signature(name, inits[0], owner=True)
    arguments = found.args
    for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        one.annotation = None
    for other in (arguments.vararg, arguments.kwarg):
        if other is not None:
            other.annotation = None
    if owner:
        arguments.args = arguments.args[1:]
    return f"{name}({ast.unparse(arguments)})"


def body(docstring: str) -> Iterator[str]:
    """The Markdown of a docstring."""
    for section, text in sections_of(docstring):
        if section == "":
            yield text + "\n"
        elif section == "Example":
            yield f"```python\n{text}\n```\n"
        elif section in ("Args", "Raises", "Attributes"):
            yield f"**{section}**\n"
            yield "\n".join(bullets(text)) + "\n"
        else:
            yield f"**{'Reference' if section == 'Source' else section}**: {' '.join(text.split())}\n"


def documented_methods(found: Definition) -> Iterator[ast.FunctionDef]:
    """The public methods whose docstring explains arguments."""
    for node in found.body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        if "\nArgs:" in (ast.get_docstring(node) or ""):
            yield node


def reference() -> str:
    """The whole page."""
    lines = [INTRODUCTION]
    for name, place in ENTRIES.items():
        found = definition(place)
        docstring = ast.get_docstring(found)
        assert docstring, f"{place} has no docstring"
        lines += [f"## tf_simclr.{name}\n", f"`{signature(name.rpartition('.')[2], found)}`\n", *body(docstring)]
        if isinstance(found, ast.ClassDef):
            for method in documented_methods(found):
                lines += [f"### {name}.{method.name}\n", f"`{signature(method.name, method, owner=True)}`\n"]
                lines += body(ast.get_docstring(method) or "")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Writes or checks the page; returns the exit code."""
    purpose = (__doc__ or "").splitlines()[0]
    return write_or_check(PAGE, reference(), argv, purpose=purpose, made_of="the docstrings", command=COMMAND)


if __name__ == "__main__":
    sys.exit(main())
