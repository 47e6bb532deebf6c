"""What clients send about data: classes, placements, replication, transfers, checks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from mahavishnu.integrations.multi_region.core.placement import ReplicationStrategy
from mahavishnu.integrations.multi_region.core.vocabulary import MECHANISMS
from mahavishnu.integrations.multi_region.shell.placement import check_data_id
from mahavishnu.integrations.multi_region.surfaces.world import kinds

from .bodies import Body

_PLAIN = r"^[^\x00-\x1F\x7F-\x9F]*[^\s\x00-\x1F\x7F-\x9F][^\x00-\x1F\x7F-\x9F]*$"
DataId = Annotated[
    str,
    PlainValidator(check_data_id),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 512, "pattern": _PLAIN}),
]
_Strategy = Annotated[ReplicationStrategy, kinds.member(ReplicationStrategy)]
_Mechanism = Annotated[str | None, WithJsonSchema({"type": "string", "enum": list(MECHANISMS)})]
_MOST = 2**60


class ClassifyBody(Body):
    """Whether data is hot or cold."""

    data_id: DataId = Field(description="The data.")
    access_frequency: float | None = Field(
        None, ge=0, le=1e15, description="Accesses a day. Default: as they were reported."
    )
    mode: Literal["threshold", "cost"] = Field(
        "threshold", description="Compare with the setting, or with the reads a day at which a copy pays for itself."
    )
    egress_usd_per_gb: float | None = Field(None, ge=0, le=1e6, description="For `cost`. Default: by list prices.")
    storage_usd_per_gb_day: float | None = Field(None, ge=0, le=1e6, description="For `cost`. Default: a list price.")


class AccessBody(Body):
    """Accesses to data."""

    data_id: DataId = Field(description="The data.")
    region: kinds.OptionalId = Field(None, description="The region that they came to, when it is known.")
    n: float = Field(1, gt=0, le=1e12, description="How many.")


class PlaceBody(Body):
    """Where data is and what binds it; what is left out stays as it is."""

    data_id: DataId = Field(description="The data.")
    regions: list[kinds.Id] | None = Field(
        None, max_length=1000, description="The regions that hold it, the primary first; [] for none."
    )
    policy: kinds.OptionalId = Field(None, description="Id of the policy that binds it.")
    data_class: kinds.OptionalName = Field(None, description="What kind of data it is; rules may read it.")
    unbind: bool = Field(False, description="Take policy and class away.")


class ReplicateBody(Body):
    """Where copies of data shall be."""

    data_id: DataId = Field(description="The data.")
    strategy: _Strategy = Field(ReplicationStrategy.FULL, description="How many copies, and where.")
    size_bytes: int | None = Field(None, ge=0, le=_MOST, description="How large it is, for bytes and cost.")


class TransferBody(Body):
    """A transfer: to be decided on, or, with `decision_id`, to be recorded."""

    data_id: DataId = Field(description="The data.")
    from_region: kinds.Id = Field(description="Where it is copied from.")
    to_region: kinds.Id = Field(description="Where it is copied to.")
    bytes: int | None = Field(None, ge=0, le=_MOST, description="How much; needed to record it.")
    purpose: kinds.Name = Field(description="What for.")
    mechanism: _Mechanism = Field(None, description="What a transfer out of a jurisdiction rests on.")
    decision_id: kinds.OptionalName = Field(None, description="The decision that permitted it: record it.")


class CheckBody(Body):
    """What would be unlawful if facts were others."""

    facts: dict[str, Any] | None = Field(
        None, description="Facts to change, by country, provider and region; null takes a fact away."
    )
