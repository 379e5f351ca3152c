"""All mutations of a column: each changes something, and a run goes on where another ended."""

import ast
import json

import mutants
import pytest
from mutants import LIMIT, alternatives, done, report, run

import d2l_ext

LINES = [
    {"scoring/AdditiveAttention/all": 2.0, "scoring/DotProductAttention/all": 1.0},
    {
        "scoring": {
            "7": ["scoring/AdditiveAttention/all"],
            "9": [*["scoring/DotProductAttention/all"]],
        }
    },
]


def others(code, kind):
    """Return what may stand instead of the first node of a kind in a piece of code."""
    node = next(node for node in ast.walk(ast.parse(code)) if isinstance(node, kind))
    return [ast.unparse(ast.fix_missing_locations(other)) for other in alternatives(node)]


@pytest.mark.parametrize(
    ("code", "kind", "expected"),
    [
        ("f(a, b, c=1, d=2)", ast.Call, {"f(b, a, c=1, d=2)", "f(a, b, d=2)", "f(a, b, c=1)"}),
        ("maximum(a, b)", ast.Call, set()),
        ("f(g(x))", ast.Call, {"g(f(x))"}),
        ("x.sum(axis=-1)", ast.UnaryOp, {"1", "-2"}),
        ("x[2]", ast.Constant, {"3", "1"}),
        ("x += y", ast.AugAssign, {"pass"}),
        ("if a:\n    b()", ast.If, {"if not a:\n    b()"}),
    ],
)
def test_what_may_stand_instead(code, kind, expected):
    assert set(others(code, kind)) == expected


@pytest.mark.parametrize("column", d2l_ext.COLUMNS)
def test_there_are_many_and_each_has_a_name_of_its_own(column):
    found = mutants.mutants(column)
    assert len(found) > 1500
    assert len({mutant.id for mutant, _ in found}) == len(found)
    assert [mutant.id for mutant, _ in mutants.mutants(column)] == [m.id for m, _ in found]
    mutant, (first, last) = found[0]
    assert ast.unparse(ast.parse(mutant.applied())) != ast.unparse(
        mutants.parsed(column, mutant.file)
    )
    assert 1 <= first <= last


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("zip(a, b, strict=True)", "zip(a, b, strict=False)", True),
        ("x.transpose(1, 2)", "x.transpose(2, 1)", True),
        ("x.transpose(1, 2)", "x.transpose(1, 3)", False),
        ("checks.positive('k', k)", "pass", True),
        ("arange(n, device=x.device)", "arange(n)", True),
        ("arange(n, dtype=int)", "arange(n)", False),
    ],
)
def test_what_no_result_depends_on_is_left_out(monkeypatch, old, new, expected):
    class Changed(mutants.Mutant):
        def applied(self):
            return new

    monkeypatch.setattr(mutants, "parsed", lambda column, file: ast.parse(old))
    mutants._plain.cache_clear()
    assert mutants.harmless(Changed("torch", "scoring", 0, "")) == expected
    mutants._plain.cache_clear()


def test_the_cases_are_those_that_walk_the_lines_and_the_quickest_first():
    mutant = mutants.Mutant("torch", "scoring", 0, "")
    seconds, walked = LINES
    assert mutants._walking(walked, seconds, mutant, (7, 7)) == ["scoring/AdditiveAttention/all"]
    assert mutants._walking(walked, seconds, mutant, (8, 8)) == []
    assert mutants._walking(walked, seconds, mutant, (6, 9)) == sorted(seconds, key=seconds.get)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A folder with what `lines` keeps, and mutations that are not run."""
    monkeypatch.setenv("D2L_EXT_MUTANTS", str(tmp_path))
    (tmp_path / "lines-torch.json").write_text(json.dumps(LINES))
    spans = [(mutants.Mutant("torch", "scoring", n, f"{n}"), (7, 7)) for n in range(4)]
    monkeypatch.setattr(mutants, "mutants", lambda column: spans)
    monkeypatch.setattr(mutants, "harmless", lambda mutant: False)
    return tmp_path


def test_a_run_goes_on_where_another_ended(kept, monkeypatch, capsys):
    asked = []

    def outcome(mutant, cases):
        asked.append(mutant.place)
        if mutant.place == 2 and asked.count(2) == 1:
            raise KeyboardInterrupt
        return None if mutant.place == 1 else "told"

    monkeypatch.setattr(mutants, "outcome", outcome)
    with pytest.raises(KeyboardInterrupt):
        run("torch", 60)
    with (kept / "torch.jsonl").open("a") as file:
        file.write('{"id": "torch/scor')  # a line that was not finished
    run("torch", 60)
    assert asked == [0, 1, 2, 3]
    # The one in which the run was ended may have ended it.
    assert list(done("torch").values()) == ["told", "", "ended the process", "told"]
    report("torch")
    said = capsys.readouterr().out
    assert "torch: 4 of 4 done; 0 change nothing; of the other 4 cases report 2 (50.0%)" in said
    monkeypatch.setattr(mutants, "explained", lambda column: {"torch/scoring: 1": "rank"})
    report("torch")
    said = capsys.readouterr().out
    assert "torch: 4 of 4 done; 1 change nothing; of the other 3 cases report 2 (66.7%)" in said
    assert "1 are alive" in said


def test_only_what_no_case_reported_runs_again(kept, monkeypatch):
    asked = []
    monkeypatch.setattr(mutants, "outcome", lambda m, _: asked.append(m.place) or m.place % 2 * "x")
    run("torch", 60)
    mutants.again("torch")
    assert asked == [0, 1, 2, 3, 0, 2]
    assert sorted(done("torch").values()) == ["", "", "x", "x"]


@pytest.mark.slow
def test_the_tests_of_a_column_see_a_planted_file(monkeypatch):
    mutant = mutants.Mutant("torch", "masking", 0, "")
    text = mutants.parsed("torch", "masking")
    monkeypatch.setattr(mutants.Mutant, "applied", lambda self: ast.unparse(text))
    assert mutants._told_by_tests(mutant) == ""
    wrong = ast.unparse(text).replace("softmax(dim=-1)", "softmax(dim=0)")
    monkeypatch.setattr(mutants.Mutant, "applied", lambda self: wrong)
    assert mutants._told_by_tests(mutant).startswith(f"{mutants.TESTED}FAILED tests/")


def test_no_time_is_no_run(kept, monkeypatch):
    monkeypatch.setattr(mutants, "outcome", lambda *_: pytest.fail("was run"))
    run("torch", -1)
    assert done("torch") == {}


def test_a_loop_without_end_is_reported(monkeypatch):
    monkeypatch.setattr(mutants, "LIMIT", 1)
    assert LIMIT > 1
    mutant = mutants.Mutant("torch", "scoring", 0, "")
    monkeypatch.setattr(mutants.Mutant, "applied", lambda self: "while True: pass")
    assert "TimeoutError" in mutants.outcome(mutant, ["scoring/AdditiveAttention/all"])
