"""Training on several processes by MXNet's parameter server, ps-lite, without its rounding.

A server adds up what the workers push. It does so in float32, whatever it is sent, but for a start
in about seven (measured; perhaps a flag that is never set). Sums are exact all the same, because
they are of whole numbers: with 2^e above every entry's absolute value, an entry is cut into pieces

    x = 2^e (k1 2^-b + k2 2^-2b + ...),  whole |k| <= 2^b,

with so few bits b that the sum of all processes' k is at most 2^24, up to which float32 has every
whole number. The order in which the server adds does not matter then.

The leader starts the server and the scheduler that ps-lite needs, as processes that end with it.
"""

import math
import os

import mxnet as mx
import numpy
from jaxtyping import Float
from mxnet import autograd
from mxnet import np as mnp

from d2l_ext.mxnet.backend import BACKEND, MXNetTrainer, clear_gradients
from d2l_ext.mxnet.layers import Array
from d2l_ext.parallel.group import Group
from d2l_ext.parallel.helper import start
from d2l_ext.parallel.hosts import parsed
from d2l_ext.parallel.trainer import HEAD, SharedTrainer

DIGITS = 24  # bits of float32
BITS = 80  # that an entry is cut into, at least: 12 for the tokens' number, 53 and some to spare
NOTHING, NO_NUMBER = -900, 1 << 12  # in the place of exponents: all is zero, or not all is finite
ROLES = ("scheduler", "server")


def num_bits(size: int) -> int:
    """Return how many bits a piece has so that sums of ``size`` pieces are exact in float32."""
    return DIGITS - math.ceil(math.log2(size))


def power(exponent: int) -> Float[Array, "1"]:
    """Return 2^exponent as an array: of a scalar, which it reads from text, MXNet loses bits."""
    return mnp.array([2.0**exponent], dtype="float64")


def pieces(vector: Float[Array, " n"], exponent: int, bits: int) -> Float[Array, "k n"]:
    """Cut a float64 vector (n,) with entries below 2^exponent into float32 pieces (k, n)."""
    rest, found = vector * power(-exponent), []
    for _ in range(-(-BITS // bits)):
        rest = rest * 2.0**bits
        found.append(mnp.rint(rest))
        rest = rest - found[-1]
    return mnp.stack(found).astype("float32")


def joined(found: Float[Array, "k n"], exponent: int, bits: int) -> Float[Array, " n"]:
    """Undo `pieces`, from sums of them."""
    found = found.astype("float64")
    total = mnp.zeros_like(found[0])
    for number in reversed(range(len(found))):  # the small ones first
        total = total + found[number] * power(exponent - bits * (number + 1))
    return total


class MXNetGroup(Group):
    """Workers of a parameter server, which runs on the leader's machine."""

    def _join(self):
        host, port = parsed(self.addresses[0])
        os.environ |= {
            "DMLC_ROLE": "worker",
            "DMLC_PS_ROOT_URI": host,
            "DMLC_PS_ROOT_PORT": str(port),
            "DMLC_NODE_HOST": parsed(self.addresses[self.rank])[0],
            "DMLC_NUM_SERVER": "1",
            "DMLC_NUM_WORKER": str(self.size),
        }
        self._helpers = []
        if self.leads:
            self._helpers = [start("d2l_ext.mxnet", {"DMLC_ROLE": role}) for role in ROLES]
        self._store = mx.kv.create("dist_sync")
        self._known = set()
        self._bits = num_bits(self.size)

    def _sum(self, vectors):
        (vector,) = vectors
        wide = vector.astype("float64")
        exponent = self._common_exponent(float(mnp.abs(wide).max()))
        if exponent is None:  # a number that is not finite, somewhere
            return mnp.full_like(vector, mnp.nan)
        found = self._add(pieces(wide, exponent, self._bits))
        return joined(found, exponent, self._bits).astype(vector.dtype)

    def _common_exponent(self, largest):
        """Return the least e with all processes' numbers below 2^e, or None if some is not finite.

        Exponents are whole numbers, each in a place of its own, so their sum is exact.
        """
        own = NO_NUMBER
        if math.isfinite(largest):
            own = max(math.frexp(largest)[1], NOTHING) if largest else NOTHING
        places = numpy.zeros(self.size, "float32")
        places[self._store.rank] = own
        exponent = int(self._add(mnp.array(places)).max().item())
        return None if exponent == NO_NUMBER else exponent

    def _add(self, numbers):
        """Return the sum of float32 arrays over all processes, in which pushed ones are used up."""
        key = str(numbers.shape)
        if key not in self._known:
            self._known.add(key)
            self._store.init(key, mnp.zeros_like(numbers))
        self._store.push(key, numbers)
        total = mnp.empty_like(numbers)
        self._store.pull(key, out=total)
        total.wait_to_read()
        return total

    def close(self) -> None:
        """As `Group.close`."""
        self._store = None  # which tells the scheduler
        for helper in self._helpers:
            helper.stdin.close()

    _array, _numpy = staticmethod(BACKEND.array), staticmethod(BACKEND.numpy)


class MXNetSharedTrainer(SharedTrainer, MXNetTrainer):
    """The training step of several processes."""

    def _sums(self, place, inputs, labels, masks, tail):
        params = self._params.values()
        clear_gradients(params)
        inputs, labels = self.model.cast(inputs), self.model.cast(labels)
        with autograd.record():
            # The mean times its number of tokens: the sum.
            total = self._training_loss(inputs, labels, masks) * float(tail[0])
        total.backward()
        head = numpy.concatenate([[total.item()], tail]).astype(tail.dtype)
        return mnp.concatenate([BACKEND.array(head), *(p.grad().reshape(-1) for p in params)])

    def _apply(self, total, count, correction1, correction2):
        mean, start = total / count, HEAD
        for param in self._params.values():
            g = param.grad()
            g[:] = mean[start : start + g.size].reshape(g.shape)
            start += g.size
        self._adam(correction1, correction2)
        return mean[0].item()


GROUP, SHARED_TRAINER = MXNetGroup, MXNetSharedTrainer
