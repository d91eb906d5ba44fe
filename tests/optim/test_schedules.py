from __future__ import annotations

import math

import numpy as np
import pytest

from tf_simclr.config import build_config, resolve_durations
from tf_simclr.optim.schedules import WarmupCosine


def test_the_reference_points():
    """50,000 images, batch 512, 20 epochs, 5 of warm-up, base 0.3, linear scaling."""
    config = build_config(
        {"dataset": "cifar10", "train_batch_size": 512, "train_epochs": 20, "warmup_epochs": 5, "learning_rate": 0.3}
    )
    durations = resolve_durations(config, 50_000)
    assert (durations.train_steps, durations.warmup_steps) == (1954, 488)
    schedule = WarmupCosine(config.optimizer.peak_learning_rate(512), durations.warmup_steps, durations.train_steps)
    assert float(schedule(0)) == 0.0
    assert float(schedule(488)) == pytest.approx(0.6)
    assert float(schedule(1954)) == pytest.approx(0.0, abs=1e-9)


def test_every_step_equals_plain_python():
    schedule = WarmupCosine(2.0, 4, 20)
    for step in range(25):
        progress = min(max((step - 4) / 16, 0), 1)
        expected = 2.0 * step / 4 if step < 4 else 1.0 + math.cos(math.pi * progress)
        np.testing.assert_allclose(float(schedule(step)), expected, atol=1e-6)


def test_half_way_through_the_decay_is_half_the_peak():
    assert float(WarmupCosine(3.0, 10, 30)(20)) == pytest.approx(1.5)


def test_without_warmup_it_starts_at_the_peak():
    assert float(WarmupCosine(3.0, 0, 10)(0)) == pytest.approx(3.0)


def test_warmup_as_long_as_training_is_refused():
    with pytest.raises(ValueError, match="warmup_steps"):
        WarmupCosine(1.0, 10, 10)


def test_config_round_trip():
    schedule = WarmupCosine(1.5, 3, 7)
    again = WarmupCosine.from_config(schedule.get_config())
    assert [float(again(s)) for s in range(8)] == [float(schedule(s)) for s in range(8)]
