"""The reference of the interface: pages that Sphinx fills from the docstrings.

The columns have the same names, so each is described once, from PyTorch's.
"""

import importlib
import inspect
import pkgutil

import click

from d2l_ext.cli import COMMANDS

COLUMN = "d2l_ext.torch"
# Of a class of the column: all but what it has from the framework.
OPTIONS = (
    *("members:", "undoc-members:"),
    *("inherited-members: Module", "exclude-members: training"),
)
WHOLE = {  # folders and files that are described module by module
    "interface": "What a backend provides, whatever the framework.",
    "contract": "What the classes of every column have.",
    "training": "Training, decoding and checkpoints, written once, on the interface.",
    "parallel": "One training run on several processes.",
    "agreement": "Whether the frameworks agree.",
    "porting": "Where a model and its port differ, and why.",
}
NOTE = """\
The same in `d2l_ext.torch`, `mxnet`, `jax`, `tensorflow` and `reference`; this page has PyTorch's,
where a call is named `forward`, as in MXNet; it is `__call__` in JAX and `call` in TensorFlow. What
differs is how a layer is told that it is being trained: in PyTorch, MXNet and the reference it is a
mode, in JAX and TensorFlow the last argument of a call, `training=False`."""


def pages():
    """Return ``{name of the page: its text}``, MyST Markdown; "index" lists the others."""
    found = {row: _row(row, names) for row, names in rows().items()}
    found |= {name: _whole(name, text) for name, text in WHOLE.items()}
    found["commands"] = _commands()
    contents = "```{toctree}\n:maxdepth: 1\n\n" + "\n".join(found) + "\n```"
    return {"index": _page("Reference", "Every public name, from its docstring.", contents)} | found


def rows():
    """Return ``{row of the grid: the public names of its file}``."""
    column = importlib.import_module(COLUMN)
    found = {}
    for name in column.__all__:
        row = getattr(column, name).__module__.rpartition(".")[2]
        found.setdefault(row, []).append(name)
    return dict(sorted(found.items()))


def modules(name):
    """Return the names of a module and of all those in it."""
    module = importlib.import_module(f"d2l_ext.{name}")
    inside = pkgutil.walk_packages(getattr(module, "__path__", ()), f"{module.__name__}.")
    return [module.__name__, *(found.name for found in inside)]


def public(module):
    """Return the full names of a module's own public functions and classes."""
    return [
        f"{module.__name__}.{name}"
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    ]


def _row(row, names):
    column = importlib.import_module(COLUMN)
    text = inspect.getdoc(importlib.import_module(f"{COLUMN}.{row}"))
    kinds = {n: "class" if inspect.isclass(getattr(column, n)) else "function" for n in names}
    parts = (
        _directive(f"auto{kind}", f"{COLUMN}.{name}", *(OPTIONS if kind == "class" else ()))
        for name, kind in kinds.items()
    )
    return _page(row, NOTE, _rst(text), *parts)


def _whole(name, text):
    return _page(name, text, *(f"## {m}\n\n{_module(m)}" for m in modules(name)))


def _module(name):
    """Return what describes a module; what a package takes from its modules is described there."""
    package = hasattr(importlib.import_module(name), "__path__")
    return _directive("automodule", name, "members:", *(("ignore-module-all:",) * package))


def _commands():
    parts = []
    for name, (module, _) in COMMANDS.items():
        command = getattr(importlib.import_module(module), name)
        context = click.Context(command, info_name=f"d2l-ext {name}", max_content_width=90)
        parts.append(f"## {name}\n\n```{{code-block}} none\n{command.get_help(context)}\n```")
    return _page("commands", "What `--help` says of each command.", *parts)


def _page(title, *parts):
    return "\n\n".join((f"# {title}", *parts)) + "\n"


def _directive(kind, name, *options):
    return _rst("\n".join((f".. {kind}:: {name}", *(f"   :{option}" for option in options))))


def _rst(text):
    return f"````{{eval-rst}}\n{text}\n````"
