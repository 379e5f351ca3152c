"""What the files of a column promise each other (`d2l_ext.contract`), in every column."""

import contextlib
import importlib
import inspect
import itertools

import numpy as np
import pytest
from grid import CALLS, parameters

import d2l_ext
from d2l_ext import contract
from d2l_ext.nested import leaves, nest

ROWS = ("masking", "scoring", "recurrent", "seq2seq", "bahdanau", "multihead", "positional")
ROWS = (*ROWS, "transformer", "normalization", "rotary", "caching", "feedforward", "moe")
ROWS = (*ROWS, "blockwise", "linear", "gpt", "bert", "vision")
# Methods by which a framework asks for weights of unknown size.
HOOKS = {"tensorflow": {"build"}, "torch": {"initialize_parameters"}}
# What a framework has itself, and a column therefore need not.
IN_FRAMEWORK = {"torch": {"PatchConvolution"}, "mxnet": {"PatchConvolution"}}
# Where a file has the functions of a contract; and the classes that keep one, in all columns.
FUNCTIONS = {
    contract.Masking: "masking",
    contract.Scoring: "scoring",
    contract.Recurrent: "recurrent",
    contract.Layers: "layers",
    contract.Caching: "caching",
}
CLASSES = {
    contract.Dropout: {"layers": ["Dropout"]},
    contract.Attention: {
        "scoring": [f"{x}Attention" for x in ("DotProduct", "Additive", "Cosine", "Bilinear")]
        + ["Attention", "GaussianAttention"]
    },
    contract.MultiHeadAttention: {"multihead": ["MultiHeadAttention"]},
    contract.Stack: {
        "recurrent": ["Stack", "GRUStack", "BidirectionalGRUStack", "LSTMStack"],
    },
    contract.Encoder: {
        "seq2seq": ["Encoder", "Seq2SeqEncoder", "LSTMEncoder", "BidirectionalEncoder"],
        "transformer": ["TransformerEncoder"],
    },
    contract.Decoder: {"seq2seq": ["Decoder", "Seq2SeqDecoder", "LSTMDecoder"]},
    contract.AttentionDecoder: {
        "bahdanau": [
            *("AttentionDecoder", "Seq2SeqAttentionDecoder", "LSTMAttentionDecoder"),
            "LuongDecoder",
        ],
        "transformer": ["TransformerDecoder"],
    },
    contract.AddNorm: {"transformer": ["AddNorm"]},
    contract.TransformerDecoderBlock: {"transformer": ["TransformerDecoderBlock"]},
    contract.GroupedQueryAttention: {"gpt": ["GroupedQueryAttention"]},
    contract.LanguageModel: {"gpt": ["GPT"]},
    contract.Experts: {"moe": ["MixtureOfExperts"]},
}
PAIRS = [
    (promise, row, name)
    for promise, rows in CLASSES.items()
    for row, names in rows.items()
    for name in names
]
BATCH, KEYS, STEPS, SIZE, HEADS, LAYERS, BLOCKS, VOCAB = 3, 5, 4, 14, 2, 2, 2, 9
LENS = np.array([5, 2, 3])
SRC, TGT = np.arange(BATCH * KEYS).reshape(BATCH, KEYS) % VOCAB, np.ones((BATCH, STEPS), int)


def file(be, row):
    return importlib.import_module(f"d2l_ext.{be.name}.{row}")


def promised(promise):
    """The methods of a protocol and of those that it extends, by name."""
    found = {}
    for cls in reversed(promise.__mro__):
        if cls.__module__ == contract.__name__:
            found |= {
                name: inspect.unwrap(getattr(cls, name))
                for name, value in vars(cls).items()
                if inspect.isfunction(value) or isinstance(value, staticmethod)
                if not name.startswith("_") or name == "__call__"
            }
    return {name: function for name, function in found.items() if function.__doc__}


