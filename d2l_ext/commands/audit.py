"""``d2l-ext audit``."""

import importlib.util
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from d2l_ext.commands.errors import UserError
from d2l_ext.files import replacing
from d2l_ext.porting.audit import families, running
from d2l_ext.porting.audit.cases import groups
from d2l_ext.porting.audit.search import Log, judge_group, reduced, todo
from d2l_ext.progress import Bar
from d2l_ext.templates import templates

NEEDS = {"tensorflow": "tf_keras", "jax": "flax"}
EPILOG = """\b
Examples:
  d2l-ext audit gpt2 mistral
  d2l-ext audit --framework jax --output audit.json --page audit.html
"""


@click.command(epilog=EPILOG)
@click.argument("family", nargs=-1, type=click.Choice(families.FAMILIES), metavar="[FAMILY]...")
@click.option(
    "--framework",
    type=click.Choice(running.FRAMEWORKS),
    multiple=True,
    help="Whose models are judged.  [default: all that are installed]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default="audit.json",
    show_default=True,
    help="The results; cases that are there are not run again.",
)
@click.option("--page", type=click.Path(path_type=Path), help="Write the results as a page, too.")
def audit(
    family: tuple[str, ...], framework: tuple[str, ...], output: Path, page: Path | None
) -> None:
    """Compare transformers' TensorFlow and Flax models with PyTorch's, at the edges.

    Each FAMILY (all by default) runs small, with random weights, through masks with gaps, padding
    on the left, caches, gradients, odd lengths and every option of its configuration. What differs
    is reduced to the smallest case that shows it. The exit status is 0 only if nothing differs.
    """
    _check(framework)
    frameworks = framework or [name for name in running.FRAMEWORKS if _has(NEEDS[name])]
    log = Log(output)
    _run(log, family or families.FAMILIES, frameworks)
    table = Table("case", "framework", "differs from", "error", "budget", "smallest case")
    differences, summary = _differences(log), _summary(log)
    for row in differences:
        table.add_row(*row)
    Console().print(table if table.row_count else "nothing differs")
    click.echo(summary)
    if page is not None:
        with replacing(page) as file:
            template = templates("d2l_ext.porting.audit").get_template("page.html.jinja")
            file.write(template.render(rows=differences, summary=summary).encode())
    sys.exit(bool(table.row_count))


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _check(frameworks: tuple[str, ...]) -> None:
    needs = {"torch", "transformers", *(NEEDS[name] for name in frameworks)}
    missing = sorted(name for name in needs if not _has(name))
    if missing:
        raise UserError(f"audit needs {', '.join(missing)}: pip install {' '.join(missing)}")


def _run(log: Log, names: tuple[str, ...], frameworks: list[str] | tuple[str, ...]) -> None:
    work = [
        (framework, group)
        for name in names
        for framework in frameworks
        for group in groups(
            case
            for case in todo(name)
            if running.exists(case, framework) and log.missing(case, [framework])
        )
    ]
    with Bar(sum(len(group) for _, group in work), wanted=True) as bar:
        done = 0
        for framework, group in work:
            bar.show(done, str(group[0]))
            for case, found in judge_group(group, framework):
                differs = found.state == "differs"
                log.add(case, [found], [str(reduced(case, found)[0])] if differs else [])
            done += len(group)


def _differences(log: Log) -> list[tuple[str, ...]]:
    return [
        (
            case,
            one["framework"],
            one["place"],
            f"{one['error']:.1e}",
            f"{one['budget']:.1e}",
            one.get("smallest", ""),
        )
        for case, entries in log.found.items()
        for one in entries
        if one["state"] == "differs"
    ]


def _summary(log: Log) -> str:
    states = [one["state"] for entries in log.found.values() for one in entries]
    words = {
        "agrees": "agree",
        "differs": "differ",
        "refused": "are refused",
        "lenient": "run where PyTorch's gives an error",
        "neither": "run in neither",
        "unused": "change nothing in PyTorch",
    }
    counts = [f"{states.count(state)} {text}" for state, text in words.items()]
    return f"{len(states)} cases: {', '.join(counts)}"
