"""Whether a base is an instruct model, as its own files say: its chat template, and where it stops. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from seal_ray.model import hub
from seal_ray.model.gguf import is_gguf
from seal_ray.model.locate import local_copy, resolve, stored_text
from seal_ray.plain import decoded
from seal_ray.types import UserError

BY_TEMPLATE = "settled by the base's chat template"
"""Marks a domain's or grader's option that says whether prompts are chats."""
ByTemplate = Annotated[bool | Literal["auto"], BY_TEMPLATE]
"""Such an option: `auto` is true for an instruct model."""


def chat_template(path: str, revision: str | None = None, ask_hub: bool = True) -> str | None:
    """The chat template of what `model.path` names, or None; `NotOnThisMachine` where only the hub could tell."""
    files = Files(path, revision, ask_hub)
    if (text := files.text("chat_template.jinja")) is not None:
        return text
    named = files.tree("tokenizer_config.json").get("chat_template")
    if isinstance(named, list):  # several by name, of which tokenizers take this one
        named = next((each.get("template") for each in named if each.get("name") == "default"), None)
    return named if isinstance(named, str) and named else None


def is_instruct(path: str, revision: str | None = None, ask_hub: bool = True) -> bool:
    """Whether it has a chat template and stops where that ends a turn.

    Some bases carry the template of the models that were made from them (Qwen2.5's do), and never learnt to end a turn.
    """
    template = chat_template(path, revision, ask_hub)
    if template is None:
        return False
    ends = _ends(Files(path, revision, ask_hub))
    return not ends or "eos_token" in template or any(end in template for end in ends)


class Files:
    """The small files of a model, wherever it lies: in a folder, in object storage, or on the hub and in its cache."""

    def __init__(self, path: str, revision: str | None, ask_hub: bool = True) -> None:
        place = resolve(path)
        # Of a folder in object storage only what is read is fetched: its weights are for those that load them.
        self.place = place if "://" in place and not is_gguf(place) else local_copy(place)
        self.revision, self.ask_hub = revision, ask_hub

    def text(self, name: str) -> str | None:
        """The text of a file; None where the model has none of that name."""
        if "://" in self.place:
            return stored_text(self.place, name)
        folder = Path(self.place)
        file = folder / name if folder.is_dir() else hub.small_file(self.place, self.revision, name, self.ask_hub)
        if file is None or not file.is_file():
            return None
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file}: cannot be read: {error}") from None

    def tree(self, name: str) -> dict[str, Any]:
        """A JSON file as an object; empty where there is none."""
        text = self.text(name)
        try:
            found = decoded(text or "{}")
        except ValueError as error:
            raise UserError(f"model.path {self.place!r}: {name} is not valid JSON: {error}") from None
        return found if isinstance(found, dict) else {}


def _ends(files: Files) -> set[str]:
    """The tokens after which the model stops, as texts, as far as its files name them."""
    tokenizer = files.tree("tokenizer_config.json")
    named = tokenizer.get("eos_token")
    end = named.get("content") if isinstance(named, dict) else named
    ids = files.tree("generation_config.json").get("eos_token_id", files.tree("config.json").get("eos_token_id"))
    wanted = {str(token) for token in (ids if isinstance(ids, list) else [ids]) if token is not None}
    added = {str(token): each.get("content") for token, each in tokenizer.get("added_tokens_decoder", {}).items()}
    if wanted - added.keys():
        added |= {str(each["id"]): each["content"] for each in files.tree("tokenizer.json").get("added_tokens", ())}
    return {str(text) for text in (end, *(added[token] for token in wanted & added.keys())) if text}
