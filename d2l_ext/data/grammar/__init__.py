"""The grammar that wrote the bundled corpus, see `corpus`; nothing else needs it."""
