"""The grid is complete: a row per topic, a column per framework, the same names in each."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from grid import CALLS, parameters

import d2l_ext

ROOT = Path(d2l_ext.__file__).parent


def files(column):
    return {path.name for path in (ROOT / column).glob("*.py")}


def public_classes(api):
    return [name for name in api.__all__ if inspect.isclass(getattr(api, name))]


@pytest.mark.parametrize("column", d2l_ext.BACKENDS)
def test_every_column_has_the_same_files(column):
    # What only MXNet needs to start, and compiles there; what exports, whoever has trained, decodes
    # in few calls, and multiplies fast; derivatives, which NumPy alone does not have.
    own = {
        "mxnet": {"numpy2.py", "graph.py"},
        "torch": {"onnx.py", "decoding.py", "products.py"},
        "reference": {"tangent.py", "complex_step.py"},
    }
    assert files(column) - own.get(column, set()) == files("reference") - own["reference"]


def test_every_column_has_the_same_names(any_backend):
    assert any_backend.api.__all__ == d2l_ext.backend("reference").api.__all__


def test_public_names_are_defined_in_the_column(any_backend):
    for name in any_backend.api.__all__:
        assert getattr(any_backend.api, name).__module__.startswith(any_backend.api.__name__)


def test_constructors_are_the_same(any_backend):
    reference = d2l_ext.backend("reference").api
    # The base classes have no arguments of their own; what theirs take is the framework's.
    for name in set(public_classes(reference)) - {"Encoder", "Decoder", "AttentionDecoder"}:
        have = parameters(getattr(any_backend.api, name).__init__)
        assert have == parameters(getattr(reference, name).__init__), name


def test_functions_are_the_same(any_backend):
    reference = d2l_ext.backend("reference").api
    for name in set(reference.__all__) - set(public_classes(reference)):
        have = parameters(getattr(any_backend.api, name))
        assert have == parameters(getattr(reference, name)), name


def test_calls_are_the_same_apart_from_training(any_backend):
    reference = d2l_ext.backend("reference").api
    for name in public_classes(reference):
        call = getattr(getattr(any_backend.api, name), CALLS[any_backend.name])
        wanted = parameters(getattr(reference, name).forward)
        assert parameters(call, leave_out=("training",)) == wanted, name


def test_public_methods_are_the_same(any_backend):
    reference = d2l_ext.backend("reference").api
    for name in public_classes(reference):
        cls, model = getattr(any_backend.api, name), getattr(reference, name)
        for method in ("check", "init_state", "take_rows", "prepare_keys", "score", "attend"):
            assert hasattr(cls, method) == hasattr(model, method), (name, method)


def test_docstrings_say_the_same(any_backend):
    """The first line of a public class's docstring is one text in every column."""
    reference = d2l_ext.backend("reference").api
    for name in reference.__all__:
        first = inspect.getdoc(getattr(any_backend.api, name)).splitlines()[0]
        assert first == inspect.getdoc(getattr(reference, name)).splitlines()[0], name


@pytest.mark.parametrize("column", d2l_ext.COLUMNS)
def test_a_column_loads_its_own_framework_only(column):
    if column not in d2l_ext.installed():
        pytest.skip(f"{column} is not installed")
    code = (
        "import sys\n"
        f"from d2l_ext import {column}\n"
        "print(*[m for m in ('torch', 'mxnet', 'jax', 'tensorflow', 'keras') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # JAX comes with Keras's own saving code where it is installed; nothing of it is ours.
    wanted = {"tensorflow": "tensorflow keras"}.get(column, column)
    assert run.stdout.split() == wanted.split()
    assert run.stderr == ""


def test_no_column_prints_chatter_when_the_backend_is_used(backend):
    code = (
        f"import d2l_ext, numpy as np\nbe = d2l_ext.backend({backend.name!r})\n"
        "a = be.model(be.api.DotProductAttention(0), *[np.ones((1, 2, 3))] * 3)\n"
        "a(*[np.ones((1, 2, 3))] * 3)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("", "")


def test_a_missing_framework_names_the_extra(monkeypatch):
    monkeypatch.setattr("d2l_ext.interface.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'd2l-ext\[jax\]'"):
        d2l_ext.backend("jax")
    assert d2l_ext.installed() == ()


@pytest.mark.parametrize(
    ("python", "command"),
    [((3, 12), "pip install 'd2l-ext[mxnet]'"), ((3, 13), "pip install --no-deps mxnet==1.9.1")],
)
def test_mxnet_is_installed_without_its_dependencies_where_they_are_gone(
    monkeypatch, python, command
):
    monkeypatch.setattr("d2l_ext.interface.sys.version_info", python)
    assert d2l_ext.interface.install("mxnet").endswith(command)


def test_an_unknown_backend_lists_the_known_ones():
    with pytest.raises(ValueError, match="backend: got 'caffe', must be one of 'torch', 'mxnet'"):
        d2l_ext.backend("caffe")


def test_config_rebuilds_every_class(any_backend):
    from d2l_ext.config import build, describe

    api = any_backend.api
    module = api.EncoderDecoder(
        api.Seq2SeqEncoder(5, 3, num_hiddens=4, num_layers=2),
        api.LuongDecoder(6, 3, 4, 2, dropout=0.1, attention="cosine"),
    )
    description = describe(module)
    decoder = description["config"]["decoder"]
    assert decoder["config"] == {
        "vocab_size": 6,
        "embed_size": 3,
        "num_hiddens": 4,
        "num_layers": 2,
        "dropout": 0.1,
        "attention": "cosine",
    }
    assert describe(build(api, description)) == description


@pytest.mark.parametrize("name", ["Tensor", "nn", "softmax", 3])
def test_config_builds_public_classes_only(any_backend, name):
    from d2l_ext.config import build

    with pytest.raises(ValueError, match="class"):
        build(any_backend.api, {"class": name, "config": {}})


def test_config_says_which_arguments_do_not_fit(any_backend):
    from d2l_ext.config import build

    with pytest.raises(ValueError, match="DotProductAttention does not take"):
        build(any_backend.api, {"class": "DotProductAttention", "config": {"heads": 3}})
