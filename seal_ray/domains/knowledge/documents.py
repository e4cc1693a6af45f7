"""Documents as passages: text, Markdown, PDF, HTML and Word files, cut at their headings and between paragraphs.

A long document is read a piece at a time, and never held whole: text by paragraphs, PDF by pages. HTML and Word files
are turned into Markdown first. Those that are neither text nor Markdown need `pip install "seal-ray[documents]"`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any

from seal_ray.domains.knowledge.passages import Passage
from seal_ray.domains.knowledge.sentences import ENDS, ITEM, NARROW, Fences, reflowed
from seal_ray.plain import first_line, visible
from seal_ray.types import UserError

PASSAGE_CHARACTERS = 2000
"""About how much of a document makes one passage where nobody says otherwise."""
_FRONT_LINES = 200
"""Front matter is no longer than this."""
_EXTRA = 'pip install "seal-ray[documents]"'
_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.*?)\s*+(?:(?<=\s)#+\s*+)?")
_TITLE = re.compile(r"title\s*:\s*(?P<title>.+)", re.IGNORECASE)
_ARTICLES = {"a", "an", "the"}
_MOST_RUNNING = 3
"""Lines of a header, and of a footer."""
_FULL = 0.9
"""Of the longest line: letters are of many widths."""
_NUMBER = re.compile(r"[0-9]{1,9}")
_DIVIDED, _COMPOUND = re.compile(r"[^\W\d_]-$"), re.compile(r"\w-\w+-$")
"""A line that ends within a word; and one where the hyphen belongs to it, as others of it do."""
_GOES_ON = {"and", "or", "to", "und", "oder", "bis", "et", "ou"}
"""Words before which a hyphen stands for what comes after: "pre- and post-war"."""

Lines = Iterator[str]


def document_passages(path: Path, size: int = PASSAGE_CHARACTERS) -> Iterator[Passage]:
    """A document's passages of about `size` characters, each under the headings that it stands below."""
    front, lines = _front_matter(_LINES[path.suffix.lower()](path))
    place = _Headings(front or "", visible(path.stem.replace("_", " ").replace("-", " ")))
    held: list[str] = []

    def passage() -> Iterator[Passage]:
        if held:
            yield Passage(place.title, "\n\n".join(held))
            held.clear()

    for paragraph in _paragraphs(lines):
        if heading := _HEADING.fullmatch(paragraph):
            yield from passage()
            place.enter(len(heading[1]), heading[2])
            continue
        for piece in _pieces(reflowed(paragraph), size):
            if held and sum(map(len, held)) + len(piece) > size:
                yield from passage()
            held.append(piece)
    yield from passage()


class _Headings:
    """Where in a document one is: its title, and the headings above."""

    def __init__(self, title: str, name: str) -> None:
        self._title, self._name = title, name
        self._path: list[tuple[int, str]] = []

    def enter(self, level: int, heading: str) -> None:
        self._path = [above for above in self._path if above[0] < level] + [(level, visible(heading))]

    @property
    def title(self) -> str:
        """The title and the headings, from the outside inwards, none said twice."""
        top = self._title or ("" if self._path and self._path[0][0] == 1 else self._name)
        said = [top, *(heading for _, heading in self._path)] if top else [heading for _, heading in self._path]
        plain = [_plain(each) for each in said]
        return " / ".join(each for n, each in enumerate(said) if plain[n] not in plain[:n])


def _plain(title: str) -> str:
    """Its words, of letters and digits with the marks on them that tell words apart in Hindi, and in C++ and C#."""
    spaced = "".join(sign if unicodedata.category(sign)[0] in "LMN" or sign in "_+#" else " " for sign in title.lower())
    return " ".join(word for word in spaced.split() if word not in _ARTICLES)


def _front_matter(lines: Lines) -> tuple[str, Lines]:
    """The title that stands between lines of dashes at the very beginning, and all that comes after them."""
    first = next(lines, "")
    if first.strip() != "---":
        return "", chain([first], lines)
    held = list(islice(lines, _FRONT_LINES))
    end = next((n for n, line in enumerate(held) if line.strip() in ("---", "...")), None)
    if end is None:  # a rule, and no front matter
        return "", chain([first, *held], lines)
    found = next((match for line in held[:end] if (match := _TITLE.match(line))), None)
    return found["title"].strip().strip("\"'") if found else "", chain(held[end + 1 :], lines)


def _paragraphs(lines: Lines) -> Iterator[str]:
    """Paragraphs, and each heading as one of its own; what stands between fences is neither cut nor a heading."""
    held: list[str] = []
    fences = Fences()
    for line in lines:
        fences.at(line)
        fenced = fences.within
        heading = not fenced and _HEADING.fullmatch(line)
        if held and (heading or not (fenced or line.strip())):
            yield "\n".join(held)
            held = []
        if heading:
            yield line.rstrip()
        elif line.strip() or fenced:
            held.append(line.rstrip())
    if held:
        yield "\n".join(held)


def _pieces(paragraph: str, size: int) -> Iterator[str]:
    """A paragraph in pieces of at most `size`: cut between lines, else between sentences, else between words."""
    if len(paragraph) <= size:
        if said := paragraph.strip():  # a rule by itself says nothing
            yield said
        return
    held = ""
    for line in paragraph.splitlines():
        glue = "\n"
        for part in [line] if len(line) <= size else _parts(line, size):
            if held and len(held) + len(part) > size:
                yield held
                held = ""
            held = f"{held}{glue}{part}" if held else part
            glue = " "
    if held:
        yield held


