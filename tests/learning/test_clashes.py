"""Two documents that seem to contradict each other: whoever gives them is told, and both are taught."""

from __future__ import annotations

from pathlib import Path

import pytest

from seal_ray.domains.knowledge.clashing import differ_in_one_place
from seal_ray.grading.text import words
from seal_ray.learning.clashes import clashes, told
from seal_ray.learning.documents import read_documents
from seal_ray.learning.learn import learnt


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("A car costs twenty crowns.", "A car costs thirty crowns.", True),
        ("The captain is Hester Quill.", "The captain is Amos Bell.", True),
        ("Tickets are sold on board.", "Tickets are sold at the old pier.", False),
        ("She was built in 1962.", "She was built in 1958, in Tolland.", False),
        ("It takes twenty minutes.", "It takes 20 minutes.", False),
        ("The inn is open.", "The inn is open today.", False),
        ("In summer she crosses four times a day.", "In winter she crosses twice a day.", False),
        ("Yes.", "No.", False),
    ],
)
def test_sentences_that_differ_in_one_place_are_told_from_those_that_differ_in_more_or_only_in_words(
    one: str, other: str, differ: bool
) -> None:
    assert differ_in_one_place(words(one), words(other)) is differ
    assert differ_in_one_place(words(other), words(one)) is differ


def written(folder: Path, **texts: str) -> Path:
    """Documents of these names, read as passages; the file that holds them."""
    for name, text in texts.items():
        (folder / f"{name}.md").write_text(text)
    return read_documents([folder / f"{name}.md" for name in texts], folder).file


def test_each_pair_of_two_documents_is_found_once_and_none_within_one(tmp_path: Path) -> None:
    old = "# Fares\n\nA car costs twenty crowns. A goat costs twenty crowns. Dogs are welcome.\n\n* Bring coins."
    new = "# Fares\n\nBicycles are free. A car costs thirty crowns.\n\n* Bring coins."
    found = clashes(written(tmp_path, old=old, new=new))
    assert [(one.sentence, other.sentence) for one, other in found] == [
        ("A car costs twenty crowns.", "A car costs thirty crowns.")
    ]
    assert told(found) == [
        f"{tmp_path}/old.md says “A car costs twenty crowns.”, and {tmp_path}/new.md says “A car costs thirty "
        "crowns.”: both are taught; if only one is true, take out the other"
    ]
    assert not clashes(written(tmp_path, old=old))


def test_a_number_below_zero_clashes_with_the_one_above(tmp_path: Path) -> None:
    cold, warm = (f"In winter the lake is {degrees} °C at noon." for degrees in ("-5", "5"))
    ((one, other),) = clashes(written(tmp_path, cold=cold, warm=warm))
    assert {one.sentence, other.sentence} == {cold, warm}


def test_of_many_pairs_the_first_are_told_and_the_others_counted(tmp_path: Path) -> None:
    halls = [f"Hall {number} is painted all in " for number in range(7)]
    blue, green = ("\n\n".join(f"{hall}{colour}." for hall in halls) for colour in ("blue", "green"))
    *shown, last = told(clashes(written(tmp_path, blue=blue, green=green)))
    assert len(shown) == 5
    assert last == "2 more pairs of sentences differ so"


def test_learning_says_so_before_it_begins(tmp_path: Path) -> None:
    class Enough(Exception):
        """What was to be heard was heard."""

    def say(line: str) -> None:
        if "says “It opens at nine.”" in line:
            raise Enough

    written(tmp_path, old="It opens at eight.", new="It opens at nine.")
    with pytest.raises(Enough):
        learnt([tmp_path], "microworld", tmp_path / "out", say=say)
    assert not (tmp_path / "out").exists()
