"""Four hundred damaged checkpoints; of half of them the checksum is made right again.

What can be seen is refused in one line; what cannot (a parameter that is a little off, two tokens
that changed places) is taken for what it says. There is no traceback, and nothing takes ten
seconds.
"""

import contextlib
import copy
import hashlib
import json
import signal
import struct

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save

import d2l_ext
from d2l_ext import reference
from d2l_ext.cli import main
from d2l_ext.data import Subwords, Vocab
from d2l_ext.training import checkpoint
from d2l_ext.training.settings import read_settings
from d2l_ext.training.tasks import build_module

SECONDS = 10
WORDS = (["<pad>", "<eos>", *"abcdefg"], ["<pad>", "<bos>", "<eos>", *"stuvwxyz"])
MERGES = ["Ġ t", "h e", "Ġt he", "i n", "e r"]


def written(path, model, subwords):
    """Write a checkpoint with the state of training; nothing is trained."""
    pytest.importorskip("tokenizers")
    settings = read_settings(
        model=model,
        tokens="subwords" if subwords else "words",
        embed_size=4,
        num_hiddens=8,
        ffn_num_hiddens=6,
        num_heads=2,
        num_layers=2,
    )
    vocabs = [Vocab([*tokens]) for tokens in WORDS]
    if subwords:
        marks = (["<pad>", "<eos>"], ["<pad>", "<bos>", "<eos>"])
        vocabs = [Subwords(some, MERGES) for some in marks]
    be = d2l_ext.backend("reference")
    module = build_module(reference, settings, *map(len, vocabs))
    tokens = np.zeros((1, 2), int)
    made = be.model(module, tokens, tokens, np.array([2]))
    trainer = be.trainer(made, 0.1)
    info = {"settings": vars(settings), "digest": "0", "progress": {"epoch": 1}}
    checkpoint.save(path, made, *vocabs, trainer, info=json.loads(json.dumps(info)))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Checkpoints of a recurrent model with words and with subwords, and of a Transformer."""
    folder = tmp_path_factory.mktemp("good")
    kinds = [("bahdanau", False), ("bahdanau", True), ("transformer", False)]
    return [
        written(folder / f"{model}-{subwords}.safetensors", model, subwords)
        for model, subwords in kinds
    ]


class TooLong(BaseException):
    """A command took too long."""


@contextlib.contextmanager
def limited():
    """Raise `TooLong` after so many seconds of this process's time."""

    def over(number, frame):
        raise TooLong

    before = signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def refused(path, backend="torch"):
    """Translate with a checkpoint; return the line that says why it can't, or None if it can."""
    with limited():
        result = CliRunner().invoke(main, ["translate", str(path), "a b", "--backend", backend])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    if result.exit_code == 0:
        return None
    assert result.exit_code == 2, result.output
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith(f"Error: {path}: ") or line.startswith("Error: the checkpoint's model: ")
    return line


# Bytes


def damaged(good, rng):
    """Return other bytes."""
    place = int(rng.integers(len(good) if rng.random() < 0.5 else 3000))
    match rng.integers(5):
        case 0:
            bad = bytearray(good)
            bad[place] ^= 1 << int(rng.integers(8))
        case 1:
            bad = good[:place]
        case 2:
            bad = good[place:] + good[:place]
        case 3:
            bad = good[:place] + bytes(len(good) - place)
        case _:
            bad = good[:place] + rng.bytes(16) + good[place + 16 :]
    return bytes(bad)


@pytest.mark.parametrize("part", range(2))
def test_other_bytes_are_refused(files, tmp_path, part):
    pytest.importorskip("torch")
    rng = np.random.default_rng(part)
    path = tmp_path / "damaged.safetensors"
    for number in range(100):
        good = files[number % len(files)].read_bytes()
        bad = damaged(good, rng)
        path.write_bytes(bad)
        assert bad == good or refused(path), number


# Contents, with the right checksum


def read(path):
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    metadata = json.loads(data[8 : 8 + size])["__metadata__"]
    return load_file(path), metadata, json.loads(metadata["content"])


def rewrite(path, tensors, metadata, content):
    text = content if isinstance(content, str) else json.dumps(content)
    data = save(tensors, metadata | {"content": text, "sha256": "0" * 64})
    digest = hashlib.sha256(data).hexdigest().encode()
    path.write_bytes(data.replace(b"0" * 64, digest, 1))


def some(rng, values):
    values = list(values)
    return values[int(rng.integers(len(values)))]


def of_a_size(rng, tensors, metadata, content):
    part = content["model"]["config"][some(rng, ("encoder", "decoder"))]["config"]
    # No tensor has a size that follows from `max_len`.
    name = some(rng, [k for k, v in part.items() if type(v) is int and k != "max_len"])
    part[name] = some(rng, [10**9, 10**30, -1, 0, "3", None, 1.5, [part[name]], part[name] + 1])


def of_a_class(rng, tensors, metadata, content):
    model = content["model"]
    part = some(rng, [model, model["config"]["encoder"], model["config"]["decoder"]])
    part["class"] = some(rng, ["Nonsense", "GPT", "Dropout", 3, None, "__init__", "os.system"])


def of_a_rate(rng, tensors, metadata, content):
    part = content["model"]["config"][some(rng, ("encoder", "decoder"))]["config"]
    part["dropout"] = some(rng, [2.0, -0.5, "a", None, [], float("nan")])


