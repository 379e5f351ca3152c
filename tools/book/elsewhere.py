"""Running a notebook as someone does who has only the file, in an environment of its own.

The environment has the framework and what runs notebooks, and nothing of this project; the folder
has the notebook. What its first cell installs is a wheel of the sources.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import nbformat

from tools.book.quote import ROOT
from tools.wheel import build

CONSTRAINTS = ROOT / "constraints.txt"
# What the reader has, call of pip by call.
FRAMEWORKS = {
    "torch": [["torch"]],
    "mxnet": [["numpy>=2", "graphviz<0.9", "requests", "setuptools"], ["--no-deps", "mxnet"]],
    "jax": [["jax", "flax"]],
    "tensorflow": [["tensorflow-cpu"]],
}


def run(path: Path, backend: str, python: str, framework: bool = True) -> nbformat.NotebookNode:
    """Run a notebook in an empty folder with an empty environment; return it, executed.

    Args:
        path: of the notebook.
        backend: its framework.
        python: an interpreter.
        framework: whether the framework is there already, or is installed by the notebook too.

    Raises:
        RuntimeError: what went wrong, in pip's or the notebook's words.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment, empty = Path(folder, "environment"), Path(folder, "empty")
        _call(python, "-m", "venv", environment)
        for packages in [["ipykernel", "nbclient"], *(FRAMEWORKS[backend] if framework else [])]:
            _pip(environment, *packages)
        wheel = build(folder)
        empty.mkdir()
        notebook = shutil.copy(path, empty)
        variables = {"D2L_EXT": wheel.as_uri(), "PATH": f"{environment}/bin:{os.environ['PATH']}"}
        variables |= {name: os.environ[name] for name in os.environ if name.startswith("PIP_")}
        _call(
            *(environment / "bin" / "jupyter-execute", "--inplace", "--kernel_name=python3"),
            *("--timeout=1800", notebook),
            cwd=empty,
            env=variables | {"HOME": folder},
        )
        return nbformat.read(notebook, as_version=4)


def _pip(environment, *packages):
    options = "--quiet", "--disable-pip-version-check", "--constraint", CONSTRAINTS
    _call(environment / "bin" / "python", "-m", "pip", "install", *options, *packages)


def _call(*command, **options):
    done = subprocess.run(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-4000:])
