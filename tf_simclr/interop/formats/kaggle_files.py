"""A folder for Kaggle Models: the SavedModel, and the two files by which Kaggle's program uploads it."""

from __future__ import annotations

import os
from typing import Any

from tf_simclr.files import write_json
from tf_simclr.interop.formats.keras_files import write_saved_model
from tf_simclr.interop.formats.model_page import model_name, page_body, summary
from tf_simclr.interop.formats.source import Source

MODEL_FILE, VARIATION_FILE = "model-metadata.json", "model-instance-metadata.json"
# What Kaggle's program itself writes where a person must, and refuses to upload.
OWNER, LICENSE = "INSERT_OWNER_SLUG_HERE", "INSERT_LICENSE_NAME_HERE"
MODEL, FRAMEWORK = "simclr", "tensorFlow2"
# SPDX -> Kaggle's names.
LICENSES = {
    "apache-2.0": "Apache 2.0",
    "mit": "MIT",
    "bsd-3-clause": "BSD-3-Clause",
    "cc0-1.0": "CC0: Public Domain",
    "cc-by-4.0": "Attribution 4.0 International (CC BY 4.0)",
    "cc-by-nc-4.0": "Attribution-NonCommercial 4.0 International (CC BY-NC 4.0)",
    "cc-by-sa-4.0": "CC BY-SA 4.0",
    "cc-by-nc-sa-4.0": "CC BY-NC-SA 4.0",
}
# Kaggle puts the address of the version in.
_USE = """```python
import tensorflow_hub as hub

model = hub.load("${URL}")
h = model(images)["final_avg_pool"]
```"""


def write_kaggle(source: Source, directory: str) -> list[str]:
    """Writes the files of a version below the framework tensorFlow2, and what Kaggle's program reads beside them."""
    notes = write_saved_model(source, directory)
    variation = f"resnet{source.network.resnet_depth}-x{source.network.width_multiplier:g}".replace(".", "-")
    license_name = LICENSES.get(source.license.lower(), LICENSE)
    place = f"https://www.kaggle.com/models/{OWNER}/{MODEL}/{FRAMEWORK}/{variation}"
    page = page_body(source, _USE.replace("${URL}", place), notes)
    write_json(os.path.join(directory, MODEL_FILE), _model(page))
    write_json(os.path.join(directory, VARIATION_FILE), _variation(source, variation, license_name))
    to_do = [f"{OWNER} in {MODEL_FILE} and {VARIATION_FILE}"]
    if license_name == LICENSE:
        to_do.append(f"{LICENSE}, which Kaggle has a list of")
    return [
        *notes,
        f"to upload it, replace {' and '.join(to_do)}. Then run `kaggle models create -p DIR` and `kaggle models "
        "instances create -p DIR --dir-mode tar`",
    ]


def _model(page: str) -> dict[str, Any]:
    return {
        "ownerSlug": OWNER,
        "title": "SimCLR",
        "slug": MODEL,
        "subtitle": "Representations of images, learned without labels",
        "isPrivate": True,
        "description": page,
        "publishTime": "",
        "provenanceSources": "",
    }


def _variation(source: Source, slug: str, license_name: str) -> dict[str, Any]:
    return {
        "ownerSlug": OWNER,
        "modelSlug": MODEL,
        "instanceSlug": slug,
        "framework": FRAMEWORK,
        "overview": f"{model_name(source)}. {summary(source)}",
        "usage": _USE,
        "licenseName": license_name,
        "fineTunable": True,
        "trainingData": [source.card.dataset] if source.card.dataset else [],
        "modelInstanceType": "Unspecified",
        "baseModelInstance": "",
        "externalBaseModelUrl": "",
    }
