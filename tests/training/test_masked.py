"""Lines with hidden words: what is hidden, how often, and that the rest is the text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2l_ext.data import MaskedData, Vocab, split_text
from d2l_ext.data.masked import CLS, MASK, MASKED, PAD, RANDOM, RATE, SEP
from d2l_ext.training.settings import read_settings
from d2l_ext.training.tasks import task

WORDS = st.text("abc", min_size=1, max_size=2)
LINES = st.lists(st.lists(WORDS, min_size=1, max_size=24), min_size=2, max_size=12)
NUM_WORDS, NUM_LINES = 20, 5000  # of the large text, of which each line has three predictions


def restored(data, *epoch, train=True):
    """Return the tokens (lines, num_steps) of an epoch with all labels put back, and the rest."""
    parts = zip(*data.batches(*epoch, train=train), strict=True)
    hidden, segments, lens, positions, labels = map(np.concatenate, parts)
    tokens, real = hidden.copy(), labels != data.pad
    rows, _ = np.nonzero(real)
    tokens[rows, positions[real]] = labels[real]
    return tokens, (hidden, segments, lens, positions, labels)


def masks_by_line(data, *epoch):
    """Map each line of an epoch, which must be distinct, to what the model sees of it."""
    tokens, (hidden, *_) = restored(data, *epoch)
    found = {row.tobytes(): seen.tobytes() for row, seen in zip(tokens, hidden, strict=True)}
    assert len(found) == len(tokens)
    return found


def lines_of(data, tokens, lens):
    """Decode examples, and check that the marks are where they belong."""
    for row, length in zip(tokens, lens, strict=True):
        words = data.vocab.to_tokens(row)
        assert (words[0], words[length - 1]) == (CLS, SEP)
        assert words[length:] == [PAD] * (data.num_steps - length)
        yield tuple(words[1 : length - 1])


@pytest.fixture(scope="module")
def large():
    """Many lines of the same length, and an epoch of them."""
    words = [f"w{i}" for i in range(NUM_WORDS)]
    drawn = np.random.default_rng(0).choice(words, (NUM_LINES, NUM_WORDS))
    data = MaskedData("\n".join(map(" ".join, drawn)), NUM_WORDS + 2, 100)
    return data, *restored(data, 0, 0)


# Properties


@given(LINES, st.integers(3, 26), st.integers(1, 7), st.integers(0, 9), st.integers(0, 9))
def test_labels_put_back_give_the_text(lines, num_steps, batch_size, seed, epoch):
    data = MaskedData("\n\n".join(map(" ".join, lines)), num_steps, batch_size)
    known = set(data.vocab)
    cut = [tuple(w if w in known else "<unk>" for w in line[: num_steps - 2]) for line in lines]
    num_train = len(data.train_lines)
    tokens, (_, segments, lens, *_) = restored(data, seed, epoch)
    assert sorted(lines_of(data, tokens, lens)) == sorted(cut[:num_train])
    assert segments.shape == tokens.shape and not segments.any()
    tokens, (*_, lens, _, _) = restored(data, seed, epoch, train=False)
    assert list(lines_of(data, tokens, lens)) == cut[num_train:]  # in their order
    assert data.num_cut == sum(len(line) > num_steps - 2 for line in lines)


@given(LINES, st.integers(3, 26), st.integers(1, 7), st.booleans())
def test_words_alone_are_predicted(lines, num_steps, batch_size, train):
    data = MaskedData("\n".join(map(" ".join, lines)), num_steps, batch_size)
    marks = data.vocab[[PAD, CLS, SEP, MASK]]
    _, (_, _, lens, positions, labels) = restored(data, 0, 0, train=train)
    assert positions.shape == labels.shape == (len(lens), data.num_preds)
    for length, places, words in zip(lens, positions, labels, strict=True):
        num = np.count_nonzero(words != data.pad)
        assert num == max(1, round(RATE * (length - 2)))
        assert (np.diff(places[:num]) > 0).all()  # distinct
        assert 1 <= places[0] and places[num - 1] <= length - 2
        assert not np.isin(words[:num], marks).any()
        assert not places[num:].any() and (words[num:] == data.pad).all()


@given(LINES, st.integers(1, 7), st.booleans())
def test_batches_are_full_but_for_the_last(lines, batch_size, train):
    data = MaskedData("\n".join(map(" ".join, lines)), 8, batch_size)
    sizes = [len(batch[0]) for batch in data.batches(0, 0, train)]
    assert sum(sizes) == len(data.train_lines if train else data.val_lines)
    assert all(size == batch_size for size in sizes[:-1]) and 1 <= sizes[-1] <= batch_size
    assert not train or len(sizes) == data.num_batches
    assert all(x.dtype == np.int64 for batch in data.batches(0, 0, train) for x in batch)


# Shares, of 13,500 predictions


def near(found, share, total):
    """Whether a count is within five standard deviations of its share."""
    return abs(found - share * total) < 5 * np.sqrt(total * share * (1 - share))


def test_fifteen_per_cent_are_predicted_everywhere_alike(large):
    data, _, (_, _, lens, positions, labels) = large
    assert np.mean(labels != data.pad) == 1
    assert labels.size == RATE * np.sum(lens - 2)
    assert (np.diff(positions) > 0).all()
    counts = np.bincount(positions.ravel(), minlength=data.num_steps)
    assert counts[0] == counts[-1] == 0
    assert all(near(count, 1 / NUM_WORDS, labels.size) for count in counts[1:-1])


def test_of_these_most_are_hidden_some_exchanged_and_some_stay(large):
    data, _, (hidden, _, _, positions, labels) = large
    seen = np.take_along_axis(hidden, positions, axis=1)
    same = 1 / (NUM_WORDS + 1)  # a word may be exchanged for itself
    assert near(np.sum(seen == data.vocab[MASK]), MASKED, labels.size)
    assert near(np.sum(seen == labels), 1 - MASKED - RANDOM + RANDOM * same, labels.size)
    assert (MASKED, RANDOM, RATE) == (0.8, 0.1, 0.15)  # Devlin et al.'s


def test_any_word_may_come_instead_but_no_mark(large):
    data, _, (hidden, _, _, positions, labels) = large
    seen = np.take_along_axis(hidden, positions, axis=1)
    others = seen[(seen != labels) & (seen != data.vocab[MASK])]
    counts = dict(zip(data.vocab, np.bincount(others, minlength=len(data.vocab)), strict=True))
    assert [counts.pop(mark) for mark in (PAD, CLS, SEP, MASK)] == [0, 0, 0, 0]
    del counts["<unk>"]  # a word as others, but never to be predicted here
    assert all(near(count, 1 / NUM_WORDS, len(others)) for count in counts.values())


def test_the_mask_does_not_come_by_chance():
    """Where it would be one of three that can be drawn."""
    data = MaskedData("\n".join([" ".join("a" * NUM_WORDS)] * NUM_LINES), NUM_WORDS + 2, 100)
    _, (hidden, _, _, positions, _) = restored(data, 0, 0)
    seen = np.take_along_axis(hidden, positions, axis=1)
    assert near(np.sum(seen == data.vocab[MASK]), MASKED, seen.size)


def test_what_is_not_predicted_is_not_touched(large):
    _, tokens, (hidden, _, _, positions, _) = large
    untouched = np.ones(hidden.shape, bool)
    np.put_along_axis(untouched, positions, False, axis=1)
    np.testing.assert_array_equal(hidden[untouched], tokens[untouched])


# Epochs


def test_an_epoch_is_the_same_again_and_no_other_is():
    drawn = np.random.default_rng(1).choice(list("abcdefgh"), (200, NUM_WORDS))
    data = MaskedData("\n".join(map(" ".join, drawn)), NUM_WORDS + 2, 16)
    first, again = (list(data.batches(3, 1)) for _ in range(2))
    for batch, other in zip(first, again, strict=True):
        for x, y in zip(batch, other, strict=True):
            np.testing.assert_array_equal(x, y)
    seen = masks_by_line(data, 3, 1)
    for seed, epoch in ((3, 2), (4, 1)):
        other = masks_by_line(data, seed, epoch)
        assert seen.keys() == other.keys() and list(seen) != list(other)
        same = sum(seen[line] == other[line] for line in seen)
        assert same < 5  # one of a thousand is expected


def test_validation_is_the_same_each_time_and_nothing_of_it_is_trained_on():
    drawn = np.random.default_rng(2).choice(list("abcdefgh"), (100, NUM_WORDS))
    data = MaskedData("\n".join(map(" ".join, drawn)), NUM_WORDS + 2, 16, val_fraction=0.25)
    (held, found), (again, found_again) = (restored(data, 0, 0, train=False) for _ in range(2))
    np.testing.assert_array_equal(found[0], found_again[0])
    np.testing.assert_array_equal(held, again)
    assert len(held) == 25
    trained = {row.tobytes() for epoch in range(3) for row in restored(data, 0, epoch)[0]}
    assert len(trained) == 75
    assert trained.isdisjoint(row.tobytes() for row in held)


# Vocabulary, errors


def test_the_vocabulary_is_of_the_training_lines():
    data = MaskedData("a a b\na c\nd d", 8, val_fraction=0.3, min_freq=2)
    assert set(data.vocab) == {PAD, CLS, SEP, MASK, "<unk>", "a"}
    assert data.vocab.to_tokens(data.val_lines[0]) == ["<unk>", "<unk>"]


def test_a_given_vocabulary_is_used():
    vocab = Vocab(list("zyx"), reserved_tokens=[PAD, CLS, SEP, MASK])
    data = MaskedData("x y\nz a", 8, vocab=vocab)
    assert data.vocab is vocab and data.pad == vocab[PAD]
    assert vocab.to_tokens(data.val_lines[0]) == ["z", "<unk>"]


def test_a_line_is_encoded_as_in_training():
    text = "One, two!\n\n \t\nThree four five six seven eight."
    data = MaskedData(text, 6)
    assert data.vocab.to_tokens(data.encode("One, two!")) == ["One", ",", "two", "!"]
    np.testing.assert_array_equal(data.encode("One, two!"), data.train_lines[0])
    np.testing.assert_array_equal(data.encode(text.splitlines()[-1]), data.val_lines[0])
    assert data.num_cut == 1 and len(data.val_lines[0]) == 4


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a\nb", {"num_steps": 2}, "num_steps - 2: got 0, must be positive"),
        ("a\nb", {"batch_size": 0}, "batch_size: got 0, must be positive"),
        ("a\nb", {"val_fraction": 0}, "val_fraction: got 0, must be between 0 and 1"),
        ("a\nb", {"val_fraction": 1.0}, "val_fraction: got 1.0"),
        ("a\n\n", {}, "text: got 1 lines, must have one for each part"),
        ("", {}, "text: got 0 lines"),
    ],
)
def test_what_does_not_fit_is_refused(text, options, message):
    with pytest.raises(ValueError, match=message):
        MaskedData(text, **options)


# The task


@pytest.fixture
def masked_task(tmp_path):
    """A task on lines of 3 or 21 words in turn, of which 1 or, when they are cut, 3 are hidden."""
    drawn = np.random.default_rng(3).choice(["aa", "bb", "cc"], (40, 21))
    lines = [" ".join(line[: (3, 21)[i % 2]]) for i, line in enumerate(drawn)]
    (tmp_path / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    sizes = {"num_steps": 20, "batch_size": 3, "val_fraction": 0.25}
    return task(read_settings(model="bert", data=str(tmp_path / "text.txt"), **sizes))


class Knowing:
    """Stands for a model and its trainer: right where the position is even, as where none is."""

    def __init__(self, data):
        self.data = data
        self.answers = [batch[-1] for batch in data.batches(0, 0, train=False)]
        self.asked = []

    def __call__(self, tokens, segments, valid_lens, positions):
        labels = self.answers[len(self.asked)]
        self.asked.append((positions, labels))
        wrong = (labels + 1) % len(self.data.vocab)
        return np.eye(len(self.data.vocab))[np.where(positions % 2, wrong, labels)]

    def loss(self, batch):
        return float(batch[-1].max())


def test_accuracy_and_loss_are_means_over_the_predictions(masked_task):
    data = masked_task.train
    model = Knowing(data)
    found = masked_task.evaluate(model, model)
    places, labels = (np.concatenate(x) for x in zip(*model.asked, strict=True))
    real = labels != data.pad
    assert (labels.size, real.sum()) == (30, 20)
    assert found["accuracy"] == np.mean(places[real] % 2 == 0)
    assert 0 < found["accuracy"] < 1
    sums = [model.loss([y]) * np.sum(y != data.pad) for y in model.answers]
    assert found["val_loss"] == pytest.approx(sum(sums) / real.sum(), rel=1e-12)
    assert masked_task.score(found) == -found["val_loss"]


def test_the_task_says_what_it_has(masked_task):
    lines = masked_task.summary()
    assert lines[0].endswith("30 lines for training, 10 for validation (20 cut to 20 tokens)")
    assert lines[1] == "vocabulary of 8 words"
    assert masked_task.show(-np.log(4)) == "perplexity 4.00"


def test_a_word_is_what_stands_between_spaces_or_punctuation():
    line = "It's <mask>, he said."  # and no text has a mark
    data = MaskedData(f"{line}\n{line}", 16)
    assert data.vocab.to_tokens(data.train_lines[0]) == split_text(line, "word")
    assert data.vocab[MASK] not in data.train_lines[0]
