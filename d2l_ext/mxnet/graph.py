"""Functions as one operator each: what the first call does is recorded, and done again at once."""

import contextlib
from collections.abc import Iterator

import mxnet as mx
from mxnet import autograd
from mxnet import np as mnp

from d2l_ext.mxnet.layers import Array
from d2l_ext.nested import leaves, nest

# In the place of an input's number: an output of a `Graph` that is none of its inputs.
COMPUTED = -1
MADE = ("zeros", "ones", "full", "arange")  # functions that need shapes and numbers only


class Graph:
    """A function of nested arrays that becomes one operator, which Python calls once.

    Its first call is recorded as for a gradient, and what was recorded is the graph. Its variables
    are the function's inputs, the parameters and the constants, told by their names. Other arrays,
    which the function makes itself, are not in the record; such a function stays as it is.

    Args:
        function: takes nested arrays, returns nested arrays.
        arrays: what else it uses, parameters and constants; their values may change in place.
    """

    flags = ()

    def __init__(self, function, arrays):
        self.function, self.arrays = function, list(arrays)
        self.recorded, self.operator = False, None

    def __call__(self, *inputs):
        """Run the function."""
        if not self.recorded:
            return self._record(inputs)
        if self.operator is None:
            return self.function(*inputs)
        given = leaves(inputs)
        variables = self._variables(given)
        computed = self.operator(*(variables[place] for place in self.places))
        computed = iter(computed if isinstance(computed, list) else [computed])
        return nest(lambda i: next(computed) if i == COMPUTED else given[i], self.outputs)

    def _variables(self, inputs):
        """List what may be a variable of the graph."""
        return [*self.arrays, *inputs]

    def _record(self, inputs):
        inputs = nest(lambda x: x.detach(), inputs)
        for x in leaves(inputs):
            x.attach_grad("null")
        with autograd.record(train_mode=False):
            outputs = self.function(*inputs)
        self._build(leaves(inputs), outputs)
        return nest(lambda y: y.detach(), outputs)

    def _build(self, inputs, outputs):
        self.recorded = True
        number = {id(x): i for i, x in enumerate(inputs)}  # an output may be an input as it is
        self.outputs = nest(lambda y: number.get(id(y), COMPUTED), outputs)
        computed = [autograd.get_symbol(y) for y in leaves(outputs) if id(y) not in number]
        graph = mx.sym.Group(computed).as_np_ndarray()
        place = {name(x): i for i, x in enumerate(self._variables(inputs))}
        if self._is_whole(set(graph.list_inputs()), place.keys(), inputs):
            self.places = [place[name] for name in graph.list_inputs()]
            self.operator = mx.nd.CachedOp(graph, self.flags)

    def _is_whole(self, used, known, inputs):
        """Return whether the graph, of the variables ``used``, does what the function does."""
        return used <= known


class LossGraph(Graph):
    """A loss in training, of inputs of one shape, as an operator that has a gradient.

    It is called where a gradient is recorded. As shapes don't change, arrays that the function
    makes of them alone are constants. An input that is not in the graph was read by Python, and may
    decide what is done next time; such a function stays as it is.

    Args:
        function, arrays: as in `Graph`.
        static: whether the operator keeps its memory between calls.
    """

    def __init__(self, function, arrays, static):
        super().__init__(function, arrays)
        self.flags = (("static_alloc", static), ("static_shape", static))

    def _record(self, inputs):
        for x in leaves(inputs):
            x.attach_grad("null")
        with made() as constants:
            loss = self.function(*inputs)
        self.arrays += constants
        self._build(leaves(inputs), loss)
        return loss

    def _is_whole(self, used, known, inputs):
        return used <= known and used >= {name(x) for x in inputs}


@contextlib.contextmanager
def made() -> Iterator[list[Array]]:
    """List the arrays that functions of `MADE` return, and let them be recorded."""
    arrays, functions = [], {name: getattr(mnp, name) for name in MADE}

    def listing(function):
        def call(*args, **options):
            array = function(*args, **options)
            array.attach_grad("null")
            arrays.append(array)
            return array

        return call

    for name, function in functions.items():
        setattr(mnp, name, listing(function))
    try:
        yield arrays
    finally:
        for name, function in functions.items():
            setattr(mnp, name, function)


def name(x: Array) -> str:
    """Return an array's name in a recorded graph."""
    return autograd.get_symbol(x).name
