"""A model's tokenizer as its own file says it. Neither torch nor Transformers here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from seal_ray.model.architecture import model_folder
from seal_ray.plain import counted, one_line

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def tokenizer_of(path: str) -> Tokenizer | None:
    """The tokenizer of what `model.path` names; None where it is not here, or no file that says everything.

    It gives the tokens of a text: all of them, and no others, whatever length its file says to cut or fill up to.
    """
    from tokenizers import Tokenizer

    folder = model_folder(path)
    if folder is None or not (folder / "tokenizer.json").is_file():
        return None
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception:  # the library raises nothing narrower; the worker that loads it says what is wrong
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def without_a_row(path: str) -> tuple[str, bool]:
    """Says which tokens the model has no row for in its embedding; and whether any but added ones are among them.

    Added ones may never be met, such as one that only fills up.
    """
    folder, tokenizer = model_folder(path), tokenizer_of(path)
    if folder is None or tokenizer is None:
        return "", False
    tree = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    rows = tree.get("text_config", tree).get("vocab_size")
    if not isinstance(rows, int):
        return "", False
    every, own = tokenizer.get_vocab(), tokenizer.get_vocab(with_added_tokens=False)
    if not (beyond := sorted((number, token) for token, number in every.items() if number >= rows)):
        return "", False
    said = (
        f"its tokenizer has {counted(len(beyond), 'token')} for which its embedding of {rows:,} rows has none, such as "
        f"{one_line(beyond[0][1], 40)!r}, and texts with them fail; give it the tokenizer that it was trained with"
    )
    return said, any(token in own for _, token in beyond)
