"""The audit: what is run, how it is judged, reduced, kept and shown."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from d2l_ext.cli import main
from d2l_ext.porting.audit import families, running, search
from d2l_ext.porting.audit.cases import Case, cases, groups, merged
from d2l_ext.porting.audit.running import Refused
from d2l_ext.porting.audit.search import Finding, Log, judge, judge_group, reduced

GPT2 = {"n_positions": 32, "activation_function": "gelu_new", "scale_attn_weights": True}


def test_every_option_is_tried_at_another_value():
    found = families.options("gpt2", GPT2)
    assert {"scale_attn_weights": False} in found
    values = [one["activation_function"] for one in found if "activation_function" in one]
    assert "gelu_new" not in values and len(values) == len(set(values)) > 1
    assert all(set(one) <= set(GPT2) for one in found)


@pytest.mark.parametrize(
    ("family", "shown"), [("bart", {"logits", "loss"}), ("gpt2", {"logits"}), ("vit", set())]
)
def test_an_option_is_tried_where_it_shows(family, shown):
    settings = {"tie_word_embeddings": True, "decoder_start_token_id": 1, "tie_encoder_decoder": 0}
    hows = {case.how for case in cases(family, settings) if case.settings}
    assert hows - {"forward"} == shown
    assert ("forward" in hows) == (family == "bart")  # of the encoder and decoder that are tied


def test_cases_have_the_edges_and_names_of_their_own():
    found = cases("gpt2", GPT2)
    assert len({str(case) for case in found}) == len(found)
    assert {case.mask for case in found} == {"none", "all paddings", "an empty row"}
    assert {case.how for case in found} == {"forward", "gradient", "cache", "logits"}
    assert (1, 1) in {(case.batch, case.length) for case in found}
    assert max(case.length for case in found) > GPT2["n_positions"]
    assert "decoder padding" in {case.mask for case in cases("t5", {})}


@pytest.mark.parametrize(
    ("mask", "rows"),
    [
        ("right padding", [[1] * 5, [1, 1, 1, 0, 0]]),
        ("left padding", [[1] * 5, [0, 0, 1, 1, 1]]),
        ("a gap", [[1] * 5, [1, 1, 0, 0, 1]]),
        ("an empty row", [[1] * 5, [0] * 5]),
        ("all paddings", [[1] * 5, [1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 1, 0, 0, 1]]),
    ],
)
def test_masks(mask, rows):
    case = Case("bert", length=5, batch=len(rows), mask=mask)
    assert case.inputs()["attention_mask"].tolist() == rows
    assert case.real("last_hidden_state").tolist() == np.array(rows, bool).tolist()
    decoded = Case("bart", length=7, batch=2, mask="decoder padding")
    assert decoded.inputs()["decoder_attention_mask"].tolist() == [*rows[:1], [1, 1, 1, 0, 0]]
    assert decoded.real("encoder_last_hidden_state") is None
    assert decoded.real("last_hidden_state").tolist() == [[True] * 5, [True] * 3 + [False] * 2]


def test_inputs_are_the_same_each_time_and_need_no_id_that_is_special():
    a, b = (Case("bart").inputs() for _ in range(2))
    assert all((a[k] == b[k]).all() for k in a)
    assert a["input_ids"].min() >= 5 and a["input_ids"].max() < 50
    assert "decoder_input_ids" in a and "decoder_input_ids" not in Case("gpt2").inputs()


@pytest.mark.parametrize(
    ("family", "how", "names"),
    [
        ("bart", "logits", {"input_ids", "decoder_input_ids"}),
        ("bart", "loss", {"input_ids", "labels"}),
        ("gpt2", "logits", {"input_ids", "labels"}),
        ("vit", "forward", {"pixel_values"}),
        ("encoder-decoder", "forward", {"input_ids", "decoder_input_ids"}),
        ("vision-encoder-decoder", "loss", {"pixel_values", "labels"}),
        ("vision-text-dual-encoder", "forward", {"pixel_values", "input_ids"}),
    ],
)
def test_what_a_model_is_given(family, how, names):
    inputs = Case(family, how=how).inputs()
    assert inputs.keys() == names
    assert ("labels" in names) == any((x == -100).any() for x in inputs.values())


OPTIONS = st.dictionaries(st.sampled_from("abcdefg"), st.integers(0, 2), min_size=1, max_size=1)


@given(st.lists(OPTIONS, max_size=8, unique_by=str), st.sampled_from(["forward", "loss"]))
def test_groups_have_every_case_once_and_no_option_twice(options, how):
    found = [Case("gpt2"), *(Case("gpt2", option, how=how) for option in options)]
    together = groups(found)
    assert sorted(str(case) for group in together for case in group) == sorted(map(str, found))
    for group in together:
        assert len(merged(group).settings) == sum(len(case.settings) for case in group)
    most = max((sum(name in option for option in options) for name in "abcdefg"), default=0)
    assert len(together) == 1 + most  # the case as it is, and as few groups as there can be


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
        monkeypatch.setattr(running, "names", lambda model: {})
        monkeypatch.setattr(running, "lost", lambda model, known: [])
        monkeypatch.setattr(running, "port", lambda case, folder, name: Model())

        def run(case, model, name, known):
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

    def only_once(case, model, name, known):
        models.append(name)
        if name == "torch" and models.count("torch") == 2:
            raise Refused("value cannot be converted to type float without overflow")
        return run(case, model, name, known)

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


@pytest.mark.parametrize(("size", "state"), [(1e-7, "agrees"), (1e-3, "differs")])
def test_a_gradient_that_is_zero_is_judged_by_the_largest(pretend, size, state):
    """A key's bias has none, but for rounding; a hundred times as much would be a difference."""
    exact = {"gradient of a": X, "gradient of b": X[0] * 1e-17}
    pretend(exact, {"gradient of a": X, "gradient of b": X[0] * size})
    (found,) = judge(Case("bert", how="gradient"), ["jax"])
    assert found.state == state


