"""The grammar that wrote the bundled corpus, see `corpus`; nothing else needs it.

``python -m tools.corpus`` writes the file that ships with the package.
"""
