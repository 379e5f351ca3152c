"""Which cases differ, where, and the smallest of each that does."""

import dataclasses
import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from d2l_ext.agreement.judging.budget import FACTOR, unit
from d2l_ext.agreement.judging.error import error
from d2l_ext.files import replacing
from d2l_ext.interface import Arrays
from d2l_ext.porting.audit import running
from d2l_ext.porting.audit.cases import Case, cases
from d2l_ext.porting.audit.running import FRAMEWORKS, Refused

LEAST = 512 * unit("float32")  # what some dozen layers may round to


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a case came to in one framework, PyTorch's model in float64 being right.

    Attributes:
        framework: whose model is judged.
        state: "agrees", "differs", "refused" (an error where PyTorch gives values), "lenient" (the
            other way round), or "neither".
        place: the first output that differs.
        error: of the output that is farthest off.
        budget: 8 times the error of PyTorch's own float32, or what some layers round to.
        detail: the error's message, or the weights that found no place.
    """

    framework: str
    state: str
    place: str = ""
    error: float = 0.0
    budget: float = 0.0
    detail: str = ""


def judge(case: Case, frameworks: Iterable[str] = FRAMEWORKS) -> list[Finding]:
    """Run a case in PyTorch and in other frameworks, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            model = running.original(case, Path(folder))
        except Exception as problem:  # whatever a configuration may lead to
            detail = f"{type(problem).__name__}: {problem}"[:200]
            return [Finding(name, "neither", detail=detail) for name in frameworks]
        single = _tried(case, model, "torch")
        exact = _tried(case, model.double(), "torch")
        if isinstance(exact, Refused):  # some code has float32 in it
            exact = single
        return [_compared(case, Path(folder), name, single, exact) for name in frameworks]


def _tried(case: Case, model: Any, framework: str) -> Arrays | Refused:
    try:
        return running.run(case, model, framework)
    except Refused as refusal:
        return refusal


def _compared(
    case: Case, folder: Path, framework: str, single: Arrays | Refused, exact: Arrays | Refused
) -> Finding:
    try:
        model, lost = running.port(case, folder, framework)
        given = running.run(case, model, framework)
    except Exception as refusal:  # a loader raises what it likes
        state = "neither" if isinstance(exact, Refused) else "refused"
        return Finding(framework, state, detail=str(refusal).strip().split("\n")[0][:200])
    if isinstance(exact, Refused) or isinstance(single, Refused):
        return Finding(framework, "lenient", detail=str(exact))
    detail = f"no place for {', '.join(lost[:4])}" if lost else ""
    sizes, noise = {}, LEAST / FACTOR
    for name in _in_order(exact, given):
        own = error(single[name], exact[name])[0]
        if np.isfinite(own):  # PyTorch itself is not finite in one precision only
            sizes[name] = error(_fitting(given[name], exact[name]), exact[name])[0]
            noise = max(noise, own)
    budget = FACTOR * noise
    beyond = [name for name, size in sizes.items() if not size <= budget]
    if not sizes:
        return Finding(framework, "neither", detail="no output can be compared")
    state = "differs" if beyond else "agrees"
    return Finding(
        framework, state, beyond[0] if beyond else "", max(sizes.values()), budget, detail
    )


def _in_order(exact: Arrays, given: Arrays) -> list[str]:
    """List the outputs that both have, in the order of computation: layer by layer, then the last.

    Where the numbers of layers' outputs are not the same, they can't be told apart.
    """
    both = [name for name in exact if name in given]

    def count(arrays, kind):
        return sum(name.startswith(kind + "[") for name in arrays)

    kinds = [name.partition("[")[0] for name in both]
    both = [
        name
        for name, kind in zip(both, kinds, strict=True)
        if count(exact, kind) == count(given, kind)
    ]
    rank = {"encoder": 0, "hidden": 1, "decoder": 1, "last": 2, "pooler": 3}
    return sorted(both, key=lambda name: ("[" not in name, rank.get(name.partition("_")[0], 2)))


def _fitting(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Put channels first, where PyTorch has them."""
    if x.shape != like.shape and x.ndim == 4:
        for moved in (np.moveaxis(x, -1, 1), x.swapaxes(1, 2)):
            if moved.shape == like.shape:
                return moved
    return x.reshape(like.shape) if x.size == like.size else x


def reduced(case: Case, finding: Finding) -> tuple[Case, Finding]:
    """Return the smallest case that still differs, and how."""
    for smaller in _smaller(case):
        (found,) = judge(smaller, [finding.framework])
        if found.state == "differs":
            return reduced(smaller, found)
    return case, finding


def _smaller(case: Case) -> Iterator[Case]:
    if case.mask != "none":
        yield dataclasses.replace(case, mask="none")
    if case.batch > 1:
        yield dataclasses.replace(case, batch=1)
    if case.length > 2:
        yield dataclasses.replace(case, length=2)
        yield dataclasses.replace(case, length=case.length // 2)
    for name in case.settings:
        yield dataclasses.replace(
            case, settings={k: v for k, v in case.settings.items() if k != name}
        )


class Log:
    """What was found so far, in a JSON file, by case and framework.

    Args:
        path: of the file; what is there is kept.
    """

    def __init__(self, path: Path):
        self.path = path
        self.found: dict[str, list[dict[str, Any]]] = (
            json.loads(path.read_text()) if path.exists() else {}
        )

    def missing(self, case: Case, frameworks: Iterable[str]) -> list[str]:
        """List the frameworks in which a case has not run."""
        done = {one["framework"] for one in self.found.get(str(case), ())}
        return [name for name in frameworks if name not in done]

    def add(self, case: Case, findings: Iterable[Finding], smallest: Iterable[str] = ()) -> None:
        """Keep what a case came to, and the smallest cases that still differ."""
        reduced = iter(smallest)
        entries = self.found.setdefault(str(case), [])
        for one in findings:
            entry = dataclasses.asdict(one)
            entries.append(entry | ({"smallest": next(reduced)} if one.state == "differs" else {}))
        with replacing(self.path) as file:
            file.write(json.dumps(self.found, indent=1).encode())


def todo(family: str) -> list[Case]:
    """List the cases of a family."""
    settings = running.configuration(Case(family)).to_dict()
    return cases(family, settings)
