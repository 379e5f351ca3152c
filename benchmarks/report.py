"""The report: results as JSON, tables for the terminal and for a page, and figures."""

import json

import numpy as np
from rich.table import Table

from d2l_ext.files import replacing
from d2l_ext.plotting import COLOURS, DASHES, Picture

HEADINGS = {
    "step": "Training step, Bahdanau decoder",
    "transformer": "Training step, Transformer",
    "decoding": "Decoding token by token",
    "multihead": "Multi-head attention, forward and backward",
    "throughput": "Translating a batch",
    "serving": "Translating, against an engine made for it",
    "language": "A language model",
    "long": "Causal attention over a long text, forward",
    "long memory": "Peak memory of the same",
    "memory": "Peak memory of a training step",
    "startup": "Start-up: import, and process start to the end of the first training step",
}

# What is drawn, always in the same colour.
LINES = ("d2l", "ours", "compiled", "floor", "d2l, all cores")

COLUMNS = ("framework", "size", "median", "ratio (quartiles)")


def write_json(path, report):
    """Write the report; README.md says what is in it."""
    with replacing(path) as file:
        file.write((json.dumps(report, indent=1) + "\n").encode())


def tables(results):
    """Return a table for each group of results."""
    made = []
    for heading, rows in _sections(results):
        table = Table(title=heading, title_justify="left")
        for column in COLUMNS:
            table.add_column(column)
        for row in rows:
            table.add_row(*row)
        made.append(table)
    return made


def write_markdown(path, results):
    """Write the same tables as a page."""
    lines = []
    for heading, rows in _sections(results):
        lines += [f"### {heading}", "", _row(COLUMNS), _row(["---"] * len(COLUMNS))]
        lines += [*(_row(cell.replace("\n", "<br>") for cell in row) for row in rows), ""]
    with replacing(path) as file:
        file.write("\n".join(lines).encode())


def _row(cells):
    return f"| {' | '.join(cells)} |"


def _sections(results):
    """Yield the heading of each group of results and its rows of text."""
    for group, heading in HEADINGS.items():
        rows = [r for r in results if r["group"] == group]
        if rows:
            yield heading, [(r["framework"], r["title"], _values(r), _ratios(r)) for r in rows]


def _values(row):
    if "failed" in row:
        return f"failed: {row['failed'].splitlines()[-1]}"
    return "\n".join(f"{k} {_show(v['median'], row['unit'])}" for k, v in row["values"].items())


def _show(value, unit):
    if unit == "MiB":
        return f"{value:.0f} MiB"
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.3g} ms"


def _ratios(row):
    lines = [
        f"{name} {r['median']:.2f} ({r['low']:.2f} to {r['high']:.2f})"
        for name, r in row.get("ratios", {}).items()
    ]
    lines += [
        f"last over tenth token, {name} {r['median']:.2f}"
        for name, r in row.get("last over tenth token", {}).items()
    ]
    return "\n".join(lines)


def figures(results, folder):
    """Draw how the step's time and memory grow with the length; return the files' paths."""
    drawn = []
    for group, label in (("step", "seconds"), ("memory", "MiB")):
        rows = [
            r
            for r in results
            if r["group"] == group and "failed" not in r and r["setting"]["vocab_size"] <= 200
        ]
        if rows:
            path = folder / f"{group}.png"
            _growth(rows, label).save(path)
            drawn.append(path)
    return drawn


def _growth(rows, label):
    """Plot a value over the number of steps, a panel for each framework."""
    frameworks = list(dict.fromkeys(r["framework"] for r in rows))
    lengths = sorted({r["setting"]["num_steps"] for r in rows})
    picture = Picture(figsize=(2.4 * len(frameworks) + 1.6, 2.8))
    panels = picture.subplots(1, len(frameworks), squeeze=False, sharey=True)[0]
    lines = {}
    for panel, framework in zip(panels, frameworks, strict=True):
        mine = [r for r in rows if r["framework"] == framework]
        for name, colour, dash in zip(LINES, COLOURS, DASHES, strict=False):
            points = [r for r in mine if name in r["values"]]
            if points:
                lines[name] = _line(panel, points, name, color=colour, linestyle=dash)
        ends = 0.8 * lengths[0], 1.25 * lengths[-1]
        panel.set(title=framework, xlabel="steps", xlim=ends, xscale="log", yscale="log")
        panel.set_xticks(lengths, lengths)
        panel.minorticks_off()
    panels[0].set_ylabel(label)
    picture.legend(lines.values(), lines, loc="outside right upper")
    return picture


def _line(panel, rows, name, **style):
    """Plot the medians of a subject, with their quartiles."""
    x, values = [r["setting"]["num_steps"] for r in rows], [r["values"][name] for r in rows]
    y = np.array([v["median"] for v in values])
    spread = abs(np.array([[v["low"] for v in values], [v["high"] for v in values]]) - y)
    return panel.errorbar(x, y, spread, marker="o", **style)
