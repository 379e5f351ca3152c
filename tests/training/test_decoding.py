"""Decoding: greedy, sampling and beam search on small models with random weights."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared import encoder_decoder

import d2l_ext
from d2l_ext.data import TranslationData
from d2l_ext.training.choosing import draw, drawn, nucleus, probabilities
from d2l_ext.training.decoding import beam_search, greedy, sample
from d2l_ext.training.translation import METHODS, translate, translations

BOS, EOS, PAD = 0, 1, 2
KINDS = {
    "lstm": ("LSTMEncoder", "LSTMDecoder"),
    "bahdanau": ("Seq2SeqEncoder", "Seq2SeqAttentionDecoder"),
    "luong": ("BidirectionalEncoder", "LuongDecoder"),
    "transformer": ("TransformerEncoder", "TransformerDecoder"),
}


def make_model(backend, kind="bahdanau", vocab=7, scale=3.0, dtype="float64", seed=0):
    """A model with weights large enough that its choices differ from step to step."""
    sizes = (8, 12, 2, 2, 0.0) if kind == "transformer" else (5, 4, 2)
    module = encoder_decoder(backend.api, *KINDS[kind], (6, vocab), *sizes)
    src, lens = sources(2)
    model = backend.model(module, src, src % vocab, lens, seed=seed, dtype=dtype)
    model.load_parameters({k: v * scale for k, v in model.parameters().items()})
    return model


def sources(batch, steps=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 6, (batch, steps)), rng.integers(1, steps + 1, batch)


def available(backend, kind):
    if kind == "transformer" and not hasattr(backend.api, "TransformerDecoder"):
        pytest.skip(f"{backend.name} has no Transformer")


def ends(max_steps=4):
    return {"bos": BOS, "eos": EOS, "max_steps": max_steps}


def log_probs_of(model, src, lens, tokens, num_steps):
    """The model's log-probabilities of given tokens (a list per sentence), by teacher forcing."""
    dec_X = np.full((len(tokens), num_steps), BOS)
    for row, target in zip(dec_X, tokens, strict=True):
        row[1 : len(target)] = target[:-1]
    logits = model(src, dec_X, lens)
    shifted = logits - logits.max(-1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return [rows[np.arange(len(t)), t] for rows, t in zip(log_probs, tokens, strict=True)]


def test_decoding_is_the_same_with_and_without_weights(any_backend):
    """Columns have a shorter way where no weights are kept: past 32 tokens, with other rows."""
    api, rng = any_backend.api, np.random.default_rng(0)
    sizes = 8, 12, 2, 2, 0.0, True, "pre"
    encoder = api.TransformerEncoder(6, *sizes)
    pair = api.EncoderDecoder(encoder, api.TransformerDecoder(7, *sizes))
    src, lens = sources(4)[0], np.array([3, 0, 5, 1])
    model = any_backend.model(pair, src, src, lens, dtype="float64")
    model.load_parameters({k: rng.standard_normal(v) for k, v in model.shapes().items()})
    ways = [model.decoding(src, lens, keep_weights=keep) for keep in (True, False)]
    for step in range(36):
        tokens = rng.integers(0, 7, 4)
        (wanted, ids), (found, same) = (way.step(tokens, 7) for way in ways)
        np.testing.assert_array_equal(ids, same)
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
        if step in (1, 33):
            rows = np.array([2, 1, 1, 0])
            for way in ways:
                way.reorder(rows)
    assert ways[0].attention_weights is not None and ways[1].attention_weights is None


def test_rows_of_beams_are_those_of_their_histories(be):
    """Beams change places within their sentences again and again, and no source is padded."""
    model, rng = make_model(be, "transformer"), np.random.default_rng(1)
    src, beams = sources(2)[0], np.array([0, 0, 0, 1, 1, 1])
    decoding, histories = model.decoding(src, None), np.zeros((6, 0), int)
    decoding.reorder(beams)
    for _ in range(4):
        tokens = rng.integers(0, 7, (6, 1))
        histories = np.hstack((histories, tokens))
        found, _ = decoding.step(tokens[:, 0], 7)
        rows = np.concatenate((rng.integers(0, 3, 3), rng.integers(3, 6, 3)))
        histories = histories[rows]
        decoding.reorder(rows)
        again = model.decoding(src[beams], None)
        for step in histories.T:
            wanted, _ = again.step(step, 7)
        np.testing.assert_allclose(found[rows], wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_takes_the_most_likely_token(any_backend, kind):
    available(any_backend, kind)
    model = make_model(any_backend, kind)
    src, lens = sources(4)
    result = greedy(model, src, lens, **ends(), keep_weights=True)
    fed = [[*t, EOS][: len(p)] for t, p in zip(result.tokens, result.token_log_probs, strict=True)]
    forced = log_probs_of(model, src, lens, fed, 4)
    for i, tokens in enumerate(result.tokens):
        steps = len(result.token_log_probs[i])
        assert EOS not in tokens and len(tokens) in (steps - 1, steps)
        np.testing.assert_allclose(result.token_log_probs[i], forced[i], rtol=0, atol=1e-10)
        if result.attention_weights is not None:
            weights = result.attention_weights[i]
            np.testing.assert_allclose(weights[..., : lens[i]].sum(-1), 1, rtol=1e-12)
            assert (weights[..., lens[i] :] == 0).all()
            assert weights.shape == (*((2, 2) if kind == "transformer" else ()), steps, 5)
    assert (result.attention_weights is None) == (kind == "lstm")


@pytest.mark.parametrize("kind", ["bahdanau", "transformer"])
def test_beam_of_one_is_greedy(backend, kind):
    available(backend, kind)
    model = make_model(backend, kind)
    src, lens = sources(4)
    one = beam_search(model, src, lens, **ends(), beam=1, keep_weights=True)
    best = greedy(model, src, lens, **ends(), keep_weights=True)
    assert one.tokens == best.tokens
    for mine, theirs in zip(one.token_log_probs, best.token_log_probs, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-10)
    for mine, theirs in zip(one.attention_weights, best.attention_weights, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-10)
    for mine, theirs in zip(one.margins, best.margins, strict=True):
        np.testing.assert_allclose(mine[:-1], theirs, rtol=0, atol=1e-10)


def exhaustive(model, src, lens, vocab, max_steps, alpha):
    """All translations and their scores, the best first, from one batch of all sequences."""
    others = [t for t in range(vocab) if t != EOS]
    space = [[*body, EOS] for n in range(max_steps) for body in itertools.product(others, repeat=n)]
    space += [list(body) for body in itertools.product(others, repeat=max_steps)]
    many = [x.repeat(len(space), 0) for x in (src, lens)]
    log_probs = log_probs_of(model, *many, space, max_steps)
    scores = [p.sum() / ((5 + len(p)) / 6) ** alpha for p in log_probs]
    ranked = np.argsort(-np.array(scores), kind="stable")
    return [([t for t in space[i] if t != EOS], scores[i]) for i in ranked]


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_beam_as_wide_as_the_space_is_exhaustive_search(backend, alpha):
    model = make_model(backend, vocab=3, scale=2.0)
    src, lens = sources(3, seed=4)
    wide = beam_search(model, src, lens, **ends(3), beam=16, length_penalty=alpha)
    for i in range(3):
        row = slice(i, i + 1)
        tokens, score = exhaustive(model, src[row], lens[row], 3, 3, alpha)[0]
        assert wide.tokens[i] == tokens
        length = len(wide.token_log_probs[i])
        assert wide.log_probs[i] / ((5 + length) / 6) ** alpha == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("n_best", [3, 15])
def test_the_best_translations_are_those_of_exhaustive_search(any_backend, alpha, n_best):
    """Fifteen are all that there are; after the third best, open ones are not looked at."""
    model = make_model(any_backend, vocab=3, scale=2.0)
    src, lens = sources(3, seed=4)
    wide = beam_search(model, src, lens, **ends(3), beam=16, length_penalty=alpha, n_best=n_best)
    for i, found in enumerate(wide.hypotheses):
        row = slice(i, i + 1)
        wanted = exhaustive(model, src[row], lens[row], 3, 3, alpha)
        assert [h.tokens for h in found] == [tokens for tokens, _ in wanted[:n_best]]
        np.testing.assert_allclose([h.score for h in found], [s for _, s in wanted[:n_best]])
        assert (found[0].tokens, found[0].log_prob) == (wide.tokens[i], wide.log_probs[i])
        lengths = [min(len(h.tokens) + 1, 3) for h in found]
        np.testing.assert_allclose(
            [h.log_prob for h in found],
            [h.score * ((5 + n) / 6) ** alpha for h, n in zip(found, lengths, strict=True)],
        )


def test_asking_for_more_translations_leaves_the_best(torch_model):
    src, lens = sources(16, seed=2)
    one, four = (beam_search(torch_model, src, lens, **ends(6), beam=4, n_best=n) for n in (1, 4))
    assert one.tokens == four.tokens
    assert {len(found) for found in one.hypotheses} == {1}
    for found in four.hypotheses:
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
        assert len({tuple(h.tokens) for h in found}) == len(found) == 4


def test_a_wider_beam_finds_better_translations(torch_backend):
    model = make_model(torch_backend, vocab=5, seed=3)
    src, lens = sources(32, seed=1)
    found = [beam_search(model, src, lens, **ends(), beam=b, length_penalty=0) for b in (1, 64)]
    assert (found[1].log_probs >= found[0].log_probs - 1e-9).all()
    assert found[0].tokens != found[1].tokens


@pytest.mark.parametrize(
    ("kind", "method"), [("transformer", "beam"), *(("bahdanau", method) for method in METHODS)]
)
def test_a_sentence_alone_is_translated_as_in_a_batch(backend, kind, method):
    available(backend, kind)
    model = make_model(backend, kind)
    src, lens = sources(4, seed=2)
    together = METHODS[method](model, src, lens, **ends())
    options = {"sentences": [1]} if method == "sample" else {}
    alone = METHODS[method](model, src[1:2], lens[1:2], **ends(), **options)
    assert alone.tokens == together.tokens[1:2]
    np.testing.assert_allclose(
        alone.token_log_probs[0], together.token_log_probs[1], rtol=0, atol=1e-11
    )


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_fed_in_pieces_of_any_size(be, kind):
    available(be, kind)
    model, (src, lens) = make_model(be, kind), sources(2)
    tokens = np.random.default_rng(0).integers(0, 7, (2, 4))
    found = []
    for sizes in ((1, 1, 1, 1), (1, 2, 1), (3, 1), (4,)):
        decoding, cuts = model.decoding(src, lens), np.cumsum(sizes)[:-1]
        steps = [decoding.step(piece, k=7) for piece in np.split(tokens, cuts, axis=1)]
        found.append(steps[-1][0])
    for log_probs in found[1:]:
        np.testing.assert_allclose(log_probs, found[0], rtol=1e-11)


def test_a_call_in_between_changes_nothing(any_backend):
    """Nor in training, where half is dropped: the mode is not the next step's."""
    api, (src, lens) = any_backend.api, sources(2)
    module = encoder_decoder(api, *KINDS["transformer"], (6, 7), 8, 12, 2, 2, 0.5)
    model = any_backend.model(module, src, src, lens, dtype="float64")
    found = []
    for between in (False, True):
        decoding = model.decoding(src, lens)
        decoding.step(np.array([BOS, BOS]))
        if between:
            model(src, src, lens, training=True)
        found.append(decoding.step(np.array([3, 4]), k=7)[0])
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_ties_go_to_the_lower_id(any_backend):
    model = make_model(any_backend, scale=0.0)
    src, lens = sources(4)
    log_probs, ids = model.decoding(src, lens).step([BOS] * 4, 3)
    np.testing.assert_array_equal(ids, [[0, 1, 2]] * 4)
    np.testing.assert_allclose(log_probs, np.log(1 / 7), rtol=1e-12)
    assert greedy(model, src, lens, **ends(3)).tokens == [[0, 0, 0]] * 4
    flat = beam_search(model, src, lens, **ends(3), length_penalty=0)
    assert flat.tokens == [[]] * 4  # one token, <eos>, is more likely than three
    assert all((margins == 0).any() for margins in flat.margins)


def test_only_as_many_tokens_as_allowed(torch_backend):
    model = make_model(torch_backend)
    src, lens = sources(4)
    for method in METHODS.values():
        assert all(len(t) <= 2 for t in method(model, src, lens, **ends(2)).tokens)


def test_sampling_follows_the_distribution():
    scores = np.log([[0.5, 0.3, 0.2]])
    uniform = (np.arange(1000) + 0.5) / 1000
    place, margins = draw(
        probabilities(scores).repeat(1000, 0), np.array([[4, 0, 2]] * 1000), uniform
    )
    assert np.bincount(place).tolist() == [500, 300, 200]
    assert margins.min() == pytest.approx(0.0005) and margins.max() < 0.5


def test_the_nucleus_has_the_fewest_tokens_that_reach_the_probability():
    p = np.array([[0.5, 0.3, 0.15, 0.05], [0.97, 0.01, 0.01, 0.01]])
    kept, margins = nucleus(p, 0.7)
    assert kept.tolist() == [[True, True, False, False], [True, False, False, False]]
    np.testing.assert_allclose(margins, [0.1, 0.27])
    assert nucleus(p, 1.0)[0][0].all()
    tokens = {
        int(drawn(top_p=0.7, seed=seed).choose(0, np.log(p[:1]), np.arange(4)[None])[0][0])
        for seed in range(50)
    }
    assert tokens == {0, 1}
    with pytest.raises(ValueError, match="top_p: got 0"):
        drawn(top_p=0)


def test_sampling_at_a_low_temperature_is_greedy(backend):
    model = make_model(backend)
    src, lens = sources(4)
    best = greedy(model, src, lens, **ends()).tokens
    assert sample(model, src, lens, **ends(), temperature=1e-4).tokens == best
    assert sample(model, src, lens, **ends(), top_k=1).tokens == best
    assert sample(model, src, lens, **ends(), top_p=1e-9).tokens == best
    first, again, other = (
        sample(model, src, lens, **ends(), seed=seed, temperature=2.0).tokens for seed in (1, 1, 2)
    )
    assert first == again != other


@settings(max_examples=20)
@given(
    beam=st.integers(1, 9),
    alpha=st.floats(0, 2),
    max_steps=st.integers(1, 7),
    seed=st.integers(0, 5),
)
def test_beam_search_returns_what_it_scores(torch_model, beam, alpha, max_steps, seed):
    src, lens = sources(3, seed=seed)
    options = {**ends(max_steps), "beam": beam, "length_penalty": alpha}
    result = beam_search(torch_model, src, lens, **options)
    fed = [[*t, EOS][: len(p)] for t, p in zip(result.tokens, result.token_log_probs, strict=True)]
    forced = log_probs_of(torch_model, src, lens, fed, max_steps)
    for i, tokens in enumerate(result.tokens):
        steps = len(result.token_log_probs[i])
        assert len(tokens) == steps - 1 < max_steps or len(tokens) == steps == max_steps
        np.testing.assert_allclose(result.token_log_probs[i], forced[i], rtol=0, atol=1e-10)
        assert (result.margins[i] >= 0).all()


@pytest.fixture(scope="module")
def torch_backend():
    pytest.importorskip("torch")
    return d2l_ext.backend("torch")


@pytest.fixture(scope="module")
def torch_model(torch_backend):
    return make_model(torch_backend, vocab=4)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (sample, {"temperature": 0}),
        (sample, {"top_k": 0}),
        (beam_search, {"beam": 0}),
        (beam_search, {"n_best": 0}),
        (beam_search, {"n_best": 5, "beam": 4}),
        (beam_search, {"length_penalty": -1}),
        (greedy, {"max_steps": 0}),
    ],
)
def test_bad_options(torch_model, method, options):
    src, lens = sources(2)
    name = next(iter(options))
    with pytest.raises(ValueError, match=name):
        method(torch_model, src, lens, **{**ends(), **options})


