"""The report: failures by topic and cause, the same tables in the terminal and on the page."""

import io
import re

import pytest
from rich.console import Console
from shared import solved

from d2l_ext.agreement.comparison import Outcome
from d2l_ext.agreement.judging.verdict import Verdict
from d2l_ext.agreement.reporting import folder, tables
from d2l_ext.agreement.reporting.data import data
from d2l_ext.agreement.reporting.report import ROWS, Report
from d2l_ext.agreement.reporting.table import Table, ratio_cell
from d2l_ext.agreement.reporting.terminal import show

DTYPES = ("float64", "float32")


def verdict(case, dtype, ratio, reason="", quantity="outputs"):
    error = float("inf") if reason else ratio * 1e-9
    return Verdict(case, 0, "torch", dtype, quantity, "0", error, 1e-9, reason)


def report(verdicts, problems=()):
    outcomes = {
        "torch": Outcome("torch", {"framework": "2.0", "python": "3.11"}, verdicts=verdicts),
        "jax": Outcome("jax", {"framework": "0.7"}, problems=list(problems)),
    }
    return Report(outcomes, {}, DTYPES, {"seed": 0}, {"mxnet": "pip install <mxnet>"})


@pytest.fixture
def broken():
    """A report with a failure of each kind, and a worker that was lost."""
    return report(
        [
            verdict("masking/causal_mask", "float64", 0.5),
            *(verdict("masking/masked_softmax/all", dtype, 9) for dtype in DTYPES),
            *(verdict("masking/sequence_mask", dtype, 90) for dtype in DTYPES),
            verdict("scoring/attention/mask", "float64", 2),
            verdict("scoring/attention/mask", "float32", 0.5),
            verdict("recurrent/GRU", "float64", 0.5),
            verdict("recurrent/GRU", "float32", 2),
            verdict("recurrent/LSTM", "float32", 0, "has shape (2, 3), must be (3, 2)"),
            verdict("recurrent/GRU/all", "float32", 0, "has shape (5,), must be (2, 2)"),
        ],
        [("training", "ended with status 3", "Traceback:\n  <oh no>")],
    )


def test_a_failure_of_a_quantity_without_a_row_is_no_agreement():
    assert not report([verdict("recurrent/GRU", "float64", 9, quantity="something new")]).agrees
    assert report([verdict("recurrent/GRU", "float64", 0.5, quantity="something new")]).agrees


@pytest.mark.parametrize("name", ["gpt/GPT/prompts", "masking/padding_mask"])
def test_every_quantity_of_a_case_has_a_row(name):
    shown = {quantity for quantities in ROWS.values() for quantity in quantities}
    assert solved(name).expected("float64").keys() <= shown


def test_failures_stand_by_topic_and_cause(broken):
    groups = [(g.topic, g.cause, len(g.verdicts)) for g in broken.failure_groups()]
    assert groups == [
        ("masking", "in both precisions", 4),
        ("scoring", "in float64 alone", 1),
        ("recurrent", "in float32 alone", 1),
        ("recurrent", "has shape", 2),
    ]
    first = broken.failure_groups()[0]
    assert first.classes == {"sequence_mask": 2, "masked_softmax": 2}  # the worst first


def test_the_page_has_everything_and_nothing_from_elsewhere(broken, tmp_path):
    assert folder.write(broken, tmp_path) == ["report.html", "report.json"]
    page = (tmp_path / "report.html").read_text()
    made = data(broken)["made"]
    assert made["date"][:10] in page and made["machine"] in page and "0.7" in page
    assert "Not everything agrees." in page
    assert "&lt;oh no&gt;" in page and "&lt;mxnet&gt;" in page  # escaped
    for v in broken.failures():
        assert f"{v.case}, seed 0" in page
    assert not re.search(r'<script|(src|href)="(?!https://github|data:)', page)
    assert "prefers-color-scheme: dark" in page
    assert page.count("<table") == page.count('<div class="scroll"')


def test_the_terminal_shows_the_same_tables(broken):
    console = Console(record=True, width=200, file=io.StringIO())
    show(broken, console)
    text = console.export_text()
    for table in (tables.summary(broken), tables.problems(broken), tables.failures(broken)):
        assert table.title in text
        for row in table.rows:
            assert all(line in text for cell in row for line in cell.text.splitlines())
    assert text.rstrip().endswith("not agreed")


def test_what_agrees_has_no_failures(tmp_path):
    fine = report([verdict("masking/causal_mask", dtype, 0.5) for dtype in DTYPES])
    assert fine.agrees
    folder.write(fine, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Everything agrees." in page
    assert "Beyond the budget" not in page and "What went wrong" not in page


@pytest.mark.parametrize(
    ("ratio", "shade", "tone"), [(0, 0, "good"), (1, 4, "good"), (1.1, 5, "bad")]
)
def test_a_ratio_is_shaded_by_how_near_the_budget_it_is(ratio, shade, tone):
    cell = ratio_cell(ratio)
    assert (cell.shade, cell.tone) == (shade, tone)
    assert ratio_cell(float("inf")).text == "∞"
    assert ratio_cell(float("nan")).tone == "bad"


def test_one_cell_alone_is_a_heading():
    table = Table("", "", ["a", "b"], [[1], [1, 2]])
    assert [table.is_heading(row) for row in table.rows] == [True, False]
    assert not Table("", "", [""], [[1]]).is_heading([1])


def test_failures_are_records_that_a_narrow_screen_shows_from_top_to_bottom(broken, tmp_path):
    folder.write(broken, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count('class="records"') == 1 + len(broken.failure_groups())
    assert re.search(r'<td data-name="cause" class="bad">\s*in float64 alone', page)
