"""Training on several processes by `torch.distributed`, with gloo."""

import datetime
import os

import torch
from torch import distributed

from d2l_ext.parallel.group import Group
from d2l_ext.parallel.hosts import interface_of
from d2l_ext.parallel.trainer import HEAD, SharedTrainer
from d2l_ext.torch.backend import BACKEND, TorchTrainer


class TorchGroup(Group):
    """The default process group; the first address has the store by which processes meet."""

    def _join(self):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface_of(self.addresses[self.rank]))
        distributed.init_process_group(
            "gloo",
            init_method=f"tcp://{self.addresses[0]}",
            rank=self.rank,
            world_size=self.size,
            timeout=datetime.timedelta(seconds=self.timeout),
        )

    def _sum(self, vectors):
        (vector,) = vectors
        distributed.all_reduce(vector)
        return vector

    def close(self) -> None:
        """As `Group.close`."""
        distributed.destroy_process_group()

    _array, _numpy = staticmethod(BACKEND.array), staticmethod(BACKEND.numpy)


class TorchSharedTrainer(SharedTrainer, TorchTrainer):
    """The training step of several processes."""

    def _sums(self, place, inputs, labels, masks, tail):
        self.model.prepare(True, masks, keep_weights=False)
        inputs, labels = self.model.cast(inputs), self.model.cast(labels)
        # The mean times its number of tokens: the sum.
        total = self._loss_of(inputs, labels) * float(tail[0])
        params = list(self._params.values())
        gradients = torch.autograd.grad(total, params, allow_unused=True, materialize_grads=True)
        return torch.cat(
            [total.detach().view(1), torch.from_numpy(tail), *(g.flatten() for g in gradients)]
        )

    def _apply(self, total, count, correction1, correction2):
        params = list(self._params.values())
        with torch.no_grad():
            mean = total / count
            parts = mean[HEAD:].split([p.numel() for p in params])
            gradients = [g.view_as(p) for g, p in zip(parts, params, strict=True)]
            self._clip(gradients)
            self._update(params, gradients)
        return mean[0]


GROUP, SHARED_TRAINER = TorchGroup, TorchSharedTrainer
