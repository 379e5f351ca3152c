"""The report as one page that needs nothing else: no script, no network, pictures inside."""

import base64
import html
import math

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em;
  color: #222; background: #fff }
h1 { font-size: 1.6em } h2 { font-size: 1.2em; margin-top: 2.2em }
table { border-collapse: collapse; margin: 1em 0 }
th, td { padding: .2em .7em; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap }
.good { color: #05603a } .bad { color: #b42318; font-weight: 600 } .none { color: #888 }
.matrix td { padding: .1em .6em; font-size: .85em; white-space: nowrap }
.matrix td.cell { text-align: right; min-width: 3.5em; border: 1px solid #fff }
img { max-width: 100% } pre { white-space: pre-wrap; font-size: .85em }
.scroll { overflow-x: auto }
"""
# From far within the budget to its edge; beyond it is red.
SHADES = ((1e-3, "#f0f7fc"), (1e-2, "#dcedf8"), (0.1, "#b9dcf0"), (0.5, "#8cc4e4"), (1, "#f9d67a"))
TOO_FAR = "#f5a097"


def page(report, folder, pictures):
    """Return the page as text.

    Args:
        report: a `report.Report`.
        folder: where the pictures are.
        pictures: names of their files.
    """
    parts = [
        f"<h1>Agreement of {', '.join(report.backends)}</h1>",
        _verdict(report),
        _versions(report),
        "<h2>Largest error, and the budget it must keep to</h2>",
        "<p>An error is max |a − b| / max |b|, b being exact (the NumPy reference in long double;"
        " for training, the median of the frameworks). A budget is 8 times the error that the"
        " precision alone causes, which is measured.</p>",
        _summary(report),
        *_problems(report),
        *_training(report, folder, pictures),
        "<h2>By topic</h2>",
        "<p>The largest error over budget of the cases and of the models that were trained 100"
        " steps; 1 is the limit. Point at a number to see where.</p>",
        _by_topic(report),
        *_models(report),
        *_differences(report),
        "<h2>Every case</h2>",
        "<p>The largest error over budget, as above.</p>",
        _by_case(report),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Agreement</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _text(value):
    return html.escape(str(value))


def _table(head, rows, cls=""):
    head = "".join(f"<th>{_text(h)}</th>" for h in head)
    body = "\n".join("<tr>" + "".join(row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="{cls}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(text, cls="", title=""):
    title = f' title="{_text(title)}"' if title else ""
    return f'<td class="{cls}"{title}>{_text(text)}</td>'


def _verdict(report):
    if report.agrees:
        return '<p class="good">Everything agrees.</p>'
    return '<p class="bad">Not everything agrees.</p>'


def _versions(report):
    kinds = ("framework", "python", "numpy")
    rows = [
        [_cell(kind), *(_cell(report.outcomes[b].versions.get(kind, "–")) for b in report.backends)]
        for kind in kinds
    ]
    settings = ", ".join(f"{k} {_text(v)}" for k, v in report.settings.items())
    left_out = "".join(f"<p>Left out: {_text(b)}.</p>" for b in report.left_out)
    return f"<p>{settings}</p>{left_out}" + _table(["versions", *report.backends], rows)


def _summary(report):
    rows = []
    for (dtype, row), cells in report.rows():
        marks = [cells[b] for b in report.backends]
        rows.append(
            [_cell(dtype), _cell(row), *(_cell(c.text, f"number {_class(c)}") for c in marks)]
        )
    return _table(["", "", *report.backends], rows)


def _class(cell):
    return {True: "good", False: "bad", None: "none"}[cell.agrees]


def _problems(report):
    for backend, outcome in report.outcomes.items():
        for doing, why, details in outcome.problems:
            yield f'<p class="bad">{_text(backend)}: {_text(doing)}: {_text(why)}</p>'
            yield f"<pre>{_text(details)}</pre>"
    if failures := report.failures():
        yield "<h2>Beyond the budget</h2>"
        yield "<ul>" + "".join(f"<li>{_text(v)}</li>" for v in failures[:200]) + "</ul>"


def _training(report, folder, pictures):
    if report.plan is None:
        return
    yield f"<h2>Training: {report.plan.num_steps} steps</h2>"
    for name in pictures:
        data = base64.b64encode((folder / name).read_bytes()).decode()
        yield f'<p><img alt="{_text(name)}" src="data:image/png;base64,{data}"></p>'
    for dtype, training in report.training.items():
        if training is not None:
            yield f"<h3>Drift in {dtype}</h3>"
            yield _drift(training["loss"])
    yield "<h2>Translations</h2>"
    yield _translations(report)


def _drift(drifts):
    """Table of loss differences, at a few steps."""
    steps = len(next(iter(drifts.values())).errors)
    shown = sorted({0, *(round(steps * k / 10) - 1 for k in range(1, 11))} & set(range(steps)))
    rows = [
        [
            _cell(step + 1, "number"),
            *(
                _cell(
                    f"{drift.errors[step]:.1e} of {drift.budgets[step]:.1e}",
                    "number " + ("good" if drift.errors[step] <= drift.budgets[step] else "bad"),
                )
                for drift in drifts.values()
            ),
        ]
        for step in shown
    ]
    return _table(["step", *drifts], rows)


def _translations(report, most=12):
    rows = []
    for number, sentence in enumerate(report.plan.sentences[:most]):
        for dtype, training in report.training.items():
            said = {}
            for backend in training["runs"] if training else ():
                said.setdefault(report.translation(dtype, backend, number), []).append(backend)
            for text, backends in said.items():
                bleu = report.bleu(dtype, backends[0], number)
                by = "all" if len(backends) == len(training["runs"]) else ", ".join(backends)
                rows.append(
                    [_cell(sentence), _cell(dtype), _cell(by), _cell(text), _cell(f"{bleu:.2f}")]
                )
    return _table(["source", "precision", "by", "translation", "BLEU"], rows)


def _columns(report):
    return [(b, d) for b in report.backends for d in report.dtypes]


def _headed(report, first, rows):
    return _table([*first, *(" ".join(c) for c in _columns(report))], rows, "matrix")


def _by_topic(report):
    rows = [
        [_cell(topic), _cell(aspect), *(_entry(cells.get(c)) for c in _columns(report))]
        for (topic, aspect), cells in report.matrix.items()
    ]
    return _headed(report, ["topic", ""], rows)


def _entry(entry):
    if entry is None or not entry.compared:
        return _cell("–", "cell none")
    beyond = f"; {entry.beyond} beyond comparison" if entry.beyond else ""
    return _shaded(entry.ratio, str(entry), f"{entry.where} ({entry.compared} compared{beyond})")


def _models(report):
    if not report.models:
        return
    yield "<h2>Every model, 100 training steps</h2>"
    yield (
        "<p>The largest error over budget among losses, optimiser state and parameters; where a"
        " model left its budget, the first quantity that did.</p>"
    )
    rows = []
    left = {(name, dtype, backend): what for name, dtype, backend, what in report.departures()}
    for name, by_dtype in report.models.items():
        cells = []
        for backend, dtype in _columns(report):
            found = by_dtype.get(dtype, {}).values()
            drifts = [v[backend] for v in found if backend in v and hasattr(v[backend], "ratio")]
            ratios = [d.ratio for d in drifts if d.ratio is not None]
            what = left.get((name, dtype, backend), "")
            text = what or (f"{max(ratios):.2g}" if ratios else "–")
            cells.append(_shaded(max(ratios, default=0), text, what))
        rows.append([_cell(name), *cells])
    yield _headed(report, ["model"], rows)


def _differences(report):
    yield "<h2>Where the frameworks differ</h2>"
    yield (
        "<p>What each does unless told otherwise, measured now with its own layers and operators,"
        " and what all columns of this project do.</p>"
    )
    who = [*report.backends, "agreed"]
    rows = [
        [_cell(name), *(_cell(_short(values.get(w, "–")), "number") for w in who)]
        for name, values in report.differences().items()
    ]
    yield _table(["", *who], rows)
    if findings := report.findings():
        yield "<h2>What a framework cannot do</h2>"
        yield "<p>Limits that no setting mends, and what the column does instead.</p>"
        rows = [
            [
                _cell(f["backend"]),
                f'<td><a href="{_text(f["link"])}">{_text(f["name"])}</a></td>',
                _cell(_short(f["measured"]), "number" if f["holds"] else "number bad"),
                _cell(_short(f["size"]), "number"),
                _cell(f["cause"]),
                _cell(f["instead"]),
            ]
            for f in findings
        ]
        yield _table(["framework", "operator", "error now", "known", "cause", "instead"], rows)


def _short(value):
    return f"{value:.5g}" if isinstance(value, float) else value


def _by_case(report):
    rows = [
        [_cell(case), *(_verdict_cell(cells.get(c)) for c in _columns(report))]
        for case, cells in report.by_case().items()
    ]
    return _headed(report, ["case"], rows)


def _verdict_cell(verdict):
    if verdict is None:
        return _cell("–", "cell none")
    text = "∞" if math.isinf(verdict.ratio) else f"{verdict.ratio:.2g}"
    return _shaded(verdict.ratio, text, str(verdict))


def _shaded(ratio, text, title):
    colour = next((c for limit, c in SHADES if ratio <= limit), TOO_FAR)
    return f'<td class="cell" style="background:{colour}" title="{_text(title)}">{_text(text)}</td>'
