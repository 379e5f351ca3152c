"""The data package: D2L's meaning, the files it reads, the arrays and batches it makes."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2l_ext.data import (
    TranslationData,
    Vocab,
    bucketed_batches,
    load_pairs,
    preprocess,
    sources,
    split_by_source,
    tokenize,
)

pytest_plugins = ["d2l_peer"]

FRA_TXT = Path(__file__).parents[3] / "shared" / "data" / "fra-eng" / "fra.txt"

words = st.text(alphabet="abcéà'!?.,- \u202f\xa0", min_size=1).filter(
    lambda text: text.replace("\u202f", " ").replace("\xa0", " ").strip()
)
pair_lists = st.lists(st.tuples(words, words), min_size=2, max_size=12)


def d2l_data(d2l_torch, pairs, **sizes):
    """D2L's data set made from `pairs` instead of its download."""
    text = "\n".join("\t".join(pair) for pair in pairs)
    cls = type("Data", (d2l_torch.MTFraEng,), {"_download": lambda self: text})
    return cls(batch_size=4, **sizes)


def test_the_package_imports_no_framework():
    code = (
        "import sys, d2l_ext.data\n"
        "print(sorted({'torch', 'mxnet', 'jax', 'flax', 'tensorflow', 'keras'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


# Text


def test_preprocess_of_d2ls_example():
    assert preprocess("Go.\tVa\u202f! Oui,\xa0non?") == "go .\tva ! oui , non ?"


@given(st.text(alphabet="abÀÉ'!?.,- \t\n\u202f\xa0\u2028"))
def test_preprocess_is_d2ls(d2l_torch, text):
    assert preprocess(text) == d2l_torch.MTFraEng._preprocess(None, text)


@given(words)
def test_tokenize_is_d2ls(d2l_torch, text):
    sentence = preprocess(text)
    [expected], _ = d2l_torch.MTFraEng._tokenize(None, f"{sentence}\tx")
    assert tokenize(sentence) == expected


@pytest.mark.parametrize("sentence", ["", "  ", "a\tb", "a\nb"])
def test_what_is_no_sentence_is_refused(sentence):
    with pytest.raises(ValueError, match="sentence: got"):
        tokenize(sentence)


# Vocabulary


token_lists = st.lists(st.sampled_from(["a", "b", "É", "<eos>", "<unk>", "."]))


@given(st.one_of(token_lists, st.lists(token_lists)), st.integers(0, 3), token_lists)
def test_vocab_is_d2ls(d2l_torch, tokens, min_freq, reserved):
    ours = Vocab(tokens, min_freq, reserved)
    theirs = d2l_torch.Vocab(tokens, min_freq, reserved)
    assert ours.idx_to_token == theirs.idx_to_token
    assert ours.token_to_idx == theirs.token_to_idx
    assert ours.token_freqs == theirs.token_freqs
    assert ours.unk == theirs.unk


@given(token_lists)
def test_vocab_goes_there_and_back(tokens):
    vocab = Vocab(tokens)
    assert vocab.to_tokens(vocab[tokens]) == tokens
    assert vocab.to_tokens(np.array(vocab[tokens], dtype=np.int64)) == tokens
    assert list(vocab) == [vocab.to_tokens(index) for index in range(len(vocab))]


def test_vocab_unknown_and_nested_tokens():
    vocab = Vocab([["b", "a"], ["a"]], min_freq=2)
    assert vocab[[["a", "b"], []]] == [[vocab["a"], vocab.unk], []]
    assert "b" not in vocab
    assert "a" in vocab


@pytest.mark.parametrize("index", [-1, 3])
def test_vocab_refuses_an_index_outside(index):
    with pytest.raises(IndexError, match=f"indices: got {index}, must be from 0 to 2"):
        Vocab(["a", "b"]).to_tokens([0, index])


@given(st.permutations(["a", "b", "<unk>", "é"]))
def test_vocab_list_round_trip(tokens):
    vocab = Vocab.from_tokens_list(tokens)
    assert vocab.to_list() == tokens
    assert vocab[tokens] == [0, 1, 2, 3]
    assert vocab["never seen"] == tokens.index("<unk>")


@pytest.mark.parametrize(
    ("tokens", "message"),
    [(["<unk>", "a", "a"], "got 'a' more than once"), (["a"], "'<unk>'"), (["<unk>", 3], "3")],
)
def test_vocab_list_is_checked(tokens, message):
    with pytest.raises(ValueError, match=message):
        Vocab.from_tokens_list(tokens)


# Sources


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("licence", ["", "\tCC-BY 2.0"])
def test_a_file_of_pairs(tmp_path, end, mark, licence):
    path = tmp_path / "fra.txt"
    lines = [f"Go.\tVa\u202f!{licence}", "", f"A\u2028b\tC{licence}"]
    path.write_bytes((mark + end.join(lines) + end).encode())
    expected = [("Go.", "Va\u202f!"), ("A\u2028b", "C")]
    assert load_pairs(path) == expected
    assert load_pairs(str(path)) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"one column", "number of columns: got 1, must be 2 or 3"),
        (b"a\tb\tc\td", "number of columns: got 4, must be 2 or 3"),
        (b"a\t ", "got an empty second column"),
        (b"\tb", "got an empty first column"),
        ("a\tété".encode("latin-1"), "got byte 3 that is not UTF-8"),
        (b"a\tb\0c", r"got the control character U\+0000 as character 4, must be text"),
        (b"a\tb\rc\td", r"control character U\+000D"),  # line ends of old
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, message):
    path = tmp_path / "pairs.tsv"
    path.write_bytes(b"a\tb\n\n" + line + b"\n")
    with pytest.raises(ValueError, match=f"pairs.tsv, line 3: .*{message}"):
        load_pairs(path)


