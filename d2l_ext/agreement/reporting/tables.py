"""The tables of a report, each made by one function of a `Report`."""

from d2l_ext.agreement.judging.drift import Drift
from d2l_ext.agreement.reporting.table import (
    NOTHING,
    Cell,
    Table,
    beside,
    number,
    ratio_cell,
    tone,
)

# Names of quantities that do not speak for themselves.
TERMS = {
    "of vjp": '"Outputs of vjp" are the outputs once more, of the pass that computes gradients.',
    "changed": '"Changed" is what a method changes that is not its own: arrays that it is given,'
    " and, unless it trains, parameters.",
    "accepted": '"Accepted" are tokens, lengths and labels that do not exist and are taken all the'
    " same.",
    "half precision": '"Half precision" is what is not the same in float16 as in float32; MXNet has'
    " no float16 on a CPU.",
    "narrow integers": '"Narrow integers" is what ids, lengths and positions in int32 change.',
}
RATIO = "The largest error over budget; 1 is the limit."


def versions(report):
    """With what it was made."""
    rows = [
        [Cell(kind), *(Cell(o.versions.get(kind, "–")) for o in report.outcomes.values())]
        for kind in ("framework", "python", "numpy")
    ]
    return Table("Versions", "", ["", *report.backends], rows)


def summary(report):
    """The largest errors, a row per quantity: the one table that says it all."""
    rows, last = [], None
    for (dtype, row), cells in report.rows():
        if dtype != last:
            rows.append([Cell(dtype)])
            last = dtype
        shown = (cells[b] for b in report.backends)
        rows.append([Cell(row), *(Cell(c.text, tone(c.agrees)) for c in shown)])
    return Table(
        "Largest error, and the budget it must keep to",
        "An error is max |a − b| / max |b|, b being exact (the NumPy reference in long double; for"
        " training, the median of the frameworks). A budget is 8 times the error that the precision"
        " alone causes, which is measured.",
        ["", *report.backends],
        rows,
    )


def problems(report):
    """What crashed, hung or failed, each with its last words."""
    rows = []
    for backend, outcome in report.outcomes.items():
        for doing, why, details in outcome.problems:
            rows.append([Cell(f"{backend}: {doing}: {why}", "bad")])
            if details:
                rows.append([Cell(details, "none")])
    return Table("What went wrong", "", [""], rows)


def failures(report):
    """What left its budget, a row per topic, framework and cause."""
    rows = [
        [
            Cell(group.topic),
            Cell(group.backend),
            Cell(group.cause, "bad"),
            Cell(str(len(group.verdicts))),
            Cell(", ".join(group.classes)),
            Cell(_worst(group)),
        ]
        for group in report.failure_groups()
    ]
    return Table(
        "Beyond the budget",
        "What is wrong in both precisions is a real difference; in float64 alone, something is"
        " computed in a lower precision; in float32 alone, it is rounding, but more than the"
        " precision causes. Topics rest on those above them. With a case's name,"
        " d2l-ext locate CASE --backend FRAMEWORK names the layer.",
        ["topic", "framework", "cause", "tensors", "classes", "the worst"],
        rows,
        records=True,
    )


def _worst(group):
    verdict = group.verdicts[0]
    how = "; ".join(filter(None, (_how(verdict), verdict.worst)))
    return f"{verdict.case}, {verdict.dtype}: {verdict.what}: {how}"


def _how(verdict):
    return verdict.reason or beside(verdict.error, verdict.budget)


def every_failure(report):
    """Yield a table per topic, framework and cause: every tensor beyond its budget."""
    for group in report.failure_groups():
        title = f"{group.topic}, {group.backend}: {group.cause} ({len(group.verdicts)})"
        rows = [
            [
                Cell(f"{v.case}, seed {v.seed}"),
                Cell(v.dtype),
                Cell(v.what),
                Cell(_how(v), "bad"),
                Cell(v.worst),
            ]
            for v in group.verdicts
        ]
        terms = [
            text for term, text in TERMS.items() if any(term in v.what for v in group.verdicts)
        ]
        head = ["case", "precision", "tensor", "error", "the worst element"]
        yield Table(title, " ".join(terms), head, rows, folded=True, records=True)


def departures(report):
    """The small models that left their budget while they were trained, and where."""
    rows = [
        [Cell(name), Cell(backend), Cell(dtype), Cell(what, "bad")]
        for name, dtype, backend, what in report.departures()
    ]
    return Table("Models that left their budget", "", ["model", "framework", "", "first"], rows)


def drifts(report):
    """Yield a table per precision: how far the losses are apart, at a few steps."""
    for dtype, training in report.training.items():
        if training is None:
            continue
        by_backend = training["loss"]
        steps = len(next(iter(by_backend.values())).errors)
        shown = sorted({0, *(round(steps * k / 10) - 1 for k in range(1, 11))} & set(range(steps)))
        rows = [
            [Cell(str(step + 1)), *(_drift_cell(d, step) for d in by_backend.values())]
            for step in shown
        ]
        yield Table(f"Drift of the loss, {dtype}", "", ["step", *by_backend], rows)


def _drift_cell(drift, step):
    error, budget = drift.errors[step], drift.budgets[step]
    return Cell(beside(error, budget), tone(bool(error <= budget)))


