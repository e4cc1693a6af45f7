"""The bench's table as a picture: one bar a variant, as long as its trials a second, on a logarithmic scale."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.trials import Found

WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 760, 110, 210, 22, 10, 58
STYLE = "text{font:13px system-ui,sans-serif;fill:#222}.head{font-size:15px;font-weight:600}.soft{fill:#666}"


def draw(found: Found) -> str:
    """A self-contained SVG."""
    rates = [row.trials_per_s for row in found.rows]
    floor = 10 ** math.floor(math.log10(min(rates)))
    scale = (WIDTH - LEFT - RIGHT) / max(1e-9, math.log10(max(rates) / floor))
    height = TOP + len(found.rows) * (BAR + GAP) + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<style>{STYLE}</style>",
        f'<text class="head" x="{GAP}" y="22">Trials a second: {escape(found.what)}</text>',
        f'<text class="soft" x="{GAP}" y="42">{escape(found.machine)}; {escape(found.trial)}; logarithmic</text>',
    ]
    for number, row in enumerate(found.rows):
        y = TOP + number * (BAR + GAP)
        length = max(2.0, scale * math.log10(row.trials_per_s / floor))
        colour = "#2a6fdb" if row.name.startswith("bank") else "#9aa3ad"
        said = f"{row.trials_per_s:.3g}   {row.vs_published:.3g}× published, {row.vs_peft:.3g}× PEFT"
        parts += [
            f'<text x="{LEFT - GAP}" y="{y + 16}" text-anchor="end">{escape(row.name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="3" fill="{colour}"/>',
            f'<text class="soft" x="{LEFT + length + 8:.1f}" y="{y + 16}">{escape(said)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
