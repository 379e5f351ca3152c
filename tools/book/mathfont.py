"""The mathematical font that the page brings: STIX Two Math, with no more than the signs used.

Formulas are MathML, which a browser draws with a font that has a table of mathematical constants;
without one, brackets do not stretch and roots do not fit. The font comes with the package ziamath,
under the Open Font Licence.
"""

import re
from importlib.metadata import distribution
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

NAME = "math.woff2"
FAMILY = "STIX Two Math"
_FORMULA = re.compile(r"<math.*?</math>", re.S)
_TAG = re.compile(r"<[^>]+>|&\w+;")


def write(folder: Path, pages: list[str]) -> Path:
    """Write the font with the signs that the formulas of some pages have.

    Args:
        folder: where it goes.
        pages: the text of HTML pages.
    """
    # Where the package is, without importing it: its code is not used.
    file = distribution("ziamath").locate_file("ziamath/fonts/STIXTwoMath-Regular.ttf")
    font = TTFont(file)
    options = subset.Options(flavor="woff2", hinting=False, layout_features=["*"])
    cutter = subset.Subsetter(options)
    cutter.populate(text="".join(sorted(signs(pages))))
    cutter.subset(font)
    path = folder / NAME
    subset.save_font(font, str(path), options)
    return path


def signs(pages: list[str]) -> set[str]:
    """Return the characters of all formulas, letters also in the italics that MathML gives them."""
    formulas = [formula for text in pages for formula in _FORMULA.findall(text)]
    found = {sign for formula in formulas for sign in _TAG.sub("", formula)} - {"\n"}
    if any("<msqrt" in formula or "<mroot" in formula for formula in formulas):
        found.add("√")  # which the browser draws by itself
    return found | {_italic(sign) for sign in found}


def _italic(sign: str) -> str:
    """Return a letter's italic form, as Unicode has it; of other signs themselves."""
    if sign == "h":
        return "\u210e"  # Planck's constant was there before the alphabet
    if sign.isascii() and sign.isalpha():
        return chr(ord(sign) + (0x1D434 - ord("A") if sign.isupper() else 0x1D44E - ord("a")))
    if "α" <= sign <= "ω":
        return chr(ord(sign) + 0x1D6FC - ord("α"))
    return {"∂": "\U0001d715", "ϵ": "\U0001d716"}.get(sign, sign)
