"""Subwords: any text is put together again, and a run with them works as one with words."""

import json
import shutil
import sys

import numpy as np
import pytest
from command import invoke
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import d2l_ext
from d2l_ext import fonts
from d2l_ext.data import BucketedData, Subwords
from d2l_ext.data.sentences import cut, join, labels, unknown
from d2l_ext.training import checkpoint, run, translate, translations
from d2l_ext.training.settings import read_settings
from d2l_ext.training.tasks import TranslationTask

pytest.importorskip("tokenizers")

MARKS = ["<pad>", "<bos>", "<eos>"]
LINES = [
    "Tom's dog sleeps.",
    "The dog is Tom's!",
    "Le garçon dort où le chien dort.",
    "我们不在家。我们在家。",
    "Не спи! Не спи, кот.",
    "👩‍👩‍👧 😀 <eos> <eos> <pad>",
]
PAIRS = [
    ("I see the dog.", "我看见那只狗。"),
    ("Tom sees the cat.", "汤姆看见那只猫。"),
    ("We are at home.", "我们在家。"),
    ("We aren't at home!", "我们不在家!"),
    ("Does Tom see us?", "汤姆看见我们吗?"),
]


@pytest.fixture(scope="module")
def subwords():
    return Subwords.train(LINES * 3, 320, MARKS)


# Texts


@settings(max_examples=100)
@given(text=st.text() | st.text(st.sampled_from("aé家😀 \u202f\t\n<eos>pad'\u0301"), max_size=30))
def test_any_text_is_put_together_again(subwords, text):
    tokens = subwords.split(text)
    assert subwords.join(tokens) == text
    assert all(token in subwords and token not in MARKS for token in tokens)
    assert subwords.join(subwords.to_tokens(subwords[tokens])) == text


@given(text=st.text())
def test_what_is_kept_as_json_cuts_the_same(subwords, text):
    again = Subwords.from_dict(json.loads(json.dumps(subwords.to_dict())))
    assert again.to_list() == subwords.to_list()
    assert again.split(text) == subwords.split(text)


def test_training_is_the_same_each_time(subwords):
    assert Subwords.train(LINES * 3, 320, MARKS).to_dict() == subwords.to_dict()


def test_frequent_words_are_one_token_and_any_place_is_the_same(subwords):
    assert len(subwords) == 320
    assert subwords.split("dog Tom") == ["Ġdog", "ĠTom"]
    assert len(subwords.split("我们")) < len("我们".encode())
    assert subwords.split("Tom") != subwords.split("tom")


def test_marks_in_a_text_are_text(subwords):
    assert "<eos>" not in subwords.split("<eos> <pad>")
    assert cut("<eos>", subwords).count("<eos>") == 1
    assert subwords.join(["Ġdog", "<bos>", "<pad>", "Ġ", "dog", "<eos>"]) == "dog dog"


def test_bytes_that_are_no_character_are_replaced(subwords):
    assert subwords.join(["Ġ", "Ã"]) == "�"
    assert labels(["Ġdog", "Ã", "<eos>"], subwords) == ["▁dog", "�", "<eos>"]


def test_sentences(subwords):
    assert unknown("Ein Wort, das niemand kennt: 犬", subwords) == []
    assert join(cut("Où est-ce ?", subwords)[:-1], subwords) == "Où est-ce ?"
    with pytest.raises(ValueError, match="must have at least one word"):
        cut(" ", subwords)


def test_what_is_no_token_is_an_error(subwords):
    with pytest.raises(ValueError, match="have no <unk>"):
        subwords["nonsense"]
    with pytest.raises(ValueError, match="have no <unk>"):
        subwords[["Ġdog", "nonsense"]]


def test_a_size_without_room_is_an_error():
    with pytest.raises(ValueError, match="size: got 258, must be at least 259"):
        Subwords.train(LINES, 258, MARKS)
    assert len(Subwords.train(LINES, 259, MARKS)) == 259
    with pytest.raises(ValueError, match="vocab_size: got 258, must be at least 259"):
        read_settings(vocab_size=258)


