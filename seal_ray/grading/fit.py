"""Fits the offline verdict's weights to recorded verdicts.

    python -m seal_ray.grading.fit RECORDS... --out weights.json
    python -m seal_ray.grading.fit RECORDS... --cross-validate --repeats 5

Logistic regression with an L2 penalty on standardised features, by Newton's method. Each distinct answer counts by the
square root of how often it was recorded. Beside the recorded answers stand lures (`adversary.py`): they count a little
for what is right, and much for what is an answer at all. Cross-validation leaves whole passages out and reports the
verdicts on them, and on lures made from them by another seed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence, Set
from copy import copy
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from seal_ray.grading.adversary import KINDS, Lure, Passage, lures
from seal_ray.grading.agreement import Row, agreement, recorded_rows
from seal_ray.grading.base import Item
from seal_ray.grading.features import features, rarities
from seal_ray.published.read import read_record
from seal_ray.types import UserError

PENALTY = 10.0
"""How strongly weights are held small: from 10 to 20 the agreement on passages left out is the same, 40 is too much."""
FOLDS = 10
LURES, LURES_ASKED = 40, 15
"""How many of each kind and length there are to learn from, and to be tested on."""
LURE_WEIGHT = 0.06
"""The weight of all lures together beside all recorded answers, for what is right."""
LURE_COUNT = 1.0
"""The weight of one lure beside one recorded answer, for what is an answer at all."""
HOLDS = 0.3
"""Share of the gold answer from which on it is a question whether something is an answer at all."""
STEEPER, STRICTER = 4.0, 2.0
"""How much more sharply and strictly that is decided than it was learnt: what is surely an answer keeps its verdict."""


class Fitted:
    """Weights on raw features, and the intercept."""

    def __init__(self, names: Sequence[str], x_NF: np.ndarray, right_N: np.ndarray, weight_N: np.ndarray) -> None:
        centre, spread = x_NF.mean(0), x_NF.std(0) + 1e-6
        solved = _newton(np.c_[(x_NF - centre) / spread, np.ones(len(x_NF))], right_N, weight_N)
        self.names = names
        self.weights = solved[:-1] / spread
        self.bias = float(solved[-1] - self.weights @ centre)

    def __call__(self, x_NF: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(x_NF @ self.weights + self.bias)))


def _newton(x_NF: np.ndarray, right_N: np.ndarray, weight_N: np.ndarray) -> np.ndarray:
    """The last column is the intercept and goes unpenalised."""
    solution = np.zeros(x_NF.shape[1])
    penalty = np.r_[np.full(x_NF.shape[1] - 1, PENALTY), 0.0]
    for _ in range(50):
        said = 1 / (1 + np.exp(-x_NF @ solution))
        slope = x_NF.T @ (weight_N * (said - right_N)) + penalty * solution
        curve = (x_NF * (weight_N * said * (1 - said))[:, None]).T @ x_NF + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        solution -= step
        if np.abs(step).max() < 1e-8:
            return solution
    raise RuntimeError("the fit did not converge in 50 steps")


class Verdict:
    """What is right, times what is an answer at all."""

    def __init__(self, said: Fitted, how: Fitted) -> None:
        how.weights, how.bias = STEEPER * how.weights, STEEPER * how.bias - STRICTER
        self.said, self.how = said, how

    def __call__(self, table: Table) -> np.ndarray:
        return self.said(table.said_NF) * self.how(table.how_NF)


class Table:
    """The features of some answers, a row each."""

    def __init__(self, items: Sequence[Item], rarity: dict[str, float]) -> None:
        found = [features(item, rarity) for item in items]
        self.said_names, self.how_names = (list(each) for each in found[0])
        self.said_NF = np.array([list(said.values()) for said, _ in found])
        self.how_NF = np.array([list(how.values()) for _, how in found])

    def __getitem__(self, chosen_N: np.ndarray) -> Table:
        some = copy(self)
        some.said_NF, some.how_NF = self.said_NF[chosen_N], self.how_NF[chosen_N]
        return some


class Data:
    """The rows of some records, with the features of each distinct answer, and of lures, computed once."""

    def __init__(self, records: Sequence[str]) -> None:
        self.rows: list[Row] = []
        passages: list[str] = []
        read = [read_record(path) for path in records]
        for record in read:
            found = recorded_rows(record)
            self.rows += found
            passages += [record.passages[row.passage].context for row in found]
        if not self.rows:
            raise UserError(f"{', '.join(records)}: no verdicts to learn from; give ranked or evaluated rounds")
        self.rarity = rarities(sorted({passage.context for record in read for passage in record.passages}))
        times = Counter(row.item for row in self.rows)
        items = list(times)
        index = {item: n for n, item in enumerate(items)}
        self.table = Table(items, self.rarity)
        self.of_row = np.array([index[row.item] for row in self.rows])
        self.right_N, passage_of = np.zeros(len(items)), [""] * len(items)
        for row, n, passage in zip(self.rows, self.of_row, passages, strict=True):
            self.right_N[n], passage_of[n] = row.right, passage
        self.weight_N = np.sqrt([times[item] for item in items])
        names, self.passage_N = np.unique(passage_of, return_inverse=True)
        self.passages = _passages(names.tolist(), self.rows, passages)
        self.lures = list(lures(self.passages, seed=0, times=LURES))
        self.lure_table = Table([lure.item for lure in self.lures], self.rarity)
        self.lure_passage_N = np.array([lure.passage for lure in self.lures])

    @cached_property
    def asked(self) -> tuple[list[Lure], Table]:
        """Lures that no fit learns from."""
        others = list(lures(self.passages, seed=1, times=LURES_ASKED))
        return others, Table([lure.item for lure in others], self.rarity)

    def fit(self, left_out: Set[int] = frozenset()) -> Verdict:
        """Fit on all passages but some."""
        in_N = ~np.isin(self.passage_N, list(left_out))
        lure_N = ~np.isin(self.lure_passage_N, list(left_out))
        real, lured = self.table[in_N], self.lure_table[lure_N]
        right_N, weight_N = self.right_N[in_N], self.weight_N[in_N]
        zeros_N, ones_N = np.zeros(len(lured.said_NF)), np.ones(len(lured.said_NF))
        little = LURE_WEIGHT * weight_N.sum() / len(ones_N)
        said = Fitted(
            real.said_names,
            np.r_[real.said_NF, lured.said_NF],
            np.r_[right_N, zeros_N],
            np.r_[weight_N, little * ones_N],
        )
        # Only what holds some of the gold answer is in question: all else earns nothing as it is.
        some_N = (real.said_NF[:, real.said_names.index("share_found")] >= HOLDS) & (right_N > 0)
        hit_N = lured.said_NF[:, real.said_names.index("share_found")] >= HOLDS
        how = Fitted(
            real.how_names,
            np.r_[real.how_NF[some_N], lured.how_NF[hit_N]],
            np.r_[right_N[some_N], zeros_N[hit_N]],
            np.r_[weight_N[some_N], LURE_COUNT * ones_N[hit_N]],
        )
        return Verdict(said, how)


def cross_validate(data: Data, seed: int = 0) -> dict[str, float]:
    """Agreement of verdicts on passages that the weights were not fitted on, and what lures made from them earn."""
    fold_P = np.random.default_rng(seed).permutation(data.passage_N.max() + 1) % FOLDS
    fold_N = fold_P[data.passage_N]
    others, table = data.asked
    of_lure_N = fold_P[[lure.passage for lure in others]]
    said_N, lured_N = np.zeros(len(fold_N)), np.zeros(len(others))
    for fold in range(FOLDS):
        verdict = data.fit(set(np.flatnonzero(fold_P == fold)))
        said_N[fold_N == fold] = verdict(data.table[fold_N == fold])
        lured_N[of_lure_N == fold] = verdict(table[of_lure_N == fold])
    found = agreement(_apart(data.rows), [float(said_N[n]) for n in data.of_row])
    return found | earned(others, lured_N)


def earned(others: Sequence[Lure], lured_N: np.ndarray) -> dict[str, float]:
    """The mean of each kind of lure, and the mean and the 99th percentile of all."""
    kinds = np.array([lure.kind for lure in others])
    each = {f"earned by {kind}": float(lured_N[kinds == kind].mean()) for kind in KINDS}
    return {"lures": float(lured_N.mean()), "lures_p99": float(np.percentile(lured_N, 99)), **each}


def _passages(contexts: Sequence[str], rows: Sequence[Row], of_row: Sequence[str]) -> list[Passage]:
    questions: dict[str, dict[tuple[str, str], None]] = {context: {} for context in contexts}
    answers: dict[str, dict[str, None]] = {context: {} for context in contexts}
    titles: dict[str, str] = {}
    for row, context in zip(rows, of_row, strict=True):
        questions[context][row.item.question, row.item.gold] = None
        answers[context][row.item.answer] = None
        titles[context] = row.item.title
    return [Passage(titles[c], c, tuple(questions[c]), tuple(answers[c])) for c in contexts]


def repeated(data: Data, seed: int, repeats: int) -> dict[str, float]:
    """The average over several ways of folding: one way alone is lucky or not by three points in a thousand."""
    found = [cross_validate(data, seed + n) for n in range(repeats)]
    return {name: fmean(one[name] for one in found) for name in found[0]}


def _apart(rows: Sequence[Row]) -> list[Row]:
    """Passages of several records numbered apart; a new record begins where the numbers start over."""
    apart, offset, last, highest = [], 0, 0, 0
    for row in rows:
        if row.passage < last:
            offset = highest + 1
        last, number = row.passage, row.passage + offset
        highest = max(highest, number)
        apart.append(Row(row.item, row.right, number, row.completion, row.adapted))
    return apart


def write(verdict: Verdict, rarity: dict[str, float], path: str) -> None:
    """A text file that `offline.Offline` reads."""
    tiers: dict[str, list[str]] = {}
    for word, value in sorted(rarity.items(), key=lambda pair: (pair[1], pair[0])):
        tiers.setdefault(str(value), []).append(word)
    held = {tier: " ".join(found).strip() for tier, found in tiers.items()}
    model: dict[str, Any] = {**_written(verdict.said), "manner": _written(verdict.how), "rarity": held}
    Path(path).write_text(json.dumps(model, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _written(fitted: Fitted) -> dict[str, Any]:
    weights = {name: round(float(value), 5) for name, value in zip(fitted.names, fitted.weights, strict=True)}
    return {"bias": round(fitted.bias, 5), "weights": weights}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser("python -m seal_ray.grading.fit", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("records", nargs="+")
    parser.add_argument("--out", help="write the weights here")
    parser.add_argument("--cross-validate", action="store_true", help="report agreement on passages left out")
    parser.add_argument("--seed", type=int, default=0, help="which passages go into which fold")
    parser.add_argument("--repeats", type=int, default=1, help="average over as many ways of folding, from the seed on")
    given = parser.parse_args(arguments)
    if not given.cross_validate and not given.out:
        parser.error("give --out, --cross-validate, or both")
    if given.repeats < 1:
        parser.error("--repeats must be at least 1")
    data = Data(given.records)
    if given.cross_validate:
        print(json.dumps(repeated(data, given.seed, given.repeats), indent=1))
    if given.out:
        write(data.fit(), data.rarity, given.out)


if __name__ == "__main__":
    main(sys.argv[1:])
