from __future__ import annotations

import pytest

from tf_simclr.cli.plan import describe_loss
from tf_simclr.config import LossConfig


@pytest.mark.parametrize(
    "values,line",
    [
        ({}, "contrastive loss at chance: ln(2 x 64 - 1) = 4.844"),
        ({"memory_size": 256}, "contrastive loss at chance: ln(2 x 64 - 1 + 256) = 5.948 with a full memory"),
        ({"loss": "nt_logistic"}, "contrastive loss (nt_logistic) at chance: at least 2 ln 2 = 1.386"),
        (
            {"loss": "margin_triplet", "margin": 0.25},
            "contrastive loss (margin_triplet) at chance: at least the margin, 0.25",
        ),
        ({"loss": "dcl"}, "contrastive loss (dcl) at chance: at least ln(2 x 64 - 2) = 4.836"),
        ({"loss": "supcon"}, "contrastive loss (supcon) at chance: at least ln(2 x 64 - 1) = 4.844"),
        ({"loss": "debiased", "class_prior": 0.05}, "contrastive loss: debiased, class prior 0.05"),
        ({"loss": "nt_logistic", "semi_hard": True}, "contrastive loss: nt_logistic, semi-hard negatives within 0.4"),
    ],
)
def test_the_log_says_what_chance_is_where_it_is_known(values, line):
    assert describe_loss(LossConfig(**values), 64) == line
