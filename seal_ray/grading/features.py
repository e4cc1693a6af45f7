"""What the offline verdict looks at: how an answer's words stand to those of the gold answer and the question."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from seal_ray.grading.base import Item
from seal_ray.grading.matching import FOUND, best_match, trigram_share
from seal_ray.grading.text import folded, normalized, stem, words

Rarity = Mapping[str, float]
"""How rare a stem is: the logarithm of texts per text that holds it; `""` is for stems never seen."""

_LITTLE = """
a an the of in on at to for from by with as and or nor but if so than then that this these those it its they them their
he him his she her hers we us our you your i me my is are was were be been being am do does did doing done has have had
having will would can could shall should may might must not no what which who whom whose when where why how there here
also about into over under between through during per any some all each other more most very just only own same both up
out off down s t
"""
LITTLE = {stem(word) for word in _LITTLE.split()}
_NEGATIONS = {"not", "no", "never", "none", "neither", "nor", "without", "cannot", "nothing"}
_CAPITALISED = re.compile(r"[A-Z][\w'’-]*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"])|\n")
_PARTS = re.compile(r",|;| and | or ")


@dataclass(frozen=True)
class _Case:
    """One answer taken apart once; the features are read off it."""

    item: Item
    rarity: Rarity

    def rare(self, word: str) -> float:
        return max(self.rarity.get(word, self.rarity[""]), 0.5)

    @cached_property
    def asked(self) -> set[str]:
        return {stem(word) for word in words(self.item.question)}

    @cached_property
    def gold(self) -> list[str]:
        return [stem(word) for word in words(self.item.gold)]

    @cached_property
    def given(self) -> list[str]:
        return [stem(word) for word in words(self.item.answer)]

    @cached_property
    def gold_content(self) -> list[str]:
        return [word for word in self.gold if word not in LITTLE] or self.gold

    @cached_property
    def wanted(self) -> list[str]:
        """Gold words that the question does not give away."""
        return list(dict.fromkeys(w for w in self.gold_content if w not in self.asked)) or self.gold_content

    @cached_property
    def content(self) -> list[str]:
        kept = set(self.gold_content)
        return [word for word in dict.fromkeys(self.given) if word not in LITTLE or word in kept]

    @cached_property
    def new(self) -> list[str]:
        """Words of the answer that the question did not bring."""
        return [word for word in self.content if word not in self.asked and word not in LITTLE]

    @cached_property
    def found(self) -> dict[str, float]:
        """How well each wanted word is matched; words stand for the abbreviation they spell."""
        initials = "".join(word[0] for word in words(self.item.answer) if stem(word) not in LITTLE)
        short = {w.lower() for w in re.findall(r"\b[A-Z]{2,5}\b", self.item.gold) if w.lower() in initials}
        return {w: max(0.9 * (w in short), best_match(w, self.content)) for w in self.wanted}

    def share(self, found: Mapping[str, float]) -> float:
        total = sum(self.rare(word) for word in found)
        return sum(self.rare(word) * value for word, value in found.items()) / total if total else 0.0

    def precision(self, said: Sequence[str]) -> float:
        return self.share({word: best_match(word, self.gold_content) for word in said})


def features(item: Item, rarity: Rarity) -> dict[str, float]:
    """The features by name; the weights are for these."""
    case = _Case(replace(item, answer=_spelled_out(item)), rarity)
    return {**_overlap(case), **_numbers(case), **_names(case), **_manner(case)}


def _spelled_out(item: Item) -> str:
    """The answer with the gold answer in place of its abbreviation."""
    short = "".join(word[0] for word in words(item.gold) if stem(word) not in LITTLE).upper()
    return (
        re.sub(rf"\b{short}\b", lambda _: item.gold, item.answer) if len(short) > 1 and short.isalpha() else item.answer
    )


def _overlap(case: _Case) -> dict[str, float]:
    found, item = case.found, case.item
    missing = [case.rare(word) * (1 - value) for word, value in found.items()]
    complete = float(all(value >= FOUND for value in found.values()) and bool(case.given))
    first = _SENTENCE_END.split(item.answer.strip())[0]
    in_first = [best_match(word, {stem(w) for w in words(first)}) for word in found]
    pairs, said = list(zip(case.gold, case.gold[1:], strict=False)), set(zip(case.given, case.given[1:], strict=False))
    titled = {stem(word) for word in words(item.title)}
    rarest = max(found, key=case.rare, default="")
    gold, answer = f" {normalized(item.gold)} ", f" {normalized(item.answer)} "
    everywhere = [best_match(word, case.content) for word in case.gold_content]
    return {
        "share_found": case.share(found),
        "share_of_all_gold": _mean(everywhere),
        "share_exact": _mean([float(word in case.given) for word in found]),
        "complete": complete,
        "none_found": float(all(value < 0.5 for value in found.values())),
        "missing": sum(missing),
        "worst_missing": max(missing, default=0.0),
        "rarest_found": found.get(rarest, 0.0),
        "last_found": found[case.wanted[-1]] if case.wanted else 0.0,
        "least_part": _least_part(case),
        "precision": case.precision(case.new),
        "precision_off_title": case.precision([word for word in case.new if word not in titled]),
        "bigrams": _mean([float(pair in said) for pair in pairs]) if pairs else complete,
        "trigrams": trigram_share(folded(item.gold), folded(item.answer)),
        "contained": float(gold in answer and bool(gold.strip())),
        "complete_in_first_sentence": float(all(value >= FOUND for value in in_first)),
        "found_by_length": case.share(found) * math.log1p(len(case.wanted)),
    }


def _least_part(case: _Case) -> float:
    """Of a gold answer that lists several things, how much of the least matched one is there."""
    parts = [[stem(word) for word in words(part)] for part in _PARTS.split(case.item.gold)]
    content = [[word for word in part if word not in LITTLE] for part in parts]
    shares = [_mean([best_match(word, case.content) for word in part]) for part in content if part]
    return min(shares) if len(shares) > 1 else 0.0


def _numbers(case: _Case) -> dict[str, float]:
    wanted = [word for word in case.gold if word[0].isdigit() and word not in case.asked]
    given = {word for word in case.given if word[0].isdigit()}
    missed = [word for word in wanted if word not in given]
    others = given - case.asked - set(case.gold)
    return {
        "number_missed": float(bool(missed)),
        "number_contradicted": float(bool(missed and others)),
        "numbers_found": float(bool(wanted) and not missed),
        "share_of_numbers": 1 - len(missed) / len(wanted) if wanted else 0.0,
        "numbers_beside": float(bool(wanted and not missed and others)),
        "number_unasked": float(bool(others) and not wanted),
    }


def _names(case: _Case) -> dict[str, float]:
    titled = {stem(word) for word in words(case.item.title)}
    given = _capitalised(case.item.answer) - case.asked - titled
    rivals = [name for name in given if best_match(name, case.gold_content) < 0.5]
    missed = [n for n in _capitalised(case.item.gold) - case.asked if case.found.get(n, 1.0) < 0.5]
    return {
        "name_missed": float(bool(missed)),
        "rival_name": float(bool(missed and rivals)),
        "other_names": math.log1p(len(rivals)),
    }


def _manner(case: _Case) -> dict[str, float]:
    asked, given = set(words(case.item.question)), set(words(case.item.answer))
    denied = {w for w in given if w in _NEGATIONS or w.endswith("n't")}
    content = [word for word in case.asked if word not in LITTLE]
    short = float(0 < len(case.given) <= 6)
    return {
        "empty": float(not case.given),
        "nothing_new": float(not case.new),
        "log_words": math.log1p(len(case.given)),
        "log_wanted": math.log1p(len(case.wanted)),
        "one_word_wanted": float(len(case.wanted) == 1),
        "short": short,
        "short_and_found": short * case.share(case.found),
        "denied": float(bool(denied) and not _NEGATIONS & (asked | set(words(case.item.gold)))),
        "echo": _mean([float(word in case.given) for word in content]),
        "asks_who": float("who" in asked),
        "asks_how": float("how" in asked),
        "asks_how_many": float(bool(asked & {"many", "much"})),
    }


def _capitalised(text: str) -> set[str]:
    found = {stem(word) for name in _CAPITALISED.findall(text) for word in words(name)}
    return found - LITTLE


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def rarities(texts: Iterable[str]) -> dict[str, float]:
    """Rarity of the stems of a collection of texts; those found once are as rare as those never seen."""
    held: dict[str, int] = {}
    count = 0
    for text in texts:
        count += 1
        for word in {stem(word) for word in words(text)}:
            held[word] = held.get(word, 0) + 1
    rare = {word: round(math.log(count / times), 2) for word, times in sorted(held.items()) if times > 1}
    return {"": round(math.log(max(count, 2)), 2), **rare}
