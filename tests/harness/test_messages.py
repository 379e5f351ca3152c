"""What an outsider is told: the worst element, the layer; and a comparison that is interrupted."""

import dataclasses
import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from command import invoke
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import d2l_ext
from d2l_ext import progress
from d2l_ext.agreement.cases.named import named
from d2l_ext.agreement.judging import unfinished
from d2l_ext.agreement.judging.error import worst_element
from d2l_ext.agreement.judging.unfinished import Unfinished
from d2l_ext.agreement.judging.verdict import Verdict
from d2l_ext.agreement.pytest_plugin import LOCATE, Agreement

RNG = np.random.default_rng(0)
INPUTS = [RNG.standard_normal(shape) for shape in ((2, 1, 5), (2, 4, 3), (2, 4, 6))]


# The worst element


@given(
    array=arrays(np.float32, array_shapes(max_side=4), elements=st.floats(-9, 9, width=32)),
    data=st.data(),
    change=st.sampled_from([0.5, -3.0, np.nan, np.inf]),
)
def test_the_worst_element_is_found(array, data, change):
    place = tuple(data.draw(st.integers(0, n - 1)) for n in array.shape)
    other = array.copy()
    other[place] += np.float32(change)
    text = worst_element(other, array.astype(np.longdouble))
    assert text.startswith(f"at [{', '.join(map(str, place))}] it is ")
    got, wanted = text.partition("it is ")[2].split(", must be ")
    assert np.float32(got) == other[place] or np.isnan(change)
    assert np.float32(wanted) == array[place]


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        (np.array(2.0), np.array(1.0), "it is 2, must be 1"),
        (np.array([1, 2]), np.array([1, 3]), "at [1] it is 2, must be 3"),
        (np.array([np.nan, 1.0]), np.array([np.nan, 2.0]), "at [1] it is 1, must be 2"),
        (np.array([-np.inf, 1.0]), np.array([-np.inf, 2.0]), "at [1] it is 1, must be 2"),
        (np.ones(2), np.ones(3), ""),
        (np.ones(0), np.ones(0), ""),
    ],
)
def test_of_other_kinds(a, b, text):
    assert worst_element(a, b) == text


# The fixture


def broken(backend, monkeypatch):
    """Let a framework's additive attention forget its hyperbolic tangent's weights' sign."""
    attention = backend.api.AdditiveAttention
    score = attention.score

    def wrong(self, *arguments, **options):
        return -score(self, *arguments, **options)

    monkeypatch.setattr(attention, "score", wrong)


def test_a_failure_says_where_and_how_to_go_on(backend, monkeypatch):
    def build(api):
        return api.AdditiveAttention(num_hiddens=8, dropout=0)

    backend.forget()
    broken(backend, monkeypatch)
    with pytest.raises(pytest.fail.Exception) as failure:
        Agreement(backend, "additive").of_module(build, *INPUTS)
    backend.forget()
    message = str(failure.value)
    assert f"{backend.name} float64 additive, seed 0: outputs: error" in message
    assert "; at [" in message and ", must be " in message
    assert "seed 0: of the parameters" in message
    assert "outputs of vjp: the outputs once more" in message
    # What is shown runs, and finds the layer.
    code = message.partition("which layer it is, says\n")[2].replace("print(", "found.append(")
    assert code
    found = []
    lines = code.splitlines()
    exec("\n".join(line[4:] for line in lines), {"build": build, "inputs": INPUTS, "found": found})
    assert len(found[0].differences) > 0


def test_a_function_has_no_layers(backend):
    def different(api, X):
        return api.masked_softmax(2 * X if api.__name__.endswith(backend.name) else X)

    with pytest.raises(pytest.fail.Exception) as failure:
        Agreement(backend, "different").of_function(different, RNG.standard_normal((2, 3, 3)))
    assert "locate" not in str(failure.value) and "locate" in LOCATE


# The command locate


def test_locate_finds_no_difference_and_then_one(backend, monkeypatch):
    case = "scoring/AdditiveAttention/all"
    assert (
        "tensors are within their budgets"
        in invoke("locate", case, "--backend", backend.name).stdout
    )
    backend.forget()
    broken(backend, monkeypatch)
    shown = invoke("locate", case, "--backend", backend.name, status=1).stdout
    backend.forget()
    assert f"{backend.name} float64 {case}, seed 0: outputs: error" in shown
    assert "w_v" in shown.splitlines()[-2]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("scoring/Additive", "must be one of scoring/AdditiveAttention/all, "),
        ("nonsense", "no case begins so"),
    ],
)
def test_locate_says_what_it_cannot(case, message):
    name = d2l_ext.installed()[0]
    assert message in invoke("locate", case, "--backend", name, status=2).stderr


