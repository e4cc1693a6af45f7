"""How far each policy is from the first, as a loop over both models with Transformers finds it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from peft import PeftModel

from seal_ray.adapters.lora import Adapter
from seal_ray.adapters.merge import total
from seal_ray.continual.base import Lesson
from seal_ray.continual.library import Library
from seal_ray.loop import continual
from seal_ray.loop.moved import Read, Yardstick, yardstick
from seal_ray.loop.run import run
from seal_ray.model.loading import ModelSpec, load_model, load_tokenizer
from seal_ray.policy import adapters
from seal_ray.record.continual import KL, by_way, orders
from seal_ray.record.journal import Journal
from seal_ray.record.rows import LearntRow
from seal_ray.record.storage import Store
from seal_ray.types import AdapterRef, Example, Failure, Outcome, Trial
from seal_ray.workers.in_process import InProcessCluster
from tests.loop.test_continual import ONLY
from tests.runs import small_run

WAY = "tests.loop.test_moved:InTurns"


class InTurns(Library):
    """A library that has its first lesson asked every third question, its last the next, and the policy the rest."""

    def lessons_for(self, questions: Sequence[str], lessons: Sequence[Lesson]) -> list[int | None]:
        answering = (0, len(lessons) - 1, None) if lessons else (None,)
        return [answering[number % len(answering)] for number in range(len(questions))]


def by_hand(models: Sequence[Any], tokenizer: Any, text: Example) -> tuple[float, float]:
    """How much less likely a token of an answer is, and `KL(first ‖ now)`, a token at a time."""
    asked, said = tokenizer(text.prompt).input_ids, tokenizer(text.completion, add_special_tokens=False).input_ids
    with torch.no_grad():
        first_TV, now_TV = (model(torch.tensor([[*asked, *said]])).logits[0].log_softmax(-1) for model in models)
    lost, diverged = [], []
    for place, token in enumerate(said, len(asked) - 1):
        lost.append(float(first_TV[place, token] - now_TV[place, token]))
        diverged.append(sum((first_TV[place].exp() * (first_TV[place] - now_TV[place])).tolist()))
    return fmean(lost), fmean(diverged)


@pytest.mark.slow
def test_moved_and_diverged_are_those_of_a_loop_over_the_policies_and_over_the_lessons_that_would_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[Yardstick] = []

    async def seen(*args: Any) -> Yardstick:
        held.append(await yardstick(*args))
        return held[-1]

    monkeypatch.setattr(continual, "yardstick", seen)
    ways = ["--continual.sequences", "1", "--continual.ways", f'["none", "merge", "{WAY}"]']
    config = small_run(tmp_path / "run", *ONLY[:-4], *ways, "--continual.passages", "2", "--model.dtype", "float64")
    run(config)
    store = Store(str(tmp_path / "run"))
    rows = {(row.way, row.step): row for row in Journal(store).read(LearntRow)}
    merged, *lessons = [
        AdapterRef(key) for key in (rows["merge", 2].adapter, rows[WAY, 1].learned, rows[WAY, 2].learned)
    ]
    spec = ModelSpec.of(config.model)
    tokenizer, said = load_tokenizer(spec), held[0].said
    far: dict[str, list[tuple[float, float]]] = {"merge": [], WAY: []}
    models: dict[AdapterRef, Any] = {}
    for ref in (merged, *lessons):
        adapter, _ = total((adapters.get(store, ref),))
        assert adapter
        adapter.save(tmp_path / ref.key)
        models[ref] = PeftModel.from_pretrained(load_model(spec), tmp_path / ref.key, autocast_adapter_dtype=False)
    first = load_model(spec)
    for number, text in enumerate(said):
        far["merge"].append(by_hand((first, models[merged]), tokenizer, text))
        own = models[lessons[number % 3]] if number % 3 < 2 else first
        far[WAY].append(by_hand((first, own), tokenizer, text))
    for way, found in far.items():
        moved, diverged = map(fmean, zip(*found, strict=True))
        assert (rows[way, 2].moved, rows[way, 2].diverged) == pytest.approx((moved, diverged), abs=1e-9)
        assert diverged > 0.01
    table = by_way(orders(Journal(store)))
    assert {way: row[KL] for way, row in table.items()} == {
        "none": 0.0,
        **{way: rows[way, 2].diverged for way in ("merge", WAY)},
    }


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_a_last_lesson_that_fails_is_measured_as_the_one_that_its_questions_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third of the answers are then read by the first lesson, and all others by the first policy."""
    train, trained = InProcessCluster.train_adapter, list[Trial]()

    async def once_only(self: InProcessCluster, trial: Trial) -> tuple[Outcome, Adapter | None]:
        trained.append(trial)
        if len(trained) == 1:
            return await train(self, trial)
        return Outcome("", failure=Failure("data", "no token to learn")), None

    monkeypatch.setattr(InProcessCluster, "train_adapter", once_only)
    ways = ["--continual.sequences", "1", "--continual.ways", WAY, "--continual.passages", "2"]
    run(small_run(tmp_path / "run", *ONLY[2:-4], *ways, "--sampling.max_tokens", "60", "--domain.test", "2"))
    journal = Journal(Store(str(tmp_path / "run")))
    first, last = sorted(journal.read(LearntRow), key=lambda row: row.step)
    assert (bool(first.learned), last.learned, last.tokens) == (True, "", 0)
    assert first.diverged
    assert last.diverged
    assert 0 < last.diverged < first.diverged
    assert orders(journal)[0].figures()[KL] == last.diverged


def test_nothing_is_told_of_answers_that_not_all_could_be_read() -> None:
    held = Yardstick((Example("a"), Example("b")), (Example("c"),), (-1.0, -2.0, -3.0))
    both = [Read(1, -2.5, 0.5), Read(0, -1.5, 0.25)]
    assert held.distance(both, (-4.0,)) == continual.Distance(0.5, 1.0, 0.375)
    assert held.distance(both[:1], ()) == continual.Distance()
    assert held.distance([Read(1, -2.5, None), Read(0, -1.5, None)], (-4.0,)) == continual.Distance(0.5, 1.0, None)
