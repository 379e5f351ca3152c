"""Models that exist in several frameworks under one name, compared at the edges.

`families` says how each is made small, `cases` which edges there are, `running` runs a case in one
framework, and `search` finds what differs and the smallest case that shows it.
"""
