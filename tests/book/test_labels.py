"""Numbers of figures, tables and formulas, and links to them."""

import re

import pytest

from tools.book import labels

TEXT = """\
# 7 A chapter

```{figure} rotary
Turned.
```

$$a = b$$ (eq-first)

```{table} sizes
Sizes.

| a | b |
|---|---|
```

$$\\begin{aligned}
c &= d
\\end{aligned}$$ (eq-second)

```{figure} experts
Asked.
```
"""
OWN = labels.of("07-a-chapter", TEXT)


def test_each_kind_is_counted_by_itself():
    assert {name: label.text for name, label in OWN.items()} == {
        "fig-rotary": "Figure 7.1",
        "eq-first": "(7.1)",
        "tab-sizes": "Table 7.1",
        "eq-second": "(7.2)",
        "fig-experts": "Figure 7.2",
    }


def test_a_label_is_given_once():
    with pytest.raises(ValueError, match="07-a-chapter: eq-first occurs twice"):
        labels.of("07-a-chapter", TEXT + "\n$$e$$ (eq-first)\n")


@pytest.mark.parametrize("page", [False, True])
def test_a_link_within_the_chapter(page):
    found = labels.resolved("see [](#eq-second)", "07-a-chapter", OWN, page)
    assert found == "see [(7.2)](#eq-second)"


def test_a_link_to_another_chapter():
    name, label = next(iter(labels.everywhere().items()))
    text = f"[](#{name})"
    on_page, in_notebook = (labels.resolved(text, "99-last", {}, page) for page in (True, False))
    assert on_page == f"[{label.text}](#{name})"
    assert in_notebook == f"[{label.text}]({label.chapter}.ipynb#{name})"


def test_a_link_to_nothing_is_an_error():
    with pytest.raises(ValueError, match="07-a-chapter: there is no fig-nothing"):
        labels.resolved("[](#fig-nothing)", "07-a-chapter", OWN, page=False)


def test_a_formula_carries_its_number():
    notebook, page = (labels.resolved(TEXT, "07-a-chapter", OWN, page) for page in (False, True))
    assert r"$$a = b \tag{7.1}$$" in notebook and "(eq-" not in notebook
    assert "(eq-first)=\n$$a = b \\tag{7.1}$$\n" in page
    assert re.search(r"\\end\{aligned\} \\tag\{7\.2\}\$\$", notebook)


def test_no_two_chapters_have_one_label(tmp_path, monkeypatch):
    for name in ("01-one", "02-two"):
        (tmp_path / f"{name}.md").write_text("```{figure} same\nCaption\n```\n")
    monkeypatch.setattr(labels, "CHAPTERS", tmp_path)
    with pytest.raises(ValueError, match="02-two: fig-same stands in another chapter too"):
        labels.everywhere.__wrapped__()