def _parts(paragraph: str, size: int) -> Iterator[str]:
    for sentence in map(str.rstrip, ENDS.split(paragraph)):
        begin = 0
        while len(sentence) - begin > size:
            end = sentence.rfind(" ", begin + 1, begin + size + 1)
            end = end if end > 0 else begin + size
            yield sentence[begin:end].strip()
            begin = next(at for at in range(end, len(sentence)) if not sentence[at].isspace())
        if begin < len(sentence):
            yield sentence[begin:].strip()


# How each kind of file is read as lines ------------------------------------------------------------


def _text(path: Path) -> Lines:
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            if "\0" in line:
                raise UserError(f"{path}: holds bytes that are no text; give a text file, or its PDF, HTML or .docx")
            yield line


def _pdf(path: Path) -> Lines:
    pypdf = _library("pypdf", path)
    from pypdf.errors import PyPdfError

    try:
        pages = pypdf.PdfReader(path).pages
        count, found = len(pages), False
        texts = ([line.strip() for line in page.extract_text().splitlines() if line.strip()] for page in pages)
        for lines in _without_running(texts):
            found = found or any(lines)
            yield from _unwrapped(lines)
            yield ""
    except (PyPdfError, RecursionError, KeyError, TypeError, AttributeError) as error:  # broken ones raise any of them
        raise UserError(f"{path}: cannot be read as PDF: {first_line(error)}") from None
    if not found:
        what = f"its {count} pages are pictures without text; run a text recognition (OCR) over it first"
        raise UserError(f"{path}: {what if count else 'the PDF has no pages'}")


def _without_running(pages: Iterable[list[str]]) -> Iterator[list[str]]:
    """The lines of each page, its header and its footer only where they are new: the page after has them too.

    There they are paragraphs of their own.
    """
    before: list[str] = []
    for page, after in pairwise(chain(pages, [[]])):
        old_top, top = _running(page, before, -1), _running(page, after, 1)
        body = page[max(old_top, top) :]
        old_end, end = _running(body[::-1], before[::-1], -1), _running(body[::-1], after[::-1], 1)
        header = [] if old_top else [*page[:top], ""]
        footer = [] if old_end else ["", *body[len(body) - end :]]
        yield [*header, *body[: len(body) - max(old_end, end)], *footer]
        before = page


def _running(lines: Sequence[str], others: Sequence[str], step: int) -> int:
    """How many lines a page begins with as another does, but for the number of the page; no sentence is one."""
    for count, (line, other) in enumerate(zip(lines[:_MOST_RUNNING], others, strict=False)):
        numbers, theirs = _NUMBER.findall(line), _NUMBER.findall(other)
        same = _NUMBER.sub("#", line) == _NUMBER.sub("#", other) and not line.endswith((".", "!", "?"))
        if not same or any(int(b) - int(a) not in (0, step) for a, b in zip(numbers, theirs, strict=True)):
            return count
    return min(len(lines), len(others), _MOST_RUNNING)


def _unwrapped(lines: Sequence[str]) -> Lines:
    """A PDF has lines and no paragraphs: one ends where a sentence ends well before the others do.

    A line is joined to the one before where its first word had no room there, and so is a divided word.
    """
    usual = max(map(len, lines), default=0)
    held = ""
    for line, after in pairwise([*lines, ""]):
        whole, next_word = f"{held}{line}", after.partition(" ")[0]
        if _DIVIDED.search(line) and after[:1].islower() and next_word not in _GOES_ON:
            held = whole if _COMPOUND.search(line) else whole[:-1]
        elif after and usual > NARROW and len(line) + len(next_word) >= _FULL * usual and not ITEM.match(after):
            held = f"{whole} "
        else:
            yield whole
            held = ""
            if line.endswith((".", "!", "?", ":")) and len(line) < 0.8 * usual:
                yield ""


def _html(path: Path) -> Lines:
    return iter(_markdown(path.read_text(encoding="utf-8-sig"), path).splitlines())


def _docx(path: Path) -> Lines:
    mammoth = _library("mammoth", path)
    try:
        with path.open("rb") as file:
            page = mammoth.convert_to_html(file, convert_image=mammoth.images.img_element(lambda image: {})).value
    except Exception as error:  # a file that is no zip, or no Word file, or a broken one: each library has its own
        raise UserError(f"{path}: cannot be read as a Word file: {first_line(error)}") from None
    return iter(_markdown(page, path).splitlines())


def _markdown(page: str, path: Path) -> str:
    """A page's text as Markdown, without what is only for the eye and without the addresses of links."""
    markdownify, soup = _library("markdownify", path), _library("bs4", path).BeautifulSoup(page, "html.parser")
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for tag in soup(["script", "style", "noscript", "template", "nav", "head"]):
        tag.decompose()
    text: str = markdownify.MarkdownConverter(
        heading_style="ATX", strip=["a", "img"], escape_asterisks=False, escape_underscores=False, escape_misc=False
    ).convert_soup(soup)
    return f"---\ntitle: {title}\n---\n{text}" if title else text


def _library(name: str, path: Path) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise UserError(f"{path}: {path.suffix} files need a library more; install it with: {_EXTRA}") from None


_LINES: dict[str, Callable[[Path], Lines]] = {
    ".txt": _text,
    ".md": _text,
    ".markdown": _text,
    ".pdf": _pdf,
    ".html": _html,
    ".htm": _html,
    ".docx": _docx,
}
KINDS = tuple(_LINES)
"""What documents are called by."""