def translations(report, most):
    """The first translations; those who say the same share a row."""
    plan, rows = report.plan, []
    done = {dtype: training["runs"] for dtype, training in report.training.items() if training}
    everyone = [(dtype, b) for dtype, runs in done.items() for b in runs]
    for place, source in enumerate(plan.sentences[:most]):
        said = {}
        for who in everyone:
            said.setdefault(report.translation(*who, place), []).append(who)
        for text, speakers in said.items():
            by = "all" if len(speakers) == len(everyone) else _listed(speakers, done)
            score = f"{report.bleu(*speakers[0], place):.2f}"
            rows.append([Cell(source), Cell(by), Cell(text), Cell(score)])
            source = ""
    note = f"{min(most, len(plan.sentences))} of {len(plan.sentences)}. {_mean_bleu(report, done)}"
    return Table("Translations", note, ["source", "by", "translation", "BLEU"], rows)


def _listed(speakers, done):
    """Return "float64: torch, jax; float32: all"."""
    by = {dtype: [b for d, b in speakers if d == dtype] for dtype in done}
    return "; ".join(
        f"{dtype}: {'all' if len(said) == len(done[dtype]) else ', '.join(said)}"
        for dtype, said in by.items()
        if said
    )


def _mean_bleu(report, done):
    means = {}
    for dtype, runs in done.items():
        for backend in runs:
            means.setdefault(f"{report.mean_bleu(dtype, backend):.3f}", []).append((dtype, backend))
    if len(means) == 1:
        return f"Mean BLEU of all: {next(iter(means))}."
    return "Mean BLEU: " + ", ".join(
        f"{mean} ({_listed(who, done)})" for mean, who in means.items()
    )


def _columns(report):
    return [(b, d) for b in report.backends for d in report.dtypes]


def _by_column(report, title, text, first, rows):
    """Return a table with a column per backend and precision."""
    return Table(title, text, [first, *("\n".join(c) for c in _columns(report))], rows)


def by_topic(report):
    """Each framework's worst error over budget, by topic and aspect."""
    rows, last = [], None
    for (topic, aspect), cells in report.matrix.items():
        if topic != last:
            rows.append([Cell(topic)])
            last = topic
        rows.append([Cell(aspect), *(_entry(cells.get(c)) for c in _columns(report))])
    text = f"{RATIO} Of the cases, and of the models that were trained 100 steps."
    return _by_column(report, "By topic", text, "", rows)


def _entry(entry):
    if entry is None or not entry.compared:
        return NOTHING
    beyond = f"; {entry.beyond} beyond comparison" if entry.beyond else ""
    tip = f"{entry.where} ({entry.compared} compared{beyond})"
    return ratio_cell(entry.ratio, str(entry), tip)


def trained_models(report):
    """Every small model: its largest error over budget, or where it left that."""
    left = {(name, dtype, backend): what for name, dtype, backend, what in report.departures()}
    rows = []
    for name, by_dtype in report.models.items():
        cells = []
        for backend, dtype in _columns(report):
            found = by_dtype.get(dtype, {}).values()
            drifts = [v[backend] for v in found if isinstance(v.get(backend), Drift)]
            ratios = [d.ratio for d in drifts if d.ratio is not None]
            what = left.get((name, dtype, backend), "")
            done = ratios or what
            cells.append(ratio_cell(max(ratios, default=0), what, what) if done else NOTHING)
        rows.append([Cell(name), *cells])
    text = (
        "The largest error over budget among losses, optimiser state and parameters; where a model"
        " left its budget, the first quantity that did."
    )
    return _by_column(report, "Every model, 100 training steps", text, "model", rows)


def differences(report):
    """What each framework does unless told otherwise."""
    who = [*report.backends, "agreed"]
    rows = [
        [Cell(name), *(Cell(_short(values.get(w, "–"))) for w in who)]
        for name, values in report.differences().items()
    ]
    text = (
        "What each does unless told otherwise, measured now with its own layers and operators, and"
        " what all columns of this project do."
    )
    return Table("Where the frameworks differ", text, ["", *who], rows)


def limits(report):
    """What a framework cannot do, whatever it is told."""
    rows = [
        [
            Cell(f["backend"]),
            Cell(f["name"], link=f["link"]),
            Cell(_short(f["measured"]), "" if f["holds"] else "bad"),
            Cell(_short(f["size"])),
            Cell(f["cause"]),
            Cell(f["instead"]),
        ]
        for f in report.findings()
    ]
    text = "Limits that no setting mends, and what the column does instead."
    head = ["framework", "operator", "error now", "known", "cause", "instead"]
    return Table("What a framework cannot do", text, head, rows)


def _short(value):
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def by_case(report):
    """The worst of every case."""
    rows = [
        [Cell(case), *(_verdict_cell(cells.get(c)) for c in _columns(report))]
        for case, cells in report.by_case().items()
    ]
    table = _by_column(report, f"Every case ({len(rows)})", RATIO, "case", rows)
    table.folded = True
    return table


def _verdict_cell(verdict):
    if verdict is None:
        return NOTHING
    return ratio_cell(verdict.ratio, number(verdict.ratio), str(verdict))
