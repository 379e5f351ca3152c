"""The web site made small: what no page uses is left out, and icons are a few lines of style.

The theme brings two thousand icons as a script of 1.5 MB, of which a page shows ten, and the rules
of a whole design system. Here each icon becomes a mask in the style sheet, and rules for classes
that occur in no page and no script go.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import tinycss2

from tools.book import mathfont

SCRIPT = re.compile(r'\s*<script defer src="[^"]*fontawesome\.js[^"]*"></script>')
ICON = re.compile(r"\bfa-(?!solid|fw|lg\b)[a-z-]+")
DRAWING = re.compile(r'["{{,]?\b{name}"?:\[(\d+),(\d+),\[[^\]]*\],"[0-9a-f]+","([^"]+)"\]')
SHEETS = ("styles/pydata-sphinx-theme.css", "styles/sphinx-book-theme.css", "basic.css")
# Names, punctuation and spaces of code have the colour that code has anyway.
PLAIN = re.compile(r'<span class="[npw]">([^<]*)</span>')
_WORD = re.compile(r"[\w-]+")


def slim(html: Path) -> None:
    """Make a site smaller, in place, and give it its mathematical font.

    Args:
        html: the folder that Sphinx wrote.
    """
    static = html / "_static"
    paths = [path for path in html.rglob("*.html") if "_static" not in path.parts]
    pages = {path: _plain(path.read_text(encoding="utf-8")) for path in paths}
    scripts = {path: path.read_text(encoding="utf-8") for path in static.rglob("*.js")}
    awesome = scripts.pop(static / "scripts" / "fontawesome.js")
    texts = [*pages.values(), *scripts.values()]
    (static / "icons.css").write_text(icons(awesome, texts), encoding="utf-8")
    used = {word for text in texts for word in _WORD.findall(text)}
    for path in filter(Path.exists, (static / name for name in SHEETS)):
        path.write_text(kept_rules(path.read_text(encoding="utf-8"), used), encoding="utf-8")
    mathfont.write(static, list(pages.values()))
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    for path in {*static.rglob("*.map"), *static.glob("scripts/fontawesome*")}:
        path.unlink()
    shutil.rmtree(static / "vendor" / "fontawesome", ignore_errors=True)


def _plain(page: str) -> str:
    return PLAIN.sub(r"\1", SCRIPT.sub("", page))


def icons(drawings: str, texts: list[str]) -> str:
    """Return the style of the icons that some texts name.

    Args:
        drawings: Font Awesome's script, which has the shapes of all.
        texts: pages and scripts.

    Raises:
        ValueError: a text names an icon that has no shape.
    """
    rules = [
        ".fa-solid { display: inline-block; width: 1em; height: 1em; vertical-align: -0.125em;"
        " background: currentColor; mask: var(--icon) center / contain no-repeat; }",
        ".fa-fw { width: 1.25em; }",
        ".fa-lg { font-size: 1.25em; }",
    ]
    for name in sorted({name for text in texts for name in ICON.findall(text)}):
        found = re.search(DRAWING.pattern.format(name=name.removeprefix("fa-")), drawings)
        if found is None:
            raise ValueError(f"{name}: there is no such icon")
        width, height, shape = found.groups()
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
            f'<path d="{shape}"/></svg>'
        )
        rules.append(f'.{name} {{ --icon: url("data:image/svg+xml,{quote(svg)}"); }}')
    return "\n".join([*rules, ""])


def kept_rules(sheet: str, used: set[str]) -> str:
    """Return a style sheet without the rules that can match nothing.

    Args:
        sheet: CSS.
        used: every word of the pages and scripts; a class or id that is not among them is nowhere.
    """
    rules = tinycss2.parse_stylesheet(sheet, skip_comments=True, skip_whitespace=True)
    return "".join(_kept(rules, used))


def _kept(rules, used: set[str]) -> Iterator[str]:
    for rule in rules:
        if rule.type == "qualified-rule":
            selectors = [s for s in _selectors(rule.prelude) if _names(s) <= used]
            if selectors:
                yield f"{','.join(map(tinycss2.serialize, selectors))}{{{_text(rule.content)}}}"
        elif rule.type == "at-rule" and rule.lower_at_keyword in ("media", "supports"):
            inner = tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True)
            if kept := "".join(_kept(inner, used)):
                yield f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{kept}}}"
        elif rule.type == "at-rule" and "Font Awesome" not in tinycss2.serialize([rule]):
            yield tinycss2.serialize([rule])


def _text(content) -> str:
    return re.sub(r"\s+", " ", tinycss2.serialize(content)).strip()


def _selectors(prelude) -> list:
    """Split a rule's selectors at the commas that are not within brackets."""
    found = [[]]
    for token in prelude:
        if token == ",":
            found.append([])
        else:
            found[-1].append(token)
    return found


def _names(selector) -> set[str]:
    """Return the classes and ids that must be there for a selector to match."""
    tokens = list(selector)
    return {
        token.value
        for before, token in zip([None, *tokens], tokens, strict=False)
        if token.type == "hash" or (token.type == "ident" and before == ".")
    }
