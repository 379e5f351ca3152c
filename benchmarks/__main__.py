"""The command: measure, print tables, write the report."""

import datetime
import importlib.metadata
import json
import os
import platform
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import measure, report
from benchmarks.plan import COLUMNS, GROUPS, plan

PACKAGES = ("torch", "mxnet", "jax", "flax", "tensorflow-cpu", "keras", "numpy", "d2l")
TURNS = {"full": (8.0, 3, 15), "quick": (5.0, 3, 7), "tiny": (0.0, 1, 1)}


def _names(known):
    def check(context, parameter, value):
        names = tuple(value.split(",")) if value else known
        for name in names:
            if name not in known:
                raise click.BadParameter(f"{name!r} is none of {', '.join(known)}")
        return names

    return check


@click.command()
@click.option("--quick", "level", flag_value="quick", help="Fewer sizes and turns.")
@click.option("--tiny", "level", flag_value="tiny", help="Only to see that everything runs.")
@click.option("--columns", callback=_names(COLUMNS), help="Frameworks, separated by commas.")
@click.option("--groups", callback=_names(GROUPS), help=f"Of {', '.join(GROUPS)}.")
@click.option(
    "--out", type=click.Path(path_type=Path), default="report/bench", help="Folder of the report."
)
@click.option("--title", default="", help="Only what has this in its title, such as '40 steps'.")
@click.option("--add", is_flag=True, help="Keep what the report has of other measurements.")
def main(level, columns, groups, out, title, add):
    """Measure ours against D2L's own code and against the matrix products alone."""
    level, console = level or "full", Console()
    measurements = [m for m in plan(level, columns, groups) if title in m.title]
    results = _others(out / "bench.json", measurements) if add else []
    about = _about(level)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        task = progress.add_task("", total=len(measurements))
        for m in measurements:
            progress.update(task, description=f"{m.group} {m.framework} {m.title}".rstrip())
            results.append(_result(m, level))
            results.sort(key=_place)
            report.write_json(out / "bench.json", {**about, "results": results})
            report.write_markdown(out / "bench.md", results)
            progress.advance(task)
    for table in report.tables(results):
        console.print(table)
    drawn = report.figures(results, out)
    console.print(f"written: {', '.join(map(str, (out / 'bench.json', out / 'bench.md', *drawn)))}")
    if any("failed" in r for r in results):
        raise SystemExit(1)


def _others(path, measurements):
    """Return the results of an earlier run that are not to be measured again."""
    again = [(m.group, m.framework, m.title) for m in measurements]
    results = json.loads(path.read_text())["results"] if path.exists() else []
    return [r for r in results if (r["group"], r["framework"], r["title"]) not in again]


def _place(result):
    return GROUPS.index(result["group"]), COLUMNS.index(result["framework"])


def _result(measurement, level):
    result = {
        "group": measurement.group,
        "framework": measurement.framework,
        "title": measurement.title,
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    try:
        return result | measure.run(measurement, *TURNS[level])
    except measure.Failed as error:  # costs this measurement only
        return result | {"failed": str(error)}


def _about(level):
    return {
        "level": level,
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "processor": _processor(),
            "python": platform.python_version(),
        },
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
