"""Fits the offline verdict's weights to recorded verdicts.

    python -m seal_ray.grading.fit RECORDS... --out weights.json
    python -m seal_ray.grading.fit RECORDS... --cross-validate --repeats 5

Logistic regression with an L2 penalty on standardised features, by Newton's method. Each distinct answer counts by the
square root of how often it was recorded. Cross-validation leaves whole passages out and reports the verdicts on them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from seal_ray.grading.agreement import Row, agreement, recorded_rows
from seal_ray.grading.features import features, rarities
from seal_ray.records.read import read_record
from seal_ray.types import UserError

PENALTY = 10.0
"""From 10 to 20 the agreement on passages left out is the same, on average over ways of folding; 40 is too much."""
FOLDS = 10


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


class Data:
    """The rows of some records, with the features of each distinct answer computed once."""

    def __init__(self, records: Sequence[str]) -> None:
        self.rows: list[Row] = []
        passages: list[str] = []
        contexts: list[str] = []
        for path in records:
            record = read_record(path)
            contexts += [passage.context for passage in record.passages]
            found = recorded_rows(record)
            self.rows += found
            passages += [record.passages[row.passage].context for row in found]
        if not self.rows:
            raise UserError(f"{', '.join(records)}: no verdicts to learn from; give ranked or evaluated rounds")
        self.rarity = rarities(sorted(set(contexts)))
        times = Counter(row.item for row in self.rows)
        items = list(times)
        index = {item: n for n, item in enumerate(items)}
        computed = [features(item, self.rarity) for item in items]
        self.names = list(computed[0])
        self.x_NF = np.array([[found[name] for name in self.names] for found in computed])
        self.of_row = np.array([index[row.item] for row in self.rows])
        self.right_N, passage_of = np.zeros(len(items)), [""] * len(items)
        for row, n, passage in zip(self.rows, self.of_row, passages, strict=True):
            self.right_N[n], passage_of[n] = row.right, passage
        self.weight_N = np.sqrt([times[item] for item in items])
        self.passage_N = np.unique(passage_of, return_inverse=True)[1]

    def fit(self, chosen_N: np.ndarray | None = None) -> Fitted:
        mask = np.ones(len(self.x_NF), bool) if chosen_N is None else chosen_N
        return Fitted(self.names, self.x_NF[mask], self.right_N[mask], self.weight_N[mask])


def cross_validate(data: Data, seed: int = 0) -> dict[str, float]:
    """Agreement of verdicts on passages that the weights were not fitted on."""
    fold_P = np.random.default_rng(seed).permutation(data.passage_N.max() + 1) % FOLDS
    fold_N = fold_P[data.passage_N]
    said_N = np.zeros(len(fold_N))
    for fold in range(FOLDS):
        said_N[fold_N == fold] = data.fit(fold_N != fold)(data.x_NF[fold_N == fold])
    return agreement(_apart(data.rows), [float(said_N[n]) for n in data.of_row])


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


def write(fitted: Fitted, rarity: dict[str, float], path: str) -> None:
    """A text file that `offline.Offline` reads."""
    weights = {name: round(float(value), 5) for name, value in zip(fitted.names, fitted.weights, strict=True)}
    tiers: dict[str, list[str]] = {}
    for word, value in sorted(rarity.items(), key=lambda pair: (pair[1], pair[0])):
        tiers.setdefault(str(value), []).append(word)
    held = {tier: " ".join(found).strip() for tier, found in tiers.items()}
    model: dict[str, Any] = {"bias": round(fitted.bias, 5), "weights": weights, "rarity": held}
    Path(path).write_text(json.dumps(model, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


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