def attributes(promise):
    found = [vars(cls).get("__annotations__", {}) for cls in promise.__mro__]
    return {name for names in found for name in names if not name.startswith("_")}


@pytest.mark.parametrize(("promise", "row", "name"), PAIRS, ids=lambda x: getattr(x, "__name__", x))
def test_methods_are_those_of_the_contract(any_backend, promise, row, name):
    cls = getattr(file(any_backend, row), name)
    for method, wanted in promised(promise).items():
        method = CALLS[any_backend.name] if method == "__call__" else method
        have = inspect.getattr_static(cls, method)
        if have is None and method == "step":
            continue  # the base class leaves it to the others
        function = getattr(cls, method)
        static = [isinstance(x, staticmethod) for x in (have, wanted_static(promise, method))]
        assert static[0] == static[1], method
        assert parameters(function, leave_out=("training",)) == parameters(wanted), method


def wanted_static(promise, method):
    return inspect.getattr_static(promise, method, None)


@pytest.mark.parametrize("promise", FUNCTIONS, ids=lambda x: x.__name__)
def test_functions_are_those_of_the_contract(any_backend, promise):
    for name, wanted in promised(promise).items():
        have = getattr(file(any_backend, FUNCTIONS[promise]), name)
        assert parameters(have) == parameters(wanted), name


def test_every_promise_is_kept_somewhere():
    promises = {
        value
        for value in vars(contract).values()
        if inspect.isclass(value) and value.__module__ == contract.__name__
    }
    assert promises == {*FUNCTIONS, *CLASSES}
    assert all(inspect.getdoc(f) for p in promises for f in promised(p).values())


def own(cls, be):
    """Public names and signatures of what a class and its bases in the column define."""
    found = {}
    for base in reversed(cls.__mro__):
        row = base.__module__.rpartition(".")[2]
        if base.__module__.startswith(be.api.__name__) and row in ROWS:
            found |= vars(base)
    call, hooks = CALLS[be.name], HOOKS.get(be.name, set())
    return {
        "__call__" if name == call else name: (
            parameters(value, leave_out=("training",)) if inspect.isfunction(value) else None
        )
        for name, value in found.items()
        if (not name.startswith("_") or name == call) and name not in hooks
        if not isinstance(value, property)  # which may be a plain attribute elsewhere
    }


@pytest.mark.parametrize("row", ROWS)
def test_no_method_is_in_some_columns_only(any_backend, row):
    """Whether the contract names it or not; the arguments and their defaults are the same too."""
    reference = d2l_ext.backend("reference")
    classes = {
        name: cls
        for name, cls in vars(file(reference, row)).items()
        if inspect.isclass(cls) and cls.__module__ == file(reference, row).__name__
        if not name.startswith("_") and name not in IN_FRAMEWORK.get(any_backend.name, ())
    }
    there = vars(file(any_backend, row)).items()
    assert classes.keys() == {
        name
        for name, cls in there
        if inspect.isclass(cls) and cls.__module__ == file(any_backend, row).__name__
        if not name.startswith("_")
    }
    for name, cls in classes.items():
        assert own(getattr(file(any_backend, row), name), any_backend) == own(cls, reference), name


