"""Sphinx configuration of the book; copied beside the pages that `page` writes."""

project = html_title = "Attention in four frameworks"
author = "the d2l_ext authors"
extensions = [
    *("myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"),
    *("tools.book.docstrings", "tools.book.mathml"),
]
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
default_role = "py:obj"  # what docstrings have between single backquotes
napoleon_use_ivar = True
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
# Notebooks start with the chapter's title too, but a page's own install cell is left out.
exclude_patterns = ["_static"]
html_theme = "sphinx_book_theme"
html_theme_options = {
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navigation_with_keys": False,
}
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system has it
html_math_renderer = "mathml"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["figures.css", "icons.css", "book.css"]
html_js_files = ["book.js"]
html_copy_source = False
html_use_index = False
html_show_sourcelink = False
pygments_style = "a11y-high-contrast-light"
