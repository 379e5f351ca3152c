"""Which cases differ, where, and the smallest of each that does."""

import dataclasses
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from d2l_ext.agreement.judging.budget import FACTOR, unit
from d2l_ext.agreement.judging.error import error
from d2l_ext.files import replacing
from d2l_ext.interface import Arrays
from d2l_ext.porting.audit import running
from d2l_ext.porting.audit.cases import Case, cases, merged
from d2l_ext.porting.audit.running import FRAMEWORKS, Refused

LEAST = 512 * unit("float32")  # what some dozen layers may round to


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a case came to in one framework, PyTorch's model in float64 being right.

    Attributes:
        framework: whose model is judged.
        state: "agrees", "differs", "refused" (an error where PyTorch gives values), "lenient" (the
            other way round), "neither", or "unused": the option changes nothing in PyTorch.
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
        known = running.names(model)
        single = _tried(case, model, "torch", known)
        exact = _tried(case, model.double(), "torch", known)
        if isinstance(exact, Refused):  # some code has float32 in it
            exact = single
        return [_compared(case, Path(folder), name, known, single, exact) for name in frameworks]


def _tried(case: Case, model: Any, framework: str, known: Mapping[bytes, str]) -> Arrays | Refused:
    try:
        return running.run(case, model, framework, known)
    except Refused as refusal:
        return refusal


def _compared(
    case: Case,
    folder: Path,
    framework: str,
    known: Mapping[bytes, str],
    single: Arrays | Refused,
    exact: Arrays | Refused,
) -> Finding:
    try:
        model = running.port(case, folder, framework)
        lost = running.lost(model, known)
        given = running.run(case, model, framework, known)
    except Exception as refusal:  # a loader raises what it likes
        state = "neither" if isinstance(exact, Refused) else "refused"
        return Finding(framework, state, detail=str(refusal).strip().split("\n")[0][:200])
    if isinstance(exact, Refused) or isinstance(single, Refused):
        return Finding(framework, "lenient", detail=str(exact))
    detail = f"no place for {', '.join(lost[:4])}" if lost else ""
    errors, noise, scales = [], LEAST / FACTOR, _scales(exact)
    for name in _in_order(exact, given):
        scale = scales.get(name)
        own = error(single[name], exact[name], scale)[0]
        if np.isfinite(own):  # PyTorch itself is not finite in one precision only
            size = error(_fitting(given[name], exact[name]), exact[name], scale)[0]
            errors.append((name, size, own))
            noise = max(noise, own)
    if not errors:
        return Finding(framework, "neither", detail="no output can be compared")
    if case.how == "gradient":  # each is rounded by itself: some are sums of much larger terms
        judged = [(name, size, FACTOR * max(own, LEAST / FACTOR)) for name, size, own in errors]
    else:
        judged = [(name, size, FACTOR * noise) for name, size, _ in errors]
    beyond = [name for name, size, budget in judged if not size <= budget]
    _, size, budget = max(judged, key=lambda one: one[1] / one[2])
    state = "differs" if beyond else "agrees"
    return Finding(framework, state, beyond[0] if beyond else "", size, budget, detail)


def _scales(exact: Arrays) -> dict[str, float]:
    """Return what the errors of gradients are relative to that are zero but for rounding.

    A key's bias has such a gradient. It is the largest of all gradients.
    """
    sizes = {k: np.abs(x).max(initial=0) for k, x in exact.items() if k.startswith("gradient")}
    largest = max(sizes.values(), default=0.0)
    return {
        name: float(largest)
        for name, size in sizes.items()
        if size < 1e3 * unit(str(exact[name].dtype)) * largest
    }


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
    rank = {"encoder": 0, "hidden": 1, "decoder": 1, "last": 2, "logits": 2, "pooler": 3, "loss": 4}
    return sorted(both, key=lambda name: ("[" not in name, rank.get(name.partition("_")[0], 2)))


def _fitting(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Put channels first, where PyTorch has them."""
    if x.shape != like.shape and x.ndim == 4:
        for moved in (np.moveaxis(x, -1, 1), x.swapaxes(1, 2)):
            if moved.shape == like.shape:
                return moved
    return x.reshape(like.shape) if x.size == like.size else x


def judge_group(group: Sequence[Case], framework: str) -> Iterator[tuple[Case, Finding]]:
    """Judge cases of one option each: all at once, and half of them where that does not agree.

    An option that changes nothing in PyTorch where the others are, too, is judged alone.
    """
    shown = [case for case in group if _shows(case, group)]
    alone = [case for case in group if case not in shown]
    if len(group) == 1:
        if shown or not group[0].settings:
            yield group[0], judge(group[0], [framework])[0]
        else:
            yield group[0], Finding(framework, "unused")
        return
    if shown:
        (found,) = judge(merged(shown), [framework])
        if found.state == "agrees" or len(shown) == 1:
            yield from ((case, found) for case in shown)
        else:
            half = len(shown) // 2
            yield from judge_group(shown[:half], framework)
            yield from judge_group(shown[half:], framework)
    for case in alone:
        yield from judge_group([case], framework)


def _shows(case: Case, group: Sequence[Case]) -> bool:
    """Whether PyTorch's results are others where a case's option is left out of a group's."""
    rest = [other for other in group if other is not case]
    plain = dataclasses.replace(case, settings={})
    with_it, without = (_in_torch(one) for one in (merged(group), merged(rest or [plain])))
    return (
        isinstance(with_it, Refused)
        or isinstance(without, Refused)
        or with_it.keys() != without.keys()
        or any(not np.array_equal(with_it[name], without[name]) for name in with_it)
    )


def _in_torch(case: Case) -> Arrays | Refused:
    with tempfile.TemporaryDirectory() as folder:
        try:
            model = running.original(case, Path(folder))
            return running.run(case, model, "torch", running.names(model))
        except Exception as problem:  # whatever a configuration may lead to
            return Refused(str(problem))


def reduced(case: Case, finding: Finding) -> tuple[Case, Finding]:
    """Return the smallest case that still differs, and how."""
    for smaller in _smaller(case):
        (found,) = judge(smaller, [finding.framework])
        if found.state == "differs":
            return reduced(smaller, found)
    return case, finding


def _smaller(case: Case) -> Iterator[Case]:
    if case.mask == "all paddings":
        for mask in ("right padding", "left padding", "a gap"):
            yield dataclasses.replace(case, mask=mask)
    elif case.mask != "none":
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
    return cases(family, running.configuration(Case(family)).to_dict())