def example(api, name):
    """A class with small arguments."""
    arguments = {
        "PositionWiseFFN": (SIZE, SIZE),
        "AddNorm": (SIZE, 0.1),
        "MultiHeadAttention": (SIZE, HEADS, 0.1),
        "AdditiveAttention": (SIZE, 0.1),
        "TransformerEncoderBlock": (SIZE, 8, HEADS, 0.1),
        "TransformerDecoderBlock": (SIZE, 8, HEADS, 0.1, 0),
        "TransformerEncoder": (VOCAB, SIZE, 8, HEADS, BLOCKS, 0.1),
        "TransformerDecoder": (VOCAB, SIZE, 8, HEADS, BLOCKS, 0.1),
        "GRU": (SIZE, SIZE, LAYERS, 0.1),
        "LSTM": (SIZE, SIZE, LAYERS, 0.1),
        "LayerNorm": (SIZE,),
        "RMSNorm": (SIZE,),
        "FeedForward": (SIZE, 8),
        "MixtureOfExperts": (SIZE, 8, 3, 2),
        "LinearAttention": (SIZE, HEADS),
        "GroupedQueryAttention": (8, HEADS, 1, 0.1),
        "GPTBlock": (8, 6, HEADS, 1, 0.1),
        "GPT": (VOCAB, 8, 6, HEADS, 1, BLOCKS, 0.1),
        "BERTEncoder": (VOCAB, 8, 6, HEADS, BLOCKS, 0.1),
        "BERTMaskLM": (VOCAB, 8, 6, HEADS, BLOCKS, 0.1),
        "MaskLM": (VOCAB, 8),
        "PatchEmbedding": (6, 2, 8),
        "ViTMLP": (6, 8),
        "ViTBlock": (8, 8, 6, HEADS, 0.1),
        "ViT": (6, 2, 8, 6, HEADS, BLOCKS, 0.1, 0.1),
    }
    if name == "EncoderDecoder":
        return api.EncoderDecoder(example(api, "LSTMEncoder"), example(api, "LSTMDecoder"))
    default = (VOCAB, SIZE, SIZE, LAYERS, 0.1)
    if name.endswith("Attention"):
        default = (0.1,)
    if name.endswith("PositionalEncoding"):
        default = (SIZE, 0.1)
    return getattr(api, name)(*arguments.get(name, default))


def test_attributes_after_construction_are_the_same(any_backend):
    """Those that the contract names, and all public ones of the reference."""
    reference = d2l_ext.backend("reference").api
    for name in reference.__all__:
        value = getattr(reference, name)
        if inspect.isclass(value) and name not in ("Encoder", "Decoder", "AttentionDecoder"):
            have, like = example(any_backend.api, name), example(reference, name)
            wanted = {attribute for attribute in vars(like) if not attribute.startswith("_")}
            wanted -= set(like._names)  # parameters have the names that each framework gives them
            for promise, row, kept_by in PAIRS:
                if isinstance(like, getattr(file(d2l_ext.backend("reference"), row), kept_by)):
                    wanted |= attributes(promise)
            lacking = [attribute for attribute in wanted if not hasattr(have, attribute)]
            assert lacking == [], name


def shapes(be, value):
    return nest(lambda x: x.shape, be.numpy(value))


def ready(be, module, *inputs):
    """A module with its weights, which takes framework arrays."""
    model = be.model(module, *inputs, dtype="float64")
    if be.name == "torch":
        module.requires_grad_(False)
    return model.merged() if be.name == "jax" else model.module


def decoder(be, name):
    """A decoder that has decoded nothing, and its state in framework arrays."""
    api = be.api
    encoder = {"Seq2SeqDecoder": "Seq2SeqEncoder", "TransformerDecoder": "TransformerEncoder"}
    kind = "LSTMEncoder" if name.startswith("LSTM") else encoder.get(name, "Seq2SeqEncoder")
    module = api.EncoderDecoder(example(api, kind), example(api, name))
    module = ready(be, module, SRC, TGT, LENS)
    outputs = module.encoder(be.array(SRC), be.array(LENS))
    return module.decoder, module.decoder.init_state(outputs, be.array(LENS))


