"""The book: chapters, written once, become four notebooks and one web page with framework tabs.

* `chapter` reads a chapter and makes a notebook of it for a framework,
* `quote` takes the quoted definitions from the column's source,
* `execute` runs notebooks, `crosscheck` compares what the four printed,
* `page` makes the web page of the executed notebooks.

``python -m tools.book --help`` lists the commands.
"""