def test_a_model_that_is_not_finite(backend):
    model = make_model(backend)
    params = model.parameters()
    params["decoder.dense.bias"][:] = np.nan
    model.load_parameters(params)
    src, lens = sources(4)
    with pytest.raises(FloatingPointError, match="NaN"):
        greedy(model, src, lens, **ends())


PAIRS = [
    ("I see a cat.", "Je vois un chat."),
    ("He sees it.", "Il le voit."),
    ("I go.", "Je pars."),
    ("We see a big cat.", "Nous voyons un grand chat."),
]


def test_sentences_in_sentences_out(torch_backend):
    data = TranslationData(PAIRS, num_steps=7, num_train=4, num_val=0, batch_size=4, min_freq=1)
    vocab_sizes = len(data.src_vocab), len(data.tgt_vocab)
    module = encoder_decoder(torch_backend.api, *KINDS["bahdanau"], vocab_sizes, 4, 6, 1)
    model = torch_backend.model(
        module, *(a[:1] for a in (data.src, data.tgt_in, data.src_valid_len))
    )
    english = [english for english, _ in PAIRS]
    texts = translate(model, data, english)
    assert texts == translate(model, data, english, batch_size=1)
    (one,) = translations(model, data, ["I see it"], keep_weights=True)
    assert one.source == ["i", "see", "it", "<eos>"]
    assert one.attention_weights.shape == (len(one.token_log_probs), 4)
    assert one.log_prob == pytest.approx(one.token_log_probs.sum())
    assert translate(model, data, []) == []
    (long,) = translations(model, data, ["a " * 10_000], keep_weights=True)
    assert len(long.source) == 7 == long.attention_weights.shape[1]
    with pytest.raises(ValueError, match="at least one word"):
        translate(model, data, ["I go.", " "])
    drawn = translate(model, data, english, method="sample", seed=5)
    assert drawn == translate(model, data, english, method="sample", seed=5, batch_size=1)


def test_weights_of_a_call_are_one_array_for_each_token(any_backend):
    api = any_backend.api
    pair = api.EncoderDecoder(
        api.Seq2SeqEncoder(6, 4, 5, 2), api.Seq2SeqAttentionDecoder(7, 4, 5, 2)
    )
    src, lens = sources(3)[0], np.array([3, 5, 1])
    decoding = any_backend.model(pair, src, src, lens).decoding(src, lens, keep_weights=True)
    for tokens in (np.array([1, 2, 3]), np.array([[1, 2], [3, 4], [5, 6]])):
        decoding.step(tokens)
        weights = decoding.attention_weights
        assert [w.shape for w in weights] == [(3, 1, src.shape[1])] * (tokens.size // 3)
        for w in weights:
            np.testing.assert_allclose(w.sum(axis=-1), 1, rtol=1e-6)
