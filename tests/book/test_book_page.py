"""The book's web page in a browser: tabs, links, search, and nothing asked of another host.

It is skipped where there is no Chromium. `.ci/run` installs it where it may.
"""

import contextlib
import functools
import http.server
import importlib.util
import re
import shutil
import threading

import nbformat
import pytest

if not all(map(importlib.util.find_spec, ("playwright", "axe_playwright_python", "ziamath"))):
    pytest.skip("the page's test needs the dev extra", allow_module_level=True)

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from d2l_ext.interface import COLUMNS
from tools.book import page as page_module
from tools.book.chapter import chapters, notebook_path
from tools.book.diagrams import drawing

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="the page's test needs Chromium")
NAMES = [chapter.name for chapter in chapters()]
FEW = ["01-masked-softmax", "04-bahdanau"]  # with tabs, pictures, formulas and tables
# What each page is looked at for; the others are left to those who look at all pages.
some = pytest.mark.parametrize("name", FEW)
all_of_them = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in FEW else pytest.mark.slow) for n in NAMES]
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the page, without the reference, which test_reference.py builds."""
    executed = {
        c.name: {b: nbformat.read(notebook_path(c, b), as_version=4) for b in COLUMNS}
        for c in chapters()
    }
    build = tmp_path_factory.mktemp("book")
    return page_module.build(chapters(), executed, build, with_reference=False).parent


@pytest.fixture(scope="module")
def address(site):
    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("localhost", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    with watched(browser, address) as page:
        yield page


@contextlib.contextmanager
def watched(browser, address):
    """A page that fails the test for an error in the console or a request to another place."""
    page = browser.new_context(base_url=address).new_page()
    wrong = []
    page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda r: r.url.startswith((address, "data:")) or wrong.append(r.url))
    yield page
    page.context.close()
    assert wrong == []


def shown(page):
    """The frameworks whose panels are visible anywhere."""
    return {n for n in COLUMNS if page.locator(f".framework.{n}:visible").count()}


def test_a_tab_switches_all_and_is_remembered(page):
    page.goto("/01-masked-softmax.html")
    assert shown(page) == {"torch"}
    page.get_by_role("tab", name="JAX").nth(2).click()
    assert shown(page) == {"jax"}
    assert page.url.endswith("?framework=jax")
    page.goto("/04-bahdanau.html")
    assert shown(page) == {"jax"}
    page.reload()
    assert shown(page) == {"jax"}


def test_the_clicked_tab_stays_where_it_is(page):
    page.goto("/04-bahdanau.html")
    tab = page.get_by_role("tab", name="TensorFlow").last
    tab.scroll_into_view_if_needed()
    before = tab.bounding_box()["y"]
    tab.click()
    assert abs(tab.bounding_box()["y"] - before) < 2


def test_a_link_opens_its_framework(page):
    page.goto("/02-attention-scoring.html?framework=mxnet")
    assert shown(page) == {"mxnet"}


def test_arrow_keys_move_between_tabs(page):
    page.goto("/01-masked-softmax.html")
    page.get_by_role("tab", name="PyTorch").first.focus()
    page.keyboard.press("ArrowRight")
    assert shown(page) == {"mxnet"}


def search_finds_valid_length(page, address):
    page.goto(f"{address}/search.html?q=valid+length")
    page.wait_for_selector("ul.search li")
    assert "Masked softmax" in page.locator("ul.search").inner_text()


def test_search_finds_valid_length(page, address):
    search_finds_valid_length(page, address)


def test_a_file_needs_no_server(browser, site):
    address = site.as_uri()
    with watched(browser, address) as page:
        page.goto(f"{address}/01-masked-softmax.html?framework=tensorflow")
        assert shown(page) == {"tensorflow"}
        page.get_by_role("tab", name="MXNet").first.click()
        page.reload()
        assert shown(page) == {"mxnet"}
        search_finds_valid_length(page, address)


def test_names_of_other_texts_are_found(page):
    for asked, title in (
        ("MLPAttention", "Coming from"),
        ("subsequent_mask", "Coming from"),
        ("MultiHeadedAttention", "Coming from"),
        ("注意力", "Glossary"),
    ):
        page.goto(f"/search.html?q={asked}")
        page.wait_for_selector("ul.search li")
        assert title in page.locator("ul.search").inner_text(), asked


def test_a_link_leads_to_a_figure_in_another_chapter(page):
    page.goto("/11-caches.html")
    page.get_by_role("link", name="Figure 9.3").first.click()
    assert "/09-todays-block.html" in page.url and page.url.endswith("#fig-grouped-heads")
    page.locator("#fig-grouped-heads").wait_for(state="attached")


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(site, name):
    """Within the page and to places of other chapters: figures, tables, formulas, headings."""
    text = (site / f"{name}.html").read_text(encoding="utf-8")
    for target, anchor in re.findall(r'href="([\w-]*(?:\.html)?)#([\w-]+)"', text):
        other = text if not target else (site / target).read_text(encoding="utf-8")
        assert f'id="{anchor}"' in other, f"{target}#{anchor}"


@pytest.mark.parametrize(("theme", "name"), [("light", "LIGHT"), ("dark", "DARK")])
def test_figures_follow_the_page_s_colours(page, theme, name):
    page.goto("/02-attention-scoring.html")
    page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    colour = page.locator("figure svg text.ink").first.evaluate("e => getComputedStyle(e).fill")
    wanted = getattr(drawing, name)["ink"]
    assert colour == f"rgb({', '.join(str(int(wanted[i : i + 2], 16)) for i in (1, 3, 5))})"


@all_of_them
def test_every_picture_says_what_it_shows(page, name):
    page.goto(f"/{name}.html")
    for svg in page.locator("figure svg").all():
        assert svg.get_attribute("role") == "img" and svg.get_attribute("aria-label")


def test_code_is_copied(page, address):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
    page.goto("/02-attention-scoring.html")
    page.get_by_role("button", name="Copy").first.click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert "def look_up(Q, K, V):" in copied and "Copy" not in copied


PHONE = {"width": 390, "height": 844}
# Of code, output, formulas and tables: how many scroll sideways, and how many there are.
SCROLLING = """() => {
  const blocks = [...document.querySelectorAll(
    'div.highlight pre, div.formula, .pst-scrollable-table-container, figure')]
    .filter(x => x.offsetParent);
  return [blocks.filter(x => x.scrollWidth > x.clientWidth + 1).length, blocks.length];
}"""


@all_of_them
def test_little_scrolls_sideways_on_a_phone(page, name):
    page.set_viewport_size(PHONE)
    page.goto(f"/{name}.html")
    wide, blocks = page.evaluate(SCROLLING)
    assert blocks > 5 and wide <= blocks / 10


@pytest.mark.parametrize("width", [360, 1300])
@all_of_them
def test_no_page_is_wider_than_the_screen(page, width, name):
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"/{name}.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@all_of_them
def test_code_is_large_enough_to_read(page, name):
    """At most a seventh smaller than the text, and never below 13 pixels."""
    page.goto(f"/{name}.html")
    sizes = page.evaluate(
        "[...document.querySelectorAll('.bd-article p, .bd-article pre')]"
        ".map(x => [x.tagName, parseFloat(getComputedStyle(x).fontSize)])"
    )
    assert min(size for tag, size in sizes if tag == "PRE") >= 13.5


@pytest.mark.parametrize("theme", ["light", "dark"])
@all_of_them
def test_nothing_keeps_people_from_reading(page, theme, name):
    """Contrast, names, the order of headings and the like, by axe-core."""
    page.goto(f"/{name}.html")
    page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    # Without a fetch of its own of what the page has loaded already.
    found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False})
    assert found.violations_count == 0, found.generate_report()


@some
def test_all_is_reached_by_keyboard(page, name):
    """Tabs, links that run the chapter, copy buttons: each takes the focus, and shows it."""
    page.goto(f"/{name}.html")
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        focus = page.evaluate(
            "(() => { const x = document.activeElement, s = getComputedStyle(x);"
            " return [x.getAttribute('role') || x.className || x.tagName,"
            "  s.outlineStyle !== 'none' || s.boxShadow !== 'none'] })()"
        )
        seen.add(tuple(focus))
    kinds = {kind for kind, _ in seen}
    assert "tab" in kinds and any("copy" in kind for kind in kinds)
    assert all(visible for kind, visible in seen if kind == "tab" or "copy" in kind)


@all_of_them
def test_a_chapter_is_small(page, name):
    """All that a first visit loads but pictures is under 600 KB."""
    sizes = {}

    def note(response):
        if response.request.resource_type != "image":
            sizes[response.url] = len(response.body())

    page.on("response", note)
    page.goto(f"/{name}.html", wait_until="networkidle")
    assert len(sizes) > 5
    assert sum(sizes.values()) < 600_000, sizes


@some
def test_formulas_have_their_font(page, name):
    page.goto(f"/{name}.html", wait_until="networkidle")
    assert page.evaluate("document.fonts.check('16px \"STIX Two Math\"')")
    assert page.evaluate("[...document.fonts].map(f => [f.family, f.status])") == [
        ["STIX Two Math", "loaded"]
    ]


@some
def test_a_chapter_s_notebooks_are_there(page, site, name):
    page.goto(f"/{name}.html")
    links = page.locator("p.run a")
    files = [link.get_attribute("href") for link in links.all()]
    assert [name for name in files if name.endswith(".ipynb") and "://" not in name]
    assert all((site / name).is_file() for name in files if "://" not in name)
    assert len(files) == 2 * len(COLUMNS)


@some
def test_icons_are_drawn(page, name):
    page.goto(f"/{name}.html")
    masks = page.evaluate(
        "[...document.querySelectorAll('.fa-solid')].map(x => getComputedStyle(x).maskImage)"
    )
    assert masks and all(mask.startswith("url(") for mask in masks)
