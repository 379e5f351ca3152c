"""`locate` compares steps of two optimisers on the same gradients, and names what differs."""

import copy

import numpy as np
import pytest

import d2l_ext
from d2l_ext.porting import locate

torch = pytest.importorskip("torch")
from torch import nn, optim  # noqa: E402 - after importorskip

X = np.random.default_rng(0).standard_normal((3, 5))


class Adam(optim.Optimizer):
    """Adam with whatever may be wrong in it."""

    def __init__(self, parameters, lr=1e-3, inside=False, corrected=True, epsilon=1e-8):
        super().__init__(parameters, {})
        self.lr, self.inside, self.corrected, self.epsilon = lr, inside, corrected, epsilon

    @torch.no_grad()
    def step(self):
        for p in self.param_groups[0]["params"]:
            state = self.state[p]
            t = state["t"] = state.get("t", 0) + 1
            m = state["m"] = 0.9 * state.get("m", 0) + 0.1 * p.grad
            v = state["v"] = 0.999 * state.get("v", 0) + 0.001 * p.grad**2
            if self.corrected:
                m, v = m / (1 - 0.9**t), v / (1 - 0.999**t)
            p -= (
                self.lr
                * m
                / ((v + self.epsilon).sqrt() if self.inside else v.sqrt() + self.epsilon)
            )


def torch_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 2)).double()


def stepped(make_a, make_b, model=torch_model, dtype=torch.float64):
    """Return what is found in the steps of two optimisers of one model."""
    a = model().to(dtype)
    b = copy.deepcopy(a)
    pair = make_a(a.parameters()), make_b(b.parameters())
    return locate(a, b, X, backward=False, optimizers=pair)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    "right",
    [
        optim.Adam,
        lambda p: optim.AdamW(p, lr=0.02, weight_decay=0.1),
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda p: optim.Adagrad(p, lr=0.1),
    ],
)
def test_steps_that_are_the_same(right, dtype):
    found = stepped(right, right, dtype=dtype)
    assert found.differences == [] and len(found.updates) == 6


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_an_adam_of_ones_own(dtype):
    found = stepped(optim.Adam, Adam, dtype=dtype)
    assert found.differences == [], found
    assert max(row.error for row in found.updates) > 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("right", "wrong", "cause", "words"),
    [
        (optim.Adam, lambda p: optim.Adam(p, eps=1e-7), "Adam's epsilon", "A 1e-08, B 1e-07"),
        (optim.Adam, lambda p: Adam(p, inside=True), "place of Adam's epsilon", "B inside the"),
        (optim.Adam, lambda p: Adam(p, corrected=False), "bias correction missing", "B missing"),
        (lambda p: Adam(p, corrected=False), optim.Adam, "bias correction missing", "A missing"),
        (
            lambda p: optim.AdamW(p, weight_decay=0.01),
            lambda p: optim.Adam(p, weight_decay=0.01),
            "weight decay",
            "A 0.01 of the weights, B 0.01 in the gradient",
        ),
        (
            lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.3),
            lambda p: optim.AdamW(p, lr=0.01, weight_decay=0),
            "weight decay",
            "A 0.3 of the weights, B none",
        ),
        (optim.Adam, lambda p: optim.Adam(p, lr=3e-3), "learning rate", "A 0.001, B 0.003"),
        (optim.Adam, lambda p: optim.Adam(p, betas=(0.9, 0.95)), "Adam's betas", "B 0.95"),
        (
            lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
            lambda p: optim.SGD(p, lr=0.1),
            "momentum",
            "A 0.9, B 0",
        ),
        (
            lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
            lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
            "Nesterov's momentum",
            "B yes",
        ),
    ],
)
def test_what_differs_is_named(right, wrong, cause, words, dtype):
    (found,) = stepped(right, wrong, dtype=dtype).differences
    assert found.cause == cause, found
    assert words in found.explanation
    assert found.place.startswith("step of 0.")


def test_a_parameter_that_was_forgotten_and_one_that_has_no_decay():
    def forgets(parameters):
        return optim.Adam(list(parameters)[:-1])

    (found,) = stepped(optim.Adam, forgets).differences
    assert (found.place, found.cause) == ("step of 2.bias", "parameter not in the optimiser")

    def spares(parameters):
        *others, bias = parameters
        return optim.AdamW([{"params": others}, {"params": [bias], "weight_decay": 0}])

    (found,) = stepped(optim.AdamW, spares).differences
    assert (found.place, found.cause) == ("step of 2.bias", "weight decay")


