"""The first cells of a notebook: what it is, and what it installs where it is opened alone.

Someone who has only the file, in a notebook service or an empty folder, has no `d2l_ext`, and
perhaps not the framework. The first cell of code looks which modules are there and has pip install
what has the others, for this framework only. Where nothing is missing, it does nothing.

Where the project is taken from is one setting, the repository in pyproject.toml; the variable
``D2L_EXT`` of a reader's environment names another place: a folder, a wheel, or a copy of the
repository (``git+https://...``).
"""

import tomllib
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tools.book.quote import ROOT

TITLES = {"torch": "PyTorch", "mxnet": "MXNet", "jax": "JAX", "tensorflow": "TensorFlow"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
# {module: the extra of d2l-ext that has it}, of each framework. MXNet's own metadata ask for an old
# NumPy, with which it does not need to be: it is installed by itself, after what else it needs.
EXTRAS = {
    "torch": {"torch": "torch"},
    "mxnet": dict.fromkeys(("graphviz", "requests", "setuptools"), "mxnet-needs"),
    "jax": {"jax": "jax", "flax": "jax"},
    "tensorflow": {"tensorflow": "tensorflow", "keras": "tensorflow"},
}
BARE = {"mxnet": {"mxnet": "mxnet==1.9.1"}}

INTRODUCTION = """\
*This notebook is one of four: the same chapter in PyTorch, MXNet, JAX and TensorFlow. It needs
`d2l_ext` and {title}. Where they are missing, the first cell installs them, which takes some
minutes. In a copy of the project, `make lab` opens all notebooks with everything installed.*
"""
CELL = """\
# Installs what is missing: some minutes where this file is all that is there, else nothing.
import importlib.util
import os
import subprocess
import sys

project = os.environ.get("D2L_EXT", "git+{repository}")
needed = {{  # module: what pip installs for it
{needed}
}}
for module, requirement in needed.items():
    if importlib.util.find_spec(module) is None:
        print("installing", *requirement)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *requirement], check=True)
        importlib.invalidate_caches()"""


@dataclass(frozen=True)
class Needs:
    """What a chapter needs beside its framework, from its front matter.

    Attributes:
        extras: ``{module: the extra of d2l-ext that has it}``.
        bare: ``{module: requirement}``, installed without what it asks for itself.
    """

    extras: dict = field(default_factory=dict)
    bare: dict = field(default_factory=dict)


def introduction(backend):
    """Return the Markdown that a framework's notebook starts with."""
    return INTRODUCTION.format(title=TITLES[backend])


def cell(backend, needs):
    """Return the cell that installs what is missing.

    Args:
        backend: the column.
        needs: what the chapter `Needs`.
    """
    # An extra brings the library too: it is last, for those who have the framework alone.
    extras = EXTRAS[backend] | needs.extras | {"d2l_ext": ""}
    arguments = {m: f'f"d2l-ext{f"[{e}]" if e else ""} @ {{project}}"' for m, e in extras.items()}
    bare = BARE.get(backend, {}) | needs.bare
    arguments |= {module: f'"--no-deps", "{requirement}"' for module, requirement in bare.items()}
    lines = (f'    "{module}": [{argument}],' for module, argument in arguments.items())
    return CELL.format(repository=REPOSITORY, needed="\n".join(lines))


def launch(backend, name):
    """Return the address at which a notebook of the repository can be run without installing."""
    place = urlsplit(REPOSITORY)
    site = place.netloc.removesuffix(".com")
    return (
        f"https://colab.research.google.com/{site}{place.path}"
        f"/blob/main/notebooks/{backend}/{name}.ipynb"
    )
