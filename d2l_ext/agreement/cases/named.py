"""Cases by their names, as a command line gives them."""

from d2l_ext.agreement.cases import generated
from d2l_ext.agreement.cases.case import Case
from d2l_ext.agreement.cases.catalogue import catalogue, sample
from d2l_ext.agreement.cases.corners import ROOT, corners

GROUPS = {"all": catalogue, "sample": sample, ROOT: corners, "none": dict}


def named(value: str) -> list[Case]:
    """Return the cases of a group of `GROUPS`, of a name, or of the beginning of several.

    Raises:
        ValueError: no case is called or begins so.
    """
    if value in GROUPS:
        return list(GROUPS[value]().values())
    if value.startswith("generated/"):
        return [generated.case(value)]
    found = corners() if value.startswith(f"{ROOT}/") else catalogue()
    cases = (
        [found[value]] if value in found else [c for n, c in found.items() if n.startswith(value)]
    )
    if not cases:
        raise ValueError(f"{value!r} is none of {', '.join(GROUPS)}, and no case begins so")
    return cases
