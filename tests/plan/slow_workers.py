"""Workers whose model takes its time over every pass."""

from __future__ import annotations

import time
from typing import Any

from seal_ray.workers.sampler import Sampler
from seal_ray.workers.trainer import Trainer

PASS = 0.1
"""Seconds more that each pass takes."""


class SlowTrainer(Trainer):
    def feel(self, model: Any) -> None:
        super().feel(model)
        model.get_input_embeddings().register_forward_pre_hook(_dawdle)


class SlowSampler(Sampler):
    def feel(self, model: Any) -> None:
        super().feel(model)
        model.get_input_embeddings().register_forward_pre_hook(_dawdle)


def _dawdle(*_: Any) -> None:
    time.sleep(PASS)
