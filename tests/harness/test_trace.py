"""Traces: what is in the file, what two of them tell, and files that are none."""

import copy

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

from d2l_ext.cli import main
from d2l_ext.porting import locate, locate_traces, trace

torch = pytest.importorskip("torch")
from halved import Halved  # noqa: E402 - after importorskip
from torch import nn  # noqa: E402

X = np.random.default_rng(0).standard_normal((3, 5))


class Half(nn.Module):
    def forward(self, X):
        return Halved.apply(X)


@pytest.fixture
def model():
    torch.manual_seed(0)
    layers = nn.Linear(5, 4), nn.LayerNorm(4), nn.GELU(), nn.Identity(), nn.Linear(4, 2)
    return nn.Sequential(*layers).double()


@pytest.fixture
def files(tmp_path):
    return tmp_path / "a.trace", tmp_path / "b.trace"


def test_the_file_has_what_the_model_computes(model, files):
    trace(model, X, path=files[0])
    arrays = load_file(files[0])
    hidden = model[0](torch.from_numpy(X)).detach().numpy()
    assert (arrays["calls.0.in.0"] == X).all()
    assert (arrays["calls.1.out.0"] == hidden).all() and (arrays["calls.2.in.0"] == hidden).all()
    assert (arrays["parameters.4.bias"] == model[4].bias.detach().numpy()).all()
    assert arrays["gradients.0.weight"].shape == (4, 5)
    trace(model, X, path=files[1], backward=False)
    assert not any(name.startswith("gradients") for name in load_file(files[1]))


def test_the_same_model_gives_the_same_file(model, files):
    for path in files:
        trace(model, X, path=path)
    assert files[0].read_bytes() == files[1].read_bytes()
    found = locate_traces(*files)
    assert found.differences == [] and len(found.rows) == 12
    assert all(row.gradient == 0 for row in found.rows)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("plant", "place", "cause"),
    [
        (lambda m: setattr(m[1], "eps", 1e-3), "1", "layer-norm epsilon"),
        (lambda m: setattr(m[2], "approximate", "tanh"), "2", "GELU form"),
        (lambda m: m[0].weight.data.mul_(1.01), "0", "other parameter values"),
    ],
    ids=["epsilon", "gelu", "weights"],
)
def test_the_first_place_is_named_with_its_cause(model, files, plant, place, cause, dtype):
    model.to(getattr(torch, dtype))
    other = copy.deepcopy(model)
    plant(other)
    for one, path in zip((model, other), files, strict=True):
        trace(one, X, path=path)
    (found,) = locate_traces(*files).differences
    assert (found.place, found.cause) == (place, cause)
    assert locate(model, other, X, backward=False).place == place


def test_rounding_is_no_difference(model, files):
    """The same sums in another order, in float32."""
    model.float()

    class Blocks(nn.Linear):
        def forward(self, X):
            return X[:, :2] @ self.weight[:, :2].T + (X[:, 2:] @ self.weight[:, 2:].T + self.bias)

    other = copy.deepcopy(model)
    other[0] = Blocks(5, 4)
    other[0].load_state_dict(model[0].state_dict())
    for one, path in zip((model, other), files, strict=True):
        trace(one, X, path=path)
    found = locate_traces(*files)
    assert found.differences == [], str(found)
    assert max(row.error for row in found.rows) > 0


def test_a_gradient_that_differs_where_values_do_not(model, files):
    other = copy.deepcopy(model)
    other[3] = Half()
    for one, path in zip((model, other), files, strict=True):
        trace(one, X, path=path)
    (found,) = locate_traces(*files).differences
    assert found.backward
    assert found.place.endswith("3")


class Single(nn.Module):
    """A GELU that is computed in float32, as some operators are."""

    def forward(self, X):
        return nn.functional.gelu(X.float()).double()


def test_float32_inside_an_operator_hides_no_difference_after_it(model, files):
    port = copy.deepcopy(model)
    port[2] = Single()
    for planted, places in ((False, []), (True, ["4"])):
        if planted:
            with torch.no_grad():
                port[4].weight += 0.01
        for one, path in zip((model, port), files, strict=True):
            trace(one, X, path=path)
        found = locate_traces(*files)
        assert [one.place for one in found.differences] == places, str(found)
        assert [one.place for one in found.limits] == ["2"]


def test_a_trace_of_another_framework(model, files):
    keras = pytest.importorskip("keras")
    layers = [
        keras.layers.Dense(4, dtype="float64"),
        keras.layers.LayerNormalization(epsilon=1e-5, dtype="float64"),
        keras.layers.Activation("tanh", dtype="float64"),
        keras.layers.Dense(2, dtype="float64"),
    ]
    model[2] = nn.Tanh()
    port = keras.Sequential([keras.Input((5,), dtype="float64"), *layers])
    for layer, own in ((layers[0], model[0]), (layers[3], model[4])):
        layer.set_weights([own.weight.detach().numpy().T, own.bias.detach().numpy()])
    trace(model, X, path=files[0])
    trace(port, X, path=files[1])
    assert locate_traces(*files).differences == []
    layers[1].epsilon = 1e-3
    trace(port, X, path=files[1])
    assert locate_traces(*files).cause == "layer-norm epsilon"


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_a_file_that_is_cut_off_is_refused(model, files, size):
    trace(model, X, path=files[0])
    whole = files[0].read_bytes()
    files[1].write_bytes(whole[:size])
    with pytest.raises(ValueError, match=r"b\.trace: is (no trace, or )?cut off"):
        locate_traces(*files)


def test_other_files_are_refused(files, tmp_path):
    from safetensors.numpy import save_file

    save_file({"x": np.ones(2)}, files[0])
    with pytest.raises(ValueError, match=r"a\.trace: is no trace of version 1"):
        locate_traces(files[0], files[0])
    with pytest.raises(FileNotFoundError):
        locate_traces(tmp_path / "none", files[0])


def test_the_command(model, files):
    for path in files:
        trace(model, X, path=path, backward=False)
    result = CliRunner().invoke(main, ["locate", *map(str, files)])
    assert (result.exit_code, "no difference in 12 places" in result.output) == (0, True)
    model[1].eps = 1e-3
    trace(model, X, path=files[1], backward=False)
    result = CliRunner().invoke(main, ["locate", *map(str, files)])
    assert (result.exit_code, "layer-norm epsilon" in result.output) == (1, True)
    files[1].write_bytes(files[1].read_bytes()[:-1])
    result = CliRunner().invoke(main, ["locate", *map(str, files)])
    assert result.exit_code == 2 and "is cut off: has" in result.output
    assert CliRunner().invoke(main, ["locate", "GRU"]).exit_code == 2