# A comparison that is interrupted


def verdict(case, error=1e-9):
    return Verdict(case, 0, "torch", "float64", "outputs", "0", error, 1e-8, "", "at [0]")


def test_what_was_found_is_found_again(tmp_path):
    path = tmp_path / unfinished.NAME
    first = Unfinished(path, {"seed": 0})
    for case, error in (("a", 1e-9), ("b", np.inf), ("c", 0.0)):
        first.add("torch", "float64", case, [verdict(case, error)] * 2)
    path.write_bytes(path.read_bytes()[:-20])  # the last line was not finished
    again = Unfinished(path, {"seed": 0})
    assert len(again) == 2
    assert again.get("torch", "float64", "b") == [verdict("b", np.inf)] * 2
    assert again.get("torch", "float64", "c") is again.get("jax", "float64", "a") is None
    assert len(Unfinished(path, {"seed": 1})) == 0
    assert len(Unfinished(path, {"seed": 0})) == 0  # it was another comparison's meanwhile
    again.end()
    assert not path.exists()


def test_other_code_does_not_go_on(tmp_path, monkeypatch):
    path = tmp_path / unfinished.NAME
    Unfinished(path, {}).add("torch", "float64", "a", [verdict("a")])
    assert len(Unfinished(path, {})) == 1
    monkeypatch.setattr(unfinished, "code", lambda: "other")
    assert len(Unfinished(path, {})) == 0


# The command, and a signal when three cases are known.
INTERRUPTED = """
import os, signal, time
from d2l_ext.agreement.judging.unfinished import Unfinished
from d2l_ext.cli import main

# A process that was started in the background may have been told to ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
add = Unfinished.add

def add_and_interrupt(self, *found):
    add(self, *found)
    if len(self) == 3:
        os.kill(os.getpid(), NUMBER)
        time.sleep(2)

Unfinished.add = add_and_interrupt
main()
"""


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_an_interrupted_comparison_goes_on(tmp_path, number):
    """Cases that are known are not asked for again, and the report is the same."""
    name = d2l_ext.installed()[0]
    given = ("compare", "--backends", name, "--cases", "scoring/Cos", "--dtype", "float64")
    given += ("--report", str(tmp_path / "report"))
    path = tmp_path / "report" / unfinished.NAME
    code = INTERRUPTED.replace("NUMBER", str(int(number)))
    command = [sys.executable, "-c", code, *given]
    process = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    errors = process.stderr
    assert process.returncode == (1 if number == signal.SIGINT else -number), errors
    if number == signal.SIGINT:
        assert errors.strip().splitlines()[-1].startswith("Error: interrupted; the same command")
    known = path.read_bytes().splitlines()[1:]
    assert known
    # One that is known is marked, to be seen again in the report.
    case, verdicts = json.loads(known[0])[2:]
    marked = [dataclasses.astuple(Verdict(*v)) for v in verdicts]
    marked = [[*v[:6], v[7] / 7, *v[7:]] for v in marked]
    head, *rest = path.read_bytes().splitlines()
    first = json.dumps([*json.loads(rest[0])[:3], marked]).encode()
    path.write_bytes(b"\n".join([head, first, *rest[1:]]) + b"\n")
    result = invoke(*given)
    assert f"{len(known)} cases are known" in " ".join(result.stdout.split())
    by_case = json.loads((tmp_path / "report" / "report.json").read_text())["by_case"]
    assert by_case.keys() == {case.name for case in named("scoring/Cos")}
    assert by_case[case][name]["float64"] == pytest.approx(1 / 7)
    assert not path.exists()


# How long it takes


def test_the_time_that_is_left(monkeypatch, capsys):
    """Two of three have begun, and are three times slower than expected."""
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr(progress, "TRUST", 0.0)
    bars = progress.Bars(("a", "b", "c"))
    for name in "abc":
        bars.show(name, progress.WAITING, 0, 100)
    bars.show("a", "x", 0, 100)
    bars.show("b", "x", 40, 100)  # 40 were known before
    clock[0] = 60.0
    bars.show("a", "x", 20, 100)
    assert capsys.readouterr().err.splitlines()[-1].startswith("a 20% (x), b 40% (x), c waiting")
    bars.show("b", "x", 60, 100)
    assert bars._minutes() == 6  # 3 * (80 + 40 + 100) / 2 s
    monkeypatch.setattr(progress, "TRUST", 1e9)
    assert bars._minutes() == 2  # as expected


def test_one_that_has_more_to_do_than_the_others_together_decides(monkeypatch):
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    bars = progress.Bars(("a", "b"))
    bars.show("a", progress.WAITING, 0, 50)
    bars.show("b", progress.WAITING, 0, 590)
    assert bars._minutes() == 10
