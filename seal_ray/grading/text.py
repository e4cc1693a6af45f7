"""Words as the graders see them: case, accents, punctuation and spelled-out numbers do not matter."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

from seal_ray.record.unspaced import MARKS, UNSPACED, spaced

_LETTERS = rf"(?:[^\W\d_]++[{MARKS}]*+)++"  # possessive: no word is tried again in parts
_WORD = re.compile(rf"\d+(?:[.,]\d+)*|{_LETTERS}(?:'{_LETTERS}|(?:\+\+|#)(?!\w))?")
_MINUS = re.compile(r"(?:(?<![\w.,-])(?<!\d\s)[-−–]|\bnegative\s+)(?=[$€£]?\.?\d)")
"""A sign before a number, and no hyphen (3-5, F-16) nor the dash of a range (3 –5)."""
_PLUS = re.compile(r"(?<=[^\W\d_])\+(?=\d)")
"""As in UTC+3, which is not UTC-3; a number that begins with one is the same without."""
_SUFFIX = re.compile(r"(?<=\d)(?:st|nd|rd|th|s)\b")
_LONGEST = 20_000
"""Characters. No gold answer comes near."""
_ARTICLES = {"a", "an", "the"}
_LITTLE = """
a an the of in on at to for from by with as and or nor but if so than then that this these those it its they them
their he him his she her hers we us our you your i me my is are was were be been being am do does did doing done has
have had having will would can could shall should may might must not no what which who whom whose when where why how
there here also about into over under between through during per any some all each other more most very just only own
same both up out off down minus s t
"""
LITTLE_WORDS = frozenset(_LITTLE.split())
"""English words that say little of what a text is about."""
_UNITS = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
]
_ORDINALS = [
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh"),
    *("twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth"),
    "twentieth",
]
_TENS = {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
NUMBERS = (
    {word: str(value) for value, word in enumerate(_UNITS)}
    | {word: str(value) for value, word in enumerate(_ORDINALS, start=1)}
    | {word: str(value) for word, value in _TENS.items()}
)


@lru_cache(maxsize=256)
def folded(text: str) -> str:
    """Lower case, without accents, with plain quotes and digits."""
    plain = unicodedata.normalize("NFKD", text.replace("’", "'").replace("‘", "'"))
    if plain.isascii():
        return plain.lower()
    return "".join([str(unicodedata.decimal(c, c)) for c in plain if not _is_accent(c)]).casefold()


def words(text: str) -> list[str]:
    """The words of a text, folded; `1,000` is `1000`, `five` is `5`, `-5` is `minus 5`, possessives lose their `'s`."""
    return list(_words(text))


@lru_cache(maxsize=256)
def _words(text: str) -> tuple[str, ...]:
    text = _PLUS.sub(" plus ", _MINUS.sub(" minus ", _SUFFIX.sub("", folded(text))))
    return tuple(_plain(word) for word in _WORD.findall(text))


def normalized(text: str) -> str:
    """Words without articles, one space between: what exact match compares, of texts that run wild their beginning.

    A text of nothing but articles (vitamin A) keeps them, and one without any word its signs.
    """
    said = words(text[:_LONGEST])
    return " ".join([word for word in said if word not in _ARTICLES] or said or folded(text[:_LONGEST]).split())


def f1(gold: str, answer: str) -> float:
    """Harmonic mean of the shares of gold words found and of answer words that are gold."""
    if UNSPACED.search(gold):
        gold, answer = spaced(gold[:_LONGEST]), spaced(answer[:_LONGEST])
    wanted, given = Counter(normalized(gold).split()), Counter(normalized(answer).split())
    shared = (wanted & given).total()
    return 2 * shared / (wanted.total() + given.total()) if shared else 0.0


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A crude stem that brings the forms of an English word together."""
    if word[0].isdigit() or len(word) < 4:
        return word
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) + len(instead) >= 3:
            word = word[: len(word) - len(ending)] + instead
            break
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "ls":
        word = word[:-1]
    return word[:-1] if len(word) > 4 and word[-1] == "e" else word


_ENDINGS = (
    ("ational", "ate"), ("ization", "ize"), ("isation", "ize"), ("fulness", "ful"), ("iveness", "ive"),
    ("ations", "ate"), ("ation", "ate"), ("ness", ""), ("ment", ""), ("ments", ""), ("ically", "ic"), ("ingly", ""),
    ("edly", ""), ("ies", "y"), ("ied", "y"), ("sses", "ss"), ("ings", ""), ("ing", ""), ("ers", "er"), ("ed", ""),
    ("es", "e"), ("ly", ""), ("s", ""),
)  # fmt: skip


def _is_accent(mark: str) -> bool:
    """Whether it is left out as readily as set: accents, and the points of Hebrew and Arabic.

    Marks of other classes are the vowels of Hindi and Thai, or make another syllable in Japanese.
    """
    place = unicodedata.combining(mark)
    return place > 200 or 10 <= place <= 36


def _plain(word: str) -> str:
    if word[0].isdigit():
        whole = word.replace(",", "")
        return whole.rstrip("0").rstrip(".") if whole.count(".") == 1 else whole  # of several, none is a decimal point
    word = word.removesuffix("'s")
    return NUMBERS.get(word, word)
