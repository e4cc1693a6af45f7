"""Numbers, years and dates of a text as the values they stand for."""

from __future__ import annotations

import math
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from seal_ray.grading.text import NUMBERS, folded, stem, words
from seal_ray.record.unspaced import spaced

_SCALES = {"dozen": 12.0, "hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_FRACTIONS = (
    (re.compile(r"\b(?:(?:one|a)[- ])?half\b"), "50 percent"),
    (re.compile(r"\bthree[- ]quarters\b"), "75 percent"),
    (re.compile(r"\b(?:one|a)[- ]quarter\b"), "25 percent"),
    (re.compile(r"\btwo[- ]thirds\b"), "67 percent"),
    (re.compile(r"\b(?:one|a)[- ]third\b"), "33 percent"),
)
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[a-z]+|\S")
_VALUE = re.compile(r"(\d+(?:[.,]\d+)*)(?: (dozen|hundred|thousand|million|billion|trillion))?")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_UNIT = re.compile(r"([$€£]?)\s?(\d+(?:[.,]\d+)*)\s*(%|percent|dozen|hundred|thousand|million|billion|trillion)?")
_YEAR = re.compile(r"\b(1\d{3}|20\d{2}|[5-9]\d\d)(s)?\b")
_CENTURY = re.compile(r"\b(\d{1,2})(?:st|nd|rd|th) centur")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_LOWER = """
below fall fell fallen drop decrease decline reduce shrink shrank lose lost loss bc bce south west
"""
_LOWERED = frozenset(map(stem, _LOWER.split()))
"""Stems of words that may say of a number without a sign that it is less than nothing."""
FAR = 5.0
"""The distance of a number that has none to be compared with."""


def values(text: str) -> list[float]:
    """The numbers of a text: `five` is 5, `1.5 million` is 1500000, `half` is 50."""
    text = folded(text)
    for fraction, instead in _FRACTIONS:
        text = fraction.sub(instead, text)
    text = " ".join(NUMBERS.get(token, token) for token in _TOKEN.findall(text))
    return [_value(number) * _SCALES.get(scale, 1.0) for number, scale in _VALUE.findall(text)]


def distance(value: float, others: Sequence[float]) -> float:
    """The logarithm of the ratio to the nearest other number, at most `FAR`."""
    ratios = [abs(_log(other) - _log(value)) if value > 0 < other else FAR * (other != value) for other in others]
    return min([*ratios, FAR])


def _log(value: float) -> float:
    """The logarithm, also of numbers with hundreds of digits, which a float holds as infinite or as 0."""
    return math.log(min(max(value, sys.float_info.min), sys.float_info.max))


def share_of_years_met(gold: str, answer: str) -> float:
    """The share of gold years, decades and centuries that lie in one of the answer's, or hold a short one of them."""
    wanted, given = _spans(gold), _spans(answer)
    met = [
        any((low <= first and last <= high) or (first <= low and high <= last <= first + 15) for first, last in given)
        for low, high in wanted
    ]
    return sum(met) / len(met) if met else 0.0


def months(text: str) -> set[str]:
    return set(words(text)).intersection(_MONTHS)


def units_differ(gold: str, answer: str) -> bool:
    """Whether a number stands in both, with a percent sign, a currency or a scale in one of them only."""
    wanted, given = _units(gold), _units(answer)
    return any(number in given and given[number] != unit for number, unit in wanted.items())


def signs_differ(gold: str, answer: str) -> bool:
    """Whether a number stands in both, below zero in one of them only."""
    wanted, given = _signed(gold), _signed(answer)
    return any(number in given and not below & given[number] for number, below in wanted.items())


def _value(number: str) -> float:
    plain = number.replace(",", "") if _THOUSANDS.fullmatch(number) else number.replace(",", ".")
    return float(plain) if plain.count(".") < 2 else float(plain.replace(".", ""))


def _spans(text: str) -> list[tuple[int, int]]:
    text = folded(text)
    years = [(int(year), int(year) + (9 if decade else 0)) for year, decade in _YEAR.findall(text)]
    return years + [(100 * (int(number) - 1), 100 * int(number)) for number in _CENTURY.findall(text)]


def _signed(text: str) -> dict[str, set[bool]]:
    """The numbers of a text, and whether they are below zero; both where its words leave that open."""
    said = words(spaced(text))
    open_ = not _LOWERED.isdisjoint(map(stem, said))
    found: dict[str, set[bool]] = defaultdict(set)
    for before, number in pairwise(["", *said]):
        if number[0].isdigit():
            below = before in ("minus", "negative")
            found[number] |= {below, below or open_}
    return found


def _units(text: str) -> dict[float, tuple[str, str]]:
    return {
        _value(number): (currency, unit.replace("percent", "%"))
        for currency, number, unit in _UNIT.findall(folded(text))
    }