def test_utf16_is_refused(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("a\tb\n", encoding="utf-16")
    with pytest.raises(ValueError, match=r"line 1: got byte .* that is not UTF-8"):
        load_pairs(path)


def test_a_file_with_no_pair_and_no_file(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("\n \n")
    with pytest.raises(ValueError, match="got no sentence pair, must have at least one"):
        load_pairs(path)
    with pytest.raises(FileNotFoundError, match=r"source: got .*nowhere\.txt, which is no file"):
        load_pairs(tmp_path / "nowhere.txt")
    with pytest.raises(TypeError, match=r"source: got .*, must be 'bundled'"):
        load_pairs(3)


@pytest.fixture
def fra_eng(tmp_path, monkeypatch):
    """A small fra-eng.zip where D2L's would be; returns its path."""
    remote = tmp_path / "remote" / "fra-eng.zip"
    remote.parent.mkdir()
    with zipfile.ZipFile(remote, "w") as archive:
        archive.writestr("fra-eng/fra.txt", "Go.\tVa\u202f!\nHi.\tSalut.\n")
    monkeypatch.setattr(sources, "FRA_ENG_URL", remote.as_uri())
    monkeypatch.setattr(sources, "FRA_ENG_SHA1", hashlib.sha1(remote.read_bytes()).hexdigest())
    return remote


def test_fra_eng_is_downloaded_once_and_kept(tmp_path, fra_eng):
    cache = tmp_path / "deep" / "cache"
    pairs = [("Go.", "Va\u202f!"), ("Hi.", "Salut.")]
    assert load_pairs("fra-eng", cache) == pairs
    fra_eng.unlink()
    assert load_pairs("fra-eng", cache) == pairs
    assert [path.name for path in cache.iterdir()] == ["fra-eng.zip"]


def test_fra_eng_uses_the_users_cache_folder(tmp_path, fra_eng, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    load_pairs("fra-eng")
    assert (tmp_path / "cache" / "d2l_ext" / "fra-eng.zip").is_file()


def test_a_spoilt_copy_of_fra_eng_is_replaced(tmp_path, fra_eng):
    (tmp_path / "fra-eng.zip").write_bytes(fra_eng.read_bytes()[:50])
    assert len(load_pairs("fra-eng", tmp_path)) == 2
    assert (tmp_path / "fra-eng.zip").read_bytes() == fra_eng.read_bytes()


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_failed_download_says_what_to_do(tmp_path, fra_eng, damage):
    if damage == "gone":
        fra_eng.unlink()
    else:
        fra_eng.write_bytes(b"something else")
    with pytest.raises(ConnectionError, match=r"fra\.txt .* give its path as the source"):
        load_pairs("fra-eng", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_the_hash_is_d2ls(d2l_torch):
    source = Path(d2l_torch.__file__).read_text(encoding="utf-8")
    assert sources.FRA_ENG_SHA1 in source
    assert sources.FRA_ENG_URL.removeprefix("https") == (
        d2l_torch.DATA_URL.removeprefix("http") + "fra-eng.zip"
    )


# Arrays


@given(pair_lists, st.integers(3, 6))
def test_arrays_are_d2ls(d2l_torch, pairs, num_steps):
    # Each pair twice and two that are padded, so that no special token is too rare for D2L's
    # vocabulary; D2L takes one pair more than it is asked for.
    pairs = [("a", "b")] * 2 + [pair for pair in pairs for _ in range(2)]
    num_train = len(pairs) // 2
    num_val = len(pairs) - num_train
    ours = TranslationData(pairs, num_steps, num_train, num_val)
    sizes = {"num_steps": num_steps, "num_train": num_train, "num_val": num_val - 1}
    assert_same_data(ours, d2l_data(d2l_torch, pairs, **sizes))


def assert_same_data(ours, theirs):
    assert ours.src_vocab.idx_to_token == theirs.src_vocab.idx_to_token
    assert ours.tgt_vocab.idx_to_token == theirs.tgt_vocab.idx_to_token
    assert_same_arrays(ours.arrays, theirs.arrays)


def assert_same_arrays(ours, theirs):
    for our_array, their_array in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(our_array, their_array.numpy())


@pytest.mark.skipif(not FRA_TXT.is_file(), reason="no fra.txt beside the checkout")
def test_fra_eng_in_d2ls_setting(d2l_torch):
    pairs = load_pairs(FRA_TXT)
    assert len(pairs) == 162_787
    ours = TranslationData(pairs)
    theirs = d2l_data(d2l_torch, pairs, num_val=127)
    assert_same_data(ours, theirs)
    assert ours.src.shape == (640, 9)
    assert d2l_data(d2l_torch, pairs).arrays[0].shape == (641, 9)
    sentences = (["Go .", "I lost ."], ["Va !", "J'ai perdu ."])
    assert_same_arrays(ours.build(*sentences), theirs.build(*sentences))


@pytest.fixture
def small():
    pairs = [("I see it.", "Je le vois."), ("I am.", "Je suis."), ("Go!", "Va\u202f!")] * 4
    return TranslationData(pairs, num_steps=4, num_train=7, num_val=5, batch_size=3)


def test_the_arrays_of_a_pair(small):
    assert all(array.dtype == np.int64 for array in small.arrays)
    tokens = small.tgt_vocab.to_tokens
    assert small.src_vocab.to_tokens(small.src[1]) == ["i", "am", ".", "<eos>"]
    assert tokens(small.tgt_in[2]) == ["<bos>", "va", "!", "<eos>"]
    assert tokens(small.tgt_out[2]) == ["va", "!", "<eos>", "<pad>"]
    assert small.src_valid_len[:3].tolist() == [4, 4, 3]
    assert tokens([small.pad, small.bos, small.eos]) == ["<pad>", "<bos>", "<eos>"]
    assert (small.train_size, small.num_val) == (7, 5)


def test_a_longer_sentence_is_cut_and_an_unknown_word_is_unk(small):
    src, tgt_in, valid_len, tgt_out = small.build(["I see a whale now."], ["Je le vois."])
    assert small.src_vocab.to_tokens(src[0]) == ["i", "see", "<unk>", "<unk>"]
    assert valid_len.tolist() == [4]
    assert small.tgt_vocab.to_tokens(tgt_in[0]) == ["<bos>", "je", "le", "vois"]
    assert small.tgt_vocab.to_tokens(tgt_out[0]) == ["je", "le", "vois", "."]


@given(st.integers(0, 2**40), st.integers(0, 99))
def test_batches_are_a_permutation_from_seed_and_epoch(seed, epoch):
    data = TranslationData([(f"s{i}", f"t{i}") for i in range(11)], 3, 8, 3, 3, min_freq=1)
    batches = list(data.batches(seed, epoch))
    assert [len(batch[0]) for batch in batches] == [3, 3, 2]
    again = list(data.batches(seed, epoch))
    for batch, same in zip(batches, again, strict=True):
        for array, same_array in zip(batch, same, strict=True):
            np.testing.assert_array_equal(array, same_array)
    joined = [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]
    order = np.argsort(joined[0][:, 0])
    expected = np.argsort(data.src[:8, 0])
    for array, whole in zip(joined, data.arrays, strict=True):
        np.testing.assert_array_equal(array[order], whole[:8][expected])


def test_seed_and_epoch_both_change_the_order():
    data = TranslationData([(f"s{i}", "t") for i in range(30)], 3, 30, 0, 30, min_freq=1)
    orders = {
        tuple(next(data.batches(seed, epoch))[0][:, 0]) for seed in range(4) for epoch in range(4)
    }
    assert len(orders) == 16


def test_validation_batches_keep_the_order(small):
    batches = list(small.batches(0, 0, train=False))
    assert [len(batch[0]) for batch in batches] == [3, 2]
    np.testing.assert_array_equal(np.concatenate([b[3] for b in batches]), small.tgt_out[7:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_steps": 0}, "num_steps: got 0, must be at least 1"),
        ({"num_train": 0}, "num_train: got 0, must be at least 1"),
        ({"num_val": -1}, "num_val: got -1, must be at least 0"),
        ({"batch_size": 0}, "batch_size: got 0, must be at least 1"),
        ({"num_train": 3}, r"pairs: got 3, must be at least num_train \+ num_val = 4"),
    ],
)
def test_sizes_are_checked(arguments, message):
    sizes = {"num_train": 2, "num_val": 1, **arguments}
    with pytest.raises(ValueError, match=message):
        TranslationData([("a", "b")] * 3, **sizes)


@pytest.mark.parametrize(
    ("src", "tgt", "message"),
    [
        (["a", " "], ["b", "c"], "sentence: got .*, must have at least one word"),
        (["a"], ["b", "c"], "tgt_sentences: got 2, must be as many as src_sentences, 1"),
        ([], [], r"src_sentences: got \[\], must be a list of at least one sentence"),
        (["a"], "b", "tgt_sentences: got 'b', must be a list of at least one sentence"),
    ],
)
def test_new_sentences_are_checked(small, src, tgt, message):
    with pytest.raises(ValueError, match=message):
        small.build(src, tgt)


# Splits and buckets


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.text(max_size=2)), max_size=30),
    st.integers(0, 2**32),
)
def test_a_split_shares_no_source_and_loses_no_pair(pairs, seed):
    parts = split_by_source(pairs, (0.5, 0.25, 0.25), seed)
    assert parts == split_by_source(pairs, (0.5, 0.25, 0.25), seed)
    assert sorted(pair for part in parts for pair in part) == sorted(pairs)
    sources_of = [{source for source, _ in part} for part in parts]
    assert sum(map(len, sources_of)) == len(set.union(*sources_of))
    number = len({source for source, _ in pairs})
    assert abs(len(sources_of[0]) - number / 2) <= 0.5
    for part, sources_in_part in zip(parts, sources_of, strict=True):
        assert part == [pair for pair in pairs if pair[0] in sources_in_part]


def test_a_split_knows_sources_that_differ_in_case_only():
    parts = split_by_source([("Go!", "Va"), ("go !", "Allez"), ("Hi", "Salut")], (0.5, 0.5), 1)
    assert sorted(map(len, parts)) == [1, 2]


@pytest.mark.parametrize("fractions", [(0.5, 0.4), (1.5, -0.5), ()])
def test_fractions_are_checked(fractions):
    with pytest.raises(ValueError, match=r"fractions: got .*, must be at least 0 and sum to 1"):
        split_by_source([("a", "b")], fractions, 0)


ids = st.lists(st.integers(5, 9), min_size=1, max_size=12)


@given(st.lists(st.tuples(ids, ids), max_size=25), st.integers(1, 5), st.integers(0, 99))
def test_buckets_give_each_example_once(examples, batch_size, seed):
    seen = []
    shapes = set()
    batches = bucketed_batches(
        examples, batch_size, seed, 0, [12, 3, 6], src_pad=0, tgt_pad=1, bos=2
    )
    for src, tgt_in, src_valid_len, tgt_out in batches:
        shapes.add(src.shape)
        assert src.shape == tgt_in.shape == tgt_out.shape
        assert len(src) <= batch_size
        np.testing.assert_array_equal(tgt_in[:, 0], 2)
        np.testing.assert_array_equal(tgt_in[:, 1:], tgt_out[:, :-1])
        for source, target, length in zip(src, tgt_out, src_valid_len, strict=True):
            assert (source[length:] == 0).all()
            seen.append((source[:length].tolist(), target[target != 1].tolist()))
            longest = max(length, (target != 1).sum())
            assert src.shape[1] == min(size for size in (3, 6, 12) if size >= longest)
    assert sorted(seen) == sorted((list(s), list(t)) for s, t in examples)
    assert len(shapes) <= 2 * 3


def test_buckets_are_checked():
    arguments = {"src_pad": 0, "tgt_pad": 0, "bos": 1}
    with pytest.raises(ValueError, match=r"buckets: got .*, must reach .* example 1 has 4 tokens"):
        list(bucketed_batches([([5], [5]), ([5], [5] * 4)], 2, 0, 0, [3, 2], **arguments))
    with pytest.raises(ValueError, match="got no token on a side of example 0"):
        list(bucketed_batches([([], [5])], 2, 0, 0, [3], **arguments))


def test_buckets_depend_on_seed_and_epoch():
    examples = [([i], [i]) for i in range(5, 35)]

    def order(seed, epoch):
        batches = bucketed_batches(examples, 4, seed, epoch, [2], src_pad=0, tgt_pad=0, bos=1)
        return tuple(np.concatenate([src[:, 0] for src, *_ in batches]))

    assert order(0, 0) == order(0, 0)
    assert len({order(seed, epoch) for seed in range(3) for epoch in range(3)}) == 9
