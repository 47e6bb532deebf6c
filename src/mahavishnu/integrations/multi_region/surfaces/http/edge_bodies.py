"""What clients send to declare an edge, and what is answered of edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mahavishnu.integrations.multi_region.core.edge_reports import EdgeReport, HostSeen
from mahavishnu.integrations.multi_region.core.edges import DEFAULT_LISTEN, ClientPlace, EdgeSpec
from mahavishnu.integrations.multi_region.core.model import Region
from mahavishnu.integrations.multi_region.errors import UnknownRegionError
from mahavishnu.integrations.multi_region.surfaces.world import kinds
from mahavishnu.integrations.multi_region.surfaces.world.declared import declared_edge, edge_place_errors

from .bodies import Body, refuse_other_name
from .schemas import Answer


class NetworkBody(Body):
    """Clients known by their addresses."""

    name: kinds.Id = Field(description="What the network is called.")
    cidrs: kinds.Cidrs = Field(description="Its blocks of addresses, such as 192.0.2.0/24.")
    latitude: kinds.Latitude = Field(description="Degrees north.")
    longitude: kinds.Longitude = Field(description="Degrees east.")
    country: kinds.Country = Field(None, description="ISO 3166-1 alpha-2. Default: not known.")


class EdgeBody(Body):
    """An edge. Where it stands: at a declared region, or at latitude and longitude."""

    edge_id: kinds.OptionalId = Field(None, description="The id in the path; may be left out.")
    region: kinds.OptionalId = Field(None, description="Stands at the place of this declared region.")
    latitude: kinds.Latitude = Field(None, description="Degrees north, unless region is given.")
    longitude: kinds.Longitude = Field(None, description="Degrees east, unless region is given.")
    country: kinds.Country = Field(None, description="ISO 3166-1 alpha-2. Default: the region's.")
    listen: kinds.Listen = Field(DEFAULT_LISTEN, description="Address and port for clients.")
    client_place: kinds.PlaceOfClients = Field(ClientPlace.EDGE, description="How it tells where a client is.")
    networks: list[NetworkBody] = Field(default_factory=list, description="Clients by address, for cidr.")
    trusted_hops: kinds.Hops = Field(0, description="Proxies in front whose X-Forwarded-For is believed.")

    def edge(self, edge_id: str, regions: Mapping[str, Region]) -> EdgeSpec:
        """The edge of that id. Raises InvalidInputError, UnknownRegionError; what values mean is checked elsewhere."""
        refuse_other_name("edge_id", self.edge_id, edge_id)
        said = self.model_dump()
        for error in edge_place_errors(said):
            raise error
        region = None if self.region is None else regions.get(self.region)
        if self.region is not None and region is None:
            raise UnknownRegionError(self.region, list(regions))
        return declared_edge(edge_id, said, region)


class HostBody(BaseModel):
    """One region in one class, as an edge holds it. No ``Body``: a report has tens of thousands of these."""

    model_config = ConfigDict(extra="forbid", strict=True)

    region: str = Field(max_length=63, pattern="^[!-~]+$", description="The region's id.")
    ejected: bool = Field(False, description="Whether the edge took it out by what its own requests met.")
    failing: bool = Field(False, description="Whether the edge's own checks of it fail.")
    in_flight: int = Field(0, ge=0, description="Requests without an answer.")


class ReportBody(Body):
    """What an edge holds."""

    version: str = Field("", max_length=200, description="Of the proxy.")
    classes: dict[Annotated[str, Field(max_length=1000)], list[HostBody]] = Field(
        description="The regions of each class of traffic."
    )

    def report(self, edge_id: str) -> EdgeReport:
        """The report of that edge."""
        classes = {
            name: tuple(HostSeen(h.region, h.ejected, h.failing, h.in_flight) for h in hosts)
            for name, hosts in self.classes.items()
        }
        return EdgeReport(edge_id, classes, self.version)


class PointAnswer(Answer):
    """A place."""

    latitude: float = Field(description="Degrees north.")
    longitude: float = Field(description="Degrees east.")


class NetworkAnswer(Answer):
    """Clients known by their addresses."""

    name: str
    cidrs: list[str]
    point: PointAnswer
    country: str | None


class EdgeSpecAnswer(Answer):
    """An edge as declared."""

    point: PointAnswer = Field(description="Where it stands.")
    country: str | None
    listen: str = Field(description="Address and port for clients.")
    client_place: ClientPlace = Field(description="How it tells where a client is.")
    networks: list[NetworkAnswer]
    trusted_hops: int = Field(description="Proxies in front whose X-Forwarded-For is believed.")


class RejectionAnswer(Answer):
    """Part of a plan that an edge refused: the older version of it stays in force there."""

    resource: str
    reason: str
    generation: int = Field(description="Of the plan.")


class EdgeAnswer(Answer):
    """An edge that is declared or connected. What is null, nobody has told this server."""

    edge_id: str
    spec: EdgeSpecAnswer | None = Field(description="As declared; null: it is connected, and not declared.")
    connected: bool
    acknowledged: int | None = Field(description="Generation of the newest plan that it has taken over whole.")
    current: int | None = Field(description="Generation of the newest plan for it.")
    synced: bool | None = Field(description="Whether it has taken over the newest plan.")
    lagging: bool | None = Field(
        description="Whether it is declared and connected, and has not, not even but for parts that it refused."
    )
    rejections: list[RejectionAnswer] | None = Field(description="What it refused of the newest plan.")
    serving: bool | None = Field(
        description="False: it refused its listener and has none before it, so that no client reaches it."
    )
    rates: dict[str, float] | None = Field(description="Requests/s that it sent each region lately, answered or not.")
    in_flight: dict[str, int] | None = Field(description="Requests without an answer yet, by region.")
    astray: dict[str, list[str]] | None = Field(
        description="Regions that it holds where they do not belong, by class of requests."
    )
    version: str | None = Field(description="What the proxy says it is.")
    read_back_age_s: float | None = Field(
        description="Seconds since its agent last told what it really holds; null: none has."
    )
