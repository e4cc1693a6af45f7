"""Documents of every kind, cut at their headings: what passages they give, and what is said of those that give none."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from seal_ray.domains.knowledge.documents import document_passages
from seal_ray.types import UserError

PAGE = """<html><head><title>The Mill</title><style>p {}</style></head><body><nav>Home</nav>
<h1>The mill</h1><p>It grinds <a href="http://x">rye</a>.</p><h2>The miller</h2><p>She is Ada.</p>
<script>alert(1)</script></body></html>"""
WORD = """<?xml version="1.0" encoding="UTF-8"?>
<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>
<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>The mill</w:t></w:r></w:p>
<w:p><w:r><w:t>It grinds rye.</w:t></w:r></w:p></w:body></w:document>"""
STYLES = """<?xml version="1.0" encoding="UTF-8"?>
<w:styles xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">
<w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/></w:style></w:styles>"""
RELATIONS = """<?xml version="1.0" encoding="UTF-8"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Target="{}"
 Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{}"/></Relationships>"""
KINDS = """<?xml version="1.0" encoding="UTF-8"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/xml"/></Types>"""


def found(path: Path, size: int = 2000) -> list[tuple[str, str]]:
    return [(passage.title, passage.context) for passage in document_passages(path, size)]


def pdf(path: Path, *pages: str) -> Path:
    """A small PDF of such pages, each of the lines of a text; without a text a page has nothing."""
    first = [3 + 2 * number for number in range(len(pages))]
    bodies = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{' '.join(f'{number} 0 R' for number in first)}] /Count {len(pages)} >>",
    ]
    for number, text in zip(first, pages, strict=True):
        lines = " ".join(f"({line}) Tj T*" for line in text.splitlines())
        shown = f"BT /F1 9 Tf 72 720 Td 14 TL {lines} ET" if text else ""
        bodies += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {number + 1} 0 R "
            f"/Resources << /Font << /F1 {3 + 2 * len(pages)} 0 R >> >> >>",
            f"<< /Length {len(shown)} >>\nstream\n{shown}\nendstream",
        ]
    bodies.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    out, at = "%PDF-1.4\n", []
    for number, body in enumerate(bodies, 1):
        at.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in at)
    size = len(bodies) + 1
    out += f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\n"
    path.write_bytes(f"{out}startxref\n{len(out)}\n%%EOF\n".encode("latin-1"))
    return path


