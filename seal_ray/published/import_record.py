"""Carries a recorded round into a run directory, where `report`, `export` and the importer of another tool find it."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from statistics import fmean

from seal_ray.published.read import Completion, Passage, read_record
from seal_ray.published.stats import best_index, recorded_reward
from seal_ray.record.journal import Journal
from seal_ray.record.rows import KeptRow, OutcomeRow, PlannedRow, SelfEditRow
from seal_ray.record.storage import Store
from seal_ray.types import Outcome, SelfEdit, UserError, content_key, derive_seed

_STAGE = "round 1"


def import_record(record: str, into: str) -> int:
    """Write a recorded round as a journal; returns how many self-edits came over. Refuses a directory in use."""
    store = Store(into)
    if store.exists("config.json"):
        raise UserError(f"{into}: holds a run already; import into a directory of its own")
    found = read_record(record)
    best = [best_index(passage) for passage in found.passages]  # refuses before anything is written
    count = 0
    with closing(store.lock()):
        journal = Journal(store)
        for number, (passage, kept) in enumerate(zip(found.passages, best, strict=True)):
            task_id = f"{number:04d} {passage.title}"
            for index, completion in enumerate(passage.completions):
                _carry(journal, passage, completion, task_id, index)
                count += 1
            if kept is not None:  # where nothing says which is best, none was
                _keep(journal, passage, task_id, kept)
        journal.flush()
        store.write("config.json", json.dumps({"imported": Path(record).name}).encode())
    return count


def _carry(journal: Journal, passage: Passage, completion: Completion, task_id: str, index: int) -> None:
    edit = _edit(passage, task_id, index)
    journal.record(SelfEditRow.of(edit, _STAGE, "imported"))
    trials = defaultdict(list)
    for verdict in completion.verdicts:
        trials[verdict.rep].append(verdict)
    for rep, verdicts in trials.items():
        right = tuple(float(verdict.adapter_correct) for verdict in verdicts)
        key = content_key("imported", edit.key, rep)
        answers = tuple(verdict.adapter_answer for verdict in verdicts)
        journal.record(OutcomeRow.of(Outcome(key, answers, (), right, fmean(right))))
        _plan(journal, task_id, index, rep, key)
    reward = recorded_reward(completion)
    if not trials and reward is not None:  # a mean is all that was recorded: it stands for one trial
        key = content_key("imported", edit.key, "mean")
        journal.record(OutcomeRow.of(Outcome(key, reward=reward)))
        _plan(journal, task_id, index, 0, key)


def _plan(journal: Journal, task_id: str, index: int, rep: int, key: str) -> None:
    row = PlannedRow.at(_STAGE, "self-edits", task_id, index, rep, key, policy=0, recipe="", seed=rep)
    journal.record(row)


def _keep(journal: Journal, passage: Passage, task_id: str, index: int) -> None:
    reward = recorded_reward(passage.completions[index])
    edit = _edit(passage, task_id, index).key
    journal.record(KeptRow(content_key(_STAGE, task_id, index, edit), _STAGE, task_id, edit, index, reward))


def _edit(passage: Passage, task_id: str, index: int) -> SelfEdit:
    seed = derive_seed("imported", task_id, index)
    return SelfEdit(task_id, index, 0, passage.prompt, passage.completions[index].text, seed)
