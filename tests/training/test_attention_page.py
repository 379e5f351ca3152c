"""The page of attention weights: everything in one file, and what its script reads."""

import html
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2l_ext.attention_page import AttentionPage

TOKENS = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4)


def drawn(seed, *shape):
    weights = np.random.default_rng(seed).random(shape)
    return weights / weights.sum(axis=-1, keepdims=True)


def read(page):
    """What the script will read."""
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(data)


@given(seed=st.integers(0, 99), source=TOKENS, target=TOKENS)
def test_the_script_reads_what_was_given(seed, source, target):
    """Whatever tokens hold: quotes, tags, the end of a script."""
    weights = drawn(seed, 2, 3, len(target), len(source))
    source = ["</script><b>", *source[1:]]
    found = read(AttentionPage(weights, source, target, "<i>").text())
    assert (found["source"], found["target"]) == (source, target)
    np.testing.assert_allclose(found["weights"], weights, atol=0.5e-4 + 1e-9)


def test_it_needs_nothing_from_elsewhere():
    page = AttentionPage(drawn(0, 2, 3, 1, 2), ["a", "b"], ["c"], "a <title>").text()
    assert set(re.findall(r"https?://[^\"]+", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(link|img|script[^>]*src)", page)
    assert "<title>a &lt;title&gt;</title>" in page


def test_blocks_and_heads_are_to_be_chosen():
    page = AttentionPage(drawn(0, 2, 3, 1, 2), ["a", "b"], ["c"]).text()
    block, head = re.findall(r"<select.*?</select>", page, re.S)
    assert re.findall(r">(\d)</option>", block) == ["1", "2"]
    assert re.findall(r">([\w ]+)</option>", head) == ["mean of all", "1", "2", "3"]
    alone = AttentionPage(drawn(0, 1, 1, 1, 2), ["a", "b"], ["c"]).text()
    assert "mean of all</option>" not in alone


def test_a_notebook_shows_the_whole_page():
    page = AttentionPage(drawn(0, 1, 2, 1, 2), ["a", "b"], ["c"])
    (inner,) = re.findall(r'srcdoc="([^"]*)"', page._repr_html_())
    assert html.unescape(inner) == page.text()


@pytest.mark.parametrize("shape", [(1, 2), (2, 2, 3), (1, 1, 2, 2), (0, 1, 1, 2)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"weights: got shape .*, must be \(blocks, heads, 1, 2\)"):
        AttentionPage(np.zeros(shape), ["a", "b"], ["c"])


def test_it_is_written_whole(tmp_path):
    page = AttentionPage(drawn(0, 1, 2, 1, 2), ["ä", "b"], ["c"])
    page.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page.text()
