"""Whether the four frameworks agree.

* `cases`: what is compared,
* `running`: how each framework comes to compute it,
* `judging`: what is exact, how far a framework is from it, and how far it may be,
* `reporting`: what was found.

`comparison` leads a case through these rooms, in their order, and none knows a later one.
`pytest_plugin` is for readers' own code.
"""
