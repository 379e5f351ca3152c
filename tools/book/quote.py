"""Quoting: the source of a definition, as it stands in a framework's column.

Files are read, not imported, so that notebooks are made and checked without any framework.
Docstrings are cut to their first sentence: the text around the quotation says the rest. Annotations
are left out: a cell is to show the computation, and its signatures fit a line. A class that is too
long for one cell continues in the next one as its own subclass, ``class A(A):``.
"""

import ast
import symtable
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_LINES, WIDTH = 25, 100


def definition(backend, row, name):
    """Return the source of a public or private definition, as a list of cells.

    Args:
        backend: the column, such as "torch".
        row: the file, such as "scoring"; with a slash, as "/training/decoding", it is one that
            all frameworks share.
        name: a class, function or constant at the file's top level.
    """
    place = _place(backend, row)
    tree, lines = _parsed(place)
    node = _top_level(tree).get(name)
    if node is None:
        raise ValueError(f"{place}.py defines no {name}")
    source = _summarised(node, lines)
    where = f"# {place}.py\n"
    if isinstance(node, ast.ClassDef):
        return [where + part for part in _parts(source, name)]
    return [where + source]


def imports(backend, wanted, known):
    """Return import statements, as the column's own files have them.

    Args:
        backend: the column.
        wanted: ``{row: names}`` used by definitions of that file; names that are not the file's
            are left out. The row ``__init__`` stands for the column's public names.
        known: what names mean already, as `meanings` returns it; these are not imported again.

    Raises:
        ValueError: a name has two meanings.
    """
    meaning = {}
    for row, names in wanted.items():
        available = _importable(backend, row)
        for name in set(names) & set(available):
            if {**known, **meaning}.get(name, available[name]) != available[name]:
                raise ValueError(f"{name} means something else in {_place(backend, row)}.py")
            meaning[name] = available[name]
    needed = [place for name, place in meaning.items() if name not in known]
    lines = [f"import {module}" for module in sorted({m for m, member in needed if not member})]
    for module in sorted({m for m, member in needed if member}):
        lines.append(
            _from(module, sorted({member for m, member in needed if m == module} - {None}))
        )
    # A stable sort: the library's own imports come last.
    return "\n".join(sorted(lines, key=lambda line: " d2l_ext" in line))


def meanings(source):
    """Return ``{name: (module, member)}`` of code's imports, ``{name: None}`` of what it sets."""
    return dict.fromkeys(assigned_names(source)) | _bindings(ast.parse(source))


def free_names(source):
    """Return the names that a piece of code takes from outside of it."""
    table = symtable.symtable(source, "cell", "exec")
    used = {s.get_name() for s in table.get_symbols() if s.is_referenced()}
    return (used | _globals(table)) - assigned_names(source) - imported_names(source)


def assigned_names(source):
    """Return the names that a piece of code assigns or defines at its top level."""
    table = symtable.symtable(source, "cell", "exec")
    return {s.get_name() for s in table.get_symbols() if s.is_assigned()}


def imported_names(source):
    """Return the names that a piece of code imports."""
    table = symtable.symtable(source, "cell", "exec")
    return {s.get_name() for s in table.get_symbols() if s.is_imported()}


def _globals(table):
    names = set()
    for child in table.get_children():
        names |= {s.get_name() for s in child.get_symbols() if s.is_global() and s.is_referenced()}
        names |= _globals(child)
    return names


def _place(backend, row):
    return f"d2l_ext{row}" if row.startswith("/") else f"d2l_ext/{backend}/{row}"


def _parsed(place):
    text = (ROOT / f"{place}.py").read_text(encoding="utf-8")
    return ast.parse(text), text.splitlines()


def _top_level(tree):
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


def _importable(backend, row):
    """Return ``{name: (module, member)}`` of a file; the member is None for a whole module."""
    tree, _ = _parsed(_place(backend, row))
    here = _place(backend, row).removesuffix("/__init__").replace("/", ".")
    return {name: (here, name) for name in _top_level(tree)} | _bindings(tree)


def _bindings(tree):
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                renamed = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
                if isinstance(node, ast.Import):
                    names[alias.asname or alias.name.partition(".")[0]] = (renamed, None)
                else:
                    names[alias.asname or alias.name] = (node.module, renamed)
    return names


def _from(module, names):
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= WIDTH:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"


def _summarised(node, lines):
    """Return a definition's source without annotations, docstrings cut to their first sentence."""
    source, lines = "\n".join(lines), dict(enumerate(lines, start=1))
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef) and _is_annotated(inner):
            for number in range(inner.lineno, inner.body[0].lineno):
                del lines[number]
            lines[inner.lineno] = _signature(inner, source)
        if not isinstance(inner, ast.ClassDef | ast.FunctionDef) or not ast.get_docstring(inner):
            continue
        doc = inner.body[0]
        summary = " ".join(ast.get_docstring(inner).split("\n\n")[0].split())
        for number in range(doc.lineno, doc.end_lineno + 1):
            del lines[number]
        prefix = "r" if "\\" in summary else ""
        text = f'{prefix}"""{summary}"""'
        lines[doc.lineno] = textwrap.fill(
            text,
            WIDTH,
            initial_indent=" " * doc.col_offset,
            subsequent_indent=" " * doc.col_offset,
            break_long_words=False,
        )
    start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    kept = [text for number, text in sorted(lines.items()) if start <= number <= node.end_lineno]
    return "\n".join(kept)


def _is_annotated(node):
    notes = [arg.annotation for arg in ast.walk(node.args) if isinstance(arg, ast.arg)]
    return any((*notes, node.returns))


def _signature(node, source):
    """Return a function's ``def`` without annotations, laid out as ruff does."""
    arguments, given = node.args, ast.get_source_segment
    defaults = [None] * (len(arguments.args) - len(arguments.defaults)) + arguments.defaults
    pairs = [
        *zip(arguments.args, defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    parts = [arg.arg + (f"={given(source, default)}" if default else "") for arg, default in pairs]
    star = f"*{arguments.vararg.arg}" if arguments.vararg else "*" if arguments.kwonlyargs else ""
    parts[len(arguments.args) : len(arguments.args)] = [star] if star else []
    parts += [f"**{arguments.kwarg.arg}"] if arguments.kwarg else []
    indent = " " * node.col_offset
    start, listed = f"{indent}def {node.name}(", ", ".join(parts)
    if len(f"{start}{listed}):") <= WIDTH:
        return f"{start}{listed}):"
    inner = f"\n{indent}    "
    if len(inner) - 1 + len(listed) > WIDTH:
        listed = f",{inner}".join(parts) + ","
    return f"{start}{inner}{listed}\n{indent}):"


def _parts(source, name):
    """Cut a class between its methods into pieces of at most `MAX_LINES` lines."""
    lines = source.splitlines()
    (node,) = ast.parse(source).body
    ends = [item.end_lineno for item in node.body]
    parts, start = [], 0
    for here, following in zip(ends, [*ends[1:], None], strict=True):
        head = 0 if start == 0 else 2
        if following is None or following - start + head > MAX_LINES:
            parts.append("\n".join(lines[start:here]).strip("\n"))
            start = here
    again = f"class {name}({name}):  # continued\n"
    return parts[:1] + [again + part for part in parts[1:]]
