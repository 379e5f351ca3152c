"""``python -m tools.book``: make the notebooks and the web page."""

import importlib
import json
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import click
import nbformat
from nbclient.exceptions import CellExecutionError, DeadKernelError
from rich.console import Console
from rich.table import Table

from d2l_ext.agreement.running.differences import measured
from d2l_ext.files import replacing
from d2l_ext.interface import COLUMNS
from tools.book import contrasts, elsewhere, page, seeds, translators
from tools.book.chapter import ROOT, TITLES, chapters, notebook_path, out_of_step, unchanged
from tools.book.crosscheck import disagreements
from tools.book.execute import execute, write

console = Console(highlight=False)
ANSI = re.compile(r"\x1b\[[0-9;]*m")

chapter_option = click.option(
    "--chapter", "numbers", type=int, multiple=True, help="Only this chapter; may be repeated."
)
backend_option = click.option(
    "--backend",
    "backends",
    type=click.Choice(COLUMNS),
    multiple=True,
    default=COLUMNS,
    help="Only this framework; may be repeated.",
)


@click.group()
def main():
    """Chapters to notebooks and to the web page."""


@main.command()
@chapter_option
@backend_option
@click.option("--check", is_flag=True, help="Run nothing: are they in step, do they agree?")
@click.option("--quick", is_flag=True, help="Run with smaller numbers and keep nothing.")
@click.option(
    "--changed",
    is_flag=True,
    help="Only those that are out of step; of these, run only those whose code has changed.",
)
@click.option("--jobs", default=2, show_default=True, help="Notebooks that run at the same time.")
def notebooks(numbers, backends, check, quick, changed, jobs):
    """Make the notebooks, run them and compare what they print."""
    chosen = chapters(numbers)
    made = {
        (chapter, backend): chapter.notebook(backend, quick)
        for chapter in chosen
        for backend in backends
        if not check and not (changed and out_of_step(chapter, backend) is None)
    }
    if changed:
        made = {key: n for key, n in made.items() if not _rewritten(*key, n)}
    with ThreadPoolExecutor(jobs) as pool:
        results = pool.map(lambda key: _run(*key, made[key], quick), made)
        runs = dict(zip(made, results, strict=True))
    if runs:
        console.print(_table(chosen, backends, runs))
    problems = [problem for _, problem in runs.values() if problem]
    if not problems:
        executed = {
            c.name: {b: made[c, b] for b in backends} if quick else _kept(c, backends)
            for c in chosen
        }
        problems = _wrong(chosen, backends, executed, kept=not quick)
    _finish(problems, f"{len(chosen)} chapters in {len(backends)} frameworks agree")


@main.command()
def book():
    """Build the web page from the notebooks, if they are in step and agree."""
    chosen = chapters()
    executed = {c.name: _kept(c, COLUMNS) for c in chosen}
    _finish(_wrong(chosen, COLUMNS, executed), f"{len(chosen)} chapters agree")
    index = page.build(chosen, executed)
    console.print(f"the book is in {index.relative_to(ROOT)}")


@main.command()
@chapter_option
@backend_option
@click.option("--python", default=sys.executable, help="An interpreter, by default this one.")
@click.option("--bare", is_flag=True, help="The framework is not there either.")
def alone(numbers, backends, python, bare):
    """Run notebooks as a reader does who has only the file, in empty environments.

    What they print must be what the kept notebooks print. Installs much.
    """
    chosen, problems = chapters(numbers), []
    for chapter in chosen:
        for backend in backends:
            start, path = time.perf_counter(), notebook_path(chapter, backend)
            try:
                found = elsewhere.run(path, backend, python, framework=not bare)
                pair = {"here": nbformat.read(path, as_version=4), "elsewhere": found}
                wrong = disagreements(pair)
            except RuntimeError as error:
                wrong = [str(error)]
            problems += [f"{chapter.name} ({backend}): {message}" for message in wrong]
            seconds = time.perf_counter() - start
            console.print(
                f"{chapter.name} {TITLES[backend]} {seconds:.0f} s{' ERROR' if wrong else ''}"
            )
    _finish(problems, f"{len(chosen)} chapters in {len(backends)} frameworks run alone")


@main.command("contrasts")
def measure_contrasts():
    """Measure what the frameworks do unless told otherwise, for chapter 18's table."""
    found = {}
    for name in COLUMNS:
        defaults = importlib.import_module(f"d2l_ext.{name}.defaults")
        found[name] = measured(defaults)["defaults"]
    _keep(found, contrasts.KEPT)


@main.command("translators")
@click.argument("names", nargs=-1, type=click.Choice(tuple(translators.RATES)))
def train_translators(names):
    """Train the translators that chapters 4 and 7 read: some minutes."""
    for name in names or translators.RATES:
        translators.train(name)
        console.print(f"{name} is trained")


@main.command("seeds")
def compare_seeds():
    """Compare models over several seeds, for chapter 3's table: some minutes."""
    _keep(seeds.compare(), seeds.KEPT)
    click.echo(seeds.table(seeds.kept()))


def _keep(found, path):
    """Write what was found to a file of a chapter's table."""
    with replacing(path) as file:
        file.write((json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())
    console.print(f"{path.relative_to(ROOT)} is written")


def _rewritten(chapter, backend, notebook):
    """Keep a notebook of which only the text has changed, and say whether it is one."""
    same = unchanged(chapter, backend, notebook)
    if same:
        write(notebook, notebook_path(chapter, backend))
    return same


def _run(chapter, backend, notebook, quick):
    """Execute a notebook and keep it, unless quick; return the seconds and what went wrong."""
    start, problem = time.perf_counter(), None
    try:
        execute(notebook, quick)
        if not quick:
            write(notebook, notebook_path(chapter, backend))
    except (CellExecutionError, DeadKernelError) as error:
        problem = f"{chapter.name} ({backend}): {error}"
    seconds = time.perf_counter() - start
    console.print(f"{chapter.name} {TITLES[backend]} {seconds:.0f} s{' ERROR' if problem else ''}")
    return seconds, problem


def _kept(chapter, backends):
    paths = {backend: notebook_path(chapter, backend) for backend in backends}
    return {b: nbformat.read(p, as_version=4) for b, p in paths.items() if p.exists()}


def _wrong(chosen, backends, executed, kept=True):
    problems = []
    for chapter in chosen:
        if kept:
            problems += filter(None, (out_of_step(chapter, backend) for backend in backends))
        if not problems:
            found = disagreements(executed[chapter.name])
            problems += [f"{chapter.name}: {message}" for message in found]
    return problems


def _finish(problems, success):
    for problem in problems:
        click.echo(ANSI.sub("", problem))
    if problems:
        raise SystemExit(1)
    console.print(success)


def _table(chosen, backends, runs):
    table = Table("chapter", *(TITLES[b] for b in backends), title="seconds")
    for chapter in chosen:
        row = [runs.get((chapter, backend), (None, None)) for backend in backends]
        table.add_row(chapter.name, *map(_entry, row))
    return table


def _entry(run):
    seconds, problem = run
    return "error" if problem else "" if seconds is None else f"{seconds:.0f}"


if __name__ == "__main__":
    main(prog_name="python -m tools.book")
