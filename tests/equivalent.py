"""Mutations that no case of the catalogue reports: why they change nothing that is compared.

``equivalent.json`` has ``{column: {reason: [mutation]}}``; a reason is one of `REASONS`.
"""

import functools
import json
from pathlib import Path

REASONS = {
    "default": "what is left out is the default",
    "rank": "the array always has so many axes that both name the same one",
    "pair": "keys and values, or the states of layers, have the same size there",
    "way": "chooses between ways to the same numbers: fused or not, with room or without, views",
    "value": "another expression of the same value, or of one that is not used",
    "draws": "the initial parameters and the framework's own masks, which no case compares",
    "device": "matters on another device than the CPU",
    "message": "an error, a warning or how it is told",
}
FILE = Path(__file__).with_suffix(".json")


@functools.cache
def explained(column):
    """Return ``{mutation: reason}`` of a column."""
    found = json.loads(FILE.read_text()).get(column, {}) if FILE.exists() else {}
    assert found.keys() <= REASONS.keys(), f"{FILE.name}: {found.keys() - REASONS.keys()}"
    return {name: reason for reason, names in found.items() for name in names}
