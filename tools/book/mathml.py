"""A Sphinx extension: formulas as MathML, which browsers draw themselves, without any script."""

import re

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import MathError, tex2mathml

# A function's name needs a space before its argument, unless that is in brackets.
_FUNCTION = re.compile(r"(<mi[^>]*>(?:log|exp|tanh|sin|cos|max|min)</mi>)(?=\s*<m[inr])")


def setup(app):
    """Register the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(writer, node):
    writer.body.append(_mathml(node))
    raise SkipNode


def _display(writer, node):
    formula = _mathml(node, as_block=True)
    writer.body.append(f'<div class="formula">{formula}</div>\n')
    raise SkipNode


def _mathml(node, **options):
    try:
        formula = tex2mathml(node.astext(), **options)
    except MathError as error:
        raise ValueError(f"{node.astext()}: {error}") from error
    return _FUNCTION.sub(r'\1<mspace width="0.17em"/>', formula)
