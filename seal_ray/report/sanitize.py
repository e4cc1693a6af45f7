"""Text that a model wrote, made fit to be shown: nothing invisible, nothing longer than its place.

Escaping is the template's; this is about characters that no escaping makes harmless or visible.
"""

from __future__ import annotations

from markupsafe import escape

from seal_ray.plain import UNSEEN, decoded


def shown(text: str, limit: int) -> str:
    """At most `limit` characters of a text, invisible ones spelt out, with a note where it was cut."""
    clean = UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text[:limit].replace("\r\n", "\n"))
    if max(len(text), len(clean)) <= limit:
        return clean
    return f"{clean[:limit].rstrip()} … [cut here; {len(text):,} characters in all]"


def prompt_text(prompt: str) -> str:
    """A journalled prompt as one text; a chat has its turns named."""
    if prompt.startswith("[{"):
        try:
            return "\n\n".join(f"{turn['role']}:\n{turn['content']}" for turn in decoded(prompt))
        except (ValueError, KeyError, TypeError):
            pass  # a plain prompt that only looks like a chat
    return prompt


def bytes_on_page(text: str) -> int:
    return len(str(escape(text)).encode())
