"""Checkpoints: what is written is read, in every framework, and nothing else is."""

import functools
import hashlib
import json
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save
from shared import encoder_decoder

import d2l_ext
from d2l_ext.data import Vocab
from d2l_ext.training import checkpoint
from d2l_ext.training.checkpoint import CheckpointError
from d2l_ext.training.exchange import canonical_name, load_d2l, read_params

pytest_plugins = ["d2l_peer"]

RNG = np.random.default_rng(0)
SRC, TGT, LENS = RNG.integers(0, 6, (3, 5)), RNG.integers(0, 7, (3, 4)), np.array([5, 2, 4])
SRC_VOCAB, TGT_VOCAB = Vocab(list("abcdé")), Vocab(list("uvwxyz"))
KINDS = {
    "bahdanau": ("Seq2SeqEncoder", "Seq2SeqAttentionDecoder", (4, 5, 2, 0.1)),
    "luong": ("BidirectionalEncoder", "LuongDecoder", (3, 4, 2, 0.1)),
    "lstm": ("LSTMEncoder", "LSTMDecoder", (3, 4, 2, 0.1)),
    "transformer": ("TransformerEncoder", "TransformerDecoder", (4, 6, 2, 2, 0.1)),
}


def make_model(backend, kind="bahdanau", dtype="float32", seed=0):
    encoder, decoder, sizes = KINDS[kind]
    if not hasattr(backend.api, decoder):
        pytest.skip(f"{backend.name} has no {decoder}")
    module = encoder_decoder(backend.api, encoder, decoder, (6, 7), *sizes)
    return backend.model(module, SRC, TGT, LENS, seed=seed, dtype=dtype)


def write(path, model, **options):
    checkpoint.save(path, model, SRC_VOCAB, TGT_VOCAB, info={"note": "été"}, **options)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read(backend, tmp_path, kind):
    model = make_model(backend, kind, "float64", seed=3)
    loaded = checkpoint.load(write(tmp_path / "a.safetensors", model))
    assert loaded.src_vocab.to_list() == SRC_VOCAB.to_list()
    assert (loaded.info, loaded.seed, loaded.training) == ({"note": "été"}, 3, None)
    again = loaded.build(backend)
    assert again.dtype == "float64"
    for name, value in model.parameters().items():
        np.testing.assert_array_equal(again.parameters()[name], value)
    np.testing.assert_array_equal(again(SRC, TGT, LENS), model(SRC, TGT, LENS))


@pytest.mark.parametrize("kind", ["bahdanau", "transformer"])
def test_trained_in_one_framework_loaded_in_all(backend, tmp_path, kind):
    path = write(tmp_path / "a.safetensors", make_model(backend, kind, "float64"))
    expected = make_model(backend, kind, "float64")(SRC, TGT, LENS)
    for name in (*d2l_ext.installed(), "reference"):
        other = d2l_ext.backend(name)
        if hasattr(other.api, KINDS[kind][1]):
            model = checkpoint.load(path).build(other)
            np.testing.assert_allclose(model(SRC, TGT, LENS), expected, rtol=0, atol=1e-11)


def test_training_goes_on_from_a_checkpoint(tmp_path):
    pytest.importorskip("torch")
    backend = d2l_ext.backend("torch")
    batch = (SRC, TGT, LENS, TGT)

    def new():
        model = make_model(backend)
        return backend.trainer(model, 0.1, 1.0)

    whole, first = new(), new()
    losses = [whole.step(batch) for _ in range(4)]
    for _ in range(2):
        first.step(batch)
    path = write(tmp_path / "a.safetensors", first.model, trainer=first)
    loaded = checkpoint.load(path)
    second = backend.trainer(loaded.build(backend), 0.1, 1.0)
    second.load_state(loaded.training)
    assert [second.step(batch) for _ in range(2)] == losses[2:]
    for name, value in whole.model.parameters().items():
        np.testing.assert_array_equal(second.model.parameters()[name], value)


