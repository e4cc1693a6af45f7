"""The offline verdict: what it answers, and how it holds up on passages it was not fitted on."""

import asyncio
import json
import random
from functools import cache
from pathlib import Path

import pytest

from seal_ray.grading import Item, load
from seal_ray.grading.adversary import KINDS
from seal_ray.grading.agreement import grade_records
from seal_ray.grading.fit import Data, cross_validate, repeated, write
from seal_ray.grading.offline import WEIGHTS, Offline
from seal_ray.types import UserError
from tests.shared import SHARED, needs_shared

RECORDS = SHARED / "data/seal_records"
BOTH = (str(RECORDS / "rank_iter0.json"), str(RECORDS / "eval_base.json"))


def probability(question: str, gold: str, answer: str) -> float:
    (verdict,) = asyncio.run(load("offline").grade([Item(question, gold, answer)]))
    return verdict


@pytest.mark.parametrize(
    ("question", "gold", "answer"),
    [
        ("What did Warsaw's king order?", "the Warsaw Castle", "He ordered the castle of Warsaw."),
        ("When did the war end?", "nineteenth century", "It ended in the 19th century."),
        ("How many people live there?", "1,000", "1000"),
        ("Who paid?", "International Monetary Fund", "The IMF paid."),
        ("Who wrote it?", "Díaz", "Diaz wrote it."),
        ("Who proposed it?", "the U.S. Senate", "The US Senate proposed it."),
        ("What did they lack?", "total power", "They lacked absolute power."),
    ],
)
def test_another_wording_of_the_gold_answer_is_right(question: str, gold: str, answer: str) -> None:
    assert probability(question, gold, answer) > 0.6


@pytest.mark.parametrize(
    ("question", "gold", "answer"),
    [
        ("When did the war end?", "1918", "The war ended in 1945."),
        ("Who wrote it?", "Charles Dickens", "It was written by Jane Austen."),
        ("When was it added?", "In November 2008", "It was added in October 2008."),
        ("What is an NCP?", "neighbourhood care points", "An NCP is a national curriculum programme."),
        ("What did they eat?", "smoked herring", "What did they eat?"),
        ("What did they eat?", "smoked herring", "They ate a lot of things."),
    ],
)
def test_another_fact_than_the_gold_answer_is_wrong(question: str, gold: str, answer: str) -> None:
    assert probability(question, gold, answer) < 0.4


def test_an_empty_answer_is_wrong_and_strange_ones_are_no_error() -> None:
    assert probability("Who?", "Ann", " \n") == 0.0
    for gold, answer in (("?", "!"), ("Ann", "…"), ("", "Ann"), ("青春期", "青春"), ("A", "x" * 60_000)):
        assert 0 <= probability("", gold, answer) <= 1


@cache
def recorded() -> Data:
    return Data(BOTH)


@cache
def held_out() -> tuple[dict[str, float], dict[str, float]]:
    """The default way of folding, and the average over five."""
    return cross_validate(recorded()), repeated(recorded(), seed=0, repeats=5)


@pytest.mark.slow
@needs_shared
def test_on_passages_left_out_of_the_fit_it_agrees_with_the_recorded_judge() -> None:
    for found in held_out():
        assert found["n"] == 8698
        assert found["agreement"] >= 0.89
        assert found["distinct_agreement"] >= 0.88
        assert found["kappa"] >= 0.763
        assert abs(found["reward_bias"]) <= 0.01


@needs_shared
@pytest.mark.slow
def test_on_passages_left_out_of_the_fit_it_chooses_self_edits_nearly_as_well_as_the_recorded_judge() -> None:
    assert all(found["gain_kept"] >= 0.8 for found in held_out())


@needs_shared
def test_what_only_looks_for_a_reward_earns_next_to_nothing_whatever_its_length() -> None:
    """Of passages that the weights were not fitted on, from one word to a thousand."""
    for found in held_out():
        assert found["lures"] <= 0.05
        assert found["lures_p99"] <= 0.1
        assert all(found[f"earned by {kind}"] <= 0.05 for kind in KINDS)


@pytest.mark.parametrize(
    ("question", "gold"),
    [
        ("How many people lived there in 1867?", "about 5 million people"),
        ("Who wrote the opera Rusalka?", "Antonín Dvořák"),
        ("Why did the dam fail?", "because the spillway was blocked by debris"),
        ("What is the capital of Kazakhstan?", "Astana"),
    ],
)
def test_an_answer_earns_nothing_by_its_length(question: str, gold: str) -> None:
    rng = random.Random(0)
    syllables = [a + b for a in "bcdfglmnprst" for b in "aeiou"]
    for length in (1, 5, 20, 50, 100, 300, 1000, 3000):
        nonsense = " ".join("".join(rng.choices(syllables, k=3)) for _ in range(length))
        assert probability(question, gold, nonsense) < 0.1
        assert probability(question, gold, " ".join([question] * length)) < 0.1
        assert probability(question, gold, "Yes. No. " * length) < 0.1
        assert probability(question, gold, ",".join(map(str, range(length)))) < 0.1, "which is one word, of many marks"
        assert probability(question, gold, "A'" * length) < 0.1
    said = f"The answer to that is {gold}."
    beyond = " ".join(["It is so."] * 100)
    assert probability(question, gold, f"{beyond} {said}") < 0.1, "what is not said in the first words is not said"
    long = f"{said} {beyond}"
    assert probability(question, gold, long) == probability(question, gold, f"{long} {nonsense} {said}")


@needs_shared
def test_the_shipped_weights_are_what_the_script_fits(tmp_path: Path) -> None:
    out = tmp_path / "weights.json"
    write(recorded().fit(), recorded().rarity, str(out))
    fitted, shipped = (json.loads(path.read_text(encoding="utf-8")) for path in (out, WEIGHTS))
    assert fitted["rarity"] == shipped["rarity"]
    assert fitted["weights"] == pytest.approx(shipped["weights"], abs=1e-3)
    assert fitted["manner"]["weights"] == pytest.approx(shipped["manner"]["weights"], abs=1e-3)


@needs_shared
def test_the_grader_that_a_run_asks_says_what_the_fit_says() -> None:
    """Of answers that were recorded and of those that only look for a reward, by both of its factors."""
    lures, table = recorded().asked
    verdict = recorded().fit()
    items = [*list(dict.fromkeys(row.item for row in recorded().rows))[::50], *(lure.item for lure in lures[::10])]
    fitted = [*verdict(recorded().table)[::50], *verdict(table)[::10]]
    assert [Offline().probability(item) for item in items] == pytest.approx(fitted, abs=1e-3)


@pytest.mark.slow
@needs_shared
def test_a_record_is_graded_in_one_plain_dict() -> None:
    found = grade_records(RECORDS / "eval_base.json", "offline")
    assert found["n"] == 2 * 974
    assert found["agreement"] > 0.88
    assert "gain_kept" not in found, "one self-edit a passage leaves nothing to choose"
    exact = grade_records(RECORDS / "eval_base.json", "exact")
    assert exact["agreement"] < found["agreement"]
    assert exact["reward_bias"] < -0.1


@needs_shared
def test_a_record_without_verdicts_cannot_be_graded() -> None:
    with pytest.raises(UserError, match="holds no verdicts"):
        grade_records(RECORDS / "iter0_train.json")


def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text("{}")
    with pytest.raises(UserError, match="not a file of verdict weights"):
        Offline(Offline.Options(weights=str(tmp_path / "w.json")))
