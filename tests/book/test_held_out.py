"""What the book's translators are tested on is not what they were trained on."""

import pytest

from d2l_ext.data import preprocess, tokenize
from d2l_ext.data.sources import TRANSLATORS
from d2l_ext.training import checkpoint
from tools.book import seeds, translators


def test_a_new_source_of_chapters_3_and_4_has_no_translation_among_the_others():
    data, references = seeds.sentences()
    trained_on = {tuple(row) for row in data.src[: data.num_train].tolist()}
    for source in references:
        (row,) = data.build([source], ["."])[0].tolist()
        if "<unk>" not in data.src_vocab.to_tokens(row):  # which may stand for another word
            assert tuple(row) not in trained_on, source
    assert 50 < len(references) <= seeds.NUM_NEW


def test_the_table_of_seeds_has_a_row_for_each_model():
    found = {"one": {"bleu": [0.25, 0.5], "exact": [1, 2]}, "two": {"bleu": [0.5], "exact": [0]}}
    assert seeds.table(found).splitlines()[2:] == [
        "| one | 0.375 | 0.250, 0.500 | 1, 2 |",
        "| two | 0.500 | 0.500 | 0 |",
    ]
    assert seeds.kept().keys() == seeds.MODELS.keys()


@pytest.mark.parametrize("name", translators.RATES)
def test_a_translator_knows_what_it_must_be_tested_on(name):
    saved = checkpoint.load(TRANSLATORS / f"{name}.safetensors")
    sources = {source for source, _ in saved.info["held_out"]}
    assert len(sources) == translators.NUM_HELD_OUT
    assert all(translators.is_short(source) for source in sources)
    longest = max(len(tokenize(preprocess(t))) for pair in saved.info["held_out"] for t in pair)
    assert longest <= translators.NUM_STEPS


def test_the_two_translators_had_the_same_chances():
    """The same sentences and as many parameters, within a tenth."""
    one, other = (checkpoint.load(TRANSLATORS / f"{n}.safetensors") for n in translators.RATES)
    assert one.info["held_out"] == other.info["held_out"]
    assert one.info["num_pairs"] == other.info["num_pairs"]
    sizes = [sum(p.size for p in saved.parameters.values()) for saved in (one, other)]
    assert max(sizes) < 1.1 * min(sizes)


@pytest.mark.slow
def test_no_sentence_that_is_kept_back_is_trained_on():
    saved = checkpoint.load(TRANSLATORS / "bahdanau.safetensors")
    pairs = [(s, t) for s, ts in translators.held_out().items() for t in ts]
    assert [tuple(pair) for pair in saved.info["held_out"]] == pairs
    trained_on = translators.training_pairs()
    assert saved.info["num_pairs"] <= len(trained_on)
    kept_back = {preprocess(source) for source, _ in pairs}
    assert not kept_back & {preprocess(source) for source, _ in trained_on}
