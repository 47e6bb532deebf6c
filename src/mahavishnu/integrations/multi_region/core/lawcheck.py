"""What is unlawful now, or would be if facts changed: every region that holds or serves what it may not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .eligibility import in_force, lawful_objection
from .model import Fleet
from .request import Needs, Request, Use, needs_of


@dataclass(frozen=True, slots=True)
class Breach:
    """A region that may not hold or serve what it holds or serves.

    ``kind``: ``placement`` (``name`` is the data's id) or ``service``. ``new``: it is lawful now, and would become
    unlawful by the facts that were asked about.
    """

    kind: str
    name: str
    region_id: str
    why: str
    new: bool


def breaches(now: Fleet, then: Fleet, placements: Mapping[str, Sequence[str]]) -> list[Breach]:
    """Every breach in ``then``, which is ``now`` with other facts, or ``now`` itself; by kind, name and region.

    ``placements``: the regions that hold each piece of data, the primary first.
    """
    found = [*_of_placements(now, then, placements), *_of_services(now, then)]
    return sorted(found, key=lambda b: (b.kind, b.name, b.region_id))


def _of_placements(now: Fleet, then: Fleet, placements: Mapping[str, Sequence[str]]) -> Iterator[Breach]:
    for data_id, regions in placements.items():
        needs = needs_of(then, Request(data_id=data_id))
        for region_id, use in zip(regions, (Use.PRIMARY, *[Use.COPY] * len(regions)), strict=False):
            yield from _judged(now, then, "placement", data_id, region_id, replace(needs, use=use))


def _of_services(now: Fleet, then: Fleet) -> Iterator[Breach]:
    for name in dict.fromkeys([*then.services, *then.deployments]):
        needs = needs_of(then, Request(service=name))
        for region_id in then.regions if needs.deployed is None else needs.deployed:
            for breach in _judged(now, then, "service", name, region_id, replace(needs, service=None, deployment=None)):
                if breach.new or needs.deployed is not None:  # a service that may run anywhere is led past the others
                    yield breach


def _judged(now: Fleet, then: Fleet, kind: str, name: str, region_id: str, needs: Needs) -> Iterator[Breach]:
    if region_id not in then.regions:
        yield Breach(kind, name, region_id, "is not registered any more", False)
        return
    why = lawful_objection(then.regions[region_id], in_force(then, needs))
    if why is not None:
        was = lawful_objection(now.regions[region_id], in_force(now, needs))
        yield Breach(kind, name, region_id, why.text, was is None)
