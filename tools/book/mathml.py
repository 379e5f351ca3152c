"""A Sphinx extension: formulas as MathML, which browsers draw themselves, without any script."""

import re

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import MathError, tex2mathml

# A function's name needs a space before its argument, unless that is in brackets.
_FUNCTION = re.compile(r"(<mi[^>]*>(?:log|exp|tanh|sin|cos|max|min)</mi>)(?=\s*<m[inr])")

_INDENT = re.compile(r">\s+<")  # half of what a formula takes on the page
_TAG = re.compile(r"\s*\\tag\{([\d.]+)\}\s*$")


def setup(app):
    """Register the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(writer, node):
    writer.body.append(_mathml(node.astext()))
    raise SkipNode


def _display(writer, node):
    tex, number = node.astext(), ""
    if tag := _TAG.search(tex):
        tex, number = tex[: tag.start()], f'<span class="number">({tag[1]})</span>'
    anchors = "".join(f'<span id="{name}"></span>' for name in node["ids"])
    formula = f'{anchors}<div class="formula">{_mathml(tex, as_block=True)}</div>'
    writer.body.append(f'<div class="numbered">{formula}{number}</div>\n' if number else formula)
    raise SkipNode


def _mathml(tex, **options):
    try:
        formula = tex2mathml(tex, **options)
    except MathError as error:
        raise ValueError(f"{tex}: {error}") from error
    formula = _FUNCTION.sub(r'\1<mspace width="0.17em"/>', formula)
    return _INDENT.sub("><", formula)
