"""Text from language models: alone, and with a draft."""

import numpy as np
import pytest
from scipy import stats

import d2l_ext
from d2l_ext.training.generation import generate, speculate

VOCAB = 7
SIZES = dict(num_hiddens=16, ffn_num_hiddens=10, num_heads=4, num_kv_heads=2, num_blks=2)
PROMPTS = np.array([[1, 2, 3], [4, 5, 6]])


def gpt(backend, seed=0, scale=2.0, **options):
    """A model with weights large enough that its choices differ from step to step."""
    module = backend.api.GPT(VOCAB, **(SIZES | options))
    model = backend.model(module, PROMPTS, seed=seed, dtype="float64")
    model.load_parameters({k: v * scale for k, v in model.parameters().items()})
    return model


@pytest.mark.parametrize(
    "options",
    [{}, dict(window=3, num_sinks=1), dict(position="learned", norm="layer", activation="gelu")],
    ids=["rotary", "window", "learned"],
)
def test_greedy_text_is_that_of_the_whole_model(any_backend, options):
    """Also beyond the first 32 tokens, for which caches have room from the start."""
    model = gpt(any_backend, **options)
    found = generate(model, PROMPTS, 40)
    text = np.column_stack((PROMPTS, found.tokens))
    logits = model(text)[:, 2:-1]
    np.testing.assert_array_equal(found.tokens, logits.argmax(axis=-1))
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = np.take_along_axis(log_probs, text[:, 3:, None], axis=-1)[..., 0]
    np.testing.assert_allclose(found.token_log_probs, expected, rtol=1e-9, atol=1e-12)
    eos = found.tokens[0][4]
    ended = generate(model, PROMPTS, 12, eos=eos).tokens[0]
    assert ended == found.tokens[0][: found.tokens[0].index(eos)]


def test_all_frameworks_write_the_same(any_backend):
    options = dict(temperature=1.5, top_k=5, top_p=0.9, seed=3)
    wanted = generate(gpt(d2l_ext.backend("reference")), PROMPTS, 20, **options)
    found = generate(gpt(any_backend), PROMPTS, 20, **options)
    assert found.tokens == wanted.tokens
    np.testing.assert_allclose(found.margins, wanted.margins, atol=1e-9)
    alone = generate(gpt(any_backend), PROMPTS[1:], 20, rows=[1], **options)
    assert alone.tokens == found.tokens[1:]


@pytest.mark.parametrize("num_drafted", [1, 4])
@pytest.mark.parametrize("window", [None, 3])
def test_a_draft_changes_nothing_of_greedy_text(be, num_drafted, window):
    model = gpt(be, window=window)
    alone = generate(model, PROMPTS[:1], 15).tokens[0]
    for draft in (model, gpt(be, seed=1, num_blks=1)):
        found, share = speculate(model, draft, PROMPTS[0], 15, num_drafted=num_drafted)
        assert found == alone
        assert share == 1 if draft is model else share < 1


class Chain:
    """A language model without a framework: what follows a token depends on it alone."""

    def __init__(self, seed):
        self.module = self
        self.config = {"vocab_size": 4}
        self.p = np.random.default_rng(seed).dirichlet(np.full(4, 0.7), 4)

    def decoding(self, _):
        return Reader(self)


class Reader:
    """Its decoding; the state is what has been read."""

    state = ()

    def __init__(self, chain):
        self.chain = chain

    def score(self, tokens):
        self.state = (*self.state, *tokens[0])
        return np.log(self.chain.p[tokens])


def test_a_draft_changes_nothing_of_the_distribution():
    """Frequencies of texts of three tokens, against the model's own probabilities."""
    model, draft = Chain(0), Chain(1)
    counts, runs = np.zeros((4, 4, 4)), 4000
    for seed in range(runs):
        found, _ = speculate(
            model, draft, np.array([2]), 3, num_drafted=2, temperature=1.0, seed=seed
        )
        counts[tuple(found)] += 1
    p = model.p
    expected = runs * p[2][:, None, None] * p[:, :, None] * p[None]
    many = expected > 5
    value = stats.chisquare(
        [*counts[many], counts[~many].sum()], [*expected[many], expected[~many].sum()]
    ).pvalue
    assert value > 0.01
    other = runs * draft.p[2][:, None, None] * draft.p[:, :, None] * draft.p[None]
    assert np.abs(counts - expected).sum() < 0.2 * np.abs(counts - other).sum()


def test_what_does_not_fit_is_refused():
    backend = d2l_ext.backend("reference")
    model = gpt(backend)
    with pytest.raises(ValueError, match=r"prompts: got shape \(2, 0\)"):
        generate(model, PROMPTS[:, :0], 3)
    with pytest.raises(ValueError, match="temperature: got -1"):
        generate(model, PROMPTS, 3, temperature=-1)
    with pytest.raises(ValueError, match="max_steps: got 0"):
        generate(model, PROMPTS, 0)
    draft = gpt(backend)
    draft.module.config["vocab_size"] = 8
    with pytest.raises(ValueError, match="draft: got a model with another vocabulary"):
        speculate(model, draft, PROMPTS[0], 3)