def test_nothing_is_trained():
    a = torch_model()
    optimizer = optim.Adam(a.parameters())
    before = copy.deepcopy(a.state_dict())
    locate(a, copy.deepcopy(a), X, optimizers=(optimizer, optim.SGD(a.parameters(), lr=1)))
    assert all((a.state_dict()[name] == x).all() for name, x in before.items())
    assert not optimizer.state and a[0].weight.grad is None


def jax_port(model):
    import jax
    from flax import nnx

    class Port(nnx.Module):
        def __init__(self):
            self.fc, self.out = (
                nnx.Linear(*sizes, param_dtype="float64", rngs=nnx.Rngs(0))
                for sizes in ((5, 4), (4, 2))
            )
            self.norm = nnx.LayerNorm(4, epsilon=1e-5, param_dtype="float64", rngs=nnx.Rngs(0))
            for layer, theirs in ((self.fc, model[0]), (self.out, model[2])):
                layer.kernel = nnx.Param(jax.numpy.asarray(theirs.weight.detach().numpy().T))
                layer.bias = nnx.Param(jax.numpy.asarray(theirs.bias.detach().numpy()))

        def __call__(self, X):
            return self.out(self.norm(self.fc(X)))

    return Port()


def tensorflow_port(model):
    import keras

    layers = [
        keras.layers.Dense(4, dtype="float64"),
        keras.layers.LayerNormalization(epsilon=1e-5, dtype="float64"),
        keras.layers.Dense(2, dtype="float64"),
    ]
    port = keras.Sequential(layers)
    port.build((None, 5))
    for layer, theirs in ((layers[0], model[0]), (layers[2], model[2])):
        layer.set_weights([theirs.weight.detach().numpy().T, theirs.bias.detach().numpy()])
    return port


def mxnet_port(model):
    from mxnet import np as xp
    from mxnet.gluon import nn as gluon

    port = gluon.Sequential()
    port.add(gluon.Dense(4, in_units=5), gluon.LayerNorm(in_channels=4), gluon.Dense(2, in_units=4))
    port.initialize()
    port.cast("float64")
    for layer, theirs in ((port[0], model[0]), (port[2], model[2])):
        layer.weight.set_data(xp.array(theirs.weight.detach().numpy(), dtype="float64"))
        layer.bias.set_data(xp.array(theirs.bias.detach().numpy(), dtype="float64"))
    return port


PLACE, EPSILON = "place of Adam's epsilon", "Adam's epsilon"


def jax_optimizers(port):
    """The epsilon of PyTorch's, the other optimiser, what differs."""
    import optax
    from flax import nnx

    right = optax.adam(1e-3)
    return [
        (1e-8, right, []),
        (1e-8, nnx.Optimizer(port, right, wrt=nnx.Param), []),
        (1e-8, optax.adam(1e-3, eps=0, eps_root=1e-8), [PLACE]),
        (1e-8, optax.adamw(1e-3), ["weight decay"]),
    ]


def tensorflow_optimizers(port):
    import keras

    return [
        (1e-30, keras.optimizers.Adam(1e-3, epsilon=0), []),
        (1e-8, keras.optimizers.Adam(1e-3, epsilon=1e-8), [PLACE]),
        (1e-8, keras.optimizers.Adam(1e-3), [f"{EPSILON} and {PLACE}"]),
    ]


def mxnet_optimizers(port):
    from mxnet import gluon

    params = port.collect_params()
    return [
        (1e-30, gluon.Trainer(params, "adam", {"epsilon": 1e-30}), []),
        (1e-8, gluon.Trainer(params, "adam"), [PLACE]),
    ]


PORTS = {
    "jax": (jax_port, jax_optimizers),
    "tensorflow": (tensorflow_port, tensorflow_optimizers),
    "mxnet": (mxnet_port, mxnet_optimizers),
}


@pytest.mark.parametrize("framework", PORTS)
def test_optimizers_of_other_frameworks(framework):
    if framework not in d2l_ext.installed():
        pytest.skip(f"{framework} is not installed")
    d2l_ext.backend(framework)
    build, optimizers = PORTS[framework]
    model = torch_model()
    port = build(model)
    for epsilon, other, expected in optimizers(port):
        own = optim.Adam(model.parameters(), eps=epsilon)
        found = locate(model, port, X, backward=False, optimizers=(own, other))
        assert [one.cause for one in found.differences] == expected, str(found)
    assert locate(model, port, X, backward=False).differences == []  # nothing was trained


def test_what_is_no_optimizer_is_said():
    model = torch_model()
    with pytest.raises(TypeError, match=r"optimizers: got str, must be a torch.optim.Optimizer"):
        locate(model, model, X, optimizers=("adam", "adam"))
