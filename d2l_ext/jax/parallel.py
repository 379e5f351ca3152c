"""Training on several processes by `jax.distributed`, with gloo; a process may have more devices.

Every device has a share of the batch. ``XLA_FLAGS=--xla_force_host_platform_device_count=2`` makes
two of a CPU.
"""

import functools

import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from d2l_ext.jax.backend import BACKEND, JaxTrainer, _adam, _loss
from d2l_ext.parallel.group import Group
from d2l_ext.parallel.trainer import HEAD, SharedTrainer


class JaxGroup(Group):
    """The devices of all processes; the first address has the service by which they meet."""

    def _join(self):
        if self.size > 1:
            jax.config.update("jax_cpu_collectives_implementation", "gloo")
            jax.distributed.initialize(self.addresses[0], self.size, self.rank)
        self.mesh = Mesh(np.array(jax.devices()), ["share"])
        self.devices = jax.local_devices()
        self.shares = [i for i, device in enumerate(jax.devices()) if device in self.devices]
        self.num_shares = jax.device_count()
        same = NamedSharding(self.mesh, PartitionSpec())
        self._add = jax.jit(lambda rows: rows.sum(axis=0), out_shardings=same)

    def _sum(self, vectors):
        rows = [
            jax.device_put(vector[None], device)
            for vector, device in zip(vectors, self.devices, strict=True)
        ]
        shape = self.num_shares, vectors[0].shape[0]
        sharding = NamedSharding(self.mesh, PartitionSpec("share"))
        total = self._add(jax.make_array_from_single_device_arrays(shape, sharding, rows))
        return total.addressable_data(0).block_until_ready()

    def close(self) -> None:
        """As `Group.close`."""
        if self.size > 1:
            jax.distributed.shutdown()

    _array, _numpy = staticmethod(BACKEND.array), staticmethod(BACKEND.numpy)


@functools.partial(jax.jit, static_argnames=("structure", "pad"))
def _sums(structure, pad, params, inputs, labels, masks, draw, tail):
    def total_of(params):
        # The mean times its number of tokens: the sum.
        return _loss(structure, params, inputs, labels, pad, True, masks, draw) * tail[0]

    total, gradients = jax.value_and_grad(total_of)(params)
    return jnp.concatenate([total[None], tail, *(g.ravel() for g in jax.tree.leaves(gradients))])


@functools.partial(jax.jit, donate_argnames="state")
def _apply(state, total, count, max_norm, rate, correction):
    leaves, tree = jax.tree.flatten(state[0])
    mean = total / count
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
    parts = jnp.split(mean[HEAD:], ends)
    gradients = [g.reshape(p.shape) for g, p in zip(parts, leaves, strict=True)]
    return mean[0], _adam(state, jax.tree.unflatten(tree, gradients), max_norm, rate, correction)


class JaxSharedTrainer(SharedTrainer, JaxTrainer):
    """The training step of several processes; parameters are copied to each device."""

    def _sums(self, place, inputs, labels, masks, tail):
        model, device = self.model, self.group.devices[place]
        inputs, labels = model.cast(tuple(inputs)), model.cast(labels)
        self._check(inputs, labels)
        given = jax.device_put((model.params, inputs, labels, masks), device)
        return _sums(model.structure, self.pad, *given, next(model.draws), tail)

    def _apply(self, total, count, correction1, correction2):
        state = self.model.params, self._m, self._v
        rate = self.lr / correction1
        loss, state = _apply(state, total, count, self.max_norm, rate, correction2)
        self.model.params, self._m, self._v = state
        return loss


GROUP, SHARED_TRAINER = JaxGroup, JaxSharedTrainer
