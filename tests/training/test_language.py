"""Texts for language models: tokens, windows, batches."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2l_ext.data import LanguageData, join_tokens, load_text, sources, split_text

TEXT = "".join(np.random.default_rng(0).choice(list("abcdefgh"), 400))


def test_characters_are_put_together_again_and_words_too_but_for_spaces():
    text = "He said: I'm here!\nSo am I."
    assert join_tokens(split_text(text)) == text
    words = split_text(text, "word")
    assert words == ["He", "said", ":", "I", "'", "m", "here", "!", "\n", "So", "am", "I", "."]
    assert join_tokens(words, "word") == "He said: I' m here!\nSo am I."


@given(st.integers(1, 20), st.integers(1, 9), st.integers(0, 50))
def test_each_epoch_predicts_almost_every_token_once(num_steps, batch_size, epoch):
    data = LanguageData(TEXT, num_steps, batch_size)
    batches = list(data.batches(0, epoch))
    assert len(batches) == data.num_batches
    X, Y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert X.shape == Y.shape == (data.num_windows, num_steps)
    assert (X[:, 1:] == Y[:, :-1]).all()
    text = "".join(data.vocab.to_tokens(list(data.train_tokens)))
    windows = sorted(text.index(data.decode([*x, y[-1]])) for x, y in zip(X, Y, strict=True))
    assert data.num_windows * num_steps > len(data.train_tokens) - 2 * num_steps
    if num_steps > 12:  # shorter windows occur several times
        assert (np.diff(windows) == num_steps).all()


def test_validation_windows_are_the_rest_of_the_text_in_order():
    data = LanguageData(TEXT, 8, 3, val_fraction=0.25)
    X = np.concatenate([x for x, _ in data.batches(0, 0, train=False)])
    assert data.decode(X.ravel()) == TEXT[300:][: X.size]
    assert data.decode(data.encode("abc")) == "abc"


def test_epochs_differ_and_repeat():
    data = LanguageData(TEXT, 8, 100)
    (first, _), (again, _), (other, _) = (next(data.batches(1, epoch)) for epoch in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0}, "num_steps: got 0"),
        ({"num_steps": 100}, "text: got 400 tokens, too few"),
        ({"level": "syllable"}, "level: got 'syllable'"),
        ({"val_fraction": 1.0}, "val_fraction: got 1.0"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LanguageData(TEXT, **options)


def test_the_bundled_text_has_each_sentence_once():
    lines = load_text().splitlines()
    assert len(lines) == len(set(lines)) > 1000
    assert "I see." in lines[100:]


def test_the_time_machine_is_prepared_as_in_d2l(tmp_path, monkeypatch):
    remote = tmp_path / "remote.txt"
    remote.write_text("The Time Machine, by H. G. Wells [1898]\n", encoding="utf-8")
    monkeypatch.setattr(sources, "TIME_MACHINE_URL", remote.as_uri())
    with pytest.raises(ConnectionError, match=f"SHA-1 {sources.TIME_MACHINE_SHA1}"):
        load_text("time-machine", tmp_path / "cache")
    digest = hashlib.sha1(remote.read_bytes()).hexdigest()
    monkeypatch.setattr(sources, "TIME_MACHINE_SHA1", digest)
    assert load_text("time-machine", tmp_path / "cache") == "the time machine by h g wells "
    remote.unlink()  # it has been kept
    assert load_text("time-machine", tmp_path / "cache").startswith("the time")


def test_a_file_of_the_users(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xef\xbb\xbfHello.")
    assert load_text(path) == "Hello."
    path.write_bytes(b"ab\xff")
    with pytest.raises(ValueError, match="byte 3 that is not UTF-8"):
        load_text(path)
    with pytest.raises(FileNotFoundError, match="'time-machine'"):
        load_text(tmp_path / "none")
