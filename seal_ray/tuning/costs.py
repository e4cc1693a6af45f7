"""What a trial takes under given settings: operations of its training, and bytes of its adapter with the optimiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from seal_ray.config import Config
from seal_ray.model.architecture import Shape, model_shape
from seal_ray.model.flops import per_trained_token
from seal_ray.plan.memory import per_slot
from seal_ray.record.journal import Journal
from seal_ray.record.rows import OutcomeRow, PlannedRow
from seal_ray.tuning.space import Settings
from seal_ray.types import UserError


@dataclass(frozen=True)
class Costs:
    """By the model's shape; all are 0 where that is not worked out, so that nothing is said to be cheaper."""

    config: Config
    shape: Shape | None

    @classmethod
    def of(cls, config: Config, tried: Sequence[Settings]) -> Costs:
        """The costs of these settings; none where the model's shape does not tell a module of theirs."""
        try:
            shape = model_shape(config.model.path)
            for each in tried:
                shape.sites(each.lora)
        except UserError:
            return cls(config, None)
        return cls(config, shape)

    def flops(self, settings: Settings) -> float:
        """Operations of the linear layers, forward and back, for each token of a trial's texts."""
        if self.shape is None:
            return 0.0
        once = per_trained_token(self.shape.multiplied, self.shape.adapter(settings.lora))
        return float(settings.optim.epochs * once)

    def bytes(self, settings: Settings) -> int:
        """Weights, gradient and moments, as the bank holds them for a slot."""
        return per_slot(settings.under(self.config), self.shape) if self.shape else 0

    def of_both(self, settings: Settings) -> float:
        """One number to tell the cheaper by."""
        return self.flops(settings) * self.bytes(settings)

    def cheaper(self, one: Settings, other: Settings) -> bool:
        """Whether it takes less of one and no more of the other."""
        mine, its = (self.flops(one), self.bytes(one)), (self.flops(other), self.bytes(other))
        return mine != its and mine[0] <= its[0] and mine[1] <= its[1]


def text_tokens(journal: Journal, stage: str, epochs: Mapping[str, int]) -> float:
    """Tokens of a trial's texts, as trainers counted them: the mean over tasks. `epochs` are those of each arm."""
    trained = {row.key: row.tokens for row in journal.read(OutcomeRow)}
    places = [row for row in journal.read(PlannedRow) if row.stage == stage and row.arm in epochs]
    of_task = {row.task_id: trained[row.trial] / epochs[row.arm] for row in places if trained.get(row.trial)}
    return fmean(of_task.values()) if of_task else 0.0