def test_pytorch_reads_the_parameters_as_they_are(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file as load_torch_file

    backend = d2l_ext.backend("torch")
    path = write(tmp_path / "a.safetensors", make_model(backend, seed=5))
    module = make_model(backend).module
    module.load_state_dict(load_torch_file(path))
    for name, value in load_file(path).items():
        assert torch.equal(module.state_dict()[name], torch.from_numpy(value))


@pytest.fixture(scope="module")
def torch_file(tmp_path_factory):
    pytest.importorskip("torch")
    model = make_model(d2l_ext.backend("torch"))
    trainer = model.backend.trainer(model, 0.1)
    trainer.step((SRC, TGT, LENS, TGT))
    return write(tmp_path_factory.mktemp("files") / "a.safetensors", model, trainer=trainer)


@settings(max_examples=200)
@given(data=st.data())
def test_a_damaged_file_is_an_error(torch_file, tmp_path_factory, data):
    good = torch_file.read_bytes()
    kind = data.draw(st.sampled_from(["flip", "truncate", "swap", "append", "zeros"]))
    place = data.draw(st.integers(0, len(good) - 1) | st.integers(0, 3000))
    if kind == "flip":
        bad = bytearray(good)
        bad[place] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "truncate":
        bad = good[:place]
    elif kind == "swap":
        bad = good[place:] + good[:place]
    elif kind == "append":
        bad = good + good[:1]
    else:
        bad = good[:place] + bytes(len(good) - place)
    if bytes(bad) == good:
        return
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(bad)
    with pytest.raises(CheckpointError, match=r"damaged\.safetensors: "):
        checkpoint.load(path)


def rewritten(path, change):
    """Write a checkpoint again, with a correct digest, after changing its content."""
    tensors, metadata, content = load_file(path), *read_metadata(path)
    change(tensors, metadata, content)
    metadata |= {"content": json.dumps(content), "sha256": "0" * 64}
    data = save(tensors, metadata)
    digest = hashlib.sha256(data).hexdigest().encode()
    new = path.with_name("changed.safetensors")
    new.write_bytes(data.replace(b"0" * 64, digest, 1))
    return new


def read_metadata(path):
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    metadata = json.loads(data[8 : 8 + size])["__metadata__"]
    return metadata, json.loads(metadata["content"])


CHANGES = {
    r"no checkpoint of d2l_ext": lambda t, m, c: m.pop("format"),
    r"has version '2', but this d2l_ext reads version '1'": lambda t, m, c: m.update(version="2"),
    r"KeyError\('model'\)": lambda t, m, c: c.pop("model"),
    r"src_vocab has 7 tokens, but the encoder takes 6": lambda t, m, c: c["src_vocab"].append("ñ"),
    r"tgt_vocab: tokens: got 'u' more than once": lambda t, m, c: c["tgt_vocab"].append("u"),
    r"tgt_vocab: tokens: got 3, must be strings": lambda t, m, c: c["tgt_vocab"].append(3),
    r"training state \(m\)": lambda t, m, c: t.pop("training.m.decoder.dense.bias"),
    r"training\.v\.decoder\.dense\.bias: got shape \(8,\), must be \(7,\)": lambda t, m, c: (
        t.update({"training.v.decoder.dense.bias": np.zeros(8, "float32")})
    ),
    r"has no parameters": lambda t, m, c: [t.pop(k) for k in list(t) if k[:3] != "tra"],
}


@pytest.mark.parametrize("message", CHANGES)
def test_content_that_does_not_fit_is_an_error(torch_file, message):
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(rewritten(torch_file, CHANGES[message]))


def places(content, before=()):
    """List the paths to all entries of nested dictionaries."""
    for key, value in content.items():
        yield (*before, key)
        if isinstance(value, dict):
            yield from places(value, (*before, key))


@settings(max_examples=100)
@given(data=st.data(), value=st.sampled_from([None, 3, -1, "x", [], {}, [1], True, "absent"]))
def test_content_of_another_kind_is_an_error_or_a_model(torch_file, data, value):
    *path, last = data.draw(st.sampled_from(list(places(read_metadata(torch_file)[1]))))

    def change(tensors, metadata, content):
        for key in path:
            content = content[key]
        if value == "absent":
            del content[last]
        else:
            content[last] = value

    file = rewritten(torch_file, change)
    try:
        model = checkpoint.load(file).build(d2l_ext.backend("torch"))
    except CheckpointError:
        return
    assert model(SRC, TGT, LENS).shape == (3, 4, 7)


def drop(tensors, name):
    for key in (name, f"training.m.{name}", f"training.v.{name}"):
        del tensors[key]


MISFITS = {
    r"decoder\.dense\.bias is missing": lambda t, m, c: drop(t, "decoder.dense.bias"),
    r"decoder\.dense\.bias has shape \(8,\), must be \(7,\)": lambda t, m, c: t.update(
        {
            f"{before}decoder.dense.bias": np.zeros(8, "float32")
            for before in ("", "training.m.", "training.v.")
        }
    ),
    r"which is no class of": lambda t, m, c: c["model"].update({"class": "Nonsense"}),
    r"does not take": lambda t, m, c: c["model"]["config"]["encoder"]["config"].update(x=1),
}


@pytest.mark.parametrize("message", MISFITS)
def test_a_model_that_does_not_fit_is_an_error(torch_file, message):
    path = rewritten(torch_file, MISFITS[message])
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(path).build(d2l_ext.backend("torch"))


def test_files_that_are_something_else(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        checkpoint.load(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        checkpoint.load(tmp_path)
    (tmp_path / "text").write_text("Hello.")
    with pytest.raises(CheckpointError, match="is no safetensors file"):
        checkpoint.load(tmp_path / "text")
    (tmp_path / "other").write_bytes(save({"a": np.zeros(2)}))
    with pytest.raises(CheckpointError, match="no checkpoint of d2l_ext"):
        checkpoint.load(tmp_path / "other")


def test_a_full_disk_leaves_the_old_file(torch_file, tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    path.write_bytes(torch_file.read_bytes())

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(path, make_model(d2l_ext.backend("torch"), seed=9))
    assert path.read_bytes() == torch_file.read_bytes() and list(tmp_path.iterdir()) == [path]


# D2L's own models


def test_a_state_dict_of_d2l_torch(backend, d2l_torch):
    torch = pytest.importorskip("torch")
    theirs = d2l_torch.Seq2SeqEncoder(6, 4, 5, 2)
    mine = backend.model(backend.api.Seq2SeqEncoder(6, 4, 5, 2), SRC)
    load_d2l(mine, theirs.state_dict())
    with torch.no_grad():
        expected = [x.numpy() for x in theirs.eval()(torch.from_numpy(SRC))]
    for got, wanted in zip(mine(SRC), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def d2l_mxnet():
    pytest.importorskip("d2l")
    if "mxnet" not in d2l_ext.installed():
        pytest.skip("MXNet is not installed")
    d2l_ext.backend("mxnet")  # makes MXNet importable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from d2l import mxnet as module
    return module


D2L_MXNET = {
    "Seq2SeqEncoder": ((6, 4, 5, 2), (SRC,), (SRC,)),
    "TransformerEncoder": ((6, 4, 8, 2, 2, 0.1), (SRC, LENS), (SRC, LENS)),
}


@pytest.mark.parametrize("name", D2L_MXNET)
def test_a_params_file_of_d2l_mxnet(backend, d2l_mxnet, tmp_path, name):
    from mxnet import np as mxnp

    sizes, inputs, mine_inputs = D2L_MXNET[name]
    if not hasattr(backend.api, name):
        pytest.skip(f"{backend.name} has no {name}")
    theirs = getattr(d2l_mxnet, name)(*sizes)
    outputs = theirs(*(mxnp.array(x) for x in inputs))
    theirs.save_parameters(str(tmp_path / "a.params"))
    mine = backend.model(getattr(backend.api, name)(*sizes), *mine_inputs)
    load_d2l(mine, tmp_path / "a.params")
    got = mine(*mine_inputs)
    if name == "Seq2SeqEncoder":
        outputs, got = outputs[0], got[0]
    np.testing.assert_allclose(got, outputs.asnumpy(), rtol=0, atol=2e-6)


# D2L's whole models: its package's encoders and the decoders of the book's text. Both leave traces
# in the process that imports them, so they have one of their own.
WHOLE = """
import sys
import numpy as np
from benchmarks.d2l_text import FRAMEWORK as theirs
from benchmarks.setting import Setting

folder, kind = sys.argv[1:]
s = Setting(kind, 3, 5, 12, num_hiddens=8, dropout=0, num_heads=2, ffn_num_hiddens=10)
model = theirs.model(s)
src, tgt, _, _ = s.arrays()
lens = np.full(3, 5, "int32")
inputs = [theirs.array(x) for x in (src, tgt, lens)]
"""
WHOLE_TORCH = """
from pathlib import Path
from safetensors.torch import load_file, save_file
import torch

ours = Path(folder) / "ours.safetensors"
if ours.exists():
    model.load_state_dict(load_file(ours))
save_file(model.state_dict(), folder + "/theirs.safetensors")
with torch.no_grad():
    outputs = model.train()(*inputs).numpy()  # D2L's causal mask is there in training only
np.savez(folder + "/theirs.npz", src=src, tgt=tgt, lens=lens, outputs=outputs)
"""
WHOLE_MXNET = """
from mxnet import autograd

with autograd.record(train_mode=True):
    outputs = model(*inputs)
model.save_parameters(folder + "/theirs.params")
np.savez(folder + "/theirs.npz", src=src, tgt=tgt, lens=lens, outputs=outputs.asnumpy())
"""


def run_d2l(framework, folder, kind):
    """Run one of D2L's models in a process of its own; return its inputs and its outputs."""
    pytest.importorskip("d2l")
    if framework not in d2l_ext.installed():
        pytest.skip(f"{framework} is not installed")
    rest = {"torch": WHOLE_TORCH, "mxnet": WHOLE_MXNET}[framework]
    code = WHOLE.replace("FRAMEWORK", framework) + rest
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, folder, kind],
        check=True,
        cwd=Path(__file__).parents[2],
    )
    arrays = np.load(folder / "theirs.npz")
    return [arrays[name].astype(int) for name in ("src", "tgt", "lens")], arrays["outputs"]


@pytest.fixture(scope="module")
def d2l_models(tmp_path_factory):
    """A function that gives the file, inputs and outputs of one of D2L's models."""

    @functools.cache
    def made(framework, kind):
        folder = tmp_path_factory.mktemp(f"{framework}-{kind}")
        inputs, outputs = run_d2l(framework, folder, kind)
        if framework == "mxnet":
            return folder / "theirs.params", inputs, outputs
        return load_file(folder / "theirs.safetensors"), inputs, outputs

    return made


def whole(backend, kind, inputs):
    """Make our model of the same classes and sizes."""
    encoder, decoder, _ = KINDS[kind]
    sizes = (8, 10, 2, 2, 0) if kind == "transformer" else (8, 8, 2)
    module = encoder_decoder(backend.api, encoder, decoder, (12, 12), *sizes)
    return backend.model(module, *inputs)


@pytest.mark.parametrize("kind", ["bahdanau", "transformer"])
@pytest.mark.parametrize("framework", ["torch", "mxnet"])
def test_a_whole_model_of_d2l(backend, d2l_models, framework, kind):
    source, inputs, outputs = d2l_models(framework, kind)
    mine = whole(backend, kind, inputs)
    load_d2l(mine, source)
    np.testing.assert_allclose(mine(*inputs), outputs, rtol=0, atol=3e-6)


@pytest.mark.parametrize("kind", ["bahdanau", "transformer"])
def test_d2l_torch_loads_a_checkpoint(tmp_path, kind):
    pytest.importorskip("torch")
    path = tmp_path / "ours.safetensors"
    mine = whole(d2l_ext.backend("torch"), kind, (SRC, TGT, LENS))
    checkpoint.save(path, mine)
    inputs, outputs = run_d2l("torch", tmp_path, kind)
    np.testing.assert_allclose(mine(*inputs), outputs, rtol=0, atol=3e-6)


def params_file(arrays):
    """The bytes of a .params file, as MXNet 1.9 writes it."""
    data = struct.pack("<3Q", 0x112, 0, len(arrays))
    for x in arrays.values():
        data += struct.pack("<IiI", 0xF993FACA, 0, x.ndim) + struct.pack(f"<{x.ndim}q", *x.shape)
        data += struct.pack("<3i", 1, 0, {"float32": 0, "float64": 1}[str(x.dtype)]) + x.tobytes()
    data += struct.pack("<Q", len(arrays))
    return data + b"".join(struct.pack("<Q", len(n)) + n.encode() for n in arrays)


def test_a_params_file_without_mxnet(tmp_path):
    arrays = {"a.weight": np.ones((2, 3), "float32"), "b": np.zeros(4), "c": np.float32([[[1]]])}
    path = tmp_path / "a.params"
    path.write_bytes(params_file(arrays))
    found = read_params(path)
    assert list(found) == list(arrays)
    for name, value in arrays.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype


@given(
    st.binary(max_size=200) | st.integers(0, 150).map(lambda n: params_file({"a": np.ones(9)})[:n])
)
def test_a_damaged_params_file_is_an_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "bad.params"
    path.write_bytes(data)
    try:
        assert list(read_params(path)) == ["a"]
    except CheckpointError as error:
        assert "bad.params" in str(error)


@pytest.mark.parametrize(
    ("theirs", "canonical"),
    [
        ("encoder.rnn.rnn._unfused.1.i2h_weight", "encoder.rnn.rnn.weight_ih_l1"),
        ("rnn._unfused.0.r_cell.h2h_bias", "rnn.bias_hh_l0_reverse"),
        ("rnn._unfused.0.l_cell.h2h_bias", "rnn.bias_hh_l0"),
        ("decoder.rnn.l0_h2h_weight", "decoder.rnn.weight_hh_l0"),
        ("l10_i2h_bias", "bias_ih_l10"),
        ("blks.1.addnorm2.ln.gamma", "blks.block1.addnorm2.ln.weight"),
        ("blks.0.addnorm1.ln.beta", "blks.block0.addnorm1.ln.bias"),
        ("blks.block0.attention.W_q.weight", "blks.block0.attention.W_q.weight"),
        ("decoder.attention.W_k.weight", "decoder.attention.W_k.weight"),
        ("rnn.rnn.weight_ih_l0", "rnn.rnn.weight_ih_l0"),
    ],
)
def test_names(theirs, canonical):
    assert canonical_name(theirs) == canonical
