from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "tf_simclr"
# From top to bottom; modules on one line do not import each other.
LAYERS = (
    {"__main__"},
    {"tasks"},
    {"cli"},
    {"studies", "callbacks", "loading", "index"},
    {"evaluate", "interop", "simclr", "image_data"},
    {"simclr_probe"},
    {"train", "simclr_batches", "simclr_checks"},
    {"weights"},
    {"layers", "optimizers", "schedules"},
    {"data", "nn", "losses", "optim"},
    {"ops"},
    {"resumable", "directory_lock"},
    {"unfinished", "files"},
    {"config", "compat", "optional", "mapped_arrays"},
    {"stored", "file_systems"},
    {"errors", "lazy", "ctrl_c", "escape", "processes", "requirements"},
)
MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(dotted):
    return dotted.split(".")[1]


def level(part):
    return next(number for number, layer in enumerate(LAYERS) if part in layer)


def imported(path):
    """Every tf_simclr module that a file imports, at the top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_part(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_the_walk_sees_the_package():
    assert len(MODULES) > 30
    assert any(name.startswith("tf_simclr.ops") for name in imported(PACKAGE / "nn" / "normalization.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    part = own_part(path)
    if part == "__init__":
        return
    for name in imported(path):
        if not name.startswith("tf_simclr.") or part_of(name) == "__version__":
            continue
        other = part_of(name)
        assert other == part or level(other) > level(part), f"{part} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_file_is_longer_than_300_lines(path):
    assert len(path.read_text().splitlines()) <= 300, "split it by idea, each file named for what it holds"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_absl_flags_stay_at_the_boundary(path):
    uses = any(name.startswith(("absl.flags", "absl.app")) for name in imported(path))
    assert not uses or path == PACKAGE / "cli" / "flags.py"


def test_the_config_needs_no_tensorflow():
    for name in (
        *(path.relative_to(PACKAGE) for path in (PACKAGE / "config").glob("*.py")),
        "errors.py",
        "stored.py",
        "directory_lock.py",
        "lazy.py",
        "__init__.py",
        "cli/flags.py",
        "cli/main.py",
        "cli/failures.py",
        "train/interrupts.py",
        "cli/train_flags.py",
        "cli/budget_flags.py",
        "cli/accelerators.py",
        "data/published_sizes.py",
        "cli/evaluate_flags.py",
        "cli/convert_flags.py",
        "cli/convert.py",
        "cli/convert_tflite.py",
        "interop/new_directory.py",
        "interop/formats/compared.py",
        "interop/formats/tflite_file.py",
        "cli/embed_flags.py",
        "cli/views_flags.py",
        "cli/predict_flags.py",
        "cli/prepare_flags.py",
        "data/prepared.py",
        "cli/checkpoint_images.py",
        "cli/input_worker_flags.py",
        "cli/pretrained_network.py",
        "cli/completion.py",
        "train/device_choice.py",
    ):
        assert not any(module.startswith(("tensorflow", "keras")) for module in imported(PACKAGE / name))


@pytest.mark.parametrize("facade", ["data_util.py", "lars_optimizer.py", "model_util.py"])
def test_facades_only_re_export(facade):
    body = ast.parse((PACKAGE.parent / facade).read_text()).body
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign)
    assert all(isinstance(node, allowed) for node in body)
