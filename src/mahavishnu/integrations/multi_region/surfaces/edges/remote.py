"""Tells a controller, over HTTP, what an edge that runs elsewhere really holds."""

from __future__ import annotations

from types import TracebackType
from typing import Self
from urllib.parse import quote

import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout

from mahavishnu.integrations.multi_region.core.edge_reports import EdgeReport, report_document

TELL_S = 5.0

log = structlog.get_logger(__name__)


class Reporter:
    """Sends reports to ``server`` (a URL) with ``token``. One that is lost is followed by the next."""

    def __init__(self, server: str, token: str | None) -> None:
        self._server = server
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http: ClientSession | None = None
        self._trouble: str | None = None

    async def __aenter__(self) -> Self:
        self._http = ClientSession(headers=self._headers, timeout=ClientTimeout(total=TELL_S))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def take(self, report: EdgeReport) -> None:
        """Send one; what is in the way is logged once."""
        assert self._http is not None
        url = f"{self._server}/v1/edges/{quote(report.edge_id, safe='')}/report"
        try:
            async with self._http.post(url, json=report_document(report)) as answer:
                self._note(None if answer.status < 300 else f"{answer.status} {(await answer.text())[:200]}")
        except (ClientError, OSError, TimeoutError) as err:
            self._note(str(err) or type(err).__name__)

    def _note(self, trouble: str | None) -> None:
        if trouble is not None and self._trouble is None:
            log.warning("controller does not take reports", server=self._server, error=trouble)
        self._trouble = trouble