WRONG = {
    "must be marks and merges": {"marks": []},
    "merges: must be a list of strings": {"marks": [], "merges": "a b"},
    "marks: must be a list of strings": {"marks": [1], "merges": []},
    "merges: got 'ab c' at 0, must be two tokens before it": {"marks": [], "merges": ["ab c"]},
    "merges: got 'a' at 0": {"marks": [], "merges": ["a"]},
    "merges: got 'ab c' at 0, must": {"marks": [], "merges": ["ab c", "a b"]},
    "marks: got .'<a>', '<a>'.": {"marks": ["<a>", "<a>"], "merges": []},
    "marks: got .'ab'.": {"marks": ["ab"], "merges": ["a b"]},
}


@pytest.mark.parametrize("message", WRONG)
def test_content_that_cannot_be_is_an_error(message):
    with pytest.raises(ValueError, match=message):
        Subwords.from_dict(WRONG[message])


def test_two_merges_to_one_token():
    subwords = Subwords(MARKS, ["a b", "b c", "ab c", "a bc"])
    assert len(subwords) == 3 + 256 + 3
    assert subwords.join(subwords.split("abcabc")) == "abcabc"


# Runs

SMALL = {
    "tokens": "subwords",
    "vocab_size": 300,
    "embed_size": 16,
    "num_hiddens": 24,
    "num_layers": 1,
    "dropout": 0.0,
    "batch_size": 32,
    "buckets": "40",
    "val_fraction": 0.2,
    "test_fraction": 0.2,
    "lr": 0.02,
    "dtype": "float64",
}


def train(folder, data, *arguments):
    given = [part for k, v in SMALL.items() for part in ("--" + k.replace("_", "-"), v)]
    return invoke("train", "--out", folder, "--data", data, *given, *arguments)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "pairs.tsv"
    path.write_text("\n".join("\t".join(p) for p in PAIRS * 8), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("run") / "chinese"
    result = train(folder, data, "--epochs", 30)
    assert " subwords; bahdanau with " in result.stdout
    return folder


def test_chinese_is_learnt_put_together_and_the_same_in_every_framework(any_backend, trained, data):
    saved = checkpoint.load(trained / run.LAST)
    task = TranslationTask(read_settings(**saved.info["settings"]), saved.subwords)
    known = BucketedData.without_pairs(saved.src_vocab, saved.tgt_vocab, (40,))
    right = dict(PAIRS)
    sources = [source for source, _ in dict.fromkeys(task.train.pairs)]
    found = translate(saved.build(any_backend), known, sources)
    assert len(found) > 1 and found == [right[source] for source in sources]


def test_commands(trained, tmp_path):
    best = trained / run.LAST
    shown = json.loads(invoke("translate", best, "We are at home: Ærø!", "--json").stdout)
    assert shown["unknown"] == [] and not shown["cut"] and "Ġ" not in shown["tokens"]
    assert shown["text"] == "".join(shown["tokens"]).replace("▁", " ").strip() or "�" in str(shown)
    evaluated = json.loads(invoke("evaluate", best, "--part", "train", "--json").stdout)
    assert (evaluated["bleu"], evaluated["with_unk"]) == (pytest.approx(100), 0)
    assert "tok:zh" in evaluated["signature"]
    assert "tgt_vocab: 2" in invoke("inspect", best).stdout
    drawn = invoke("plot", best, "We are at home.", "--output", tmp_path / "a.png")
    missing = fonts.families(json.dumps(PAIRS, ensure_ascii=False))[1]
    assert ("no font here has" in drawn.stderr) == bool(missing)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size[0] > 200
    invoke("plot", best, "We are at home.", "--output", tmp_path / "a.html")
    assert "▁home" in (tmp_path / "a.html").read_text()


def test_the_best_translations(trained, tmp_path):
    best, lines = trained / run.LAST, tmp_path / "lines.txt"
    lines.write_text("We are at home.\n\nTom sees the dog.\n")
    given = ("translate", best, "--input", lines, "--beam", 4)
    plain = invoke(*given).stdout.splitlines()
    shown = [line.split("\t") for line in invoke(*given, "--n-best", 3).stdout.splitlines()]
    assert [row[0] for row in shown] == ["1", "1", "1", "", "3", "3", "3"]
    assert [shown[0][2], "", shown[4][2]] == plain
    assert float(shown[0][1]) > float(shown[1][1]) > float(shown[2][1])
    objects = [
        json.loads(line) for line in invoke(*given, "--n-best", 3, "--json").stdout.split("\n")[:3]
    ]
    assert [f"{a['score']:.4f}" for a in objects[2]["n_best"]] == [row[1] for row in shown[4:]]
    assert "n_best" not in objects[1]
    result = invoke(*given, "--n-best", 5, status=2)
    assert "--n-best 5 goes with --beam 5 or more" in result.stderr


def test_a_stopped_run_goes_on_with_the_subwords_of_its_checkpoint(trained, data, tmp_path):
    folder = tmp_path / "first"
    train(folder, data, "--epochs", 15)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Subwords, "train", None)  # they are not trained again
        invoke("train", "--resume", folder, "--epochs", 30)
    whole, resumed = (checkpoint.load(f / run.LAST) for f in (trained, folder))
    assert all(np.array_equal(whole.parameters[k], x) for k, x in resumed.parameters.items())
    assert whole.tgt_vocab.to_dict() == resumed.tgt_vocab.to_dict()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["seq2seq", "luong", "transformer"])
