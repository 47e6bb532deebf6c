"""The Probe port for real regions: each check is asked in its own protocol, under one set of rules for targets."""

from __future__ import annotations

import ssl

from mahavishnu.integrations.multi_region.core.model import HealthCheck, ProbeKind
from mahavishnu.integrations.multi_region.core.targets import TargetRules
from mahavishnu.integrations.multi_region.ports.probe import Probe, ProbeResult

from .http import HttpProbe, ProbeLimits
from .targets import Lookup, TargetGuard
from .tcp import TcpProbe

__all__ = ["HttpProbe", "ProbeByKind", "ProbeLimits", "TargetGuard", "TcpProbe"]


class ProbeByKind:
    """Asks over HTTP or TCP as the check says; both share the rules, the name lookups and their threads."""

    def __init__(
        self,
        rules: TargetRules | None = None,
        limits: ProbeLimits | None = None,
        *,
        lookup: Lookup | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        guard = TargetGuard(rules, lookup)
        self._probes: dict[ProbeKind, Probe] = {
            ProbeKind.HTTP: HttpProbe(limits, guard=guard, trust=trust),
            ProbeKind.TCP: TcpProbe(guard=guard),
        }

    async def ask(self, endpoint: str, check: HealthCheck) -> ProbeResult:
        """One question in the check's protocol, one result."""
        return await self._probes[check.kind].ask(endpoint, check)

    async def close(self) -> None:
        """Let go of connections and threads."""
        for probe in self._probes.values():
            await probe.close()
