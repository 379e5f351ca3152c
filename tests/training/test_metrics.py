"""BLEU of one sentence: D2L's value, and what it must be where one can tell without it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2l_ext.training.evaluation import tokenizer
from d2l_ext.training.metrics import bleu

pytest_plugins = ["d2l_peer"]

sentences = st.lists(st.sampled_from(["je", "le", "vois", "."]), min_size=1, max_size=9).map(
    " ".join
)


@given(sentences, sentences, st.integers(1, 5))
def test_bleu_is_d2ls(d2l_torch, pred, label, k):
    assert bleu(pred, label, k) == d2l_torch.bleu(pred, label, k)


@given(sentences, st.integers(1, 5))
def test_a_perfect_prediction_scores_one(sentence, k):
    assert bleu(sentence, sentence, k) == 1.0


def test_by_hand():
    # 4 of 5 words and 3 of 4 pairs match; the prediction is one word short.
    assert bleu("a b c d x", "a b c d e f", 2) == pytest.approx(
        2.718281828459045 ** (1 - 6 / 5) * (4 / 5) ** 0.5 * (3 / 4) ** 0.25
    )


@pytest.mark.parametrize("label", ["", "a b"])
def test_an_empty_prediction_scores_nothing(label):
    assert bleu("", label, 2) == 0.0


def test_a_repeated_word_counts_as_often_as_the_reference_has_it():
    assert bleu("a a a a", "a b c d", 1) == pytest.approx((1 / 4) ** 0.5)


def test_k_is_checked():
    with pytest.raises(ValueError, match="k: got 0, must be at least 1"):
        bleu("a", "a", 0)


@pytest.mark.parametrize(
    ("references", "name"),
    [
        (["Va !", "我们在家。"], "13a"),
        (["Tom 在家。", "我们在家。", "OK."], "zh"),
        (["Не спи!"], "13a"),
    ],
)
def test_chinese_is_compared_by_characters(references, name):
    assert tokenizer(references) == name
