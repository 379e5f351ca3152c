"""The known differences between frameworks, as formulas with options, in NumPy.

A `Formula` is what a piece of a model may compute; each of its options is one known difference. For
the same inputs and parameters, one choice of options gives what the first model computed and
another what the second did: the options in which the two choices differ are the cause, shown by the
numbers and not guessed from names. A relation needs no formula: it says how the second array
follows from the first.

* `piece`: what is to be explained, `formula`: what may explain it,
* `layers`, `recurrent`, `attention`, `between`, `loss`: the formulas, `relations`: the relations,
* `causes`: the names of the differences, `explain`: which one it is,
* `precision`, `islands`: arithmetic in bfloat16 and float16, and formulas that it spoils.
"""
