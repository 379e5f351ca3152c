"""Install and run d2l_ext on every Python, with both sets of versions, all together and each alone.

``python -m tools.matrix`` builds the wheel, and for each cell of

    Python 3.11, 3.12, 3.13  x  newest, numpy1  x  all, torch, mxnet, jax, tensorflow

makes an empty environment outside of the repository, installs the wheel with one extra in the
versions of constraints*.txt, with pip, or with uv where that is installed, and runs what a user
runs: ``doctor``, ``train``, ``translate`` and ``compare`` of the cases; then the tests, those of
``make test-quick`` or, with ``--tests all`` and where all are together, those of ``make test``.
What has been found is kept: it goes on where it was stopped. The end is the README's table.
"""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track

from d2l_ext.files import replacing
from tools.wheel import build

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).with_name("matrix.json")  # kept with the code; delete it to begin anew
PYTHONS = ("3.11", "3.12", "3.13")
SETS = {"newest": "constraints.txt", "numpy1": "constraints-numpy1.txt"}
ALONE = ("torch", "mxnet", "jax", "tensorflow")
SHOWN = {"numpy": "NumPy", "torch": "PyTorch", "jax": "JAX", "tensorflow-cpu": "TensorFlow"}
TRAIN = "--max-pairs 200 --min-freq 1 --epochs 1 --num-hiddens 8 --embed-size 8 --num-layers 1"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One installation: a Python, a set of versions, and the extra that is installed."""

    python: str
    set: str
    extra: str

    @property
    def name(self):
        """A name for its folder and its entry."""
        return f"{self.python}-{self.set}-{self.extra}"

    @property
    def requirements(self):
        """What pip is asked for, call by call."""
        newest = self.set == "newest" or self.python == "3.13"
        extras = {"all": "newest", "mxnet": "mxnet-needs"} if newest else {}
        calls = [[f"d2l-ext[{extras.get(self.extra, self.extra)}]"]]
        if newest and self.extra in extras:
            calls.append(["--no-deps", "mxnet"])
        return calls


def cells(pythons, extras):
    """List the cells; Python 3.13 has no NumPy 1."""
    return [
        Cell(python, name, extra)
        for python in pythons
        for name in SETS
        if (python, name) != ("3.13", "numpy1")
        for extra in extras
    ]


class Environment:
    """The empty environment of a cell, outside of the repository.

    Args:
        cell: a `Cell`.
        folder: where environments are made.
        wheel: of d2l_ext.
        tests: "quick" or "all".
    """

    def __init__(self, cell, folder, wheel, tests):
        self.cell, self.folder, self.wheel = cell, folder / cell.name, wheel
        self.quick = tests == "quick" or cell.extra != "all"
        self.python = self.folder / "bin" / "python"

    def install(self, interpreter):
        """Make the environment; return the versions in it."""
        subprocess.run([interpreter, "-m", "venv", "--clear", self.folder], check=True)
        for call in self.cell.requirements:
            self._install(*(word.replace("d2l-ext", str(self.wheel)) for word in call))
        self._install(f"{self.wheel}[dev]")
        self._install("--no-deps", "d2l")
        listed = json.loads(self._pip("list", "--format", "json").stdout)
        return {item["name"].lower().replace("_", "-"): item["version"] for item in listed}

    def _install(self, *what):
        done = self._pip("install", "--quiet", "-c", ROOT / SETS[self.cell.set], *what)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])

    def _pip(self, command, *arguments):
        """Call pip, or uv, which does in seconds what takes pip minutes."""
        if uv := shutil.which("uv"):
            call = uv, "pip", command, "--python", self.python, *arguments
        else:
            call = self.python, "-m", "pip", command, *arguments
        return subprocess.run(call, cwd=self.folder, capture_output=True, text=True, check=False)

    def run(self, module, *arguments, where=None):
        """Run a module with the environment's Python; return the finished process."""
        return subprocess.run(
            [self.python, "-m", module, *map(str, arguments)],
            cwd=where or self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def commands(self):
        """Yield what is run: its name and the finished process."""
        alone = self.cell.extra != "all"
        backend = ["--backend", self.cell.extra if alone else "jax"]
        yield "doctor", self.run("d2l_ext", "doctor")
        yield "train", self.run("d2l_ext", "train", "--out", "run", *backend, *TRAIN.split())
        translate = ("translate", "run/best.safetensors", "We are here.", *backend)
        yield "translate", self.run("d2l_ext", *translate)
        some = ("--backends", self.cell.extra) if alone else ()
        yield "compare", self.run("d2l_ext", "compare", "--train", "none", *some)
        pytest = ("--numprocesses", 2, "-m", "not slow", "-q", "-p", "no:cacheprovider")
        if self.quick:
            which = ("--dist", "worksteal", "--quick", "tests/columns")
        else:
            which = ("--dist", "loadfile")
        yield "tests", self.run("pytest", *pytest, *which, where=ROOT)


def examine(cell, interpreter, folder, wheel, tests):
    """Install and run a cell; return what was found, as data."""
    environment, start = Environment(cell, folder, wheel, tests), time.monotonic()
    try:
        versions = environment.install(interpreter)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        return {"ok": False, "install": str(error)}
    found = {"ok": True, "versions": {n: versions[n] for n in SHOWN if n in versions}}
    for name, done in environment.commands():
        last = [line for line in done.stdout.splitlines() if line.strip(" =")][-1:]
        found[name] = {"status": done.returncode, "last": "".join(last).strip()}
        if done.returncode:
            found["ok"], found[name]["output"] = False, done.stdout[-4000:]
    shutil.rmtree(environment.folder)
    return found | {"seconds": round(time.monotonic() - start)}


def table(results):
    """Return the table of the README, in Markdown."""
    lines = [
        "| Python | versions | all four | PyTorch | MXNet | JAX | TensorFlow |",
        "|---|---|---|---|---|---|---|",
    ]
    for python in PYTHONS:
        for name in SETS:
            row = [results.get(Cell(python, name, x).name) for x in ("all", *ALONE)]
            if any(row):
                versions = next((r["versions"] for r in row if r and "versions" in r), {})
                which = ", ".join(f"{n} {versions[k]}" for k, n in SHOWN.items() if k in versions)
                lines.append(f"| {python} | {which} | {' | '.join(map(_mark, row))} |")
    return "\n".join(lines)


def _mark(found):
    if found is None:
        return "–"
    if not found["ok"]:
        return "fails: " + ", ".join(
            n
            for n, v in found.items()
            if n == "install" or (isinstance(v, dict) and v.get("status"))
        )
    passed = re.search(r"(\d+) passed", found["tests"]["last"])
    return f"{passed[1]} tests pass"


def interpreters(wanted):
    """Return ``{"3.11": path, ...}`` of the Pythons that are there."""
    named = {p.partition("=")[0]: p.partition("=")[2] for p in wanted}
    return {p: path for p in PYTHONS if (path := named.get(p) or shutil.which(f"python{p}"))}


@click.command()
@click.option("--python", "wanted", multiple=True, help="Like 3.12=/path/to/python3.12.")
@click.option("--only", multiple=True, help="Cells whose names begin so, like 3.12-newest-jax.")
@click.option("--tests", type=click.Choice(["quick", "all"]), default="quick", show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), default="/tmp/d2l_ext-matrix")
@click.option("--results", "file", type=click.Path(path_type=Path), default=RESULTS)
def main(wanted, only, tests, folder, file):
    """Install and run every combination that has no result yet; print the table."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = build(folder)
    found = interpreters(wanted)
    results = json.loads(file.read_text()) if file.exists() else {}
    todo = [
        cell
        for cell in cells(found, ("all", *ALONE))
        if cell.name not in results and (not only or cell.name.startswith(tuple(only)))
    ]
    for cell in track(todo, "cells", console=Console(stderr=True)):
        results[cell.name] = examine(cell, found[cell.python], folder, wheel, tests)
        with replacing(file) as stream:
            stream.write(json.dumps(results, indent=1).encode() + b"\n")
    print(table(results))
    sys.exit(not all(result["ok"] for result in results.values()))


if __name__ == "__main__":
    main()
