"""Where probes may go: redirects, certificates, and addresses that are refused."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from types import MappingProxyType

import pytest
from aiohttp import web

from mahavishnu.integrations.multi_region.adapters.probes import HttpProbe, ProbeByKind
from mahavishnu.integrations.multi_region.adapters.probes.targets import TargetGuard
from mahavishnu.integrations.multi_region.core.model import ProbeKind
from mahavishnu.integrations.multi_region.core.targets import TargetRules
from mahavishnu.integrations.multi_region.ports.probe import Probe
from tests.adapters.probing import PATIENT, TLS, answers, http_server, says, tls_server


@pytest.fixture
async def probe() -> AsyncIterator[ProbeByKind]:
    asker = ProbeByKind()
    yield asker
    await asker.close()


# --- redirects -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_on_the_same_host_is_followed(probe: Probe, status: int) -> None:
    async def handle(request: web.Request) -> web.Response:
        if request.path == "/healthz":
            return web.Response(status=status, headers={"Location": "/elsewhere"})
        return web.Response(text=f"here with {request.headers['X-Probe']}")

    async with http_server(handle) as url:
        check = replace(PATIENT, body_contains="here with 1", headers=MappingProxyType({"X-Probe": "1"}))
        result = await probe.ask(url, check)
    assert (result.ok, result.reason) == (True, "")


@pytest.mark.parametrize(
    "location",
    ["http://other.example.test/x", "//other.example.test/x", "http://localhost:{port}/", "http://127.0.0.1:1/"],
)
async def test_a_redirect_to_another_host_or_port_fails_and_is_not_asked(probe: Probe, location: str) -> None:
    asked = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        assert request.transport is not None
        port = request.transport.get_extra_info("sockname")[1]
        return web.Response(status=302, headers={"Location": location.format(port=port)})

    async with http_server(handle) as url:
        result = await probe.ask(url, PATIENT)
    assert not result.ok
    assert result.reason.startswith("redirected off-host to http://"), result.reason
    assert asked == 1


async def test_a_redirect_to_another_scheme_fails(probe: Probe) -> None:
    async with http_server(says(status=302, Location="file:///etc/passwd")) as url:
        result = await probe.ask(url, PATIENT)
    assert (result.ok, result.reason) == (False, "redirected off-host to file:///etc/passwd")


async def test_the_fourth_redirect_fails(probe: Probe) -> None:
    async def step(request: web.Request) -> web.Response:
        left = int(request.path.strip("/"))
        return web.Response(status=302, headers={"Location": f"/{left - 1}"}) if left else web.Response()

    async with http_server(step) as url:
        three = await probe.ask(url, replace(PATIENT, path="/3"))
        four = await probe.ask(url, replace(PATIENT, path="/4"))
    assert three.ok
    assert (four.ok, four.reason) == (False, "redirected more than 3 times")


async def test_a_check_that_wants_a_redirect_gets_it(probe: Probe) -> None:
    async with http_server(says(status=302, Location="http://login.example.test/")) as url:
        result = await probe.ask(url, replace(PATIENT, statuses=((302, 302),)))
    assert (result.ok, result.reason) == (True, "")


async def test_a_foreign_location_is_cut_and_cleaned_before_it_is_shown(probe: Probe) -> None:
    async with http_server(says(status=302, Location="http://other.example.test/" + "a" * 500)) as url:
        result = await probe.ask(url, PATIENT)
    assert len(result.reason) < 120
    assert result.reason.isprintable()


# --- TLS -------------------------------------------------------------------------------------------


async def test_a_certificate_that_nobody_trusts_fails_when_verified_and_passes_when_not(probe: Probe) -> None:
    async with http_server(says(), tls_server()) as url:
        unverified = await probe.ask(url, replace(PATIENT, verify_tls=False))
        verified = await probe.ask(url, PATIENT)
    assert unverified.ok, unverified.reason
    assert not verified.ok
    assert verified.reason.startswith("certificate is not trusted: self-signed certificate"), verified.reason


async def test_a_certificate_is_trusted_when_told_to_and_only_for_its_names() -> None:
    trust = ssl.create_default_context(cafile=str(TLS / "cert.pem"))
    probe = ProbeByKind(trust=trust, lookup=answers(["127.0.0.1"]))
    async with http_server(says(), tls_server()) as url:
        own_name = await probe.ask(url, PATIENT)
        other_name = await probe.ask(url.replace("127.0.0.1", "region.example.test"), PATIENT)
        await probe.close()
    assert own_name.ok, own_name.reason
    assert other_name.reason.startswith("certificate is not trusted: "), other_name.reason


async def test_a_plain_server_behind_an_https_endpoint_fails(probe: Probe) -> None:
    async with http_server(says()) as url:
        result = await probe.ask(url.replace("http:", "https:"), PATIENT)
    assert result.reason.startswith("TLS failed: "), result.reason


# --- targets ---------------------------------------------------------------------------------------

METADATA = "target refused: 169.254.169.254 is a cloud metadata address"


@pytest.mark.parametrize("kind", list(ProbeKind))
@pytest.mark.parametrize(
    "host", ["169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518"]
)
async def test_a_forbidden_address_is_refused_in_every_spelling(probe: Probe, kind: ProbeKind, host: str) -> None:
    result = await probe.ask(f"http://{host}/latest", replace(PATIENT, kind=kind))
    assert (result.ok, result.reason) == (False, METADATA)


@pytest.mark.parametrize("kind", list(ProbeKind))
@pytest.mark.parametrize("found", [["169.254.169.254"], ["127.0.0.1", "169.254.169.254"]])
async def test_a_name_that_leads_to_a_forbidden_address_is_refused(kind: ProbeKind, found: list[str]) -> None:
    probe = ProbeByKind(lookup=answers(found))
    result = await probe.ask("http://region.example.test", replace(PATIENT, kind=kind))
    await probe.close()
    assert (result.ok, result.reason) == (False, METADATA)


@pytest.mark.parametrize("kind", list(ProbeKind))
async def test_an_ipv6_address_that_carries_a_forbidden_one_is_refused(probe: Probe, kind: ProbeKind) -> None:
    result = await probe.ask("http://[::ffff:169.254.169.254]/", replace(PATIENT, kind=kind))
    assert result.reason.startswith("target refused: ::ffff:a9fe:a9fe carries 169.254.169.254"), result.reason


@pytest.mark.parametrize("kind", list(ProbeKind))
async def test_a_name_that_changes_its_answer_gains_nothing(kind: ProbeKind) -> None:
    """The connection goes to an address that was judged: there is no second lookup to answer otherwise."""
    replies = iter([["127.0.0.1"], ["169.254.169.254"]])

    async def rebind(host: str, port: int) -> Sequence[str]:
        return next(replies)

    probe = ProbeByKind(lookup=rebind)
    async with http_server(says(Connection="close")) as url:
        endpoint = url.replace("127.0.0.1", "region.example.test")
        first = await probe.ask(endpoint, replace(PATIENT, kind=kind))
        await probe.close()
    assert first.ok, first.reason
    assert next(replies) == ["169.254.169.254"]  # never asked for


def test_a_socket_to_a_forbidden_address_is_never_opened() -> None:
    guard = TargetGuard()
    info = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("169.254.169.254", 80))
    with pytest.raises(OSError, match="is a cloud metadata address"):
        guard.open_socket(info)


class CarelessGuard(TargetGuard):
    """A guard that forgets to judge hosts as they are written."""

    def admit_host(self, host: str) -> None:
        return


async def test_the_connector_judges_each_address_for_itself() -> None:
    probe = HttpProbe(guard=CarelessGuard())
    result = await probe.ask("http://169.254.169.254/latest", PATIENT)
    await probe.close()
    assert (result.ok, result.reason) == (False, METADATA)


@pytest.mark.parametrize("kind", list(ProbeKind))
async def test_a_list_of_allowed_hosts_leaves_the_others_out(kind: ProbeKind) -> None:
    probe = ProbeByKind(TargetRules(allowed_hosts=frozenset({"region.example.test"})), lookup=answers(["127.0.0.1"]))
    check = replace(PATIENT, kind=kind)
    async with http_server(says()) as url:
        named = await probe.ask(url.replace("127.0.0.1", "region.example.test"), check)
        direct = await probe.ask(url, check)
        await probe.close()
    assert named.ok, named.reason
    assert direct.reason == "target refused: 127.0.0.1 is not on the list of allowed hosts"


@pytest.mark.parametrize("kind", list(ProbeKind))
async def test_a_scheme_that_is_not_allowed_is_refused(kind: ProbeKind) -> None:
    probe = ProbeByKind(TargetRules(schemes=frozenset({"https"})))
    result = await probe.ask("http://127.0.0.1:1", replace(PATIENT, kind=kind))
    await probe.close()
    assert result.reason == "target refused: the scheme 'http' is not allowed"
