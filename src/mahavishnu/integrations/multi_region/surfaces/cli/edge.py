"""``edge run``: one Envoy on this machine that follows controllers elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mahavishnu.integrations.multi_region.core.address import parse_address
from mahavishnu.integrations.multi_region.errors import InvalidInputError

from .edges import EdgeId
from .options import AsJson, ServerUrl, TokenText

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.agent import Orders
    from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.bootstrap import EdgeTls

    from .client import Remote


def run(
    edge: EdgeId,
    controller: Annotated[
        list[str],
        typer.Option(
            "--controller",
            metavar="HOST:PORT",
            help="Where a controller serves edges; two or more, preferred first.",
        ),
    ],
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The edge's certificate (PEM); needed off this machine.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="The key that belongs to it.")] = None,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="Who signs controllers' certificates.")] = None,
    controller_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name that controllers' certificates hold.")
    ] = None,
    envoy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The program.  [default: on the PATH, else the wheel's]")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where it keeps what it last held.  [default: the user's state]")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Envoy's workers.")] = 1,
    drain: Annotated[float, typer.Option(min=0, max=3600, help="Seconds that requests may take when it ends.")] = 5.0,
    as_json: AsJson = False,
    server: ServerUrl = None,
    token: TokenText = None,
) -> None:
    """Run one edge: start Envoy, keep it running, stop it in good order on SIGTERM and Ctrl-C.

    It starts from what it last held while no controller answers. To --server (with an operator's token) it tells what
    it really holds; without one, a server of this machine and account is told; else nobody reads it back.

    Example: `multi-region edge run edge-eu --controller 10.0.0.1:18000 --controller 10.0.1.1:18000 --certificate
    edge.pem --key edge-key.pem --ca ca.pem --controller-name controllers.example.test`
    """
    import asyncio

    from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.agent import Orders
    from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.binary import find_envoy
    from mahavishnu.integrations.multi_region.adapters.sinks.logs import configure_logging
    from mahavishnu.integrations.multi_region.settings import state_dir

    from .client import connect, settings_with

    settings = settings_with({"server": server, "token": token, "envoy": None if envoy is None else str(envoy)})
    configure_logging(settings.log_level.value, settings.log_format.value)
    folder = state if state is not None else state_dir() / "edges"
    addresses = tuple(parse_address(text, "--controller") for text in controller)
    tls = _tls(certificate, key, ca, controller_name, addresses, folder / f"{edge}.tls")
    found = find_envoy(settings.envoy)
    orders = Orders(edge, addresses, found, folder, tls=tls, threads=threads, drain_s=drain)
    remote = connect(server, token)
    asyncio.run(_run(orders, remote if server is not None or remote.token is not None else None, as_json))


async def _run(orders: Orders, remote: Remote | None, as_json: bool) -> None:
    import asyncio
    import signal
    from contextlib import AsyncExitStack

    from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.agent import EdgeAgent
    from mahavishnu.integrations.multi_region.surfaces.edges.remote import Reporter

    from .output import say, show_json_line

    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with AsyncExitStack() as stack:
        reporter = None
        if remote is not None:
            reporter = await stack.enter_async_context(Reporter(remote.base, remote.token))
        agent = EdgeAgent(orders, None if reporter is None else reporter.take)
        stack.push_async_callback(agent.close)
        await agent.start()
        if not await _unless_told(agent.ready(), told):
            return
        if as_json:
            show_json_line({"event": "running", "edge": orders.edge_id, "pid": agent.pid, "alone": agent.on_its_own})
        else:
            say(f"{orders.edge_id} runs (pid {agent.pid})" + (", on what it last held" if agent.on_its_own else ""))
        await told.wait()


async def _unless_told(work: Coroutine[None, None, None], told: asyncio.Event) -> bool:
    """Wait for the work. False when somebody wants all of it to end before it is done; raises what it raises."""
    import asyncio

    doing, ending = asyncio.ensure_future(work), asyncio.ensure_future(told.wait())
    await asyncio.wait({doing, ending}, return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if doing.done():
        doing.result()
        return True
    doing.cancel()
    await asyncio.gather(doing, return_exceptions=True)
    return False


def _tls(
    certificate: Path | None,
    key: Path | None,
    ca: Path | None,
    name: str | None,
    controllers: tuple[tuple[str, int], ...],
    folder: Path,
) -> EdgeTls | None:
    """The files of mutual TLS, all or none; none only for controllers on this machine."""
    from mahavishnu.integrations.multi_region.adapters.dataplanes.envoy.bootstrap import EdgeTls

    from .listening import only_this_machine

    given = {"--certificate": certificate, "--key": key, "--ca": ca, "--controller-name": name}
    missing = [option for option, value in given.items() if value is None]
    if len(missing) == len(given):
        away = [host for host, _ in controllers if not only_this_machine(host)]
        if away:
            raise InvalidInputError("--controller", away[0], "127.0.0.1, or with --certificate, --key, --ca and a name")
        return None
    if certificate is None or key is None or ca is None or name is None:
        raise InvalidInputError(missing[0], None, f"all of {', '.join(given)}, or none of them")
    for option, path in (("--certificate", certificate), ("--key", key), ("--ca", ca)):
        if not path.is_file():
            raise InvalidInputError(option, str(path), "a file that is there")
    return EdgeTls(str(certificate.resolve()), str(key.resolve()), str(ca.resolve()), name, str(folder))
