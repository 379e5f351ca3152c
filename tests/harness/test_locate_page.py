"""What `locate` found, drawn: both models side by side, as a page and in the terminal."""

import copy
import html.parser
import importlib.util
import io
import json
import re
import shutil

import numpy as np
import pytest
from command import invoke
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402 - after importorskip, as what follows

from d2l_ext.porting import locate, trace  # noqa: E402
from d2l_ext.porting.page import text  # noqa: E402

X = np.random.default_rng(0).standard_normal((2, 5, 6))
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
HAS_BROWSER = CHROMIUM is not None and all(
    map(importlib.util.find_spec, ("playwright", "axe_playwright_python"))
)


class Layer(nn.Module):
    """A residual layer with a norm."""

    def __init__(self):
        super().__init__()
        self.fc, self.norm, self.act = nn.Linear(6, 6), nn.LayerNorm(6), torch.tanh

    def forward(self, X):
        return self.norm(X + self.act(self.fc(X)))


class Wrapped(nn.Module):
    """A layer that has another one inside and nothing else."""

    def __init__(self, layer):
        super().__init__()
        self.inner = layer

    def forward(self, X):
        return self.inner(X)


def stack(count):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 6), nn.Sequential(*(Layer() for _ in range(count)))).double()


def wrong(model, at, epsilon=1e-3):
    port = copy.deepcopy(model)
    port[1][at].norm.eps = epsilon
    return port


class Read(html.parser.HTMLParser):
    """What stands in a page: the classes by id, and the tags with their attributes."""

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.feed(page)
        self.places = {
            attributes["id"]: attributes["class"].split()
            for _, attributes in self.tags
            if re.fullmatch(r"p\d+-(in|out)", attributes.get("id") or "")
        }

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def shown(found, width=120):
    console = Console(width=width, file=io.StringIO())
    console.print(found)
    return console.file.getvalue()


@settings(max_examples=8, deadline=None)
@given(st.sets(st.integers(0, 3)), st.sets(st.integers(0, 3)))
def test_the_graph_has_each_call_once_and_in_order(wrapped_a, wrapped_b):
    """Layers of one side that the other does not have stand alone."""
    sides = stack(4), stack(4)
    for model, wrapped in zip(sides, (wrapped_a, wrapped_b), strict=True):
        for i in wrapped:
            model[1][i].fc = Wrapped(model[1][i].fc)
    found = locate(*sides, X, backward=False)
    for side in ("a", "b"):
        nodes = [getattr(node, side) for node in found.graph.walk()]
        calls = [name for name, _ in sides[side == "b"].named_modules()]
        assert [box.path for box in nodes if box is not None] == calls
    drawn = [row for node in found.graph.walk() for row in node.rows]
    assert sorted(map(id, drawn)) == sorted(map(id, found.rows))


def test_where_inputs_come_from_is_found():
    found = locate(stack(2), stack(2), X, backward=False)
    takes = {node.a.path: node.a.takes for node in found.graph.walk()}
    assert takes["1.0"] == ["0"] and takes["1.1.fc"] == ["1.0"]
    assert takes["1.1.norm"] == ["code between the layers"]
    assert takes["0"] == ["the model's inputs"]


def test_the_page_marks_what_is_wrong_and_nothing_else():
    model = stack(3)
    port = wrong(model, 1)
    port[1][2].act = torch.sin
    found = locate(model, port, X)
    read = Read(text(found))
    rows = {
        f"p{node.number}-{side}": row
        for node in found.graph.walk()
        for side, row in (("in", node.before), ("out", node.after))
        if row is not None
    }
    assert read.places.keys() == rows.keys()
    marked = {at for at, classes in read.places.items() if "wrong" in classes}
    assert marked == {at for at, row in rows.items() if not row.all_agrees}
    assert len(found.differences) == len(marked) == 2
    links = [a["href"] for tag, a in read.tags if tag == "a" and "data-at" not in a and "href" in a]
    assert links == [f"#p{one.at[0]}-{one.at[1]}" for one in found.differences]


def test_the_page_needs_nothing_from_elsewhere_and_no_name_breaks_it(tmp_path):
    model = nn.Sequential()
    model.add_module("</script><b>&", nn.Linear(6, 6))
    found = locate(model, copy.deepcopy(model), X.astype("float32"), backward=False)
    found.page(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page == text(found)
    assert not re.search(r"https?://|<(link|img|script[^>]*src)", page)
    (facts,) = re.findall(r'<script type="application/json" id="facts">(.*?)</script>', page, re.S)
    assert "</script><b>&" in {one["place"] for one in json.loads(facts).values()}


def test_what_agrees_is_folded_and_the_way_to_what_is_wrong_is_open():
    """Sixty layers are sixty lines, and what is inside of one is shown if it is wrong."""
    model = stack(60)
    read = Read(text(locate(model, wrong(model, 33), X, backward=False)))
    frames = [attributes for tag, attributes in read.tags if tag == "details"]
    assert ["open" in attributes for attributes in frames].count(True) == 3  # two around it
    assert len(frames) == 62


def test_the_terminal_shows_what_is_wrong_in_its_place():
    model = stack(40)
    text = shown(locate(model, wrong(model, 33), X, backward=False))
    assert text.index("32") < text.index("33") < text.index("norm") < text.index("⋮ 3 that agree")
    assert "layer-norm epsilon" in text
    assert len(text.splitlines()) < 25
    assert "norm" not in shown(locate(model, copy.deepcopy(model), X, backward=False))


def test_the_command_writes_a_page_of_two_traces(tmp_path):
    model = stack(2)
    for name, one in (("a", model), ("b", wrong(model, 1))):
        trace(one, X, path=tmp_path / f"{name}.trace", backward=False)
    files = [tmp_path / f"{name}.trace" for name in "ab"]
    told = invoke("locate", *files, "--page", tmp_path / "page.html", status=1).stdout
    assert "layer-norm epsilon" in told
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "layer-norm epsilon" in page
    assert any("wrong" in classes for classes in Read(page).places.values())


@pytest.fixture(scope="module")
def browser():
    if not HAS_BROWSER:
        pytest.skip("needs Chromium and the dev extra")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_first_wrong_place_is_in_view(browser, tmp_path, width):
    """On a desk and on a phone; what is chosen is explained, and axe finds nothing to mend."""
    from axe_playwright_python.sync_playwright import Axe

    model = stack(40)
    locate(model, wrong(model, 33), X, backward=False).page(tmp_path / "page.html")
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme="dark")
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto((tmp_path / "page.html").as_uri())
    box = page.locator(".wrong").bounding_box()
    height = page.locator("aside").bounding_box()["y"] if width < 800 else 800
    assert 0 < box["y"] < box["y"] + box["height"] < height
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert "1.33.norm" in page.locator("#said").inner_text()
    page.locator("a[data-at='0-out']").click()
    assert "the model" in page.locator("#said").inner_text()
    assert Axe().run(page).violations_count == 0, Axe().run(page).generate_report()
    assert not errors
    page.close()
