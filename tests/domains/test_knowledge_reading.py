"""Passages out of every form of file, and what is said about the ones that cannot be read."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from seal_ray.domains.knowledge.reading import passages
from seal_ray.types import UserError
from tests.shared import SHARED, needs_shared

FLAT = [
    {"title": "Otters", "context": "Otters hold hands.", "questions": [{"question": "Who?", "answer": "Otters"}]},
    {"title": "Otters", "context": "They eat fish.", "questions": [{"question": "What?", "answer": "fish"}]},
]
HUB = [
    {"id": "1", "title": "O", "context": "Otters hold hands.", "question": "Who?", "answers": {"text": ["Otters", ""]}},
    {"id": "2", "title": "O", "context": "Otters hold hands.", "question": "What?", "answers": {"text": ["hands"]}},
    {"id": "3", "title": "O", "context": "They eat fish.", "question": "What?", "answers": {"text": ["fish"]}},
    {"id": "4", "title": "O", "context": "They sleep.", "question": "Why?", "answers": {"text": []}},
]
SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "Sea_otters",
            "paragraphs": [
                {
                    "context": "Otters hold hands.",
                    "qas": [
                        {"id": "1", "question": "Who?", "answers": [{"text": "Otters", "answer_start": 0}]},
                        {"id": "2", "question": "Why?", "answers": [], "is_impossible": True},
                    ],
                },
                {"context": "They eat fish.", "qas": [{"id": "3", "question": "What?", "answers": [{"text": "fish"}]}]},
            ],
        }
    ],
}


def write(path: Path, rows: Any) -> str:
    if path.suffix == ".json":
        path.write_text(json.dumps(rows, ensure_ascii=False, indent=1))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        table = pa.Table.from_pylist(rows)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    return str(path)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_file_as_windows_saves_it_is_read_like_any_other(tmp_path: Path, name: str) -> None:
    path = Path(write(tmp_path / name, FLAT))
    plain = list(passages(str(path)))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert list(passages(str(path))) == plain


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.parquet", "a.arrow"])
def test_whole_passages_are_read_alike_from_every_form(tmp_path: Path, name: str) -> None:
    found = list(passages(write(tmp_path / name, FLAT)))
    assert [(p.title, p.context, p.questions) for p in found] == [
        ("Otters", "Otters hold hands.", (("Who?", "Otters"),)),
        ("Otters", "They eat fish.", (("What?", "fish"),)),
    ]
    assert len({p.id for p in found}) == 2, "passages that share a title have ids of their own"


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.parquet", "a.arrow"])
def test_rows_of_one_question_each_are_joined_by_their_passage(tmp_path: Path, name: str) -> None:
    found = list(passages(write(tmp_path / name, HUB)))
    assert [p.questions for p in found] == [(("Who?", "Otters"), ("What?", "hands")), (("What?", "fish"),)]


def test_squad_is_read_as_published(tmp_path: Path) -> None:
    found = list(passages(write(tmp_path / "train-v2.0.json", SQUAD)))
    assert [(p.title, p.context, p.questions) for p in found] == [
        ("Sea otters", "Otters hold hands.", (("Who?", "Otters"),)),
        ("Sea otters", "They eat fish.", (("What?", "fish"),)),
    ]


@needs_shared
def test_the_published_development_passages_are_read_whole() -> None:
    path = SHARED / "data/squad/squad_val_first600.json"
    found = list(passages(str(path)))
    recorded = json.loads(path.read_text(encoding="utf-8"))
    assert [(p.title, p.context, len(p.questions)) for p in found] == [
        (row["title"].replace("_", " "), row["context"], len(row["questions"])) for row in recorded
    ]


def test_a_dataset_saved_to_disk_is_read_without_its_library(tmp_path: Path) -> None:
    write(tmp_path / "data-00000-of-00002.arrow", HUB[:2])
    write(tmp_path / "data-00001-of-00002.arrow", HUB[2:])
    (tmp_path / "state.json").write_text("{}")
    (tmp_path / "dataset_info.json").write_text("{}")
    assert [len(p.questions) for p in passages(str(tmp_path))] == [2, 1]


def test_a_folder_of_texts_becomes_passages_whose_questions_are_yet_to_be_written(tmp_path: Path) -> None:
    paragraph = "Otters hold hands. " * 60
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "sea_otters.txt").write_text(f"{paragraph}\n\n{paragraph}\n\n{paragraph}\n")
    (tmp_path / "guide.md").write_text("# The Guide\nFirst words.\n\nSecond words.\n\n# Annex\n\nMore.\n")
    (tmp_path / "empty.txt").write_text("\n\n")
    found = list(passages(str(tmp_path)))
    assert [(p.title, p.context.split()[0]) for p in found] == [
        ("The Guide", "First"),
        ("Annex", "More."),
        *[("sea otters", "Otters")] * 3,
    ]
    assert found[0].context == "First words.\n\nSecond words."
    assert all(p.questions == () for p in found)


@pytest.mark.parametrize("answer", [["fish", "meat"], [{"text": "fish"}], {"text": ["", "fish"]}, "fish"])
def test_of_a_list_of_answers_the_first_counts(tmp_path: Path, answer: Any) -> None:
    row = {"title": "O", "context": "They eat fish.", "questions": [{"question": "What?", "answer": answer}]}
    assert next(passages(write(tmp_path / "a.jsonl", [row]))).questions == (("What?", "fish"),)


def asked(**changes: Any) -> dict[str, Any]:
    return {**FLAT[0], **changes}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (asked(questions=[]), 'a.jsonl:2: "questions" is empty; give at least one'),
        (asked(questions="Who?"), 'a.jsonl:2: "questions" is str, expected a list'),
        (asked(questions=[{"answer": "x"}]), 'a.jsonl:2, question 1: no "question" text'),
        (asked(questions=[{"question": "Who?"}]), "a.jsonl:2, question 1: the answer is empty"),
        (asked(questions=[{"question": "Who?", "answer": [" "]}]), "a.jsonl:2, question 1: the answer is empty"),
        (asked(questions=[{"question": "Who?", "answer": [[1]]}]), "a.jsonl:2, question 1: an answer is list"),
        (asked(questions=[{"question": "Who?", "answer": float("nan")}]), "a.jsonl:2, question 1: an answer is nan"),
        (asked(questions=[{"question": "Who?", "answer": True}]), "a.jsonl:2, question 1: an answer is bool"),
        (asked(context=" \n"), 'a.jsonl:2: "context" is empty'),
        ({"title": "O"}, 'a.jsonl:2: no "context"'),
        (["O"], "a.jsonl:2: expected an object with title, context and questions, found list"),
    ],
)
def test_an_unusable_entry_is_named_in_one_line(tmp_path: Path, row: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        list(passages(write(tmp_path / "a.jsonl", [FLAT[0], row])))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.json", b'[{"title": "\xff"}]', "not UTF-8"),
        ("a.jsonl", b"\xff\n", "not UTF-8"),
        ("a.txt", b"\xe9t\xe9", "not UTF-8"),
        ("a.json", b'{"articles": []}', "expected a list of passages"),
        ("a.json", b'[{"title": "O"', "not valid JSON"),
        ("a.json", b'[{"context": "O"}]\n[{"context": "P"}]', "something was joined to it"),
        ("a.json", b'{"data": [{"context": "O"}]', "or it was cut off"),
        ("a.jsonl", b"{\n", "a.jsonl:1: not valid JSON"),
        ("a.parquet", b"nonsense", "cannot be read"),
        ("a.csv", b"a,b", "unknown form"),
        ("a.json", None, "no such file"),
    ],
)
def test_an_unusable_file_is_named_in_one_line(tmp_path: Path, name: str, data: bytes | None, said: str) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(UserError, match=said) as caught:
        list(passages(str(path)))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_with_nothing_to_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no file of a known form"):
        list(passages(str(tmp_path)))


def test_a_hub_dataset_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(UserError, match="pip install datasets"):
        list(passages("hf:rajpurkar/squad"))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count"), [("many.jsonl", 100_000), ("many.json", 10_000)])
def test_memory_stays_flat_over_many_passages(tmp_path: Path, name: str, count: int) -> None:
    path = tmp_path / name
    row = json.dumps({"title": "T", "context": "word " * 20, "questions": [{"question": "Q?", "answer": "A"}]})
    with path.open("w") as file:
        file.write("[" if name == "many.json" else "")
        file.writelines(f"{',' if number and name == 'many.json' else ''}{row}\n" for number in range(count))
        file.write("]" if name == "many.json" else "")
    found = passages(str(path))
    next(found)
    tracemalloc.start()
    for _ in range(2_000):
        next(found)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 1e6
    assert sum(1 for _ in found) == count - 2_001
