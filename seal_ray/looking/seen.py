"""What a run's record holds, read once for all that is said of it; texts are left out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from seal_ray.config import Config, parse
from seal_ray.policy.retraction import RETRACTION, RETRACTION_ELSEWHERE
from seal_ray.record.account import read_account
from seal_ray.record.journal import Journal
from seal_ray.record.methods import of_trials
from seal_ray.record.rows import (
    KeptRow,
    LearntRow,
    OutcomeRow,
    PlannedRow,
    PolicyRow,
    QuestionRow,
    SelfEditRow,
    SpanRow,
)
from seal_ray.record.schema import brought_up, checked
from seal_ray.record.storage import Store
from seal_ray.rundir.directory import CONFIG
from seal_ray.rundir.tuned import STAGE, verdict
from seal_ray.types import UserError

_OF_OUTCOMES = ["key", "reward", "failure", "reason", "worker", "steps", "tokens", "seconds"]
_OF_EDITS = ["key", "stage", "task_id", "index", "tokens", "refused"]


@dataclass(frozen=True)
class Seen:
    """A run at one moment, as far as it is on record."""

    config: Config
    planned: Sequence[PlannedRow]
    outcomes: Mapping[str, OutcomeRow]
    edits: Sequence[SelfEditRow]
    kept: Sequence[KeptRow]
    policies: Sequence[PolicyRow]
    passages: Sequence[LearntRow]
    spans: Sequence[SpanRow]
    questions: int
    """Tasks for which a model wrote questions."""
    learnt: bool
    """Whether it says that documents were learnt to their end."""
    found: str | None
    """What a tuning of settings came to; empty while one is under way, None where nothing says so, as of a run."""

    @cached_property
    def pending(self) -> int:
        """Trials that were planned and have not ended; what is asked without a lesson is no part of a run."""
        asked = (row for row in self.planned if row.stage not in (RETRACTION, RETRACTION_ELSEWHERE))
        return sum(row.trial not in self.outcomes for row in asked)

    @cached_property
    def tunes(self) -> bool:
        """Whether these are trials of settings, and no run."""
        return self.found is not None or STAGE in {
            *(row.stage for row in self.planned),
            *(row.stage for row in self.edits),
        }

    @cached_property
    def failures(self) -> Counter[str]:
        """Trials that failed, by the class of what went wrong."""
        return Counter(row.failure for row in self.outcomes.values() if row.failure)

    def trials(self, prefix: str = "") -> dict[str, list[PlannedRow]]:
        """The trials whose key begins with this, each with the places that want it; those of no task have no places."""
        found: dict[str, list[PlannedRow]] = {key: [] for key in self.outcomes if key.startswith(prefix)}
        for row in self.planned:
            if row.trial.startswith(prefix):
                found.setdefault(row.trial, []).append(row)
        return found

    @property
    def versions(self) -> set[int]:
        """The rounds whose update is done."""
        return {row.version for row in self.policies if row.version}

    @property
    def started(self) -> float | None:
        """When the first call of a worker began, by the clock of its driver."""
        return min((row.start for row in self.spans), default=None)

    @property
    def last(self) -> float | None:
        """When the last one ended."""
        return max((row.end for row in self.spans), default=None)


def read_config(store: Store) -> Config:
    """The config of a run, without a look at what it names, which may be on another machine."""
    where = store.path(CONFIG)
    try:
        tree = json.loads(store.read(CONFIG))
        checked(int(tree.get("schema", 1)), where)
        config = tree["config"]
    except FileNotFoundError:
        raise UserError(f"{store.url}: no run is here ({CONFIG} is missing)") from None
    except UserError:
        raise
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        raise UserError(f"{where}: is not as a run wrote it, so whose run this is is not known") from None
    if config is None:
        raise UserError(f"{store.url}: holds an imported record, not a run of its own")
    return parse(brought_up(config, where), where)


def look(store: Store) -> Seen:
    """A run as it is now; `UserError` says what is missing or damaged."""
    config, journal = read_config(store), Journal(store)
    planned = list(journal.read(PlannedRow))
    outcomes = {row.key: row for row in OutcomeRow.each(journal.table(OutcomeRow.TABLE).select(_OF_OUTCOMES))}
    edits = SelfEditRow.each(journal.table(SelfEditRow.TABLE).select(_OF_EDITS))
    return Seen(
        config=config,
        planned=planned,
        outcomes=of_trials(outcomes, planned, journal),
        edits=list(edits),
        kept=list(journal.read(KeptRow)),
        policies=list(journal.read(PolicyRow)),
        passages=list(journal.read(LearntRow)),
        spans=list(journal.read(SpanRow)),
        questions=len(set(journal.table(QuestionRow.TABLE)["task_id"].to_pylist())),
        learnt=read_account(store) is not None,
        found=verdict(store),
    )
