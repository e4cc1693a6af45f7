"""Documents in other scripts: they are cut, asked about, and judged, as English ones are."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unicodedata import normalize

import pytest

from seal_ray.continual.library import Index, nearest
from seal_ray.domains.knowledge.domain import Knowledge
from seal_ray.domains.knowledge.questions import parse_questions
from seal_ray.grading.base import F1, Exact, Item
from seal_ray.grading.offline import Offline

GREEK = "Το πλοίο διασχίζει τη λίμνη δύο φορές την ημέρα. Καπετάνισσα είναι η Μάρα Τόλεν."
CHINESE = "渡轮每天两次横渡湖面。船长是马拉托伦，船是绿色的。"

ANSWERS = {
    "Greek": ("Ποια είναι η καπετάνισσα;", "Μάρα Τόλεν", "Η καπετάνισσα είναι η Μάρα Τόλεν.", "Νίκος Παππάς"),
    "Greek years": ("Πότε ιδρύθηκε το λιμάνι;", "το 1987", "Ιδρύθηκε το 1987.", "το 1978"),
    "Chinese": ("渡轮的船长是谁？", "马拉托伦", "船长是马拉托伦。", "李小龙"),
    "Chinese in a sentence": ("渡轮是什么颜色的？", "绿色", "渡轮是绿色的。", "蓝色的"),
    "Chinese years": ("港口建于哪一年？", "1987年", "港口建于1987年。", "1978年"),
    "Japanese": ("船長は誰ですか。", "マラ・トレン", "マラ・トレンです。", "田中"),
}


@pytest.mark.parametrize("script", ANSWERS)
def test_the_offline_verdict_tells_right_from_wrong(script: str) -> None:
    question, gold, *answers = ANSWERS[script]
    right, wrong = asyncio.run(Offline().grade([Item(question, gold, answer) for answer in answers]))
    assert right > 0.9
    assert wrong < 0.1
    assert asyncio.run(F1().grade([Item(question, gold, answers[0])])) > [0.4]


ONE_MARK_APART = {
    "Japanese": ("パリ", "バリ"),  # Paris and Bali
    "Hindi": ("राम", "रोम"),  # Ram and Rome
    "Thai": ("กิน", "กัน"),  # to eat, and one another
    "Tamil": ("கல்", "கால்"),  # a stone and a leg
}


@pytest.mark.parametrize("script", ONE_MARK_APART)
def test_a_mark_that_makes_another_word_makes_another_answer(script: str) -> None:
    gold, other = ONE_MARK_APART[script]
    for grader in (Exact(), F1(), Offline()):
        said = [Item("?", gold, answer) for answer in (gold, normalize("NFD", gold), other)]
        right, decomposed, wrong = asyncio.run(grader.grade(said))
        assert right == decomposed > 0.9
        assert wrong <= 0.5
    assert asyncio.run(Exact().grade([Item("?", gold, other)])) == [0]


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("Café Müller", normalize("NFD", "cafe muller")),
        ("שָׁלוֹם", "שלום"),
        ("مُحَمَّد", "محمد"),
        ("١٩٤٥", "1945"),
        ("Straße", "STRASSE"),
    ],
)
def test_marks_and_forms_that_are_left_out_as_readily_as_set_make_no_other_answer(gold: str, answer: str) -> None:
    assert asyncio.run(Exact().grade([Item("?", gold, answer)])) == [1]


SHELVES = {
    "Chinese": (
        ["渡轮\n渡轮每天两次横渡湖面。船长是马拉托伦，船是绿色的。", "博物馆\n博物馆建于1642年，用来守护盐路。"],
        ["渡轮的船长是谁？", "谁建造了博物馆？", "法国的首都是哪里？"],
    ),
    "Japanese": (
        ["渡し船\n渡し船は一日に二度湖を渡る。船長はマラ・トレンです。", "博物館\n博物館は1642年に建てられた。"],
        ["渡し船の船長は誰ですか。", "博物館はいつ建てられましたか。", "フランスの首都はどこ？"],
    ),
    "Thai": (
        ["เรือเฟอร์รี่\nเรือเฟอร์รี่ข้ามทะเลสาบวันละสองครั้ง กัปตันคือมารา โทเลน", "พิพิธภัณฑ์\nพิพิธภัณฑ์สร้างในปี 1642"],
        ["ใครเป็นกัปตันเรือเฟอร์รี่", "พิพิธภัณฑ์สร้างในปีใด", "เมืองหลวงของฝรั่งเศสคืออะไร"],
    ),
}


@pytest.mark.parametrize("script", SHELVES)
def test_a_question_finds_its_passage_where_no_spaces_stand_between_words(script: str) -> None:
    passages, questions = SHELVES[script]
    assert nearest(questions, passages) == [0, 1, None]
    assert [Index(passages).closest(question, 1) for question in questions[:2]] == [[0], [1]]


@pytest.mark.parametrize(("name", "text"), [("πλοίο", GREEK), ("渡轮", CHINESE)])
def test_a_document_becomes_passages_prompts_and_texts_to_train_on(tmp_path: Path, name: str, text: str) -> None:
    paragraphs = [f"{number}. {text * 24}" for number in range(5)]
    (tmp_path / f"{name}.md").write_text(f"# {name}\n\n" + "\n\n".join(paragraphs))
    domain = Knowledge(Knowledge.Options(train=str(tmp_path), test_fraction=0.0, shuffle=False))
    tasks = domain.tasks("train", None, 0)
    assert len({task.id for task in tasks}) == len(tasks) >= 2
    assert "\n\n".join(task.context for task in tasks) == "\n\n".join(paragraphs)
    assert all(name in str(domain.prompt(task)) and text in str(domain.prompt(task)) for task in tasks)
    recipe = domain.recipe(tasks[0], f"1. {text}\n2. {text[::-1]}", 0)
    assert [example.completion for example in recipe.examples[:2]] == [f"{name}\n1. {text}", f"{name}\n2. {text[::-1]}"]


@pytest.mark.parametrize(
    ("said", "pairs"),
    [
        ("Question 1: Ποια είναι;\nAnswer: Η Μάρα.", (("Ποια είναι;", "Η Μάρα."),)),
        ("Question 1: Ποια είναι\u037e\nAnswer: Η Μάρα.", (("Ποια είναι\u037e", "Η Μάρα."),)),
        ("Question 1：船长是谁？\nAnswer：马拉托伦", (("船长是谁？", "马拉托伦"),)),
        ("Question 1: من هو القبطان؟\nAnswer: مارا", (("من هو القبطان؟", "مارا"),)),
    ],
)
def test_questions_end_as_their_script_ends_them(said: str, pairs: tuple[tuple[str, str], ...]) -> None:
    assert parse_questions(said) == pairs
