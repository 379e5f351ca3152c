"""The report in the terminal: tables, translations and what went wrong."""

from rich.table import Table


def show(report, console):
    """Print the table, the translations and what went wrong."""
    console.print(_table(report))
    if report.models:
        console.print(_matrix(report))
    for dtype in report.dtypes:
        if report.training[dtype]:
            _show_translations(report, dtype, console)
    for backend, outcome in report.outcomes.items():
        for doing, why, details in outcome.problems:
            console.print(f"{backend}: {doing}: {why}", style="red", markup=False, highlight=False)
            console.print(details, style="dim", markup=False, highlight=False)
    failures = [*map(str, report.failures()), *(": ".join(d) for d in report.departures())]
    for failure in failures[:20]:
        console.print(failure, style="red", markup=False, highlight=False)
    if len(failures) > 20:
        console.print(f"... and {len(failures) - 20} more, all in report.json")
    if report.agrees:
        console.print(f"[green]agreed[/]: {', '.join(report.backends)}")
    else:
        console.print("[red]not agreed[/]")


def _table(report):
    table = Table(title="largest error, and the budget it must keep to", title_justify="left")
    table.add_column("")
    for backend in report.backends:
        version = report.outcomes[backend].versions.get("framework", "")
        table.add_column(f"{backend}\n{version}")
    last = None
    for (dtype, row), cells in report.rows():
        if dtype != last:
            table.add_section()
            table.add_row(f"[bold]{dtype}[/]")
            last = dtype
        table.add_row(row, *(_coloured(cells[b]) for b in report.backends))
    return table


def _matrix(report):
    title = "by topic: the largest error over budget, of cases and of models trained 100 steps"
    table = Table(title=title, title_justify="left")
    columns = [(b, d) for b in report.backends for d in report.dtypes]
    for name in ("", "", *("\n".join(column) for column in columns)):
        table.add_column(name, justify="right" if name else "left")
    last = None
    for (topic, aspect), cells in report.matrix.items():
        if topic != last:
            table.add_section()
        shown = (_entry(cells.get(column)) for column in columns)
        table.add_row("" if topic == last else topic, aspect, *shown)
        last = topic
    return table


def _entry(entry):
    if entry is None or not entry.compared:
        return "[dim]–[/]"
    return f"[{'green' if entry.ratio <= 1 else 'bold red'}]{entry}[/]"


def _coloured(cell):
    colour = {True: "green", False: "bold red", None: "dim"}[cell.agrees]
    mark = {True: "✓ ", False: "✗ ", None: ""}[cell.agrees]
    return f"[{colour}]{mark}[/]{cell.text}" if cell.agrees else f"[{colour}]{mark}{cell.text}[/]"


def _show_translations(report, dtype, console, most=4):
    """Print a few translations; backends that say the same share a line."""
    plan, runs = report.plan, report.training[dtype]["runs"]
    table = Table(title=f"translations, {dtype}", title_justify="left")
    for column in ("source", "by", "translation", "BLEU"):
        table.add_column(column)
    for number in range(min(most, len(plan.sentences))):
        said = {}
        for backend in runs:
            said.setdefault(report.translation(dtype, backend, number), []).append(backend)
        for place, (text, backends) in enumerate(said.items()):
            by = "all" if len(backends) == len(runs) else ", ".join(backends)
            score = report.bleu(dtype, backends[0], number)
            table.add_row("" if place else plan.sentences[number], by, text, f"{score:.2f}")
    means = {b: f"{report.mean_bleu(dtype, b):.3f}" for b in runs}
    same = len(set(means.values())) == 1
    mean = next(iter(means.values())) if same else ", ".join(f"{b} {m}" for b, m in means.items())
    table.caption = f"mean BLEU of {len(plan.sentences)} sentences: {mean}"
    console.print(table)
