"""Bars as SVG, drawn by hand: one bar for each row, on a scale of powers of two."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

ROW_PX, LABEL_PX, BAR_PX, MARGIN_PX = 18, 330, 420, 60
BETTER, WORSE, WANTED = "#2a7", "#c53", "#333"


class Bar(NamedTuple):
    """*advantage*: how many times better ours is than the best peer; *wanted* as a tick."""

    label: str
    advantage: float
    wanted: float | None = None


def draw(title: str, bars: Sequence[Bar]) -> str:
    """An SVG in which bars to the right of the middle line are better than the best peer."""
    reach = max(
        (abs(math.log2(x)) for bar in bars for x in (bar.advantage, bar.wanted or 1) if x > 0),
        default=1.0,
    )
    reach = max(1.0, math.ceil(reach))
    height = ROW_PX * (len(bars) + 3)
    width = LABEL_PX + BAR_PX + MARGIN_PX
    middle = LABEL_PX + BAR_PX / 2
    half = BAR_PX / 2

    def x_of(times: float) -> float:
        return middle + half * math.log2(times) / reach

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="4" y="{ROW_PX}" font-weight="bold">{escape(title)}</text>',
    ]
    for number, bar in enumerate(bars):
        y = ROW_PX * (number + 2)
        left, right = sorted((middle, x_of(bar.advantage)))
        colour = BETTER if bar.advantage >= 1 else WORSE
        parts.append(f'<text x="4" y="{y}">{escape(bar.label)}</text>')
        parts.append(
            f'<rect x="{left:.1f}" y="{y - 11}" width="{max(1.0, right - left):.1f}" height="13"'
            f' fill="{colour}"/>'
        )
        parts.append(f'<text x="{LABEL_PX + BAR_PX + 4}" y="{y}">{bar.advantage:.2f}x</text>')
        if bar.wanted:
            at = x_of(bar.wanted)
            parts.append(
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y - 13}" y2="{y + 4}"'
                f' stroke="{WANTED}" stroke-width="2"/>'
            )
    parts.append(
        f'<line x1="{middle}" x2="{middle}" y1="{ROW_PX + 6}" y2="{height - ROW_PX}"'
        ' stroke="#999"/></svg>'
    )
    return "\n".join(parts) + "\n"
