"""The page made small: rules and icons that nothing uses go; a font with the signs in use."""

import importlib.util

import pytest

if not all(map(importlib.util.find_spec, ("tinycss2", "ziamath", "brotli"))):
    pytest.skip("the book needs the dev extra", allow_module_level=True)

from fontTools.ttLib import TTFont

from tools.book import mathfont, slim

USED = {"note", "on", "main"}


@pytest.mark.parametrize(
    ("sheet", "kept"),
    [
        (".note{color:red}", ".note{color:red}"),
        (".gone{color:red}", ""),
        (".note .gone{color:red}", ""),
        (".note.on, .gone{color:red}", ".note.on{color:red}"),
        ("p>a:hover{color:red}", "p>a:hover{color:red}"),
        (".note:not(.gone){color:red}", ".note:not(.gone){color:red}"),
        ("#gone{color:red}", ""),
        ("#main{color:red}", "#main{color:red}"),
        ("@media print{.gone{color:red}}", ""),
        ("@media print{.gone{a:b}.note{c:d}}", "@media print{.note{c:d}}"),
        ('@font-face{font-family:"Font Awesome 6";src:url(a)}', ""),
        ("@font-face{font-family:x;src:url(a)}", "@font-face{font-family:x;src:url(a)}"),
        ("a[href='.gone']{b:c}", "a[href='.gone']{b:c}"),
    ],
)
def test_rules_that_can_match_are_kept(sheet, kept):
    found = slim.kept_rules(sheet, USED)
    assert found.replace(" ", "").replace('"', "'") == kept.replace(" ", "").replace('"', "'")


DRAWINGS = 'x={bars:[448,512,["navicon"],"f0c9","M0 96z"],"arrow-up":[384,512,[],"f062","M214 9z"]}'


def test_an_icon_that_is_named_has_its_shape():
    found = slim.icons(DRAWINGS, ['<i class="fa-solid fa-bars fa-lg"></i>', 'f("fa-arrow-up")'])
    assert ".fa-bars { --icon:" in found and ".fa-arrow-up { --icon:" in found
    assert "M0%2096z" in found and "448%20512" in found
    assert ".fa-solid {" in found and ".fa-lg { --icon" not in found


def test_an_icon_that_does_not_exist_is_an_error():
    with pytest.raises(ValueError, match="fa-nothing: there is no such icon"):
        slim.icons(DRAWINGS, ['<i class="fa-solid fa-nothing"></i>'])


PAGE = "<p>é</p><math><mi>x</mi><mo>(</mo><msqrt><mi>α</mi></msqrt><mi>𝐖</mi></math>"


def test_signs_of_formulas_and_the_letters_italics():
    wanted = set("x(α𝐖") | {"\U0001d465", "\U0001d6fc"}
    assert mathfont.signs([PAGE]) == wanted | {"√"}  # of a root, which has no sign in the text
    assert mathfont.signs([PAGE.replace("msqrt", "mrow")]) == wanted
    assert "é" not in mathfont.signs([PAGE])


def test_the_font_has_the_signs_and_what_stretches(tmp_path):
    font = TTFont(mathfont.write(tmp_path, [PAGE]))
    known = set(map(chr, font.getBestCmap()))
    assert mathfont.signs([PAGE]) <= known and "∑" not in known
    assert "MATH" in font
    assert len(font.getGlyphOrder()) > len(known)  # brackets of several sizes
    assert (tmp_path / mathfont.NAME).stat().st_size < 60_000


CODE = (
    '<span class="k">def</span><span class="w"> </span><span class="n">f</span>'
    '<span class="p">():</span>'
)


def test_a_site_made_slim(tmp_path):
    static = tmp_path / "_static"
    (static / "styles").mkdir(parents=True)
    (static / "scripts").mkdir()
    script = '<script defer src="_static/scripts/fontawesome.js?v=1"></script>'
    (tmp_path / "a.html").write_text(f'{script}<i class="fa-solid fa-bars"></i>{PAGE}{CODE}')
    (static / "scripts" / "fontawesome.js").write_text(DRAWINGS)
    for name in ("a.js.map", "fontawesome.js.map"):
        (static / "scripts" / name).write_text("{}")
    (static / "styles" / "pydata-sphinx-theme.css").write_text(".fa-bars{a:b}.gone{a:b}")
    slim.slim(tmp_path)
    page = (tmp_path / "a.html").read_text()
    assert "fontawesome" not in page and page.endswith('<span class="k">def</span> f():')
    files = {path.name for path in static.rglob("*") if path.is_file()}
    assert files == {"icons.css", mathfont.NAME, "pydata-sphinx-theme.css"}
    assert ".gone" not in (static / "styles" / "pydata-sphinx-theme.css").read_text()
