"""Training on several processes in plain NumPy: the leader adds up, in the order of the ranks."""

import numpy as np

from d2l_ext.parallel.group import Group
from d2l_ext.parallel.sockets import Star
from d2l_ext.parallel.trainer import HEAD, SharedTrainer
from d2l_ext.reference.backend import BACKEND, ReferenceTrainer


class ReferenceGroup(Group):
    """Sockets between the leader, who listens at the first address, and the others."""

    def _join(self):
        self._star = Star(self.rank, self.size, self.addresses[0], self.timeout)

    def _sum(self, vectors):
        (vector,) = vectors
        return self._star.sum(vector)

    def close(self) -> None:
        """As `Group.close`."""
        self._star.close()

    _array, _numpy = staticmethod(BACKEND.array), staticmethod(BACKEND.numpy)


class ReferenceSharedTrainer(SharedTrainer, ReferenceTrainer):
    """The training step of several processes."""

    def _sums(self, place, inputs, labels, masks, tail):
        self.model.prepare(True, masks)
        inputs, labels = self.model.cast(inputs), self.model.cast(labels)
        # The mean times its number of tokens: the sum.
        gradients, _ = self.model.gradients(lambda _: self._compute(inputs, labels) * tail[0])
        total = self._compute(inputs, labels) * tail[0]
        return np.concatenate([[total], tail, *(g.ravel() for g in gradients.values())])

    def _apply(self, total, count, correction1, correction2):
        shapes, mean = self.model.shapes(), total / np.asarray(count, total.dtype)
        ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes.values()])[:-1]
        parts = zip(shapes.items(), np.split(mean[HEAD:], ends), strict=True)
        gradients = {name: part.reshape(shape) for (name, shape), part in parts}
        self._update(self._clipped(gradients), correction1, correction2)
        return mean[0]


GROUP, SHARED_TRAINER = ReferenceGroup, ReferenceSharedTrainer