def test_every_model_in_every_framework(backend, model, data, tmp_path):
    """A run of each framework, whose checkpoint the reference translates with the same tokens."""
    sizes = () if model != "transformer" else ("--num-heads", 2, "--ffn-num-hiddens", 32)
    train_options = {k: v for k, v in SMALL.items() if model != "transformer" or k != "embed_size"}
    given = [part for k, v in train_options.items() for part in ("--" + k.replace("_", "-"), v)]
    invoke(
        *("train", "--out", tmp_path / "run", "--data", data, "--backend", backend.name),
        *("--model", model, "--epochs", 3, *given, *sizes),
    )
    saved = checkpoint.load(tmp_path / "run" / run.LAST)
    known = BucketedData.without_pairs(saved.src_vocab, saved.tgt_vocab, (40,))
    ids = [
        [t.ids for t in translations(saved.build(be), known, [source for source, _ in PAIRS])]
        for be in (backend, d2l_ext.backend("reference"))
    ]
    assert ids[0] == ids[1]


def test_without_the_library(trained, data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    for arguments in (
        ("translate", trained / run.BEST, "We are."),
        ("train", "--data", data, "--tokens", "subwords", "--out", tmp_path / "run"),
    ):
        result = invoke(*arguments, status=2)
        assert "pip install 'd2l-ext[subwords]'" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--tokens subwords --min-freq 2", "--min-freq goes with --tokens words"),
        ("--vocab-size 500", "--vocab-size goes with --tokens subwords"),
        ("--tokens letters", "tokens: got 'letters', must be one of 'words', 'subwords'"),
        ("--tokens subwords --model vit", "--tokens goes with --model"),
    ],
)
def test_options_that_contradict(tmp_path, arguments, message):
    result = invoke("train", "--out", tmp_path / "run", *arguments.split(), status=2)
    assert message in result.stderr


def test_a_run_whose_first_checkpoint_has_other_subwords_is_not_mixed(trained, tmp_path):
    """Vocabulary and parameters come from one file, so that ids keep their meaning."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    config = folder / run.CONFIG
    config.write_text(config.read_text().replace('tokens = "subwords"', 'tokens = "words"'))
    result = invoke("train", "--resume", folder, "--epochs", 31, status=2)
    assert "Error: " in result.stderr and "parameters" in result.stderr
