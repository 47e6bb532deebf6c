"""The servers for edges over real sockets: who may speak, what arrives, what is told of it."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

import grpc
import grpc.aio
import pytest
from structlog.testing import capture_logs

from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.exchange import Reply
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.frames import Frames
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.proto import message
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.resources import (
    CLUSTER,
    ROUTES,
    Resource,
    Snapshot,
)
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.server import AdsServer
from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.tls import ServerTls
from mahavishnu.integrations.multi_region.errors import InvalidInputError, UnavailableError
from mahavishnu.integrations.multi_region.ports.dataplane import Acknowledged, Connected, Rejected, Rejection
from tests.adapters.envoy.ads_client import snapshot
from tests.adapters.envoy.grpc_client import DELTA, SOTW, serving, stream, until, versions
from tests.adapters.envoy.tls_files import make_authority, make_certificate

LOCAL = "127.0.0.1:0"


def clusters(generation: int, **bodies: str) -> Mapping[str, Snapshot]:
    """A snapshot of clusters, by body, for one edge called e1."""
    return {"e1": snapshot(generation, clusters=bodies, endpoints=[])}


# --- what arrives ----------------------------------------------------------------------------------


async def test_delta_over_a_socket() -> None:
    server = AdsServer(LOCAL)
    async with serving(server) as heard, stream(server.address, "e1", DELTA) as client:
        server.publish(clusters(1, a="1", b="1"))
        await client.ask(CLUSTER)
        first = await client.take()
        assert first.type_url == CLUSTER
        assert {one.name: one.resource.value for one in first.resources} == {"a": b"1", "b": b"1"}
        assert {one.resource.type_url for one in first.resources} == {CLUSTER}
        await until(lambda: Acknowledged("e1", 1) in heard)
        server.publish(clusters(2, a="2"))
        second, third = await client.take(), await client.take()
        assert (set(versions(second)), list(second.removed_resources)) == ({"a"}, [])
        assert versions(second)["a"] != versions(first)["a"]
        assert (set(versions(third)), list(third.removed_resources)) == (set(), ["b"])
        assert len({first.nonce, second.nonce, third.nonce}) == 3
        await until(lambda: Acknowledged("e1", 2) in heard)
        assert [one for one in heard if isinstance(one, Acknowledged)] == [Acknowledged("e1", 1), Acknowledged("e1", 2)]


async def test_state_of_the_world_over_a_socket() -> None:
    server = AdsServer(LOCAL)
    async with serving(server) as heard, stream(server.address, "e1", SOTW) as client:
        server.publish(clusters(1, a="1", b="1"))
        await client.ask(CLUSTER)
        first = await client.take()
        assert [(one.type_url, one.value) for one in first.resources] == [(CLUSTER, b"1"), (CLUSTER, b"1")]
        await until(lambda: Acknowledged("e1", 1) in heard)
        server.publish(clusters(2, a="1"))
        second = await client.take()
        assert len(second.resources) == 1
        assert second.version_info != first.version_info
        await until(lambda: Acknowledged("e1", 2) in heard)


@pytest.mark.parametrize("kind", [DELTA, SOTW])
async def test_the_same_again_is_not_sent_and_counts_as_taken_over(kind: str) -> None:
    server = AdsServer(LOCAL)
    async with serving(server) as heard, stream(server.address, "e1", kind) as client:
        server.publish(clusters(1, a="1"))
        await client.ask(CLUSTER)
        await client.take()
        await until(lambda: Acknowledged("e1", 1) in heard)
        server.publish(clusters(2, a="1"))
        assert heard[-1] == Acknowledged("e1", 2)
        server.publish(clusters(3, a="other"))
        assert (await client.take()).resources
        await until(lambda: server.states()["e1"].acknowledged == 3)


async def test_a_refusal_is_told_and_cleared_by_a_good_version() -> None:
    server = AdsServer(LOCAL)
    async with serving(server) as heard, stream(server.address, "e1") as client:
        server.publish(clusters(1, a="1", b="bad"))
        await client.ask(CLUSTER)
        both = await client.read()
        await client.ask(CLUSTER, response_nonce=both.nonce, error_detail={"code": 3, "message": "b: cannot"})
        assert list(versions(await client.take())) == ["a"]
        alone = await client.read()
        assert list(versions(alone)) == ["b"]
        await client.ask(CLUSTER, response_nonce=alone.nonce, error_detail={"code": 3, "message": "b: cannot"})
        rejection = Rejection("Cluster b", "b: cannot", 1)
        await until(lambda: Rejected("e1", rejection) in heard)
        state = server.states()["e1"]
        assert (state.rejections, state.acknowledged) == ((rejection,), None)
        server.publish(clusters(2, a="1", b="good"))
        await client.take()
        await until(lambda: server.states()["e1"].acknowledged == 2)
        assert server.states()["e1"].rejections == ()


async def test_each_edge_is_told_its_own() -> None:
    server = AdsServer(LOCAL)
    async with serving(server), stream(server.address, "e1") as one, stream(server.address, "e2") as two:
        server.publish({"e1": snapshot(1, clusters=["a"]), "e2": snapshot(1, clusters=["b"])})
        await one.ask(CLUSTER)
        await two.ask(CLUSTER)
        assert [list(versions(await client.read())) for client in (one, two)] == [["a"], ["b"]]


async def test_a_part_that_could_not_be_told_is_an_event_once_and_keeps_the_edge_behind() -> None:
    server, problem = AdsServer(LOCAL), Rejection("cluster x", "not an address", 1)
    async with serving(server) as heard, stream(server.address, "e1") as client:
        server.publish(clusters(1, a="1"), {"e1": (problem,)})
        server.publish(clusters(2, a="1"), {"e1": (problem,)})
        await client.ask(CLUSTER)
        await client.take()
        await until(lambda: Connected("e1", True) in heard)
        assert [one for one in heard if isinstance(one, Rejected)] == [Rejected("e1", problem)]
        assert server.states()["e1"].rejections == (problem,)
        server.publish(clusters(3, a="1"))
        await until(lambda: server.states()["e1"].acknowledged == 3)
        assert Acknowledged("e1", 1) not in heard


async def test_a_remark_is_an_event_once_and_keeps_no_edge_behind() -> None:
    server, remark = AdsServer(LOCAL), Rejection("api", "protocol: HTTP/1.1 is spoken", 1)
    async with serving(server) as heard, stream(server.address, "e1") as client:
        server.declare(["e1"])
        for generation in (1, 2):
            server.offer("e1", clusters(generation, a="1")["e1"], remarks=(remark,))
        await client.ask(CLUSTER)
        await client.take()
        await until(lambda: server.states()["e1"].acknowledged == 2)
        assert [one for one in heard if isinstance(one, Rejected)] == [Rejected("e1", remark)]
        assert server.states()["e1"].rejections == (remark,)


# --- who may speak ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [DELTA, SOTW])
async def test_an_edge_that_is_not_declared_is_refused(kind: str) -> None:
    server = AdsServer(LOCAL)
    async with serving(server), stream(server.address, "stranger", kind) as client:
        server.publish(clusters(1, a="1"))
        await client.ask(CLUSTER)
        with pytest.raises(grpc.aio.AioRpcError, match="stranger") as refused:
            await client.read()
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        assert set(server.states()) == {"e1"}


async def test_a_stranger_that_asks_again_and_again_is_logged_once() -> None:
    server = AdsServer(LOCAL)
    async with serving(server):
        server.publish(clusters(1, a="1"))
        with capture_logs() as lines:
            for name in ("stranger", "stranger", "other"):
                async with stream(server.address, name) as client:
                    await client.ask(CLUSTER)
                    with pytest.raises(grpc.aio.AioRpcError):
                        await client.read()
        assert [line["edge_id"] for line in lines] == ["stranger", "other"]


async def test_an_edge_that_names_itself_not_at_all_is_refused() -> None:
    server = AdsServer(LOCAL)
    async with serving(server), stream(server.address, "") as client:
        await client.ask(CLUSTER)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.read()
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_before_the_first_publication_edges_wait() -> None:
    server = AdsServer(LOCAL)
    async with serving(server) as heard, stream(server.address, "e1") as one, stream(server.address, "e2") as two:
        await one.ask(CLUSTER)
        await two.ask(CLUSTER)
        await until(lambda: {Connected("e1", True), Connected("e2", True)} <= set(heard))
        server.publish(clusters(1, a="1"))
        assert list(versions(await one.read())) == ["a"]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await two.read()
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        await until(lambda: Connected("e2", False) in heard)


async def test_an_edge_that_is_no_longer_declared_loses_its_stream() -> None:
    server = AdsServer(LOCAL)
    async with serving(server), stream(server.address, "e1") as client:
        server.publish(clusters(1, a="1"))
        await client.ask(CLUSTER)
        await client.take()
        server.publish({})
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.read()
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        assert server.states() == {}


async def test_states_say_who_is_connected_and_what_it_is() -> None:
    server = AdsServer(LOCAL)
    async with serving(server) as heard:
        server.publish(clusters(1, a="1"))
        assert not server.states()["e1"].connected
        async with stream(server.address, "e1") as client:
            await client.ask(CLUSTER)
            await client.take()
            await until(lambda: server.states()["e1"].acknowledged == 1)
            assert (server.states()["e1"].connected, server.states()["e1"].version) == (True, "1.0.0")
        await until(lambda: Connected("e1", False) in heard)
        state = server.states()["e1"]
        assert (state.connected, state.acknowledged, state.version) == (False, 1, "1.0.0")


async def test_a_second_stream_of_an_edge_takes_over_and_the_first_may_die() -> None:
    server = AdsServer(LOCAL)
    async with serving(server) as heard:
        server.publish(clusters(1, a="1"))
        async with stream(server.address, "e1") as old:
            await old.ask(CLUSTER)
            await old.take()
            async with stream(server.address, "e1") as new:
                await new.ask(CLUSTER)
                await new.take()
                old.call.cancel()
                server.publish(clusters(2, a="2"))
                await new.take()
                await until(lambda: server.states()["e1"].acknowledged == 2)
        await until(lambda: Connected("e1", False) in heard)
        assert heard.count(Connected("e1", True)) == 1


async def test_stop_ends_streams_in_order() -> None:
    server = AdsServer(LOCAL)
    async with serving(server), stream(server.address, "e1") as client:
        server.publish(clusters(1, a="1"))
        await client.ask(CLUSTER)
        await client.take()
        await server.stop()
        assert await client.read() is grpc.aio.EOF


async def test_a_port_that_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = AdsServer(f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(UnavailableError, match="cannot listen for edges"):
            await server.start()


# --- TLS -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listen", ["0.0.0.0:18000", "10.0.0.1:18000", "[::]:18000", "controller.example.test:18000"])
def test_off_loopback_there_is_no_serving_without_tls(listen: str) -> None:
    with pytest.raises(InvalidInputError, match="xds_tls"):
        AdsServer(listen)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.8.8.8:1", "localhost:18000", "[::1]:18000"])
def test_on_loopback_there_is(listen: str) -> None:
    assert AdsServer(listen).states() == {}


@pytest.mark.parametrize("listen", ["127.0.0.1", ":1", "127.0.0.1:x", "127.0.0.1:70000", ""])
def test_listen_is_host_and_port(listen: str) -> None:
    with pytest.raises(InvalidInputError, match=r"xds.listen"):
        AdsServer(listen)


@pytest.fixture(scope="module")
def tls_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a controller, edges by SAN and by common name, and one that another authority signed."""
    folder = tmp_path_factory.mktemp("tls")
    make_authority(folder)
    make_authority(folder, "other-ca")
    make_certificate(folder, "controller", alt="DNS:controller")
    make_certificate(folder, "by-san", alt="DNS:e1")
    make_certificate(folder, "e1")
    make_certificate(folder, "stranger", alt="DNS:e1", authority="other-ca")
    return folder


