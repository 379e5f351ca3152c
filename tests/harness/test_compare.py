"""The command `compare`, its workers and what it makes of training runs."""

import functools
import json
import os
import re
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from click.testing import CliRunner

import d2l_ext
from d2l_ext import reference
from d2l_ext.agreement.cases import models
from d2l_ext.agreement.cases.catalogue import catalogue
from d2l_ext.agreement.cases.plans import Run, State, Translations
from d2l_ext.agreement.comparison import Comparison
from d2l_ext.agreement.judging.budget import unit
from d2l_ext.agreement.judging.drift import (
    compare_runs,
    compare_tokens,
    departure,
    loss_drift,
    tensor_drift,
)
from d2l_ext.agreement.reporting import data, report
from d2l_ext.agreement.running import wire
from d2l_ext.agreement.running.remote import Worker, WorkerError
from d2l_ext.cli import main

two_frameworks = pytest.mark.skipif(
    len(d2l_ext.installed()) < 2, reason="two frameworks are needed to compare"
)


def some_backend():
    return d2l_ext.installed()[0]


# Messages


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1.5,
        float("nan"),
        "é",
        [1, (2, None)],
        {"a": {"b": [np.arange(6).reshape(2, 3), np.zeros((0, 2), np.float32)]}},
        (np.array(True), np.float64(1e-300), np.array(["x", "yz"])),
    ],
)
def test_messages_come_back_as_they_were(value):
    found = wire.decode(wire.encode(value))
    assert repr(found) == repr(value) or np.array_equal(found[1], value[1])
    assert type(found) is type(value)


@pytest.mark.parametrize("garbage", [b"hello, world, how are you", b"", wire.MAGIC + b"\xff" * 16])
def test_garbage_is_no_message(garbage):
    with pytest.raises(wire.GarbageError):
        wire.decode(garbage)


# Workers


@pytest.fixture
def worker():
    with Worker(some_backend(), limit=120) as worker:
        yield worker


