"""Packages that only some tasks need: asked for before any work, they are named where they are missing."""

from __future__ import annotations

import importlib
import logging
from typing import Any

from tf_simclr.errors import InputError


def _imported(module: str, package: str, needs: str, extra: str = "evaluate") -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{needs} the package {package}. Received: {error}. Install it: pip install {package}, or the extra "
            f"`{extra}` of this package"
        ) from error


def require_matplotlib() -> Any:
    """The package matplotlib, with what plots need of it. Raises InputError where it is missing."""
    parts = ("matplotlib", "matplotlib.backends.backend_agg", "matplotlib.figure", "matplotlib.font_manager")
    matplotlib, *_ = (_imported(part, "matplotlib", "Plots need") for part in parts)
    return matplotlib


def require_scikit_learn(module: str = "linear_model", task: str = "Logistic regression") -> Any:
    """A module of scikit-learn, for a task that the message names. Raises InputError where it is missing."""
    return _imported(f"sklearn.{module}", "scikit-learn", f"{task} needs")


def require_scipy(module: str) -> Any:
    """A module of scipy. Raises InputError where it is missing."""
    return _imported(f"scipy.{module}", "scipy", "Finding groups needs", "index")


def require_plotly_js() -> str:
    """The JavaScript of plotly.js, which the package plotly brings. Raises InputError where it is missing."""
    text: str = _imported("plotly.offline", "plotly", "The map of images needs", "browse").get_plotlyjs()
    return text


def umap() -> Any | None:
    """The package umap-learn; None where it is missing."""
    try:
        return importlib.import_module("umap")
    except ImportError:
        return None


def faiss() -> Any | None:
    """The package faiss, of faiss-cpu; None where it is missing."""
    try:
        return importlib.import_module("faiss")
    except ImportError:
        return None


def usearch() -> Any | None:
    """The module usearch.index; None where the package is missing."""
    try:
        return importlib.import_module("usearch.index")
    except ImportError:
        return None


def require_jinja2() -> Any:
    """The package jinja2. Raises InputError where it is missing."""
    return _imported("jinja2", "jinja2", "Pages need")


def require_safetensors(module: str = "safetensors") -> Any:
    """The package safetensors, or a module of it. Raises InputError where it is missing."""
    return _imported(module, "safetensors", "Files of .safetensors need", "weights")


def require_onnx() -> Any:
    """The package onnx. Raises InputError where it is missing."""
    return _imported("onnx", "onnx", "ONNX files need", "onnx")


def onnxruntime() -> Any | None:
    """The package onnxruntime; None where it is missing."""
    try:
        return importlib.import_module("onnxruntime")
    except ImportError:
        return None


def require_litert() -> Any:
    """The module of ai-edge-litert with its Interpreter. Raises InputError where the package is missing."""
    return _imported("ai_edge_litert.interpreter", "ai-edge-litert", "TensorFlow Lite files need", "litert")


def require_torch() -> Any:
    """The package torch. Raises InputError where it is missing."""
    return _imported("torch", "torch", "Files of torch.save need", "torch")


def require_pyarrow(module: str = "pyarrow") -> Any:
    """The package pyarrow, or a module of it. Raises InputError where it is missing."""
    return _imported(module, "pyarrow", "Parquet files need", "index")


def require_beam(runner: str) -> Any:
    """The package apache_beam, with what a runner needs of it. Raises InputError where a package is missing."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it warns of packages that only other parts of it need
    try:
        beam = _imported("apache_beam", "apache-beam", f"`runner` {runner} needs", "beam")
    finally:
        logging.disable(before)
    if runner == "dataflow":
        _imported(
            "apache_beam.runners.dataflow.dataflow_runner", '"apache-beam[gcp]"', "`runner` dataflow needs", "beam"
        )
    return beam
