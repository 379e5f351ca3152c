"""Exported translators give the tokens of the original, in the engines they were made for."""

import numpy as np
import pytest
from command import invoke
from runs import SMALL, quiet

import d2l_ext
from d2l_ext.config import build
from d2l_ext.training import checkpoint, run
from d2l_ext.training.settings import read_settings

pytest.importorskip("torch")
NEEDS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "ctranslate2": ("ctranslate2",)}
SENTENCES = ["go .", "i am sad .", "we won", "the cat is here .", "she sings and he runs ."]
TRANSFORMER = {"model": "transformer", "ffn_num_hiddens": 10, "num_heads": 2}
GELU = {"norm": "pre", "activation": "gelu", "use_bias": True}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A function that trains a model once, and returns the file of its checkpoint."""
    done = {}

    def train(**options):
        key = str(options)
        if key not in done:
            folder = tmp_path_factory.mktemp("runs") / "run"
            settings = read_settings(**(SMALL | {"epochs": 8, "lr": 0.02} | options))
            run.start(folder, settings, report=quiet, progress=False)
            done[key] = folder / run.LAST
        return done[key]

    return train


def check(path, tmp_path, to):
    """Export, and let the command compare; a sentence too long and unknown words are among them."""
    for package in NEEDS[to]:
        pytest.importorskip(package)
    (tmp_path / "sentences.txt").write_text("\n".join([*SENTENCES, " ".join(SENTENCES) + " xyz"]))
    given = "--output", tmp_path / to, "--check", tmp_path / "sentences.txt"
    output = invoke("export", path, "--to", to, *given).output
    assert len(output.splitlines()) == 3
    assert output.count("6 of 6 translations are the same") == 2


@pytest.mark.parametrize("to", NEEDS)
def test_a_transformer_translates_the_same(trained, tmp_path, to):
    check(trained(**TRANSFORMER), tmp_path, to)


@pytest.mark.parametrize(
    "to", [pytest.param(to, marks=[pytest.mark.slow] * (to == "onnx")) for to in NEEDS]
)
def test_with_every_option(trained, tmp_path, to):
    """Those that the command has not: normalised before, GELU, biases; all parameters random."""
    saved = checkpoint.load(trained(**TRANSFORMER))
    for part in ("encoder", "decoder"):
        saved.model["config"][part]["config"] |= GELU | {"num_blks": 3}
    be, rng = d2l_ext.backend("torch"), np.random.default_rng(0)
    ids = np.zeros((1, 2), int)
    model = be.model(build(be.api, saved.model), ids, ids, np.array([2]))
    shapes = sorted(model.shapes().items())
    model.load_parameters({k: rng.standard_normal(shape) / 3 for k, shape in shapes})
    path = tmp_path / "run" / "other.safetensors"
    checkpoint.save(path, model, saved.src_vocab, saved.tgt_vocab, info=saved.info)
    check(path, tmp_path, to)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["seq2seq", "bahdanau", "luong"])
@pytest.mark.parametrize("tokens", ["words", "subwords"])
def test_recurrent_models_translate_the_same(trained, tmp_path, model, tokens):
    check(trained(model=model, num_layers=2, tokens=tokens), tmp_path, "onnx")


def test_what_cannot_be_exported(trained, tmp_path):
    pytest.importorskip("ctranslate2")
    path = trained(model="bahdanau")
    given = "export", path, "--to", "ctranslate2", "--output", tmp_path / "new"
    message = "got Seq2SeqEncoder, Seq2SeqAttentionDecoder, must be a Transformer for CTranslate2"
    assert message in invoke(*given, status=2).output
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "new").mkdir()
    assert "is there already, must be a new folder" in invoke(*given, status=2).output


def test_a_difference_is_told(trained, tmp_path, monkeypatch):
    engines = pytest.importorskip("d2l_ext.export.engines")
    pytest.importorskip("ctranslate2")
    whole = engines.CTranslate2Model.translate
    monkeypatch.setattr(engines.CTranslate2Model, "translate", lambda *a: [["?"], *whole(*a)[1:]])
    (tmp_path / "sentences.txt").write_text("\n".join(SENTENCES))
    given = "--output", tmp_path / "new", "--check", tmp_path / "sentences.txt"
    path = trained(**TRANSFORMER)
    output = invoke("export", path, "--to", "ctranslate2", *given, status=1).output
    assert output.count("4 of 5 translations are the same") == 2