def of_an_argument(rng, tensors, metadata, content):
    config = content["model"]["config"][some(rng, ("encoder", "decoder"))]["config"]
    if rng.random() < 0.5:
        config["surprise"] = 1
    else:
        del config[
            some(rng, ["vocab_size", "num_hiddens", "num_layers"])
            if "num_layers" in config
            else some(rng, ["vocab_size", "num_hiddens", "num_blks"])
        ]


def of_a_vocabulary(rng, tensors, metadata, content):
    side = some(rng, ("src_vocab", "tgt_vocab"))
    vocab = content[side]
    tokens = vocab if isinstance(vocab, list) else vocab[some(rng, ("marks", "merges"))]
    match rng.integers(6):
        case 0:
            tokens.pop(int(rng.integers(len(tokens))))
        case 1:
            tokens.append("Ġ q" if isinstance(vocab, dict) else "new")
        case 2:
            tokens[0] = (
                tokens[-1] if isinstance(vocab, list) or tokens is vocab["marks"] else "zz y"
            )
        case 3:
            tokens[int(rng.integers(len(tokens)))] = some(rng, [3, None, ["a"], {}])
        case 4:
            marks = tokens if isinstance(vocab, list) else vocab["marks"]
            marks[marks.index("<eos>")] = "<end>"
        case _:
            content[side] = some(rng, [[], {}, "abc", 3, {"marks": []}, {"a": 1, "merges": []}])


def of_a_tensor(rng, tensors, metadata, content):
    name = some(rng, sorted(tensors))
    x = tensors[name]
    match rng.integers(6):
        case 0:
            tensors[name] = x.astype(some(rng, ["int32", "float16", "float64", "int64", "bool"]))
        case 1:
            x.flat[int(rng.integers(x.size))] = some(rng, [np.nan, np.inf, -np.inf, 1e38, -1e30])
        case 2:
            del tensors[name]
        case 3:
            tensors[some(rng, ["more", f"{name}.more", "training.m.more"])] = x.copy()
        case 4:
            tensors[name] = np.concatenate([x, x])
        case _:
            tensors[name] = x[None]


def of_a_setting(rng, tensors, metadata, content):
    settings = content["info"]["settings"]
    name, values = some(
        rng,
        {
            "model": ["gpt", "nonsense", 3],
            "buckets": [[], [10**9], [1], "x", [8, "a"]],
            "backend": ["nonsense", None],
            "num_hiddens": [-1, "a", 0],
            "lr": ["x", -1.0, None],
            "surprise": [1],
        }.items(),
    )
    settings[name] = some(rng, values)


def of_the_rest(rng, tensors, metadata, content):
    match rng.integers(6):
        case 0:
            content["num_steps"] = some(rng, [-1, "x", 1.5, [], None])
            if content["num_steps"] is None:  # without it the moments are parameters too many
                assert any(name.startswith("training.") for name in tensors)
                content["num_steps"] = True
        case 1:
            content["seed"] = some(rng, ["x", 1.5, None, []])
        case 2:
            content["info"] = some(rng, [3, "x", [], {}, None])
        case 3:
            del content[some(rng, ["model", "src_vocab", "tgt_vocab", "seed", "info", "num_steps"])]
        case 4:
            metadata[some(rng, ["format", "version"])] = some(rng, ["", "2", "d2l"])
        case _:
            content.clear()


VISIBLE = (
    *(of_a_size, of_a_class, of_a_rate, of_an_argument),
    *(of_a_vocabulary, of_a_tensor, of_a_setting, of_the_rest),
)


@pytest.mark.parametrize("part", range(2))
def test_other_contents_are_refused(files, tmp_path, part):
    """What can be seen; a checkpoint's content is drawn a hundred times."""
    pytest.importorskip("torch")
    rng, path = np.random.default_rng(10 + part), tmp_path / "changed.safetensors"
    for number in range(100):
        tensors, metadata, content = copy.deepcopy(read(files[number % len(files)]))
        change = VISIBLE[number % len(VISIBLE)]
        change(rng, tensors, metadata, content)
        rewrite(path, tensors, metadata, content)
        assert refused(path), (number, change.__name__, files[number % len(files)].name)


def test_contents_that_are_no_json(files, tmp_path):
    path = tmp_path / "changed.safetensors"
    tensors, metadata, _ = read(files[0])
    for text in ("", "{", "[" * 100_000, "null", "3", '"x"', "[]", '{"a": 1e999}'):
        rewrite(path, tensors, metadata, text)
        assert refused(path), text[:10]


def test_what_cannot_be_seen_is_taken_for_what_it_says(files, tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "changed.safetensors"
    for file in files:
        tensors, metadata, content = read(file)
        tensors["decoder.dense.bias"][0] += 0.5
        content["seed"], content["num_steps"] = 7, 3
        if isinstance(content["src_vocab"], list):
            tokens = content["src_vocab"]
            tokens[3], tokens[4] = tokens[4], tokens[3]
        rewrite(path, tensors, metadata, content)
        assert refused(path) is None
        loaded = checkpoint.load(path)
        assert loaded.seed == 7 and loaded.training["num_steps"] == 3
        np.testing.assert_array_equal(
            loaded.parameters["decoder.dense.bias"], tensors["decoder.dense.bias"]
        )


@pytest.mark.slow
def test_other_contents_in_every_framework(backend, files, tmp_path):
    rng, path = np.random.default_rng(99), tmp_path / "changed.safetensors"
    for number in range(40):
        tensors, metadata, content = copy.deepcopy(read(files[number % len(files)]))
        VISIBLE[number % len(VISIBLE)](rng, tensors, metadata, content)
        rewrite(path, tensors, metadata, content)
        assert refused(path, backend.name), number
