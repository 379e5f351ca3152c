"""A Sphinx extension: docstrings are plain text, in which |x| is an absolute value."""

import re

_LITERAL_OR_BAR = re.compile(r"(``[^`]*``)|\|")


def setup(app):
    """Look at each docstring before it is read as reStructuredText."""
    app.connect("autodoc-process-docstring", _escape_bars)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _escape_bars(app, what, name, obj, options, lines):
    lines[:] = [_LITERAL_OR_BAR.sub(lambda found: found[1] or r"\|", line) for line in lines]
