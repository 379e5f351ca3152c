"""Fonts for pictures: matplotlib's own has no Chinese, and no font has everything."""

import functools
from collections.abc import Iterable

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

OWN = "DejaVu Sans"  # what matplotlib brings along
LAST_RESORT = "Last Resort"  # a font with a box for everything


def families(texts: Iterable[str]) -> tuple[list[str], set[str]]:
    """Choose fonts for texts.

    Returns:
        The names of matplotlib's own font and of as many installed ones as are needed, to be looked
        into in this order; and the characters that none of them has.
    """
    missing = set("".join(texts)) - _characters(font_manager.findfont(OWN))
    names = [OWN]
    for entry in font_manager.fontManager.ttflist if missing else ():
        if entry.name.startswith(LAST_RESORT):
            continue
        if found := missing & _characters(entry.fname):
            names.append(entry.name)
            missing -= found
    return names, missing


def spelt(text: str, missing: set[str]) -> str:
    """Write the numbers of characters that no font has: U+6211."""
    return "".join(f"U+{ord(c):04X}" if c in missing else c for c in text)


@functools.lru_cache(64)
def _characters(path: str) -> frozenset[str]:
    """Return the characters of a font; of one that is made of pictures none."""
    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):  # a file that is no font, or is gone
        return frozenset()
    return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()
