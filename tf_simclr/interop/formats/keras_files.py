"""The exports of a run in Keras's and TensorFlow's own formats, and the .keras file unpacked for Hugging Face."""

from __future__ import annotations

import os
import tempfile
import zipfile

import tensorflow as tf

from tf_simclr import compat, optional
from tf_simclr.errors import InputError
from tf_simclr.files import write_whole
from tf_simclr.interop.formats.model_page import model_page
from tf_simclr.interop.formats.source import Source
from tf_simclr.interop.formats.torch_files import ENCODER_FILE, states, torch_notes, write_safetensors
from tf_simclr.interop.saved_model import export_saved_model
from tf_simclr.interop.stock_encoder import FILE, write_stock_encoder

PAGE_FILE = "README.md"


def write_saved_model(source: Source, directory: str) -> list[str]:
    """Writes what a run's export has: the SavedModel, feature_vector/ and encoder.keras."""
    export_saved_model(source.model, directory, source.card)
    return ["SavedModel with the signatures serving_default and serving_bytes; feature_vector/; encoder.keras"]


def write_keras(source: Source, directory: str) -> list[str]:
    """Writes encoder.keras, which gives the maps of the encoder and h."""
    write_stock_encoder(source.model.encoder, directory)
    return [f"{FILE}: the encoder, of Keras's own layers"]


def require_keras_3() -> None:
    """Raises InputError on Keras 2, or where safetensors is missing."""
    if not compat.KERAS_3:
        raise InputError(
            "`to` must not be huggingface on TensorFlow 2.15, whose Keras reads no unpacked .keras file. Received: "
            f"to=huggingface, TensorFlow {tf.__version__}. Pass --to=keras, or convert with TensorFlow 2.16 or later"
        )
    optional.require_safetensors()


def write_hugging_face(source: Source, directory: str) -> list[str]:
    """Writes a folder for Hugging Face: Keras's files, PyTorch's where it has the layers, and a model card."""
    with tempfile.TemporaryDirectory() as scratch:
        write_stock_encoder(source.model.encoder, scratch)
        with zipfile.ZipFile(os.path.join(scratch, FILE)) as archive:
            for name in archive.namelist():
                write_whole(os.path.join(directory, name), archive.read(name))
    notes = ["config.json, metadata.json, model.weights.h5: the encoder, which keras.saving.load_model reads"]
    if source.has_torch_names:
        write_safetensors(os.path.join(directory, ENCODER_FILE), states(source)[0])
        notes.append(f"{ENCODER_FILE}: a state dict for torchvision's ResNet")
        notes += [f"{ENCODER_FILE}: {note}" for note in torch_notes(source)]
    else:
        notes.append(f"{ENCODER_FILE}: none, since torchvision has no selective kernels or squeeze-and-excitation")
    write_whole(os.path.join(directory, PAGE_FILE), model_page(source, notes).encode())
    return notes