def program(tmp_path, script):
    """Write a program that stands in for a worker's interpreter; $4 and $5 are its pipes."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_worker_says_who_it_is(worker):
    assert worker.ask("versions")["framework"] == d2l_ext.backend(some_backend()).version


def test_a_failure_inside_leaves_the_worker_alive(worker):
    with pytest.raises(WorkerError, match="no attribute 'fly'") as failure:
        worker.ask("fly")
    assert not failure.value.dead
    assert "Traceback" in failure.value.details
    worker.ask("versions")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo oh no; exit 3", "ended with status 3"),
        ("kill -SEGV $$", "ended by SIGSEGV"),
        ("kill -KILL $$", "out of memory"),
        ("echo this is no message, not at all > /proc/self/fd/$5; sleep 9", "garbage"),
        ("printf '\\0\\0\\0\\5hello' > /proc/self/fd/$5; sleep 60", "garbage"),
        ("printf '\\0\\0\\0\\5hel' > /proc/self/fd/$5; sleep 60", "no answer in 2 s"),
        ("sleep 60 & exit 0", "no answer in 2 s"),
        ("exec sleep 60", "no answer in 2 s"),
    ],
    ids=[
        *("exits", "crashes", "is killed", "prints text", "prints garbage", "stops amid an answer"),
        *("leaves a child", "hangs"),
    ],
)
def test_every_end_of_a_worker_is_told(tmp_path, script, message):
    start = time.monotonic()
    with Worker("torch", program(tmp_path, script), limit=2) as worker:
        with pytest.raises(WorkerError, match=message) as failure:
            worker.ask("versions")
        assert failure.value.dead
    assert time.monotonic() - start < 20
    if "oh no" in script:
        assert "oh no" in failure.value.details


def test_a_worker_that_does_not_listen_is_told(tmp_path):
    much = np.zeros(1 << 20)  # more than a pipe holds
    with (
        Worker("torch", program(tmp_path, "exec sleep 60"), limit=2) as worker,
        pytest.raises(WorkerError, match="no answer in 2 s"),
    ):
        worker.ask("versions", much)


def test_an_interpreter_that_is_not_there_is_told(tmp_path):
    with pytest.raises(WorkerError, match="does not start"):
        Worker("torch", str(tmp_path / "nowhere"))


def test_a_lost_worker_costs_its_own_column_only(tmp_path):
    cases = [catalogue()["masking/causal_mask"], catalogue()["scoring/attention/mask"]]
    names = (some_backend(), "tensorflow" if some_backend() != "tensorflow" else "torch")
    broken = {names[1]: program(tmp_path, "exec sleep 60")}
    outcomes = Comparison(names, cases, {}, ("float64",), pythons=broken, limit=12).run()
    assert not outcomes[names[0]].problems
    assert {v.case for v in outcomes[names[0]].verdicts} == {c.name for c in cases}
    assert all(v.agrees for v in outcomes[names[0]].verdicts)
    assert not outcomes[names[1]].verdicts
    assert "no answer" in outcomes[names[1]].problems[0][1]


# Training runs


def runs(changes, losses=(3.0, 2.0, 1.0), dtype="float64", tokens=((1, 2), (3,)), margin=0.5):
    """Make a `Run` and five moved ones, which differ by the given relative changes."""

    def run(change):
        margins = [np.full(len(t) + 1, margin * (1 + change)) for t in tokens]
        values = np.array(losses) * (1 + change * np.array([1, 10, 100]))
        parameters = {"W": np.array([1.0, 2.0], dtype) * (1 + change)}
        state = State(parameters, {"m of W": parameters["W"]})
        said = Translations([list(t) for t in tokens], margins)
        return Run(values, state, state, said, said)

    return [run(0), *(run(change) for change in changes)]


calm = functools.partial(runs, (1e-14, -2e-14, 1e-14, 0, 0))


def test_losses_within_what_a_moved_start_changes_agree():
    found = loss_drift({"torch": calm(), "jax": calm(losses=(3.0, 2.0, 1 + 1e-12))}, "float64")
    assert found["torch"].agrees
    assert found["jax"].agrees
    np.testing.assert_allclose(found["jax"].budgets, [1.6e-13, 1.6e-12, 1.6e-11], rtol=1e-2)


def test_the_first_step_that_leaves_the_budget_is_named():
    others = {"torch": calm(), "mxnet": calm(), "jax": calm(losses=(3.0, 2 + 1e-9, 1 + 1e-9))}
    found = loss_drift(others, "float64")
    assert found["torch"].agrees
    assert found["mxnet"].agrees
    assert found["jax"].failures == ["step 2", "step 3"]


def test_a_loss_that_is_not_a_number_never_agrees():
    found = loss_drift(
        {"torch": calm(), "mxnet": calm(), "jax": calm(losses=(3, 2, np.nan))}, "float64"
    )
    assert "step 3" in found["jax"].failures


def test_values_are_not_compared_where_rounding_alone_makes_a_percent():
    wild = functools.partial(runs, (1e-4, 0, 0, 0, 0))
    found = loss_drift({"torch": wild(), "jax": wild(losses=(3.0, 2.0, 1.5))}, "float32")
    assert found["jax"].agrees
    assert found["jax"].compared.tolist() == [True, True, False]


def test_one_unstable_backend_does_not_loosen_the_others():
    stable = {"torch": calm(), "mxnet": calm()}
    others = stable | {"jax": runs((1e-3, 0, 0, 0, 0)), "tensorflow": calm(losses=(3, 2, 1 + 1e-9))}
    assert loss_drift(others, "float64")["tensorflow"].failures == ["step 3"]


def with_parameters(some, factor):
    for run in some:
        run.last = State({"W": run.last.parameters["W"] * factor}, run.last.moments)
    return some


def test_parameters_are_compared_by_tensor():
    odd = with_parameters(calm(), 1 + 1e-9)
    others = {"torch": calm(), "mxnet": calm(), "jax": odd}
    found = tensor_drift(others, "float64", lambda run: run.last.parameters)
    assert found["torch"].agrees
    assert found["jax"].failures == ["W"]


def test_the_first_quantity_that_leaves_the_budget_is_named():
    late = with_parameters(calm(), 1 + 1e-9)
    early = with_parameters(calm(losses=(3.0, 2 + 1e-9, 1)), 1 + 1e-9)
    others = {"torch": calm(), "mxnet": calm(), "jax": late, "tensorflow": early, "x": calm()}
    found = compare_runs(others, "float64")
    assert departure(found, "torch") is None
    assert departure(found, "jax").startswith("parameters at the end: W: 1.0e-09 of ")
    assert departure(found, "tensorflow").startswith("loss of later steps: step 2: 5.0e-10 of ")


def test_a_beam_search_may_differ_where_any_of_its_choices_was_a_tie():
    def run_with(tokens, margins):
        some = calm()
        some[0].beam = Translations(tokens, [np.array(m) for m in margins])
        return some

    same = {"torch": calm(), "mxnet": calm()}
    for margin, ties in ((1e-3, []), (1e-17, [0])):
        jax = run_with([[4, 5], [3]], [[0.5, margin, np.inf], [0.5, 0.5]])
        found = compare_tokens(same | {"jax": jax}, "float64", "beam")["jax"]
        assert found.different == [0]
        assert found.ties == ties


def test_another_token_is_a_failure_unless_it_was_a_tie():
    same = {"torch": calm(), "mxnet": calm()}
    far = compare_tokens(same | {"jax": calm(tokens=((1, 5), (3,)))}, "float64")
    assert far["torch"].agrees
    assert far["jax"].different == [0]
    assert not far["jax"].agrees
    tie = compare_tokens(same | {"jax": calm(tokens=((1, 5), (3,)), margin=1e-16)}, "float64")
    assert tie["jax"].ties == [0]
    assert tie["jax"].agrees
    assert tie["jax"].margin_budget >= 8 * unit("float64")


def test_a_translation_that_ends_early_is_another_one():
    found = compare_tokens(
        {"torch": calm(), "mxnet": calm(), "jax": calm(tokens=((1,), (3,)))}, "float64"
    )
    assert found["jax"].different == [0]


# The command


def invoke(*arguments):
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def test_help_has_an_example():
    result = invoke("--help")
    assert result.exit_code == 0
    assert "python -m d2l_ext compare --data fra-eng" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backends", "torch", "--cases", "none"], "torch alone has only cases"),
        (["--backends", "torch,theano"], "theano"),
        (["--dropout", "1"], "dropout"),
        (["--cases", "scoring/Nothing"], "no case begins so"),
        (["--cases", "generated/Nothing"], "no name of a generated case"),
        (["--data", "/nowhere/at/all.txt"], "is no file"),
        (["--python", "torch"], "torch=/path/to/python"),
        (["--python", "torch=/nowhere"], "no program"),
    ],
)
def test_what_can_not_be_is_one_clear_message(arguments, message):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_one_framework_is_compared_with_the_reference(tmp_path):
    name = d2l_ext.installed()[0]
    chosen = ("--backends", name, "--cases", "masking/", "--report", tmp_path)
    result = invoke(*chosen)
    assert result.exit_code == 0, result.output
    assert f"{name} alone: cases only" in result.output
    assert f"agreed: {name}" in result.output
    assert len(json.loads((tmp_path / "report.json").read_text())["settings"]) > 3


def test_a_framework_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(d2l_ext.interface, "installed", lambda: ())
    result = invoke()
    assert result.exit_code == 2
    assert "none is there" in result.output
    assert "pip install 'd2l-ext[jax]'" in result.output


@two_frameworks
def test_two_frameworks_from_end_to_end(tmp_path):
    names = d2l_ext.installed()[:2]
    result = invoke(
        *("--backends", ",".join(names), "--dtype", "float64", "--epochs", 1, "--dropout", 0.2),
        *("--cases", "none", "--report", tmp_path / "report"),
    )
    assert result.exit_code == 0, result.output
    assert "agreed: " + ", ".join(names) in result.output
    written = json.loads((tmp_path / "report/report.json").read_text())
    assert written["agrees"] is True
    assert written["schema"] == 1
    training = written["training"]["float64"]
    assert training.keys() == set(names)
    assert max(training[names[1]]["loss_errors"]) < 1e-12
    for picture in ("losses-float64.png", "attention-float64.png"):
        assert (tmp_path / "report" / picture).stat().st_size > 10_000


@pytest.mark.slow
@two_frameworks
def test_a_second_run_writes_the_same_numbers(tmp_path):
    names = ",".join(d2l_ext.installed()[:2])
    for folder in ("one", "two"):
        result = invoke(
            *("--backends", names, "--dtype", "float32", "--epochs", 1, "--dropout", 0.1),
            *("--cases", "scoring/attention/", "--report", tmp_path / folder),
        )
        assert result.exit_code == 0, result.output
    texts = ((tmp_path / folder / "report.json").read_text() for folder in ("one", "two"))
    one, two = map(json.loads, texts)
    assert re.findall(r"^- ``(\w+)``", data.__doc__, re.MULTILINE) == list(one)
    assert one.pop("made")["processors"] == two.pop("made")["processors"]
    assert json.dumps(one) == json.dumps(two)


def test_backends_that_ask_at_once_get_all_the_masks_of_a_step(monkeypatch):
    plan = models.plans()["seq2seq/GRU, dropout"]
    inside, original = [], type(plan._model)._forward

    def slow(*args):
        inside.append(1)
        time.sleep(0.05)
        assert sum(inside) == 1  # nobody else is in here
        inside.append(-1)
        return original(*args)

    monkeypatch.setattr(type(plan._model), "_forward", slow)
    src, tgt, lens = plan.example
    with ThreadPoolExecutor(2) as pool:
        for batch in range(1, 4):  # each size is asked for the first time
            inputs = src[:batch], tgt[:batch], lens[:batch]
            one, two = pool.map(lambda _, i=inputs: plan.masks(i, 0), range(2))
            assert one.keys() == two.keys() and one


def test_every_decoder_is_in_a_small_model_with_and_without_dropout():
    plans = models.plans()
    configs = [plan.target["config"] for plan in plans.values()]
    decoders = {config["decoder"]["class"] for config in configs if "decoder" in config}
    assert decoders == {name for name in reference.__all__ if name.endswith("Decoder")} - {
        "Decoder",
        "AttentionDecoder",
        "EncoderDecoder",
    }
    assert all(plan.num_steps == 100 for plan in plans.values())
    names = [*models.MODELS, *models.LANGUAGE_MODELS, *models.READERS]
    assert {f"{name}, dropout" for name in names} <= plans.keys()
    assert len(plans) == 2 * len(names)


def test_backends_that_train_at_the_same_time_ask_for_masks_one_after_the_other(monkeypatch):
    """A model that runs twice at a time would mix up its dropout layers."""
    plan, asking = models.plans()["bahdanau/GRU, dropout"], []
    layers = plan._model.dropout_layers(*plan.example)

    def dropout_layers(*_):
        asking.append(1)
        time.sleep(0.05)
        alone = len(asking) == 1
        asking.pop()
        assert alone
        return layers

    monkeypatch.setattr(plan._model, "dropout_layers", dropout_layers)
    with ThreadPoolExecutor(4) as pool:
        masks = list(pool.map(lambda _: plan.masks(plan.example, 0), range(4)))
    assert all(found.keys() == layers.keys() for found in masks)


@pytest.mark.slow
@two_frameworks
@pytest.mark.parametrize("name", models.plans())
def test_every_small_model_agrees_over_100_steps(name):
    plans = {name: models.plans()[name]}
    dtypes = ("float64", "float32")
    outcomes = Comparison(d2l_ext.installed(), [], plans, dtypes).run()
    found = report.Report(outcomes, plans, dtypes, {}, {})
    assert not list(found.departures())
    assert found.models[name].keys() == set(dtypes)
    assert found.agrees


def test_a_case_is_found_by_its_name(tmp_path):
    generated = "generated/masked_softmax/sizes=3,mask=empty rows,scale=1e4,dropout=0"
    for name in (generated, "masking/causal_mask", "masking/masked_softmax/empty"):
        result = invoke(
            *("--backends", ",".join(d2l_ext.installed()[:1]), "--dtype", "float64"),
            *("--cases", name, "--train", "none", "--report", tmp_path),
        )
        assert result.exit_code == 0, result.output
        written = json.loads((tmp_path / "report.json").read_text())
        assert all(case.startswith(name) for case in written["by_case"])
        assert len(written["by_case"]) == (2 if name.endswith("empty") else 1)


@two_frameworks
def test_a_difference_is_the_exit_status(tmp_path):
    names = d2l_ext.installed()[:2]
    broken = program(tmp_path, "exit 1")
    result = invoke(
        *("--backends", ",".join(names), "--train", "none", "--dtype", "float64"),
        *("--cases", "masking/", "--python", f"{names[1]}={broken}"),
        *("--report", os.fspath(tmp_path / "report")),
    )
    assert result.exit_code == 1
    assert "ended with status 1" in result.output
    assert "not agreed" in result.output
