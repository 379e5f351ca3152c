"""The book's web page in a browser: tabs, links, search, and nothing asked of another host."""

import contextlib
import functools
import http.server
import shutil
import subprocess
import sys
import threading

import pytest
from playwright.sync_api import sync_playwright

from d2l_ext.interface import COLUMNS
from tools.book import page as page_module
from tools.book.chapter import chapters
from tools.book.diagrams import drawing

pytestmark = pytest.mark.slow
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
def address():
    subprocess.run([sys.executable, "-m", "tools.book", "book"], check=True)
    handler = functools.partial(Quiet, directory=page_module.BUILD / "html")
    with http.server.ThreadingHTTPServer(("localhost", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("the page's test needs Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
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


def test_a_file_needs_no_server(browser, address):
    address = (page_module.BUILD / "html").as_uri()
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
    assert page.locator("#fig-grouped-heads").count() == 1


@pytest.mark.parametrize(("theme", "name"), [("light", "LIGHT"), ("dark", "DARK")])
def test_figures_follow_the_page_s_colours(page, theme, name):
    page.goto("/02-attention-scoring.html")
    page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    colour = page.locator("figure svg text.ink").first.evaluate("e => getComputedStyle(e).fill")
    wanted = getattr(drawing, name)["ink"]
    assert colour == f"rgb({', '.join(str(int(wanted[i : i + 2], 16)) for i in (1, 3, 5))})"


def test_every_picture_says_what_it_shows(page):
    for chapter in chapters():
        page.goto(f"/{chapter.name}.html")
        for svg in page.locator("figure svg").all():
            assert svg.get_attribute("role") == "img" and svg.get_attribute("aria-label")


def test_code_is_copied(page, address):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
    page.goto("/02-attention-scoring.html")
    page.get_by_role("button", name="Copy").first.click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert "def look_up(Q, K, V):" in copied and "Copy" not in copied


def test_code_does_not_scroll_on_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 844})
    for chapter in chapters():
        page.goto(f"/{chapter.name}.html")
        wide = page.evaluate(
            "[...document.querySelectorAll('div.highlight pre')]"
            ".filter(x => x.offsetParent && x.scrollWidth > x.clientWidth + 1).length"
        )
        assert wide == 0, chapter.name


@pytest.mark.parametrize("width", [360, 1300])
def test_no_page_is_wider_than_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    for chapter in chapters():
        page.goto(f"/{chapter.name}.html")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, chapter.name
