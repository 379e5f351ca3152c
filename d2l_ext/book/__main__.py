"""``python -m d2l_ext.book``: make the notebooks and the web page."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import click
import nbformat
from nbclient.exceptions import CellExecutionError
from rich.console import Console
from rich.table import Table

from d2l_ext.book import page
from d2l_ext.book.chapter import ROOT, TITLES, chapters, notebook_path, out_of_step
from d2l_ext.book.crosscheck import disagreements
from d2l_ext.book.execute import execute, write
from d2l_ext.interface import COLUMNS

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
@click.option("--jobs", default=2, show_default=True, help="Notebooks that run at the same time.")
def notebooks(numbers, backends, check, quick, jobs):
    """Make the notebooks, run them and compare what they print."""
    chosen = chapters(numbers)
    problems = []
    if not check:
        with ThreadPoolExecutor(jobs) as pool:
            runs = {(c.name, b): pool.submit(_run, c, b, quick) for c in chosen for b in backends}
        problems = [run.result()[2] for run in runs.values() if run.result()[2]]
        console.print(_table(chosen, backends, runs))
    executed = {
        c.name: {b: runs[c.name, b].result()[1] for b in backends} if quick else _kept(c, backends)
        for c in chosen
    }
    problems += _wrong(chosen, backends, executed, kept=not quick)
    _finish(problems, f"{len(chosen)} chapters in {len(backends)} frameworks agree")


@main.command()
@chapter_option
@backend_option
def book(numbers, backends):
    """Build the web page from the notebooks, if they are in step and agree."""
    chosen = chapters(numbers)
    executed = {c.name: _kept(c, backends) for c in chosen}
    _finish(_wrong(chosen, backends, executed), f"{len(chosen)} chapters agree")
    index = page.build(chosen, executed)
    console.print(f"the book is in {index.relative_to(ROOT)}")


def _run(chapter, backend, quick):
    """Return the seconds, the executed notebook and what went wrong, if anything."""
    notebook = chapter.notebook(backend, quick)
    start = time.perf_counter()
    try:
        execute(notebook)
    except CellExecutionError as error:
        return time.perf_counter() - start, notebook, f"{chapter.name} ({backend}): {error}"
    if not quick:
        write(notebook, notebook_path(chapter, backend))
    return time.perf_counter() - start, notebook, None


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
        results = [runs[chapter.name, b].result() for b in backends]
        table.add_row(chapter.name, *("error" if wrong else f"{s:.0f}" for s, _, wrong in results))
    return table


if __name__ == "__main__":
    main(prog_name="python -m d2l_ext.book")
