"""What the offline verdict looks at: how an answer's words stand to those of the gold answer and the question.

Nothing here is a trait of the question alone: such features would learn the questions of the records by heart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from seal_ray.grading.base import Item
from seal_ray.grading.manner import bounded, manner, texture
from seal_ray.grading.matching import FOUND, best_match, longest_run, match, trigram_share
from seal_ray.grading.quantities import FAR, distance, months, share_of_years_met, units_differ, values
from seal_ray.grading.text import LITTLE_WORDS, folded, normalized, stem, words
from seal_ray.record.unspaced import UNSPACED, spaced

Rarity = Mapping[str, float]
"""How rare a stem is: the logarithm of texts per text that holds it; `""` is for stems rarely or never seen."""

LITTLE = {stem(word) for word in LITTLE_WORDS}
_NEGATIONS = {"not", "no", "never", "none", "neither", "nor", "without", "cannot", "nothing"}
_CAPITALISED = re.compile(r"[A-Z][\w'’-]*")
_LOWERED = re.compile(r"\b[a-z][\w'’-]*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"])|\n+")
_PARTS = re.compile(r",|;| and | or ")
_DOTTED = re.compile(r"\b(?:[A-Za-z]\.){2,}")
_CONTRAST = re.compile(
    r"\b(but|however|although|though|rather|instead|whereas|while|despite|except|contrary|unlike|actually)\b"
)
_NO_ANSWER = re.compile(
    r"\b(there (is|are) no|not (possible|clear|specified|provided|mentioned)|no (specific|information)|cannot"
    r"|misunderstanding|unknown|don't know|unclear|does not|did not|has not)\b"
)


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
    def titled(self) -> set[str]:
        return {stem(word) for word in words(self.item.title)}

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
        chosen = [w for w in self.gold_content if w not in self.asked] or self.gold_content
        return list(dict.fromkeys(chosen))

    @cached_property
    def content(self) -> list[str]:
        kept = set(self.gold_content)
        return [word for word in dict.fromkeys(self.given) if word not in LITTLE or word in kept]

    @cached_property
    def new(self) -> list[str]:
        """Words of the answer that the question did not bring."""
        return self.news(self.given)

    @cached_property
    def found(self) -> dict[str, float]:
        """How well each wanted word is matched; words stand for the abbreviation they spell."""
        initials = "".join(word[0] for word in words(self.item.answer) if stem(word) not in LITTLE)
        short = {w.lower() for w in re.findall(r"\b[A-Z]{2,5}\b", self.item.gold) if w.lower() in initials}
        # a word of the question, said again, is no near spelling of a wanted one
        fresh = [word for word in self.content if word not in self.asked]
        near = {
            w: 1.0 if w in self.content else best_match(w, self.content if w in self.asked else fresh)
            for w in self.wanted
        }
        return {word: max(0.9 * (word in short), value) for word, value in near.items()}

    @cached_property
    def complete(self) -> bool:
        return bool(self.given) and all(value >= FOUND for value in self.found.values())

    @cached_property
    def numbers(self) -> list[str]:
        """Gold numbers that the question does not give away."""
        return [word for word in self.gold if word[0].isdigit() and word not in self.asked]

    def news(self, said: Sequence[str]) -> list[str]:
        return [word for word in dict.fromkeys(said) if word not in self.asked and word not in LITTLE]

    def wrong(self, said: Sequence[str]) -> float:
        """The rarity of the new words that are not gold."""
        return sum(self.rare(word) for word in self.news(said) if best_match(word, self.gold_content) < 0.5)

    def share(self, found: Mapping[str, float]) -> float:
        total = sum(self.rare(word) for word in found)
        return sum(self.rare(word) * value for word, value in found.items()) / total if total else 0.0

    def recall(self, said: Sequence[str]) -> float:
        return self.share({word: best_match(word, said) for word in self.wanted})

    def precision(self, said: Sequence[str]) -> float:
        return self.share({word: best_match(word, self.gold_content) for word in said})

    def rivals(self, text: str) -> int:
        """Names in a text that neither the question nor the title nor the gold answer brings."""
        names = _capitalised(text) - self.asked - self.titled
        return sum(best_match(name, self.gold_content) < 0.5 for name in names)


def features(item: Item, rarity: Rarity) -> tuple[dict[str, float], dict[str, float]]:
    """What the answer says and how it says it, by name; the weights are for these."""
    item = bounded(item)
    if UNSPACED.search(item.gold):
        item = Item(*map(spaced, (item.question, item.gold, item.answer, item.title)))
    item = replace(item, question=_undotted(item.question), gold=_undotted(item.gold), answer=_undotted(item.answer))
    case = _Case(replace(item, answer=_spelled_out(item)), rarity)
    found = {**_overlap(case), **_sentences(case), **_order(case), **_numbers(case), **_names(case), **_manner(case)}
    found |= texture(case.item.answer, case.given, LITTLE, rarity)
    return found, manner(found, len(set(case.new) - set(case.gold_content)))


def _undotted(text: str) -> str:
    return _DOTTED.sub(lambda found: found[0].replace(".", ""), text)


def _spelled_out(item: Item) -> str:
    """The answer with the gold answer instead of its abbreviation, unless the question brings that."""
    short = "".join(word[0] for word in words(item.gold) if stem(word) not in LITTLE).upper()
    if len(short) < 2 or not short.isalpha() or short in item.question:
        return item.answer
    return re.sub(rf"\b{short}\b", lambda _: item.gold, item.answer)


def _overlap(case: _Case) -> dict[str, float]:
    found, item = case.found, case.item
    missing = [case.rare(word) * (1 - value) for word, value in found.items()]
    pairs, said = list(zip(case.gold, case.gold[1:], strict=False)), set(zip(case.given, case.given[1:], strict=False))
    gold, answer = f" {normalized(item.gold)} ", f" {normalized(item.answer)} "
    return {
        "share_found": case.share(found),
        "share_of_all_gold": _mean([best_match(word, case.content) for word in case.gold_content]),
        "share_exact": _mean([float(word in case.given) for word in found]),
        "complete": float(case.complete),
        "none_found": float(all(value < 0.5 for value in found.values())),
        "missing": sum(missing),
        "worst_missing": max(missing, default=0.0),
        "rarest_found": found.get(max(found, key=case.rare, default=""), 0.0),
        "first_found": found[case.wanted[0]] if case.wanted else 0.0,
        "last_found": found[case.wanted[-1]] if case.wanted else 0.0,
        "least_part": _least_part(case),
        "precision_off_title": case.precision([word for word in case.new if word not in case.titled]),
        "bigrams": _mean([float(pair in said) for pair in pairs]) if pairs else float(case.complete),
        "trigrams": trigram_share(folded(item.gold), folded(item.answer)),
        "longest_run": longest_run(folded(item.gold), folded(item.answer)),
        "contained": float(gold in answer and bool(gold.strip())),
        "found_by_length": case.share(found) * math.log1p(len(case.wanted)),
    }


def _least_part(case: _Case) -> float:
    """How much is there of the least matched thing that a gold answer lists."""
    parts = [[stem(word) for word in words(part)] for part in _PARTS.split(case.item.gold)]
    content = [[word for word in part if word not in LITTLE and word not in case.asked] for part in parts]
    shares = [_mean([best_match(word, case.content) for word in part]) for part in content if part]
    return min(shares) if len(shares) > 1 else case.share(case.found)


def _sentences(case: _Case) -> dict[str, float]:
    """The first sentence, and the one that holds most of the gold answer."""
    texts = [text for text in _SENTENCE_END.split(case.item.answer.strip()) if text.strip()] or [""]
    stems = [[stem(word) for word in words(text)] for text in texts]
    recalls = [case.recall(said) for said in stems]
    there = max(range(len(texts)), key=recalls.__getitem__)
    best = recalls[there]
    new = case.news(stems[0])
    echoes = {word: best_match(word, stems[there]) for word in case.asked if word not in LITTLE}
    off_title = {word: value for word, value in echoes.items() if word not in case.titled}
    listed = len(_PARTS.split(texts[there])) - len(_PARTS.split(case.item.gold))
    return {
        "found_in_first": recalls[0],
        "agrees_in_first": _harmonic(case.precision(new), recalls[0]),
        "nothing_new_in_first": float(not new),
        "wrong_in_first": case.wrong(stems[0]) / 20,
        "found_late": math.log1p(there) * best,
        "asked_there": case.share(echoes),
        "asked_and_found_there": case.share(echoes) * best,
        "asked_there_off_title": case.share(off_title),
        "contrast_there": float(bool(_CONTRAST.search(texts[there].lower()))) * best,
        "denied_there": _denied(case, texts[there]) * best,
        "names_there": math.log1p(case.rivals(texts[there])),
        "names_and_found_there": math.log1p(case.rivals(texts[there])) * best,
        "list_and_found_there": math.log1p(max(0, listed)) * best,
    }


def _order(case: _Case) -> dict[str, float]:
    """What comes before the first gold word, and how far apart the gold words stand."""
    at = [next((n for n, said in enumerate(case.given) if match(w, said) >= FOUND), -1) for w in case.wanted]
    places = [place for place in at if place >= 0]
    first = min(places, default=len(case.given))
    between = max(places) - min(places) - len(places) + 1 if places else 0
    return {
        "first_place": first / max(1, len(case.given)),
        "new_before": math.log1p(len(case.news(case.given[:first]))),
        "wrong_before": case.wrong(case.given[:first]) / 20 * case.share(case.found) if places else 0.0,
        "spread": math.log1p(max(0, between)),
    }


def _numbers(case: _Case) -> dict[str, float]:
    given = {word for word in case.given if word[0].isdigit()}
    missed = [word for word in case.numbers if word not in given]
    others = given - case.asked - set(case.gold) - {"1"}  # `one of` counts nothing
    asked = set(values(case.item.question))
    said = [value for value in values(case.item.answer) if value not in asked]
    off = [distance(value, said) for value in values(case.item.gold) if value not in asked]
    furthest = max(off, default=FAR)
    wanted, told = months(case.item.gold), months(case.item.answer)
    return {
        "number_missed": float(bool(missed)),
        "number_contradicted": float(bool(missed and others)),
        "number_same": float(furthest < 1e-6),
        "number_close": float(1e-6 < furthest < 0.12),
        "number_near": float(1e-6 < furthest < 0.35),
        "number_off": _mean(off) if said else 0.0,
        "numbers_beside": math.log1p(len(others)) if case.numbers else 0.0,
        "number_unasked": float(bool(others) and not case.numbers),
        "number_found": float(bool(case.numbers)) * case.share(case.found),
        "unit_contradicted": float(units_differ(case.item.gold, case.item.answer)),
        "years_met": share_of_years_met(case.item.gold, case.item.answer) * float(bool(missed) or not case.numbers),
        "month_contradicted": float(bool(wanted and told and not wanted & told)),
    }


def _names(case: _Case) -> dict[str, float]:
    gold, rivals = _capitalised(case.item.gold) - case.asked, case.rivals(case.item.answer)
    missed = [name for name in gold if case.found.get(name, 1.0) < 0.5]
    plain = {stem(word) for name in _LOWERED.findall(case.item.answer) for word in words(name)}
    uncapitalised = plain - _capitalised(case.item.answer)
    return {
        "other_names": math.log1p(rivals),
        "rival_names": math.log1p(rivals) * float(bool(missed)),
        "name_halved": float(0 < len(missed) < len(gold)),
        "name_found": float(bool(gold)) * case.share(case.found),
        "name_uncapitalised": _mean([float(name in uncapitalised) for name in gold]) * case.share(case.found),
    }


def _manner(case: _Case) -> dict[str, float]:
    text, found = case.item.answer, case.share(case.found)
    asked = set(words(case.item.question))
    short = float(0 < len(case.given) <= 6)
    content = [word for word in case.asked if word not in LITTLE]
    return {
        "nothing_new": float(not case.new),
        "log_words": math.log1p(len(case.given)),
        "short": short,
        "short_and_complete": short * float(case.complete),
        "denied": _denied(case, text),
        "no_answer": float(bool(_NO_ANSWER.search(text.lower()))),
        "echo": _mean([float(word in case.given) for word in content]),
        "repeats": 1 - len(set(case.given)) / max(1, len(case.given)),
        "found_who": found * float("who" in asked),
        "found_why": found * float("why" in asked),
        "found_how": found * float("how" in asked),
        "found_how_many": found * float(bool(asked & {"many", "much"})),
    }


def _denied(case: _Case, text: str) -> float:
    denied = {word for word in words(text) if word in _NEGATIONS or word.endswith("n't")}
    return float(bool(denied) and not _NEGATIONS & {*words(case.item.question), *words(case.item.gold)})


def _capitalised(text: str) -> set[str]:
    found = {stem(word) for name in _CAPITALISED.findall(text) for word in words(name)}
    return found - LITTLE


def _harmonic(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


_OFTEN = 4
"""Texts that a stem must stand in for its rarity to be told."""


def rarities(texts: Iterable[str]) -> dict[str, float]:
    """Rarity of the stems of a collection of texts; one that stands in too few is as rare as those never seen."""
    held: dict[str, int] = {}
    count = 0
    for text in texts:
        count += 1
        for word in {stem(word) for word in words(text)}:
            held[word] = held.get(word, 0) + 1
    rare = {word: round(math.log(count / times), 1) for word, times in sorted(held.items()) if times >= _OFTEN}
    return {"": round(math.log(max(count, 2)), 1), **rare}