def tls_of(folder: Path, *, check_names: bool = True) -> ServerTls:
    """The controller's files."""
    return ServerTls(folder / "controller.pem", folder / "controller.key", folder / "ca.pem", check_names)


def credentials(folder: Path, name: str | None) -> grpc.ChannelCredentials:
    """What a client shows; None: no certificate."""
    ca = (folder / "ca.pem").read_bytes()
    if name is None:
        return grpc.ssl_channel_credentials(ca)
    return grpc.ssl_channel_credentials(
        ca, (folder / f"{name}.key").read_bytes(), (folder / f"{name}.pem").read_bytes()
    )


@pytest.mark.parametrize("name", ["by-san", "e1"])
async def test_a_certificate_lets_its_edge_in(tls_folder: Path, name: str) -> None:
    server = AdsServer(LOCAL, tls_of(tls_folder))
    async with serving(server), stream(server.address, "e1", DELTA, credentials(tls_folder, name)) as client:
        server.publish(clusters(1, a="1"))
        await client.ask(CLUSTER)
        assert list(versions(await client.take())) == ["a"]


@pytest.mark.parametrize("name", [None, "stranger"])
async def test_without_a_certificate_of_the_authority_there_is_no_stream(tls_folder: Path, name: str | None) -> None:
    server = AdsServer(LOCAL, tls_of(tls_folder))
    async with serving(server) as heard, stream(server.address, "e1", DELTA, credentials(tls_folder, name)) as client:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.ask(CLUSTER)
            await client.read()
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert heard == []