def word(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("[Content_Types].xml", KINDS)
        file.writestr("_rels/.rels", RELATIONS.format("word/document.xml", "officeDocument"))
        file.writestr("word/_rels/document.xml.rels", RELATIONS.format("styles.xml", "styles"))
        file.writestr("word/document.xml", WORD)
        file.writestr("word/styles.xml", STYLES)
    return path


@pytest.mark.parametrize("headings", [("C", "C++"), ("C++", "C#"), ("राम", "रोम"), ("กิน", "กัน")])
def test_headings_that_differ_in_a_sign_alone_are_both_said(tmp_path: Path, headings: tuple[str, str]) -> None:
    path = tmp_path / "a.md"
    path.write_text("# {}\n\n## {}\nA text.\n".format(*headings))
    assert found(path) == [(" / ".join(headings), "A text.")]


def test_a_heading_with_blanks_within_is_read_at_once(tmp_path: Path) -> None:
    """In more than their square, five thousand took minutes."""
    path = tmp_path / "a.md"
    path.write_text(f"# The{' ' * 20_000}mill ##\n\nIt grinds rye.\n")
    ((title, text),) = found(path)
    assert (title.split(), text) == (["The", "mill"], "It grinds rye.")


def test_a_passage_stands_under_its_headings_and_the_title_of_the_front_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text(
        '---\nauthor: Ada\ntitle: "The Mill"\n---\n# The mill\nOld.\n\n## Floor\nWide.\n### Oak\nHard.\n## Roof\nRed.\n'
    )
    assert found(path) == [
        ("The Mill", "Old."),
        ("The Mill / Floor", "Wide."),
        ("The Mill / Floor / Oak", "Hard."),
        ("The Mill / Roof", "Red."),
    ]


def test_a_rule_is_no_front_matter_and_a_comment_in_code_no_heading(tmp_path: Path) -> None:
    path = tmp_path / "a-note.md"
    path.write_text("---\nWords.\n\n```\n# no heading\n\nx = 1\n```\n")
    assert found(path) == [("a note", "Words.\n\n```\n# no heading\n\nx = 1\n```")]


def test_a_section_of_nothing_but_a_rule_is_no_passage(tmp_path: Path) -> None:
    path = tmp_path / "birds.md"
    path.write_text("# Herons\n\n---\n\n## Food\n\nThey eat fish.\n\n***\n\nAnd frogs.\n")
    assert found(path) == [("Herons / Food", "They eat fish.\n\nAnd frogs.")]


def test_code_on_a_single_line_hides_no_heading_after_it(tmp_path: Path) -> None:
    path = tmp_path / "birds.md"
    path.write_text("# Herons\n\n```pip install herons```\n\n# Frogs\n\nThey swim.\n")
    assert found(path) == [("Herons", "```pip install herons```"), ("Frogs", "They swim.")]


@pytest.mark.parametrize(("mark", "inner"), [("````", "```"), ("~~~", "```"), ("```", "~~~"), ("```", "```python")])
def test_code_ends_at_its_own_marks_and_not_at_others_within_it(tmp_path: Path, mark: str, inner: str) -> None:
    path = tmp_path / "a note.md"
    code = f"{mark}markdown\n# no heading\n\n{inner}\n\n# nor this\n{mark}"
    path.write_text(f"# Herons\n\n{code}\n\n# Frogs\n\nThey swim.\n")
    assert found(path) == [("Herons", code), ("Frogs", "They swim.")]


def test_a_long_paragraph_is_cut_between_sentences_and_a_long_sentence_between_words(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("One two three. Four five six. " + "word " * 20 + "end. 一二三。四五六。")
    pieces = [context for _, context in found(path, 30)]
    assert pieces[0] == "One two three. Four five six."
    assert max(map(len, pieces)) <= 31
    assert " ".join(pieces).split() == path.read_text().replace("。四", "。 四").split()


def test_html_word_and_pdf_files_are_read_as_text(tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    page.write_text(PAGE)
    assert found(page) == [("The Mill", "It grinds rye."), ("The Mill / The miller", "She is Ada.")]
    assert found(word(tmp_path / "b.docx")) == [("The mill", "It grinds rye.")]
    assert found(pdf(tmp_path / "the_mill.pdf", "It grinds rye.")) == [("the mill", "It grinds rye.")]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.pdf", b"%PDF-1.4 and no more", "a.pdf: cannot be read as PDF"),
        ("a.pdf", b"", "a.pdf: cannot be read as PDF"),
        ("a.docx", b"no zip", "a.docx: cannot be read as a Word file"),
        ("a.txt", b"x\0", "a.txt: holds bytes that are no text"),
    ],
)
def test_a_broken_file_is_named_in_one_line(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=said) as error:
        found(tmp_path / name)
    assert "\n" not in str(error.value)


def test_of_a_pdf_the_lines_are_joined_and_the_words_that_they_divide_are_whole(tmp_path: Path) -> None:
    text = (
        "Travel guide\n"
        "The flat in the harbour of Lisbon is to be booked with Teodora\n"
        "Brandt at least ten days ahead, by the form on the inter-\n"
        "nal page. A state-of-the-\n"
        "art lock has a code that is told on the way in there, both pre-\n"
        "and post-season.\n"
        "- Towels\n"
        "- Keys"
    )
    ((_, context),) = found(pdf(tmp_path / "a.pdf", text))
    assert context == (
        "Travel guide\nThe flat in the harbour of Lisbon is to be booked with Teodora Brandt at least ten days ahead, "
        "by the form on the internal page. A state-of-the-art lock has a code that is told on the way in there, both "
        "pre- and post-season.\n\n- Towels\n- Keys"
    )


def test_the_header_and_the_footer_of_a_pdfs_pages_are_read_once(tmp_path: Path) -> None:
    pages = [f"The Mill Company\n2026, page {n}\nThe fact is {n}.\n{n} of 3" for n in (1, 2, 3)]
    ((_, context),) = found(pdf(tmp_path / "a.pdf", "The cover.", *pages))
    assert context.split("\n\n") == [
        "The cover.",
        "The Mill Company\n2026, page 1",
        "The fact is 1.",
        "1 of 3",
        "The fact is 2.",
        "The fact is 3.",
    ]


def test_what_begins_a_page_much_as_another_did_is_no_header(tmp_path: Path) -> None:
    pages = ["Chapter 1\nThe rye of 1880 was good.", "Chapter 4\nThe rye of 1890 was bad.", "Chapter 4b\nRye of 1900."]
    said = " ".join(context for _, context in found(pdf(tmp_path / "a.pdf", *pages)))
    assert all(line in said for page in pages for line in page.splitlines())


def test_a_scanned_pdf_is_told_from_one_with_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"scan.pdf: its 1 pages are pictures without text; run a text recognition"):
        found(pdf(tmp_path / "scan.pdf", ""))


@pytest.mark.parametrize(("name", "library"), [("a.pdf", "pypdf"), ("a.html", "markdownify"), ("a.docx", "mammoth")])
def test_a_missing_library_is_one_line_with_the_command(
    tmp_path: Path, name: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / name).write_text("x")
    with pytest.raises(UserError, match=rf'{name}: .* pip install "seal-ray\[documents\]"'):
        found(tmp_path / name)
