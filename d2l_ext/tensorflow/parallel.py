"""Training on several processes by `tf.distribute.MultiWorkerMirroredStrategy`.

Every process keeps ordinary variables; the strategy adds up. (Keras 3's ``fit`` under it fails.)
"""

import json
import os

import tensorflow as tf

from d2l_ext.parallel.group import Group
from d2l_ext.parallel.trainer import HEAD, SharedTrainer
from d2l_ext.tensorflow.backend import BACKEND, TensorFlowTrainer, compiled, dense_gradients


class TensorFlowGroup(Group):
    """The workers of a strategy; each listens at its address."""

    def _join(self):
        task = {"type": "worker", "index": self.rank}
        cluster = {"worker": self.addresses}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
        options = tf.distribute.experimental.CommunicationOptions(
            timeout_seconds=self.timeout,
            implementation=tf.distribute.experimental.CommunicationImplementation.RING,
        )
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
        self._add = compiled(lambda vector: self.strategy.run(_all_reduce, (vector,)))

    def _sum(self, vectors):
        (vector,) = vectors
        return self._add(vector)

    def close(self) -> None:
        """As `Group.close`; the strategy's server ends with the process."""

    _array, _numpy = staticmethod(BACKEND.array), staticmethod(BACKEND.numpy)


def _all_reduce(vector):
    here = tf.identity(vector)  # on the replica's device, which the strategy wants to know
    return tf.distribute.get_replica_context().all_reduce("sum", here)


class TensorFlowSharedTrainer(SharedTrainer, TensorFlowTrainer):
    """The training step of several processes: a graph before the sum and one after it."""

    def __init__(self, model, lr, max_norm=None, pad=None, compile=None, *, group):
        super().__init__(model, lr, max_norm, pad, compile, group=group)
        options = {"autograph": False, "jit_compile": self.compile}
        self._sums_of = tf.function(self._share, **options)
        self._step_of = tf.function(self._common, **options)

    def _sums(self, place, inputs, labels, masks, tail):
        inputs, labels = self.model.cast(tuple(inputs)), self.model.cast(labels)
        self._check(inputs, labels)
        return self._sums_of(inputs, labels, masks, tail)

    def _share(self, inputs, labels, masks, tail):
        with tf.GradientTape() as tape, self.model.given(masks):
            # The mean times its number of tokens: the sum.
            total = self._compute(inputs, labels, training=True) * tail[0]
        gradients = dense_gradients(tape, total, self.model.variables)
        return tf.concat([total[None], tail, *(tf.reshape(g, [-1]) for g in gradients)], axis=0)

    def _apply(self, total, count, correction1, correction2):
        rates = [self.lr / correction1, correction2, count]
        return self._step_of(total, tf.constant(rates, self.model.dtype))

    def _common(self, total, rates):
        mean = total / rates[2]
        variables = self.model.variables
        parts = tf.split(mean[HEAD:], [v.shape.num_elements() for v in variables])
        self._adam([tf.reshape(g, v.shape) for g, v in zip(parts, variables, strict=True)], rates)
        return mean[0]


GROUP, SHARED_TRAINER = TensorFlowGroup, TensorFlowSharedTrainer
