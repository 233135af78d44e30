"""One thing that is begun and not finished, and several of one flow taken together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from somaflow.stages import STAGES


@dataclass(frozen=True)
class Unfinished:
    """What is not finished, and the flow that finishes it."""

    flow: str
    """For example `e5-inference`."""
    reason: str
    """What is missing, in words; for example `12 of 231 shards of hybrid are not committed`."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Of the flow, beside study and site; for example `retry_quarantined`."""
    evidence: str = ""
    """Stays the same as long as nothing has been done about it."""
    heals: bool = True
    """Whether running the flow may help; False: a person must mend something first."""
    since: float = 0.0
    """When it was noted that it does not heal, in unix seconds."""


def merge(found: Iterable[Unfinished]) -> list[Unfinished]:
    """One for each flow, in the order of the data."""
    by_flow: dict[str, list[Unfinished]] = {}
    for one in found:
        by_flow.setdefault(one.flow, []).append(one)
    return [_merge_flow(by_flow[flow]) for flow in STAGES if flow in by_flow]


def _merge_flow(parts: list[Unfinished]) -> Unfinished:
    parameters: dict[str, Any] = {}
    for part in parts:
        parameters |= part.parameters
    return Unfinished(
        flow=parts[0].flow,
        reason="; ".join(part.reason for part in parts),
        parameters=parameters,
        evidence="; ".join(part.evidence or part.reason for part in parts),
        heals=any(part.heals for part in parts),
        since=max(part.since for part in parts),
    )
