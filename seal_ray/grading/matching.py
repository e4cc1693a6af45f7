"""How well one word stands for another: equal stems, near spellings, shared beginnings, a short list of synonyms."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from seal_ray.grading.text import stem

FOUND = 0.8
"""A match from here on counts as the word itself."""
SYNONYM, SPELLING, PREFIX = 0.8, 0.9, 0.6

_SYNONYMS = """
big large great huge vast major | small little tiny minor | begin start commence launch | end finish conclude stop cease
film movie | car automobile vehicle | doctor physician | king monarch ruler | nation country state
many numerous several multiple | approximately about around roughly nearly almost | percent percentage
us usa america american | uk britain british england english | increase rise grow growth raise higher
decrease decline reduce fall drop lower shrink | war conflict | job occupation profession work | child children kid
woman women female girl | man men male boy | make create form establish found produce build construct
kill murder slay assassinate | buy purchase acquire | show demonstrate reveal | author writer | bad poor
rich wealthy | money cash fund funding | teacher instructor educator | law legislation act statute | bc bce | ad ce
predominantly mostly mainly primarily largely majority | private independent | movement motion | attack assault raid
damage harm destroy destruction | ship vessel boat | soldier troop army military force | mum mother | dad father
television tv | location place | cost price expense | influence impact effect affect | part portion section share
area region zone | faith religion religious | lack shortage absence | ban prohibit forbid
help aid assist assistance support | illness disease sickness | quick fast rapid | important significant key crucial
catholic catholicism | protestant protestantism | christian christianity | islam muslim islamic | europe european
germany german | france french | china chinese | japan japanese | russia russian soviet | italy italian | spain spanish
greek greece | rome roman | india indian | egypt egyptian | modern contemporary | divided fragmentation split
"""
_GROUP = {stem(word): n for n, group in enumerate(_SYNONYMS.replace("\n", "|").split("|")) for word in group.split()}


def best_match(word: str, pool: Iterable[str]) -> float:
    """How well the best of a pool of stems stands for this one, from 0 to 1."""
    return max((match(word, other) for other in pool), default=0.0)


@lru_cache(maxsize=1 << 18)
def match(word: str, other: str) -> float:
    if word == other:
        return 1.0
    if word[0].isdigit() or other[0].isdigit():
        return 0.0
    if _GROUP.get(word, -1) == _GROUP.get(other, -2):
        return SYNONYM
    shared, longer = _shared_beginning(word, other), max(len(word), len(other))
    if shared >= 4 and shared >= 0.6 * longer:
        return SPELLING
    if min(len(word), len(other)) > 4 and abs(len(word) - len(other)) <= 2:
        slips = _distance(word, other)
        if slips <= 1:
            return SPELLING
        if slips == 2 and min(len(word), len(other)) >= 7:
            return SYNONYM
    return PREFIX if shared >= 5 else 0.0


def trigram_share(wanted: str, text: str) -> float:
    """The share of a text's letter triples that stand in another."""
    triples = {wanted[i : i + 3] for i in range(len(wanted) - 2)}
    if not triples:
        return float(wanted in text)
    return len(triples & {text[i : i + 3] for i in range(len(text) - 2)}) / len(triples)


def _shared_beginning(word: str, other: str) -> int:
    for count, (a, b) in enumerate(zip(word, other, strict=False)):
        if a != b:
            return count
    return min(len(word), len(other))


def _distance(word: str, other: str) -> int:
    """Insertions, deletions and replacements between two words."""
    above = list(range(len(other) + 1))
    for i, a in enumerate(word, start=1):
        row = [i]
        for j, b in enumerate(other, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
        above = row
    return above[-1]
