"""One backend in a process of its own, which does what the parent asks.

`remote.Worker` starts it as ``python -m d2l_ext.agreement.running.worker NAME REQUESTS ANSWERS``
with two file descriptors. What a framework prints goes elsewhere and can't spoil an answer. The end
of the requests is the end of the process.
"""

import contextlib
import importlib
import platform
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from d2l_ext.agreement.cases.job import Job
from d2l_ext.agreement.running import wire
from d2l_ext.agreement.running.differences import measured
from d2l_ext.agreement.running.perform import perform
from d2l_ext.config import build
from d2l_ext.interface import backend
from d2l_ext.training.decoding import beam_search, greedy
from d2l_ext.training.generation import generate

AT_ONCE = 20  # so many jobs' compiled code is kept


class Service:
    """What a worker can do; each method is a request."""

    def __init__(self, name):
        self.backend = backend(name)
        self.model: Any = None
        self.trainer: Any = None
        self.jobs = 0

    def versions(self):
        """Return the versions of what computes."""
        return {
            "framework": self.backend.version,
            "python": platform.python_version(),
            "numpy": np.__version__,
        }

    def differences(self):
        """Return what the framework does unless told otherwise, and what it cannot do."""
        return measured(importlib.import_module(f"d2l_ext.{self.backend.name}.defaults"))

    def perform(self, job, dtype):
        """Do a job, given as a dictionary."""
        self.jobs += 1
        if self.jobs % AT_ONCE == 0:
            self.backend.forget()
        return perform(self.backend, Job(**job), dtype)

    def build(self, target, inputs, dtype, lr, max_norm, pad):
        """Make a model and its trainer."""
        self.backend.forget()
        module = build(self.backend.api, target)
        self.model = self.backend.model(module, *inputs, dtype=dtype)
        self.trainer = self.backend.trainer(self.model, lr, max_norm, pad)

    def start(self, parameters):
        """Start to train from parameters."""
        self.model.load_parameters(parameters)
        zeros = {name: np.zeros_like(p) for name, p in parameters.items()}
        self.trainer.load_state({"num_steps": 0, "m": zeros, "v": zeros})

    def step(self, batch, masks):
        """Do one training step; return the loss."""
        return self.trainer.step(batch, masks)

    def state(self):
        """Return the parameters and the optimiser's moments."""
        state = self.trainer.state()
        moments = {f"{kind} of {n}": x for kind in ("m", "v") for n, x in state[kind].items()}
        return self.model.parameters(), moments

    def translate(self, src, valid_lens, beam, options):
        """Decode greedily or by beam search; return what `Decoded` has of the best translation."""
        if beam is None:
            found = greedy(self.model, src, valid_lens, **options)
        else:
            found = beam_search(self.model, src, valid_lens, beam=beam, **options)
        return {name: value for name, value in vars(found).items() if name != "hypotheses"}

    def generate(self, prompts, max_steps):
        """Go on with texts greedily; return what `Decoded` has."""
        return vars(generate(self.model, prompts, max_steps))

    def answer(self, questions):
        """Return the most likely classes, and by how much they are; as `Decoded` has tokens."""
        logits = self.model(*questions)
        logits = logits.reshape(len(logits), -1, logits.shape[-1])  # (rows, answers, classes)
        best = np.sort(logits, axis=-1)
        margins = best[..., -1] - best[..., -2]
        return {"tokens": logits.argmax(axis=-1).tolist(), "margins": list(margins)}


def main(name, requests, answers):
    """Answer requests until there are no more."""
    service, sink = None, Connection(answers, readable=False)
    for request in _received(Connection(requests, writable=False)):
        try:
            service = service or Service(name)
            answer = {"value": getattr(service, request["do"])(*request["with"])}
        except Exception as error:  # of any kind: it is the parent that judges it
            answer = {
                "error": f"{type(error).__name__}: {error}",
                "traceback": traceback.format_exc(),
            }
        wire.send(sink, answer)


def _received(connection):
    """Yield messages until the other side is gone."""
    with contextlib.suppress(EOFError):
        while True:
            yield wire.receive(connection)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