async def test_a_certificate_lets_no_other_edge_in_unless_told_otherwise(tls_folder: Path) -> None:
    worlds = {"e1": snapshot(1, clusters=["a"]), "e2": snapshot(1, clusters=["b"])}
    strict, loose = AdsServer(LOCAL, tls_of(tls_folder)), AdsServer(LOCAL, tls_of(tls_folder, check_names=False))
    async with serving(strict), stream(strict.address, "e2", DELTA, credentials(tls_folder, "e1")) as client:
        strict.publish(worlds)
        await client.ask(CLUSTER)
        with pytest.raises(grpc.aio.AioRpcError, match="stands for e1, not for e2") as refused:
            await client.read()
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    async with serving(loose), stream(loose.address, "e2", DELTA, credentials(tls_folder, "e1")) as client:
        loose.publish(worlds)
        await client.ask(CLUSTER)
        assert list(versions(await client.read())) == ["b"]


async def test_files_that_are_replaced_count_from_the_next_connection(tls_folder: Path, tmp_path: Path) -> None:
    for name in ("controller.pem", "controller.key", "ca.pem"):
        (tmp_path / name).write_bytes((tls_folder / name).read_bytes())
    server = AdsServer(LOCAL, tls_of(tmp_path))
    async with serving(server):
        server.publish(clusters(1, a="1"))
        (tmp_path / "ca.pem").write_text("half a file")  # not taken; the last good stays
        async with stream(server.address, "e1", DELTA, credentials(tls_folder, "by-san")) as client:
            await client.ask(CLUSTER)
            assert list(versions(await client.read())) == ["a"]
        (tmp_path / "ca.pem").write_bytes((tls_folder / "other-ca.pem").read_bytes())
        async with stream(server.address, "e1", DELTA, credentials(tls_folder, "stranger")) as client:
            await client.ask(CLUSTER)
            assert list(versions(await client.read())) == ["a"]


