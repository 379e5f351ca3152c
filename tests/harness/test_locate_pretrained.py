"""transformers' BERT, GPT-2, T5 and Mistral, as they come: right, and with a difference planted."""

import importlib.util

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
import pretrained
from pretrained import FAMILIES, MASKS, NEEDS, PLANTED

# transformers, tf_keras and Flax warn of their own.
pytestmark = pytest.mark.filterwarnings("ignore")

# A user's lines, as `pretrained.located` has them: two dictionaries of inputs and one call.


@pytest.fixture(scope="module")
def pairs():
    """A function that gives a model and its port; each is built once."""
    made = {}

    def pair(*key):
        if importlib.util.find_spec(NEEDS[key[1]]) is None:
            pytest.skip(f"{NEEDS[key[1]]} is not installed")
        if key not in made:
            made[key] = pretrained.pair(*key)
        return made[key]

    return pair


@pytest.mark.slow
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("framework", NEEDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_found_in_a_port_that_is_right(pairs, family, framework, dtype, mask):
    if (family, framework, dtype) == ("Mistral", "TF", "float64"):
        pytest.skip("transformers' code has float32 in its mask, and does not run")
    models = pairs(family, framework, dtype)
    found = pretrained.located(models, family, framework, mask, backward=False)
    assert found.differences == [], found
    assert found.unmapped == ([], [])
    assert len(found.rows) >= 50


@pytest.mark.slow
@pytest.mark.parametrize("framework", NEEDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_a_port_that_is_right_agree(pairs, family, framework):
    found = pretrained.located(pairs(family, framework, "float32"), family, framework)
    assert found.differences == [], found
    assert sum(row.gradient is not None for row in found.rows) > 30


@pytest.mark.slow
@pytest.mark.parametrize("framework", NEEDS)
@pytest.mark.parametrize(
    ("family", "name"), [(family, name) for family in PLANTED for name in PLANTED[family]]
)
def test_what_is_planted_is_named(pairs, family, framework, name):
    found = pretrained.find(pairs(family, framework, "float32"), family, framework, name)
    assert pretrained.hits(PLANTED[family][name], found) == (True, True), found
    assert found.differences[0].backward == PLANTED[family][name].backward


@pytest.mark.slow
def test_a_window_is_longer_by_one_in_flax_mistral():
    """As it comes: with a window of 4, it is one of 5, transformers #29176."""
    pytest.importorskip("flax")
    models = pretrained.pair("Mistral", "Flax", "float32", sliding_window=4)
    found = pretrained.located(models, "Mistral", "Flax", backward=False).differences
    assert [one.cause for one in found] == ["attention window"] * 2, found
    assert all("A the last 5, B the last 4" in one.explanation for one in found)
