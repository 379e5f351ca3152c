"""The tables of a report in the terminal, drawn by rich."""

import rich.table
from rich.text import Text

from d2l_ext.agreement.reporting import tables
from d2l_ext.agreement.reporting.table import Cell

STYLES = {"good": "green", "bad": "bold red", "none": "dim", "": ""}
MARKS = {"good": "✓ ", "bad": "✗ ", "none": "", "": ""}
SENTENCES = 4  # whose translations are shown; the page has more


def show(report, console):
    """Print the verdict and the tables that explain it."""
    summary = tables.summary(report)
    for column, outcome in enumerate(report.outcomes.values(), start=1):
        summary.head[column] += f"\n{outcome.versions.get('framework', '')}"
    shown = [summary]
    if report.models:
        shown.append(tables.by_topic(report))
    if any(report.training.values()):
        shown.append(tables.translations(report, SENTENCES))
    shown += [tables.problems(report), tables.failures(report), tables.departures(report)]
    for table in shown:
        if table.rows:
            console.print(Text(f"\n{table.title}", "bold"))
            console.print(_drawn(table))
            if table.text:
                console.print(Text(table.text, "dim"))
    console.print(_verdict(report))


def _verdict(report):
    if report.agrees:
        return Text.assemble(("agreed", "green"), f": {', '.join(report.backends)}")
    return Text("not agreed", "red")


def _drawn(table):
    drawn = rich.table.Table(show_header=any(table.head))
    for name in table.head:
        drawn.add_column(Text(name), overflow="fold")
    for row in table.rows:
        if table.is_heading(row):
            drawn.add_section()
            drawn.add_row(Text(row[0].text, "bold"))
        else:
            drawn.add_row(*map(_text, row))
    return drawn


def _text(cell: Cell):
    """Return a cell in its colour; ratios, which have a shade, need no mark."""
    mark = "" if cell.shade is not None else MARKS[cell.tone]
    if cell.tone == "good" and mark:
        return Text.assemble((mark, STYLES["good"]), cell.text)
    return Text(mark + cell.text, STYLES[cell.tone])