HIDDEN = (LAYERS, BATCH, SIZE)
PROJECTED = (BATCH * HEADS, KEYS, SIZE // HEADS)
STATES = {
    "Seq2SeqDecoder": [(KEYS, BATCH, SIZE), HIDDEN, (BATCH, SIZE)],
    "LSTMDecoder": [(KEYS, BATCH, SIZE), (HIDDEN, HIDDEN)],
    "TransformerDecoder": [
        *((BATCH, KEYS, SIZE), (BATCH,), [None] * BLOCKS),
        *([(PROJECTED, PROJECTED, (BATCH, 1, KEYS))] * BLOCKS, ()),
    ],
}
STATES |= {
    name: [(BATCH, KEYS, SIZE), hidden, (BATCH,), (BATCH, KEYS, SIZE), (BATCH, 1, KEYS)]
    for name, hidden in (
        ("Seq2SeqAttentionDecoder", HIDDEN),
        ("LSTMAttentionDecoder", (HIDDEN, HIDDEN)),
        ("LuongDecoder", HIDDEN),
    )
}


def as_lists(value):
    return [as_lists(x) for x in value] if isinstance(value, (tuple, list)) else value


@pytest.mark.parametrize("name", STATES)
def test_states_hold_what_is_promised(any_backend, name):
    """At first, after some steps, and after the rows were taken in another order and number."""
    be = any_backend
    module, first = decoder(be, name)
    assert as_lists(shapes(be, first)) == as_lists(STATES[name])
    assert module.batch_size(first) == BATCH
    logits, state = module(be.array(TGT), first)
    assert be.numpy(logits).shape == (BATCH, STEPS, VOCAB)
    wanted = STATES[name]
    if name == "TransformerDecoder":
        cache = (BATCH * HEADS, STEPS, SIZE // HEADS)
        wanted = [*wanted[:2], [(cache, cache)] * BLOCKS, *wanted[3:]]
        assert be.numpy(state[4]) == STEPS
    assert as_lists(shapes(be, state)) == as_lists(wanted)

    rows = np.array([2, 0, 0, 1])
    taken = module.take_rows(state, be.array(rows))
    assert module.batch_size(taken) == len(rows)
    again, _ = module(be.array(TGT[rows]), taken)
    there, _ = module(be.array(TGT), state)
    np.testing.assert_allclose(be.numpy(again), be.numpy(there)[rows], rtol=1e-10)


@pytest.mark.parametrize("name", [name for name in STATES if len(STATES[name]) == 5])
def test_d2ls_three_entries_are_enough(any_backend, name):
    be = any_backend
    module, first = decoder(be, name)
    have, _ = module(be.array(TGT), first[:3])
    wanted, _ = module(be.array(TGT), first)
    np.testing.assert_array_equal(be.numpy(have), be.numpy(wanted))
    completed = module.with_prepared_keys(first[:3])
    assert as_lists(shapes(be, completed)) == as_lists(STATES[name])
    assert module.with_prepared_keys(first) is first


def test_reserved_room_changes_nothing_but_the_caches(any_backend):
    be = any_backend
    module, first = decoder(be, "TransformerDecoder")
    reserved = module.reserve(first, STEPS, least=2 * STEPS)
    room = (2, BATCH * HEADS, 2 * STEPS, SIZE // HEADS)
    for cache in reserved[2]:
        assert cache is None or np.shape(be.numpy(cache)) == room
    have, state = module(be.array(TGT), reserved)
    wanted, _ = module(be.array(TGT), first)
    np.testing.assert_allclose(be.numpy(have), be.numpy(wanted), rtol=1e-10)
    assert len(state) == len(first) and be.numpy(state[4]) == STEPS
    other, start = decoder(be, "Seq2SeqDecoder")
    assert other.reserve(start, STEPS) is start


@pytest.mark.parametrize(("window", "size"), [(None, 2 * STEPS), (3, 4)])
def test_language_models_hold_what_is_promised(any_backend, window, size):
    """At first, after some steps, with room, and after the rows were taken in another order."""
    be = any_backend
    module = be.api.GPT(VOCAB, 8, 6, HEADS, 1, BLOCKS, window=window, num_sinks=1)
    module = ready(be, module, TGT)
    first = module.init_state(BATCH)
    assert len(first[0]) == BLOCKS and be.numpy(first[1]) == 0
    logits, state = module(be.array(TGT), first)
    assert be.numpy(logits).shape == (BATCH, STEPS, VOCAB)
    assert be.numpy(state[1]) == STEPS
    held = STEPS if window is None else 1 + window - 1  # the next step is in its window
    assert as_lists(shapes(be, state[0])) == [[[BATCH, 1, held, 4]] * 2] * BLOCKS

    rows = np.array([2, 0, 0, 1])
    again, _ = module(be.array(TGT[rows]), module.take_rows(state, be.array(rows)))
    there, _ = module(be.array(TGT), state)
    np.testing.assert_allclose(be.numpy(again), be.numpy(there)[rows], rtol=1e-10)

    reserved = module.reserve(first, STEPS, 2 * STEPS)
    if be.name != "reference":
        assert {be.numpy(cache).shape for cache in reserved[0]} == {(2, BATCH, 1, size, 4)}
    have, _ = module(be.array(TGT), reserved)
    np.testing.assert_allclose(be.numpy(have), be.numpy(logits), rtol=1e-10)


def test_heads_take_a_mask_per_sentence(any_backend):
    be = any_backend
    rng = np.random.default_rng(0)
    X, keys = rng.standard_normal((BATCH, STEPS, SIZE)), rng.standard_normal((BATCH, KEYS, SIZE))
    module = ready(be, be.api.MultiHeadAttention(SIZE, HEADS, 0), X, keys, keys)
    X, keys = be.array(X), be.array(keys)
    projected = module.project(keys, keys)
    assert as_lists(shapes(be, projected)) == [list(PROJECTED)] * 2
    masks = [None, np.arange(STEPS)[:, None] >= np.arange(KEYS)]
    masks += [masks[1][None], np.arange(KEYS) < LENS[:, None, None], np.ones((1, 1, KEYS), bool)]
    masks.append(masks[3] & masks[1])
    for mask in masks:
        mask = be.array(mask)
        have = module.attend(X, *projected, mask)
        np.testing.assert_allclose(
            be.numpy(have), be.numpy(module(X, keys, keys, None, mask)), rtol=1e-10
        )
        assert be.numpy(module.attention_weights).shape == (BATCH * HEADS, STEPS, KEYS)
        repeated = module.per_head(mask)
        if mask is None or BATCH not in mask.shape[:-2]:
            assert repeated is mask
        else:
            assert repeated.shape[0] == BATCH * HEADS


def test_a_block_prepares_a_mask_per_sentence(any_backend):
    be = any_backend
    memory = np.ones((BATCH, KEYS, SIZE))
    module = be.api.TransformerDecoderBlock(SIZE, 8, HEADS, 0, 0)
    module = ready(be, module, memory[:, :STEPS], [memory, LENS, [None]])
    *pair, mask = module.project(be.array(memory), be.array(LENS))
    assert as_lists(shapes(be, pair)) == [list(PROJECTED)] * 2
    np.testing.assert_array_equal(be.numpy(mask), np.arange(KEYS) < LENS[:, None, None])
    assert module.project(be.array(memory), None)[2] is None


def test_a_block_goes_on_after_the_steps_in_its_cache(any_backend):
    """D2L's state has no position; it is the number of keys that the block has."""
    be = any_backend
    memory = np.ones((BATCH, KEYS, SIZE))
    module = be.api.TransformerDecoderBlock(SIZE, 8, HEADS, 0, 0)
    module = ready(be, module, memory[:, :STEPS], [memory, LENS, [None]])
    past = be.array(np.ones((BATCH * HEADS, STEPS, SIZE // HEADS)))
    for cache, steps in ((None, 0), ((past, past), STEPS)):
        state = [be.array(memory), be.array(LENS), [cache]]
        _, state = module(be.array(memory[:, :1]), state)
        assert len(state) == 5 and be.numpy(state[4]) == steps
        assert be.numpy(state[2][0][0]).shape == (BATCH * HEADS, steps + 1, SIZE // HEADS)


def test_masks_combine_to_one_per_sentence(any_backend):
    be = any_backend
    masking = file(be, "masking")
    per_query = np.array([[1, 2, 3, 4]] * BATCH)
    mask = np.arange(STEPS)[:, None] >= np.arange(KEYS)
    assert masking.combine_masks(KEYS) is None
    for given, shape in (((LENS,), (BATCH, 1, KEYS)), ((per_query,), (BATCH, STEPS, KEYS))):
        assert be.numpy(masking.combine_masks(KEYS, *be.array(given))).shape == shape
    both = masking.combine_masks(KEYS, be.array(LENS), be.array(mask))
    np.testing.assert_array_equal(be.numpy(both), mask & (np.arange(KEYS) < LENS[:, None, None]))
    assert be.numpy(both).dtype == bool


def dropouts(be, name, *inputs):
    """What the dropout layers of an example ask for."""
    return be.model(example(be.api, name), *inputs).dropout_layers(*inputs)


def test_dropout_asks_for_what_is_promised(any_backend):
    """The shapes of all masks, time as an axis in loops, heads side by side in the batch axis."""
    be = any_backend
    X = np.ones((BATCH, STEPS, SIZE))
    keys = np.ones((BATCH, KEYS, SIZE))
    asked = dropouts(be, "DotProductAttention", X, keys, keys)
    assert asked == {"dropout": (0.1, (BATCH, STEPS, KEYS))}
    asked = dropouts(be, "MultiHeadAttention", X, keys, keys)
    assert asked == {"attention.dropout": (0.1, (BATCH * HEADS, STEPS, KEYS))}
    assert dropouts(be, "GRU", X) == {"rnn.dropout_l1": (0.1, (BATCH, STEPS, SIZE))}
    api = be.api
    encoder = api.Seq2SeqEncoder(VOCAB, SIZE, SIZE, LAYERS)
    module = api.EncoderDecoder(encoder, example(api, "Seq2SeqAttentionDecoder"))
    asked = be.model(module, SRC, TGT, LENS).dropout_layers(SRC, TGT, LENS)
    assert asked == {
        "decoder.attention.dropout": (0.1, (STEPS, BATCH, 1, KEYS)),
        "decoder.rnn.dropout_l1": (0.1, (STEPS, BATCH, SIZE)),
    }


@contextlib.contextmanager
def training(be, module):
    """Let dropout act; yields the arguments, for the columns that want them, that say so."""
    if be.name == "mxnet":
        with importlib.import_module("mxnet.autograd").train_mode():
            yield {}
    elif be.name in ("torch", "reference"):
        module.train()
        yield {}
        module.train(False)
    else:
        yield {"training": True}


@pytest.mark.parametrize("name", ["GRUStack", "LSTMStack", "BidirectionalGRUStack"])
def test_stacks_promise_states_masks_and_weights_per_layer(any_backend, name):
    be = any_backend
    X = np.random.default_rng(0).standard_normal((STEPS, BATCH, SIZE))
    stack = ready(be, getattr(file(be, "recurrent"), name)(SIZE, 8, LAYERS, 0.5), X)
    both = len(stack.directions)
    outputs, states = stack(be.array(X))
    assert be.numpy(outputs).shape == (STEPS, BATCH, 8 * both)
    layer_state = [(BATCH, 8)] * stack.num_states
    assert as_lists(shapes(be, states)) == as_lists([layer_state] * (LAYERS * both))
    with training(be, stack) as arguments:
        masks = stack.masks(STEPS, be.array(X), **arguments)
    assert as_lists(shapes(be, masks)) == [None, [STEPS, BATCH, 8 * both]]
    rows, sizes = 8 * stack.num_gates, (SIZE, 8 * both)
    for layer, direction in itertools.product(range(LAYERS), stack.directions):
        arrays = [whole(be, x) for x in stack.layer_weights(layer, direction)]
        wanted = [(rows, sizes[layer]), (rows, 8), (rows,), (rows,)]
        assert [x.shape for x in arrays] == wanted


def whole(be, x):
    """An array of all gates, side by side; MXNet has one array per gate."""
    return np.concatenate([np.atleast_1d(leaf) for leaf in leaves(be.numpy(x))])


@pytest.mark.parametrize("name", ["GRUStack", "LSTMStack"])
def test_steps_of_all_layers_give_what_the_whole_call_gives(any_backend, name):
    be = any_backend
    X = np.random.default_rng(0).standard_normal((STEPS, BATCH, SIZE))
    stack = ready(be, getattr(file(be, "recurrent"), name)(SIZE, 8, LAYERS, 0.5), X)
    wanted, wanted_states = stack(be.array(X))
    weights = [stack.layer_weights(layer) for layer in range(LAYERS)]
    weight_ih, _, bias_ih, _ = weights[0]
    states = [(be.array(np.zeros((BATCH, 8))),) * stack.num_states] * LAYERS
    for x, output in zip(X, be.numpy(wanted), strict=True):

        def gate(weight, bias, x=x):
            return be.array(x @ be.numpy(weight).T + be.numpy(bias))

        gates = nest(gate, weight_ih, bias_ih)
        states = stack.advance(gates, states, [None] * LAYERS, weights)
        np.testing.assert_allclose(be.numpy(states[-1][0]), output, rtol=1e-10)
    for have, want in zip(leaves(states), leaves(wanted_states), strict=True):
        np.testing.assert_allclose(be.numpy(have), be.numpy(want), rtol=1e-10)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("name", ["DotProductAttention", "MultiHeadAttention"])
def test_weights_are_kept_if_wanted(any_backend, name, kept):
    be = any_backend
    X, keys = np.ones((BATCH, STEPS, SIZE)), np.ones((BATCH, KEYS, SIZE))
    module = ready(be, example(be.api, name), X, keys, keys)
    getattr(module, "attention", module).keep_weights = kept
    module(*be.array((X, keys, keys)))
    batch = BATCH * HEADS if name.startswith("Multi") else BATCH
    wanted = (batch, STEPS, KEYS) if kept else None
    assert shapes(be, module.attention_weights) == wanted


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("name", ["Seq2SeqAttentionDecoder", "LuongDecoder"])
def test_decoders_keep_weights_of_each_step_if_wanted(any_backend, name, kept):
    module, state = decoder(any_backend, name)
    module.keep_weights = kept
    module(any_backend.array(TGT), state)
    assert (module.attention_weights is None) == (not kept)
    for weights in module.attention_weights if kept else ():
        assert any_backend.numpy(weights).shape == (BATCH, 1, KEYS)


def test_dropout_cuts_a_given_mask_and_says_what_it_wanted(any_backend):
    be = any_backend
    layer = file(be, "layers").Dropout(0.5)
    like = be.array(np.ones((2, 3)))
    assert layer.asked is None and layer.given is None
    given = np.arange(12.0).reshape(3, 4)
    layer.given = be.array(given)
    with training(be, layer) as arguments:
        mask = layer.mask((2, 3), like, **arguments)
        output = layer(like, **arguments)
    np.testing.assert_array_equal(be.numpy(mask), given[:2, :3])
    np.testing.assert_array_equal(be.numpy(output), given[:2, :3])
    assert layer.asked == (2, 3)
    # Where the framework has no mode, it has to be said.
    off = layer.mask((2, 3), like, **dict.fromkeys(arguments, False))
    assert off is None


def test_times_multiplies(any_backend):
    be = any_backend
    times = file(be, "layers").times
    assert times(None) is None
    product = times(be.array(np.array([2.0, 0])))(be.array(np.array([3.0, 4])))
    np.testing.assert_array_equal(be.numpy(product), [6, 0])
