"""A step with a cache, in transformers' GPT-2, Mistral, T5 and BART: right, and one step behind."""

import copy
import importlib.util

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
import cached
import pretrained
import torch
from cached import FAMILIES, PLANTED
from pretrained import NEEDS

# transformers, tf_keras and Flax warn of their own.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module", params=NEEDS)
def framework(request):
    if importlib.util.find_spec(NEEDS[request.param]) is None:
        pytest.skip(f"{NEEDS[request.param]} is not installed")
    return request.param


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def models(family, framework):
    return pretrained.pair(family, framework, "float32")


def test_a_step_with_a_cache_is_the_last_of_the_whole(models, family, framework):
    model, port = models
    found = []
    with torch.no_grad():
        for one in (port, *([model] if framework == "TF" else [])):
            whole, step = cached.whole(family), cached.step(one, family)
            both = (one(**cached._arrays(one, x)).last_hidden_state for x in (whole, step))
            found.append([np.asarray(x)[:, -1] for x in both])
    if framework == "Flax":
        with cached.without_int64():
            call, step, _ = cached.step_in_flax(model, port, family)
            both = model(**cached.whole(family)), call(**step)
            found.append([np.asarray(x.last_hidden_state)[:, -1] for x in both])
    for whole, step in found:
        np.testing.assert_allclose(step, whole, atol=1e-5)
    np.testing.assert_allclose(found[1][1], found[0][1], atol=1e-5)


def test_nothing_is_found_in_a_step_that_is_right(models, family, framework):
    found = cached.located(models, family, framework)
    assert found.differences == [], found
    assert len(found.rows) >= 30


def test_a_position_that_is_wrong_with_a_cache_only_is_named(models, family, framework):
    model, port = models
    plant, place = PLANTED[family]
    wrong = copy.deepcopy(port)
    plant(wrong)
    found = cached.located((model, wrong), family, framework).differences
    assert place in found[0].place and found[0].cause == "position offset", found
    inputs = {"options_a": cached.whole(family), "options_b": cached.whole(family)}
    if framework == "TF":
        inputs = {k: x | {"use_cache": False} for k, x in inputs.items()}
    elif family != "Bart":
        inputs["options_b"] = inputs["options_b"] | {"use_cache": False}
    found = cached.locate(model, wrong, **inputs, backward=False).differences
    assert found == []  # without a cache it is right
