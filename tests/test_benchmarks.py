"""Every benchmark runs, with tiny sizes, and what it writes is as documented. Nothing is timed."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from shared import frameworks

import d2l_ext
from benchmarks import __main__ as command
from benchmarks import measure, report
from benchmarks.environment import FOLDER, ROOT
from benchmarks.plan import COLUMNS, GROUPS, plan
from benchmarks.setting import Serving, Setting

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}

# Prepares and runs the given subjects, all of one framework, in one process of their own: D2L's
# package leaves traces in whatever imports it.
RUN = """
import json, sys
from benchmarks.worker import prepare, timed
print(json.dumps([timed(prepare(subject)) for subject in json.loads(sys.argv[1])]))
"""


def _subjects(framework, *who):
    """The different subjects of the tiny plan; compiling with torch takes half a minute."""
    found = [
        subject
        for m in plan("tiny", (framework,), GROUPS[:-2])
        for name, subject in m.subjects.items()
        if subject["who"] in who and name != "compiled"
    ]
    return list({json.dumps(subject): subject for subject in found}.values())


def _run(python, *arguments):
    command = [str(python), "-W", "ignore", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _answers(python, subjects):
    lines = _run(python, "-c", RUN, json.dumps(subjects)).splitlines()
    answers = json.loads(lines[-1])
    assert len(answers) == len(subjects)
    for subject, answer in zip(subjects, answers, strict=True):
        assert len(answer) == (5 if subject["task"] == "decode" else 1)
        assert all(seconds > 0 for seconds in answer)


@pytest.mark.parametrize("framework", frameworks("mxnet", "jax", "tensorflow"))
def test_ours_runs(framework):
    if framework not in d2l_ext.installed():
        pytest.skip(f"{framework} is not installed")
    _answers(sys.executable, _subjects(framework, "ours", "own", "floor"))


@pytest.mark.parametrize("framework", COLUMNS)
def test_d2l_runs(framework):
    python = sys.executable
    if framework in ("jax", "tensorflow"):
        python = FOLDER / "bin" / "python"
        if not (FOLDER / ".installed").exists():
            pytest.skip("the benchmarks have not installed D2L's old versions yet")
    elif importlib.util.find_spec("d2l") is None or importlib.util.find_spec(framework) is None:
        pytest.skip(f"needs d2l and {framework}")
    _answers(python, _subjects(framework, "d2l"))


def _command(folder, *arguments):
    _run(sys.executable, "-m", "benchmarks", "--tiny", "--out", str(folder), *arguments)
    return json.loads((folder / "bench.json").read_text())


def _check(found):
    assert found["level"] == "tiny" and found["machine"]["cores"] >= 1
    for result in found["results"]:
        assert "failed" not in result, result
        assert result["unit"] == ("MiB" if result["group"].endswith("memory") else "seconds")
        for value in result["values"].values():
            assert value["low"] <= value["median"] <= value["high"]
            assert len(value["turns"]) >= 1


def test_command(tmp_path):
    pytest.importorskip("torch")
    found = _command(tmp_path, "--columns", "torch", "--groups", "multihead")
    _check(found)
    assert [r["group"] for r in found["results"]] == ["multihead", "multihead"]
    assert set(found["results"][0]["ratios"]) == {"own / ours"}


@pytest.mark.slow
def test_command_with_everything(tmp_path):
    pytest.importorskip("torch")
    found = _command(tmp_path, "--columns", "torch")
    _check(found)
    assert {r["group"] for r in found["results"]} == set(GROUPS)
    step = next(r for r in found["results"] if r["group"] == "step")
    assert set(step["ratios"]) == {
        "d2l / ours",
        "ours / floor",
        "d2l / compiled",
        "compiled / floor",
    }
    assert (tmp_path / "memory.png").stat().st_size > 0


def test_command_refuses_unknown_names(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--columns", "caffe"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "'caffe' is none of torch, mxnet, jax, tensorflow" in " ".join(done.stderr.split())


def test_a_subject_that_fails_costs_its_measurement_only():
    subject = {
        "task": "step",
        "who": "ours",
        "framework": "caffe",
        "setting": dataclasses.asdict(Setting()),
        "options": {},
    }
    with (
        pytest.raises(measure.Failed, match="caffe"),
        measure.workers({"ours": subject}) as running,
    ):
        running["ours"].ask("run")


def test_batches_are_the_same_every_time():
    first, second = Setting().arrays(), Setting().arrays()
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    src, tgt_in, lens, tgt = first
    assert src.shape == tgt_in.shape == tgt.shape == (128, 9)
    assert lens.min() >= 1 and lens.max() <= 9
    np.testing.assert_array_equal(tgt_in[:, 1:], tgt[:, :-1])


def test_products_are_those_of_the_step():
    # By hand: gates of 2 encoder layers, input and state, and of 2 decoder layers, state, layer
    # below or context, and embedding; query and key; logits; scores; contexts. Three of each.
    B, T, H, V = 2, 3, 4, 5
    gates = (2 * 2 + 2 * 2 + 1) * B * T * H * 3 * H
    rest = 2 * B * T * H * H + B * T * H * V + B * T * T * H + B * T * T * H
    found = Setting(batch=B, num_steps=T, num_hiddens=H, vocab_size=V).products()
    assert sum(c * b * m * k * n for c, b, m, k, n in found) == 3 * (gates + rest)


def test_ratios_are_taken_turn_by_turn():
    found = {"ours": np.array([1.0, 10, 100]), "d2l": np.array([2.0, 30, 400])}
    ratios = measure._ratios(found)
    assert set(ratios) == {"d2l / ours"}
    assert ratios["d2l / ours"] == {"median": 3, "low": 2.5, "high": 3.5}


def test_every_run_of_d2l_is_compared():
    found = {"ours": np.array([2.0]), "d2l": np.array([6.0]), "d2l, all cores": np.array([4.0])}
    ratios = measure._ratios(found)
    assert {name: r["median"] for name, r in ratios.items()} == {
        "d2l / ours": 3,
        "d2l, all cores / ours": 2,
    }


def test_mxnet_runs_d2l_with_its_own_threads_and_with_all():
    (first, *_) = plan("tiny", ("mxnet",), ("step",))
    assert "environment" not in first.subjects["d2l"]
    threads = {"MXNET_OMP_MAX_THREADS": str(len(os.sched_getaffinity(0)))}
    assert first.subjects["d2l, all cores"]["environment"] == threads


def test_a_report_is_added_to(tmp_path):
    measured = plan("tiny", ("jax",), ("step",))
    old = [
        {"group": "memory", "framework": "torch", "title": "9 steps"},
        {"group": "step", "framework": "jax", "title": measured[0].title},
    ]
    path = tmp_path / "bench.json"
    assert command._others(path, measured) == []
    path.write_text(json.dumps({"results": old}))
    assert command._others(path, measured) == old[:1]
    assert sorted(old, key=command._place) == old[::-1]


def test_growth_compares_the_last_tokens_with_the_tenth():
    times = np.tile(np.arange(1.0, 101), (3, 1))
    assert measure._growth(times)["median"] == pytest.approx(98 / 10)


def test_tables_show_failures(tmp_path):
    failed = {"group": "step", "framework": "torch", "title": "9 steps", "failed": "line\nreason"}
    (table,) = report.tables([failed])
    assert table.row_count == 1
    report.write_markdown(tmp_path / "bench.md", [failed])
    assert "| torch | 9 steps | failed: reason |  |" in (tmp_path / "bench.md").read_text()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("lengths", [(9,), (9, 40)])
def test_figure_of_one_length_or_several(tmp_path, lengths):
    value = {"median": 0.05, "low": 0.04, "high": 0.06}
    rows = [
        {
            "group": "step",
            "framework": framework,
            "setting": {"num_steps": n, "vocab_size": 200},
            "values": {"ours": value},
        }
        for framework in ("jax", "torch")
        for n in lengths
    ]
    assert report.figures(rows, tmp_path) == [tmp_path / "step.png"]
    assert (tmp_path / "step.png").stat().st_size > 0


def test_page_shows_medians_and_ratios(tmp_path):
    value = {"median": 0.05, "low": 0.04, "high": 0.06}
    result = {
        "group": "decoding",
        "framework": "jax",
        "title": "100 tokens",
        "unit": "seconds",
        "values": {"ours": value, "d2l": {**value, "median": 1.5}},
        "ratios": {"d2l / ours": {"median": 30, "low": 29, "high": 31}},
        "last over tenth token": {"ours": {"median": 1.1, "low": 1, "high": 1.2}},
    }
    report.write_markdown(tmp_path / "bench.md", [result])
    page = (tmp_path / "bench.md").read_text()
    assert "ours 50 ms<br>d2l 1.50 s" in page
    assert "d2l / ours 30.00 (29.00 to 31.00)<br>last over tenth token, ours 1.10" in page


SERVING = Serving(2, 4, 11, 8, num_heads=2, num_tokens=3, beam=4)


def test_the_engine_translates_as_ours():
    pytest.importorskip("torch")
    pytest.importorskip("ctranslate2")
    from benchmarks.serving import engine, ours

    tokens = engine.translate("torch", SERVING)()
    assert tokens == ours.translate("torch", SERVING)()
    assert [len(sentence) for sentence in tokens] == [3, 3]


def test_an_engine_with_other_tokens_is_not_timed(monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("ctranslate2")
    from benchmarks.serving import engine, ours

    monkeypatch.setattr(ours, "translate", lambda framework, size: lambda: [[3, 3, 3], [-1] * 3])
    with pytest.raises(RuntimeError, match=r"[12] of 2 translations differ from torch's"):
        engine.translate("torch", SERVING)
