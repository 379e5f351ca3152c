"""The audit: what is run, how it is judged, reduced, kept and shown."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

from d2l_ext.cli import main
from d2l_ext.porting.audit import families, running, search
from d2l_ext.porting.audit.cases import MASKS, Case, cases
from d2l_ext.porting.audit.running import Refused
from d2l_ext.porting.audit.search import Finding, Log, judge, reduced

GPT2 = {"n_positions": 32, "activation_function": "gelu_new", "scale_attn_weights": True}


def test_every_option_is_tried_at_another_value():
    found = families.options(GPT2)
    assert {"scale_attn_weights": False} in found
    values = [one["activation_function"] for one in found if "activation_function" in one]
    assert "gelu_new" not in values and len(values) == len(set(values)) > 1
    assert all(set(one) <= set(GPT2) for one in found)


def test_cases_have_the_edges_and_names_of_their_own():
    found = cases("gpt2", GPT2)
    assert len({str(case) for case in found}) == len(found)
    assert {case.mask for case in found} == set(MASKS)
    assert {case.how for case in found} == {"forward", "gradient", "cache"}
    assert (1, 1) in {(case.batch, case.length) for case in found}
    assert max(case.length for case in found) > GPT2["n_positions"]


@pytest.mark.parametrize(
    ("mask", "row"),
    [
        ("right padding", [1, 1, 1, 0, 0]),
        ("left padding", [0, 0, 1, 1, 1]),
        ("a gap", [1, 1, 0, 0, 1]),
        ("an empty row", [0] * 5),
    ],
)
def test_masks(mask, row):
    given = Case("bert", length=5, mask=mask).inputs()["attention_mask"]
    assert given.tolist() == [[1] * 5, row]


def test_inputs_are_the_same_each_time_and_need_no_id_that_is_special():
    a, b = (Case("bart").inputs() for _ in range(2))
    assert all((a[k] == b[k]).all() for k in a)
    assert a["input_ids"].min() >= 5 and a["input_ids"].max() < 50
    assert "decoder_input_ids" in a and "decoder_input_ids" not in Case("gpt2").inputs()


X = np.arange(6.0).reshape(1, 3, 2) + 1
OUTPUTS = {
    "last_hidden_state": X,
    "hidden_states[0]": X,
    "hidden_states[1]": X,
    "pooler_output": X[0],
}


@pytest.fixture
def pretend(monkeypatch):
    """Replace the models by what they give: ``pretend(torch, port)``."""

    class Model:
        def double(self):
            return self

    def set_up(torch, port):
        monkeypatch.setattr(running, "original", lambda case, folder: Model())
        monkeypatch.setattr(running, "port", lambda case, folder, name: (Model(), []))

        def run(case, model, name):
            given = torch if name == "torch" else port
            given = given(case) if callable(given) else given
            if isinstance(given, Refused):
                raise given
            return given

        monkeypatch.setattr(running, "run", run)

    return set_up


@pytest.mark.parametrize(
    ("torch", "port", "state", "place"),
    [
        (OUTPUTS, OUTPUTS, "agrees", ""),
        (OUTPUTS, OUTPUTS | {"pooler_output": X[0] * 1.01}, "differs", "pooler_output"),
        (
            OUTPUTS,
            {k: x * (1 if k == "hidden_states[0]" else 1.01) for k, x in OUTPUTS.items()},
            "differs",
            "hidden_states[1]",
        ),
        (OUTPUTS, {k: x * (1 + 1e-6) for k, x in OUTPUTS.items()}, "agrees", ""),
        (OUTPUTS, OUTPUTS | {"last_hidden_state": X * np.nan}, "differs", "last_hidden_state"),
        (OUTPUTS, Refused("no"), "refused", ""),
        (Refused("no"), OUTPUTS, "lenient", ""),
        (Refused("no"), Refused("no"), "neither", ""),
        (OUTPUTS, {"other": X}, "neither", ""),
    ],
)
def test_states(pretend, torch, port, state, place):
    pretend(torch, port)
    (found,) = judge(Case("gpt2"), ["jax"])
    assert (found.state, found.place) == (state, place), found


@pytest.mark.parametrize(("factor", "state"), [(1, "agrees"), (1.01, "differs")])
def test_a_model_that_has_no_float64_is_judged_by_its_float32(pretend, monkeypatch, factor, state):
    pretend(OUTPUTS, {k: x * factor for k, x in OUTPUTS.items()})
    run, models = running.run, []

    def only_once(case, model, name):
        models.append(name)
        if name == "torch" and models.count("torch") == 2:
            raise Refused("value cannot be converted to type float without overflow")
        return run(case, model, name)

    monkeypatch.setattr(running, "run", only_once)
    (found,) = judge(Case("xglm"), ["jax"])
    assert found.state == state


def test_a_difference_is_reduced_to_what_it_needs(pretend):
    def port(case):
        wrong = case.length >= 3 and "scale" in case.settings
        return {k: x * (1.1 if wrong else 1) for k, x in OUTPUTS.items()}

    pretend(OUTPUTS, port)
    case = Case("gpt2", {"scale": 2, "other": 3}, batch=2, length=12, mask="a gap")
    (found,) = judge(case, ["jax"])
    smallest, found = reduced(case, found)
    assert smallest == Case("gpt2", {"scale": 2}, batch=1, length=3)
    assert found.state == "differs"


def test_the_log_goes_on_where_it_was(tmp_path):
    path, case = tmp_path / "audit.json", Case("gpt2")
    log = Log(path)
    assert log.missing(case, ["tensorflow", "jax"]) == ["tensorflow", "jax"]
    log.add(case, [Finding("jax", "differs", "last_hidden_state", 0.1, 1e-5)], ["gpt2: 1 x 2"])
    log = Log(path)
    assert log.missing(case, ["tensorflow", "jax"]) == ["tensorflow"]
    log.add(case, [Finding("tensorflow", "agrees")])
    entries = json.loads(path.read_text())["gpt2: as it is"]
    assert [one["framework"] for one in entries] == ["jax", "tensorflow"]
    assert entries[0]["smallest"] == "gpt2: 1 x 2" and "smallest" not in entries[1]


def test_the_command(pretend, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from d2l_ext.commands import audit

    ran = []

    def port(case):
        ran.append(case)
        return {k: x * (1.1 if case.mask == "a gap" else 1) for k, x in OUTPUTS.items()}

    pretend(OUTPUTS, port)
    monkeypatch.setattr(running, "exists", lambda family, name: True)
    monkeypatch.setattr(audit, "_has", lambda package: True)
    chosen = [Case("gpt2"), dataclasses.replace(Case("gpt2"), mask="a gap")]
    monkeypatch.setattr(audit, "todo", lambda family: chosen)
    output, page = tmp_path / "audit.json", tmp_path / "audit.html"
    arguments = ["audit", "gpt2", "--framework", "jax", "--output", output, "--page", page]
    for again in range(2):
        before = len(ran)
        result = CliRunner().invoke(main, list(map(str, arguments)))
        assert (len(ran) == before) == bool(again)  # the second time it was all there
        assert result.exit_code == 1, result.output
        assert "2 cases: 1 agree, 1 differ, 0 are refused" in result.output
        assert "gpt2: a gap" in page.read_text()
    assert CliRunner().invoke(main, ["audit", "gpt5"]).exit_code == 2


def test_a_package_that_is_missing_is_named(monkeypatch, tmp_path):
    from d2l_ext.commands import audit

    monkeypatch.setattr(audit, "_has", lambda package: package != "tf_keras")
    options = ["--framework", "tensorflow", "--output", str(tmp_path / "audit.json")]
    result = CliRunner().invoke(main, ["audit", "gpt2", *options])
    assert result.exit_code == 2 and "pip install tf_keras" in result.output


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_difference_of_transformers_is_found():
    """Flax's GPT-2 divides by the square root of the heads' size, whatever it is told."""
    for package in ("torch", "flax", "transformers"):
        pytest.importorskip(package)
    right, wrong = Case("gpt2"), Case("gpt2", {"scale_attn_weights": False})
    (found,) = judge(right, ["jax"])
    assert (found.state, found.error < 1e-5) == ("agrees", True)
    (found,) = judge(wrong, ["jax"])
    assert (found.state, found.place) == ("differs", "hidden_states[1]")
    assert found.error > 100 * found.budget
    smallest, _ = reduced(wrong, found)
    assert (smallest.settings, smallest.batch, smallest.length) == (wrong.settings, 1, 2)
    assert search.todo("gpt2")