@pytest.mark.parametrize("wrong", [set(), {"a"}, {"c", "f"}, set("abcdefg")])
def test_options_are_judged_together_as_they_are_alone(pretend, wrong):
    """Option "g" shows only where "a" is not there, and "h" never."""
    ran = []

    def torch(case):
        shown = set(case.settings) - {"h"} - ({"g"} if "a" in case.settings else set())
        return {"x": X, "y": np.array([float("abcdefg".index(name)) for name in sorted(shown)])}

    def port(case):
        ran.append(case)
        shown = len(torch(case)["y"]) and set(case.settings) & wrong
        return torch(case) | {"x": X * (1.1 if shown else 1)}

    pretend(torch, port)
    group = [Case("gpt2", {name: 1}) for name in "abcdefgh"]
    found = {str(case): one.state for case, one in judge_group(group, "jax")}
    alone = {
        str(case): "unused"
        if "h" in case.settings
        else "differs"
        if set(case.settings) & wrong
        else "agrees"
        for case in group
    }
    assert found == alone
    if not wrong:
        assert len(ran) == 2  # all but "g", and "g"


@given(st.permutations(range(3)), st.integers(0, 2**32 - 1))
def test_a_gradient_has_one_order_in_any_layout(axes, seed):
    rng = np.random.default_rng(seed)
    weight, gradient = rng.standard_normal((2, 2, 3, 4))
    weight[0, 0] = 0  # a row for padding
    turned, other = weight.transpose(axes), gradient.transpose(axes)
    assert running._key(weight) == running._key(turned)
    assert running._key(weight) != running._key(weight + 1)
    found = running._in_order(turned, other)
    np.testing.assert_array_equal(found, running._in_order(weight, gradient))
    assert len(found) == 20


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
    monkeypatch.setattr(running, "exists", lambda case, name: True)
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
def test_every_option_is_tried_or_left_out_for_a_reason():
    transformers = pytest.importorskip("transformers")
    known = {name for names in families.LEFT_OUT.values() for name in names}
    known |= {name for found in families.TOGETHER.values() for one in found for name in one}
    known |= {*families.SMALL, *families.OPTIONS, *families.SWITCHES}
    models = Path(transformers.__file__).parent / "models"
    for family in families.FAMILIES:
        config = running.configuration(Case(family))
        own = type(config).__module__.split(".")[-2]
        code = models / {"mt5": "t5", "gpt_sw3": "gpt2"}.get(own, own)
        files = [
            x for x in code.glob("modeling_*.py") if not re.match("modeling_(tf|flax)", x.name)
        ]
        read = set(re.findall(r"config\.([a-z_]\w*)", "".join(x.read_text() for x in files)))
        unknown = read & config.to_dict().keys() - known - families.PARTS.get(family, {}).keys()
        assert not unknown, (family, unknown)


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
