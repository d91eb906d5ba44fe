"""How far a format is from the networks: differences that are there are found, and too large ones are refused."""

from __future__ import annotations

import numpy as np
import pytest

from tests.interop.test_saved_model import tiny_model
from tf_simclr.errors import InputError
from tf_simclr.interop.formats.compared import largest_differences, random_batches, require_same
from tf_simclr.interop.formats.served import Served


def test_a_difference_is_a_share_of_the_largest_value():
    model = tiny_model()
    served, scale = Served(model), {}

    def other(images):
        found = {name: value.numpy() for name, value in served.function(images).items()}
        scale.setdefault("h", max(1.0, np.abs(found["final_avg_pool"]).max()))
        found["final_avg_pool"][0, 0] += 0.5 * scale["h"]
        found["logits_sup"][0, 0] = np.nan
        return found

    batch = next(iter(random_batches(16)))
    differences = largest_differences(served.answered([batch]), other)
    assert differences["final_avg_pool"] == pytest.approx(0.5, rel=1e-3)
    assert differences["proj_head_output"] == 0 and differences["logits_sup"] == np.inf
    with pytest.raises(InputError, match="computes what the networks do, to 0"):
        require_same(differences, "onnx", "onnxruntime")


def test_two_sizes_and_batches():
    shapes = [batch.shape for batch in random_batches(16)]
    assert shapes == [(1, 16, 16, 3), (3, 16, 16, 3), (2, 12, 13, 3)]
    assert all(batch.min() >= 0 and batch.max() <= 1 for batch in random_batches(16))


@pytest.mark.parametrize("differences", [{"h": 2e-4}, {"h": 0.0, "z": float("nan")}, {"h": float("inf")}])
def test_what_is_too_far_is_refused(differences):
    with pytest.raises(InputError):
        require_same(differences, "tflite", "the interpreter")
    require_same({"h": 9e-5, "z": 0.0}, "tflite", "the interpreter")
