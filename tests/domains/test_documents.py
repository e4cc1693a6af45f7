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


def pdf(path: Path, text: str) -> Path:
    """The smallest PDF with one page; without a text it is a page of nothing."""
    shown = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET" if text else ""
    bodies = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(shown)} >>\nstream\n{shown}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, at = "%PDF-1.4\n", []
    for number, body in enumerate(bodies, 1):
        at.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in at)
    out += f"xref\n0 6\n0000000000 65535 f \n{table}trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    path.write_bytes(out.encode("latin-1"))
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