@pytest.mark.parametrize(
    ("field", "content", "named"),
    [
        ("certificate", None, "xds_tls.certificate"),
        ("key", None, "xds_tls.key"),
        ("client_ca", None, "xds_tls.client_ca"),
        ("certificate", "not a certificate", "xds_tls.certificate"),
        ("client_ca", "not a certificate", "xds_tls.client_ca"),
        ("key", "e1.key", "xds_tls.certificate"),
    ],
)
def test_tls_files_that_will_not_do_are_named(
    tls_folder: Path, tmp_path: Path, field: str, content: str | None, named: str
) -> None:
    files = {"certificate": "controller.pem", "key": "controller.key", "client_ca": "ca.pem"}
    for name, source in files.items():
        (tmp_path / name).write_bytes((tls_folder / source).read_bytes())
    if content is None:
        (tmp_path / field).unlink()
    else:
        found = tls_folder / content
        (tmp_path / field).write_text(found.read_text() if found.is_file() else content)
    with pytest.raises(InvalidInputError) as refused:
        AdsServer("0.0.0.0:0", ServerTls(tmp_path / "certificate", tmp_path / "key", tmp_path / "client_ca"))
    assert refused.value.field == named


# --- bytes -----------------------------------------------------------------------------------------


def test_long_names_and_bodies_are_framed_as_protobuf_frames_them() -> None:
    found = tuple(Resource(ROUTES, "n" * size, b"\0" * size * 300, f"v{size}") for size in (1, 127, 128, 300))
    reply = Reply(ROUTES, "7", "version", found, ("gone", "ü"))
    delta = message("envoy.service.discovery.v3.DeltaDiscoveryResponse").FromString(Frames().encode(reply, delta=True))
    assert [(one.name, one.version, one.resource.value) for one in delta.resources] == [
        (one.name, one.version, one.body) for one in found
    ]
    assert (delta.nonce, delta.system_version_info, delta.type_url) == ("7", "version", ROUTES)
    assert list(delta.removed_resources) == ["gone", "ü"]
    sotw = message("envoy.service.discovery.v3.DiscoveryResponse").FromString(Frames().encode(reply, delta=False))
    assert [(one.type_url, one.value) for one in sotw.resources] == [(ROUTES, one.body) for one in found]
    assert (sotw.nonce, sotw.version_info, sotw.type_url) == ("7", "version", ROUTES)
