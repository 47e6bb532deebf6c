"""The specification's examples, run as they stand: one class per component, in the order of the page.

Names, arguments, assertions and printed texts are the page's. Its endpoints do not exist, so that regions serve at the
score their owner states; the figures of the regions it only names are chosen so that the answers it shows come out.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from mahavishnu.integrations.multi_region import (
    CloudProvider,
    ComplianceFramework,
    DataLocalityOptimizer,
    DataPlacementPolicy,
    FailoverRefusedError,
    FailureHandler,
    MultiRegionAPI,
    MultiRegionSystem,
    NoEligibleRegionError,
    Region,
    RegionAwareRouter,
    RegionCapabilities,
    RegionManager,
    RoutingStrategy,
    Settings,
    create_multi_region_system,
)
from mahavishnu.integrations.multi_region.errors import RefusedError, SettingsError, UnknownRegionError

BERLIN = {"latitude": 52.5, "longitude": 13.4}


def us_east_1() -> Region:
    """The region that the page registers first, word for word."""
    return Region(
        region_id="us-east-1",
        name="US East (N. Virginia)",
        provider=CloudProvider.AWS,
        location="Northern Virginia",
        latitude=37.4,
        longitude=-77.5,
        endpoint="https://us-east-1.api.example.com",
        health_score=95.0,
        current_capacity=30,
    )


def us_west_2() -> Region:
    """The page's least used and cheapest region: 20 % in use, 0.9 times the reference price."""
    return Region(
        region_id="us-west-2",
        name="US West (Oregon)",
        provider=CloudProvider.AWS,
        location="Oregon",
        latitude=45.8,
        longitude=-119.7,
        endpoint="https://us-west-2.api.example.com",
        health_score=90.0,
        current_capacity=20,
        cost_multiplier=0.9,
    )


def eu_west_1() -> Region:
    """The page's European region, as its configuration has it, with a score and some load."""
    return Region(
        region_id="eu-west-1",
        name="Europe (Ireland)",
        provider=CloudProvider.AWS,
        location="Ireland",
        latitude=53.3,
        longitude=-6.2,
        endpoint="https://eu-west-1.api.example.com",
        capabilities=RegionCapabilities(compliance=[ComplianceFramework.GDPR], max_capacity=100),
        health_score=92.0,
        current_capacity=40,
        cost_multiplier=1.1,
    )


def eu_data_policy() -> DataPlacementPolicy:
    """The policy under "GDPR Compliance"."""
    return DataPlacementPolicy(
        name="EU Data Policy",
        compliance_requirements=[ComplianceFramework.GDPR],
        allowed_regions=["eu-west-1", "eu-central-1"],
        locality_level="strict",  # type: ignore[arg-type]  # the page writes plain strings, and they are taken
        cross_region_transfer=False,
    )


async def register_all(manager: RegionManager) -> None:
    """The three regions that the page's examples speak of."""
    for region in (us_east_1(), us_west_2(), eu_west_1()):
        await manager.register_region(region)


@pytest.fixture
async def manager() -> AsyncIterator[RegionManager]:
    manager = RegionManager()
    await manager.initialize()
    await register_all(manager)
    yield manager
    await manager.close()


@pytest.fixture
def router(manager: RegionManager) -> RegionAwareRouter:
    return RegionAwareRouter(region_manager=manager)


@pytest.fixture
def optimizer(manager: RegionManager) -> DataLocalityOptimizer:
    return DataLocalityOptimizer(region_manager=manager)


@pytest.fixture
async def handler(
    manager: RegionManager, router: RegionAwareRouter, optimizer: DataLocalityOptimizer
) -> AsyncIterator[FailureHandler]:
    handler = FailureHandler(
        region_manager=manager,
        router=router,
        data_optimizer=optimizer,
        failover_timeout=1.0,  # 1 second timeout
    )
    await handler.initialize()
    yield handler
    await handler.close()


@asynccontextmanager
async def _running(settings: Settings | None = None) -> AsyncIterator[tuple[MultiRegionSystem, FastAPI]]:
    """The page's three regions behind an app that starts and ends the system with itself."""
    systems: list[MultiRegionSystem] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        system = await create_multi_region_system(settings)
        region_mgr, router, failure_handler = system
        api = MultiRegionAPI(region_mgr, router, failure_handler)
        api.register_routes(app)
        await register_all(region_mgr)
        systems.append(system)
        yield
        await system.close()

    app = FastAPI(lifespan=lifespan)
    async with app.router.lifespan_context(app):
        yield systems[0], app


@asynccontextmanager
async def _live(app: FastAPI) -> AsyncIterator[str]:
    """The app on uvicorn, on a free port of this machine; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[sock]))
        await _until(lambda: server.started or serving.done())
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        server.should_exit = True
        await serving


async def _until(met: Callable[[], bool], deadline_s: float = 30.0) -> None:
    """Wait for a condition that must come true; generous, since the machine is shared."""
    async with asyncio.timeout(deadline_s):
        while not met():
            await asyncio.sleep(0.005)


async def _asked(app: FastAPI, method: str, path: str, **more: Any) -> httpx.Response:
    """One request to an app in this process."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        return await client.request(method, path, **more)


def _closed_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


@pytest.fixture
async def running() -> AsyncIterator[tuple[MultiRegionSystem, FastAPI]]:
    async with _running() as system_and_app:
        yield system_and_app


@pytest.fixture
def system(running: tuple[MultiRegionSystem, FastAPI]) -> MultiRegionSystem:
    return running[0]


@pytest.fixture(params=["in this process", "over a socket"])
async def client(
    running: tuple[MultiRegionSystem, FastAPI], request: pytest.FixtureRequest
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app, by both ways to reach it."""
    if request.param == "in this process":
        transport = httpx.ASGITransport(running[1])
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            yield client
    else:
        async with _live(running[1]) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
            yield client


class TestRegionManager:
    """Region management."""

    async def test_register_list_and_health(self) -> None:
        manager = RegionManager()
        await manager.initialize()

        region = us_east_1()
        await manager.register_region(region)
        regions = manager.list_regions(healthy_only=True)
        health = await manager.get_region_health("us-east-1")
        await manager.close()

        assert regions == [region]
        assert manager.regions["us-east-1"] is region
        assert (health.status, health.health_score, health.is_healthy) == ("healthy", 95.0, True)
        assert (health.capacity_utilization, health.error_rate) == (30.0, 0.0)
        assert health.reason == "stated by its owner"

    async def test_a_changed_score_counts_at_once(self, manager: RegionManager) -> None:
        manager.regions["us-east-1"].health_score = 20.0

        healthy = manager.list_regions(healthy_only=True)

        assert [region.region_id for region in healthy] == ["us-west-2", "eu-west-1"]
        assert len(manager.list_regions()) == 3
        assert (await manager.get_region_health("us-east-1")).status == "down"

    async def test_an_unknown_region_is_an_error_that_names_the_nearest(self, manager: RegionManager) -> None:
        with pytest.raises(UnknownRegionError, match="did you mean 'us-east-1'"):
            await manager.get_region_health("us-east-l")


class TestDataLocalityOptimizer:
    """Data locality: policies and the region that suits them."""

    async def test_gdpr_keeps_a_berlin_user_in_the_eu(
        self, optimizer: DataLocalityOptimizer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        policy = eu_data_policy()
        await optimizer.register_policy(policy)

        region = await optimizer.find_optimal_region(
            data_type="user_data",
            compliance_requirements=[ComplianceFramework.GDPR],
            user_location={"latitude": 52.5, "longitude": 13.4},  # Berlin
        )
        print(f"Optimal region: {region}")

        assert capsys.readouterr().out == "Optimal region: eu-west-1\n"
        assert optimizer.policies == {"eu-data-policy": policy}

    async def test_no_lawful_region_is_a_refusal_however_near_another_is(
        self, manager: RegionManager, optimizer: DataLocalityOptimizer
    ) -> None:
        await optimizer.register_policy(eu_data_policy())
        manager.regions["eu-west-1"].health_score = 0.0

        with pytest.raises(NoEligibleRegionError) as refusal:
            await optimizer.find_optimal_region(
                data_type="user_data", compliance_requirements=[ComplianceFramework.GDPR], user_location=BERLIN
            )

        assert refusal.value.policy_bound
        assert refusal.value.reasons == {
            "us-east-1": "lacks gdpr",
            "us-west-2": "lacks gdpr",
            "eu-west-1": "is down",
        }

    async def test_best_practice_policies(self, manager: RegionManager, optimizer: DataLocalityOptimizer) -> None:
        # GDPR: Keep EU data in EU
        policy = DataPlacementPolicy(
            name="GDPR Policy",
            compliance_requirements=[ComplianceFramework.GDPR],
            allowed_regions=["eu-west-1", "eu-central-1"],
            locality_level="strict",  # type: ignore[arg-type]  # as above
            cross_region_transfer=False,
        )
        await optimizer.register_policy(policy)
        # HIPAA: Keep health data in compliant regions
        policy = DataPlacementPolicy(
            name="HIPAA Policy",
            compliance_requirements=[ComplianceFramework.HIPAA],
            allowed_regions=["us-east-1", "us-west-2"],
            locality_level="region",  # type: ignore[arg-type]  # as above
            cross_region_transfer=True,
        )
        await optimizer.register_policy(policy)
        for region in manager.regions.values():
            region.capabilities.compliance = [ComplianceFramework.GDPR, ComplianceFramework.HIPAA]

        async def chosen(framework: ComplianceFramework, latitude: float, longitude: float) -> str:
            place = {"latitude": latitude, "longitude": longitude}
            return await optimizer.find_optimal_region("record", [framework], place)

        assert list(optimizer.policies) == ["gdpr-policy", "hipaa-policy"]
        assert await chosen(ComplianceFramework.GDPR, 40.7, -74.0) == "eu-west-1"  # from New York
        assert await chosen(ComplianceFramework.HIPAA, 52.5, 13.4) == "us-east-1"  # from Berlin


class TestRegionAwareRouter:
    """Intelligent routing."""

    async def test_latency_based(self, router: RegionAwareRouter, capsys: pytest.CaptureFixture[str]) -> None:
        decision = await router.route_request(
            request_context={
                "user_location": {
                    "latitude": 52.5,  # Berlin
                    "longitude": 13.4,
                },
            },
            strategy=RoutingStrategy.LATENCY_BASED,
        )
        print(f"Routed to: {decision.selected_region}")
        print(f"Reasoning: {decision.reasoning}")

        assert capsys.readouterr().out == "Routed to: eu-west-1\nReasoning: Selected eu-west-1 for lowest latency\n"

    async def test_capacity_based(self, router: RegionAwareRouter, capsys: pytest.CaptureFixture[str]) -> None:
        decision = await router.route_request(
            request_context={},
            strategy=RoutingStrategy.CAPACITY_BASED,
        )
        print(f"Routed to: {decision.selected_region}")
        print(f"Utilization: {decision.reasoning}")

        shown = "Routed to: us-west-2\nUtilization: Selected us-west-2 with 20.0% utilization\n"
        assert capsys.readouterr().out == shown

    async def test_compliance_based(self, router: RegionAwareRouter, capsys: pytest.CaptureFixture[str]) -> None:
        decision = await router.route_request(
            request_context={
                "compliance_requirements": [ComplianceFramework.GDPR],
            },
            strategy=RoutingStrategy.COMPLIANCE_BASED,
        )
        print(f"Routed to: {decision.selected_region}")

        assert capsys.readouterr().out == "Routed to: eu-west-1\n"

    @pytest.mark.parametrize("strategy", list(RoutingStrategy))
    async def test_every_strategy_routes_to_compliant_regions_only(
        self, router: RegionAwareRouter, strategy: RoutingStrategy
    ) -> None:
        request: dict[str, Any] = {"compliance_requirements": ["gdpr"]}

        decision = await router.route_request(request_context=request, strategy=strategy)

        assert decision.selected_region == "eu-west-1"
        assert decision.alternatives == ()

    async def test_cost_based(self, router: RegionAwareRouter, capsys: pytest.CaptureFixture[str]) -> None:
        decision = await router.route_request(
            request_context={},
            strategy=RoutingStrategy.COST_BASED,
        )
        print(f"Routed to: {decision.selected_region}")
        print(f"Cost: {decision.reasoning}")

        assert capsys.readouterr().out == "Routed to: us-west-2\nCost: Selected us-west-2 with 0.9x cost multiplier\n"

    async def test_health_based(self, router: RegionAwareRouter, capsys: pytest.CaptureFixture[str]) -> None:
        decision = await router.route_request(
            request_context={},
            strategy=RoutingStrategy.HEALTH_BASED,
        )
        print(f"Routed to: {decision.selected_region}")
        print(f"Health: {decision.reasoning}")

        shown = "Routed to: us-east-1\nHealth: Selected us-east-1 with 95.0 health score\n"
        assert capsys.readouterr().out == shown

    async def test_round_robin(self, router: RegionAwareRouter) -> None:
        # First request
        decision1 = await router.route_request(
            request_context={},
            strategy=RoutingStrategy.ROUND_ROBIN,
        )
        # Second request
        decision2 = await router.route_request(
            request_context={},
            strategy=RoutingStrategy.ROUND_ROBIN,
        )

        # Distributes across regions
        assert decision1.selected_region != decision2.selected_region

    async def test_a_strategy_may_be_a_plain_string(self, router: RegionAwareRouter) -> None:
        decision = await router.route_request({"user_location": BERLIN}, strategy="latency_based")

        assert decision.strategy is RoutingStrategy.LATENCY_BASED
        assert decision.selected_region == "eu-west-1"
        assert decision.endpoint == "https://eu-west-1.api.example.com"


class TestFailureHandler:
    """Automatic and manual failover, and recovery."""

    async def test_failover_by_hand_and_recovery_in_sequence(
        self,
        manager: RegionManager,
        router: RegionAwareRouter,
        handler: FailureHandler,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        # Automatic failover on region failure
        event = await handler.handle_region_failure(
            failed_region="us-east-1",
            reason="Health check failed",
        )
        print(f"Failover: {event.from_region} -> {event.to_region}")
        print(f"Duration: {event.duration_ms}ms")
        shown = capsys.readouterr().out.splitlines()
        assert shown[0] == "Failover: us-east-1 -> us-west-2"
        assert shown[1] == f"Duration: {event.duration_ms}ms"
        assert event.duration_ms > 0
        healthiest = await router.route_request({}, RoutingStrategy.HEALTH_BASED)
        assert healthiest.selected_region == "eu-west-1"

        # Manual failover
        event = await handler.failover_to(
            from_region="us-east-1",
            to_region="eu-west-1",
            strategy="immediate",  # or "graceful"
            reason="Planned maintenance",
        )
        assert (event.from_region, event.to_region, event.reason) == ("us-east-1", "eu-west-1", "Planned maintenance")
        assert event.strategy == "immediate"

        # Recover failed region
        manager.regions["us-east-1"].health_score = 95.0
        await handler.recover_region("us-east-1")

        healthiest = await router.route_request({}, RoutingStrategy.HEALTH_BASED)
        assert healthiest.selected_region == "us-east-1"
        assert {region_id: region.current_capacity for region_id, region in manager.regions.items()} == {
            "us-east-1": 30,
            "us-west-2": 20,
            "eu-west-1": 40,
        }

    async def test_graceful_failover_waits_for_requests_in_flight(
        self, manager: RegionManager, handler: FailureHandler
    ) -> None:
        moving = asyncio.create_task(
            handler.failover_to(
                from_region="us-east-1", to_region="eu-west-1", strategy="graceful", reason="Planned maintenance"
            )
        )
        await _until(lambda: manager.snapshot().regions["us-east-1"].failed_over is not None)
        still_waiting = not moving.done()
        manager.report_load("us-east-1", 0)
        event = await moving

        assert still_waiting
        assert event.strategy == "graceful"

    async def test_a_region_that_is_not_healthy_does_not_recover(
        self, manager: RegionManager, handler: FailureHandler
    ) -> None:
        await handler.handle_region_failure(failed_region="us-east-1", reason="Health check failed")
        manager.regions["us-east-1"].health_score = 10.0

        with pytest.raises(RefusedError, match="only a healthy region takes traffic back"):
            await handler.recover_region("us-east-1")

        assert manager.get_stats()["failed_over_regions"] == ["us-east-1"]

    async def test_the_last_region_is_not_failed_over(self, manager: RegionManager, handler: FailureHandler) -> None:
        for region_id in ("us-east-1", "us-west-2"):
            await handler.handle_region_failure(failed_region=region_id, reason="Health check failed")

        with pytest.raises(FailoverRefusedError) as refusal:
            await handler.handle_region_failure(failed_region="eu-west-1", reason="Health check failed")

        assert refusal.value.rule == "min_serving"
        assert [region.region_id for region in manager.list_regions(healthy_only=True)] == ["eu-west-1"]


class TestMultiRegionAPI:
    """The endpoints on a FastAPI app, called in the process, and as the page's curl does."""

    async def test_an_app_built_inside_async_code(self) -> None:
        app = FastAPI()

        # Initialize multi-region system
        region_mgr, router, failure_handler = await create_multi_region_system()

        # Register API routes
        api = MultiRegionAPI(region_mgr, router, failure_handler)
        api.register_routes(app)

        try:
            empty = await _asked(app, "GET", "/regions")
            await register_all(region_mgr)
            full = await _asked(app, "GET", "/regions")
        finally:
            await failure_handler.close()
            await region_mgr.close()
        assert empty.json() == []
        assert [region["region_id"] for region in full.json()] == ["us-east-1", "us-west-2", "eu-west-1"]

    async def test_list_regions(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/regions?healthy_only=true")

        assert response.status_code == 200
        assert [region["region_id"] for region in response.json()] == ["us-east-1", "us-west-2", "eu-west-1"]

    async def test_healthy_only_leaves_out_what_is_not(
        self, system: MultiRegionSystem, client: httpx.AsyncClient
    ) -> None:
        system.region_manager.regions["us-west-2"].health_score = 40.0

        healthy = (await client.get("/regions?healthy_only=true")).json()
        all_of_them = (await client.get("/regions")).json()

        assert [region["region_id"] for region in healthy] == ["us-east-1", "eu-west-1"]
        assert len(all_of_them) == 3

    async def test_region_details(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/regions/us-east-1")

        region = response.json()
        assert response.status_code == 200
        assert (region["name"], region["endpoint"]) == ("US East (N. Virginia)", "https://us-east-1.api.example.com")
        assert (region["health_score"], region["current_capacity"]) == (95.0, 30)

    async def test_region_health(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/regions/us-east-1/health")

        health = response.json()
        assert response.status_code == 200
        assert (health["status"], health["health_score"], health["capacity_utilization"]) == ("healthy", 95.0, 30.0)

    async def test_register_a_region(self, system: MultiRegionSystem, client: httpx.AsyncClient) -> None:
        region = {
            "region_id": "eu-central-1",
            "endpoint": "https://eu-central-1.api.example.com",
            "health_score": 97.0,
        }

        first = await client.post("/regions", json=region)
        second = await client.post("/regions", json=region)

        assert (first.status_code, second.status_code) == (201, 409)
        assert system.region_manager.get_region("eu-central-1").location == "Frankfurt"  # what the catalog knows
        assert (await client.get("/regions/eu-central-1")).json()["health_score"] == 97.0

    async def test_route_a_request(self, client: httpx.AsyncClient) -> None:
        response = await client.post(
            "/route",
            headers={"Content-Type": "application/json"},
            content="""{
    "request_context": {
      "user_location": {"latitude": 52.5, "longitude": 13.4}
    },
    "strategy": "latency_based"
  }""",
        )

        decision = response.json()
        assert response.status_code == 200
        assert (decision["selected_region"], decision["strategy"]) == ("eu-west-1", "latency_based")
        assert decision["reasoning"] == "Selected eu-west-1 for lowest latency"

    async def test_a_refusal_gives_the_reason_for_each_region(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/route", json={"request_context": {"compliance_requirements": ["hipaa"]}})

        assert response.status_code == 503
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["rule"] == "policy_bound_exhaustion"
        assert response.json()["reasons"] == dict.fromkeys(("us-east-1", "us-west-2", "eu-west-1"), "lacks hipaa")

    async def test_an_unknown_region_is_not_found(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/regions/us-east-l")

        assert response.status_code == 404
        assert "did you mean 'us-east-1'" in response.json()["detail"]

    async def test_statistics(self, client: httpx.AsyncClient) -> None:
        await client.post("/route", json={"request_context": {"user_location": BERLIN}})

        response = await client.get("/stats")

        stats = response.json()
        assert response.status_code == 200
        assert (stats["regions"]["healthy_regions"], stats["regions"]["total_regions"]) == (3, 3)
        assert stats["routing"]["decisions_by_region"] == {"eu-west-1": 1}
        assert stats["failover"]["total_failovers"] == 0

    async def test_stated_scores_stand_while_every_probe_fails(self) -> None:
        async with _running(Settings(health_check_fall=3)) as (system, app):
            manager = system.region_manager
            for region in manager.regions.values():
                region.endpoint = f"http://127.0.0.1:{_closed_port()}"
            for _ in range(4):
                for region_id in manager.regions:
                    await manager.monitor.probe_once(region_id)
            decision = await _asked(app, "POST", "/route", json={"request_context": {"user_location": BERLIN}})
            stats = manager.get_stats()

            assert decision.json()["selected_region"] == "eu-west-1"
            assert (stats["observer_blind"], stats["healthy_regions"]) == (True, 3)
            assert (await manager.get_region_health("eu-west-1")).consecutive_failures >= 4


class TestConfiguration:
    """The environment variables and the regions defined in code."""

    @pytest.fixture
    def variables(self, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
        # Region monitoring
        monkeypatch.setenv("MAHAVISHNU_MULTI_REGION__HEALTH_CHECK_INTERVAL", "30")
        monkeypatch.setenv("MAHAVISHNU_MULTI_REGION__CIRCUIT_BREAKER_THRESHOLD", "5")
        # Failover
        monkeypatch.setenv("MAHAVISHNU_MULTI_REGION__FAILOVER_TIMEOUT", "1.0")
        # Data locality
        monkeypatch.setenv("MAHAVISHNU_MULTI_REGION__HOT_DATA_THRESHOLD", "10.0")
        return monkeypatch

    def test_the_values_shown_are_taken(self, variables: pytest.MonkeyPatch) -> None:
        manager = RegionManager()

        assert manager.health_check.interval_s == 30
        assert FailureHandler(region_manager=manager).failover_timeout == 1.0

    @pytest.mark.parametrize("threshold", [5, 7])
    async def test_the_circuit_breaker_opens_at_its_threshold(
        self, variables: pytest.MonkeyPatch, threshold: int
    ) -> None:
        variables.setenv("MAHAVISHNU_MULTI_REGION__CIRCUIT_BREAKER_THRESHOLD", str(threshold))
        async with RegionManager() as manager:
            await register_all(manager)
            for _ in range(threshold - 1):
                manager.report_outcome("us-east-1", ok=False)
            before = (await manager.get_region_health("us-east-1")).circuit_breaker
            manager.report_outcome("us-east-1", ok=False)
            after = (await manager.get_region_health("us-east-1")).circuit_breaker

        assert (before, after) == ("closed", "open")

    def test_a_value_that_is_not_allowed_stops_the_start(self, variables: pytest.MonkeyPatch) -> None:
        variables.setenv("MAHAVISHNU_MULTI_REGION__FAILOVER_TIMEOUT", "soon")

        with pytest.raises(SettingsError, match=r"MAHAVISHNU_MULTI_REGION__FAILOVER_TIMEOUT: 'soon' is not allowed"):
            RegionManager()

    async def test_regions_defined_in_code(self) -> None:
        regions = [
            Region(
                region_id="us-east-1",
                name="US East (N. Virginia)",
                provider=CloudProvider.AWS,
                location="Northern Virginia",
                latitude=37.4,
                longitude=-77.5,
                endpoint="https://us-east-1.api.example.com",
                capabilities=RegionCapabilities(
                    compliance=[ComplianceFramework.SOC2],
                    max_capacity=100,
                ),
                cost_multiplier=1.0,
            ),
            Region(
                region_id="eu-west-1",
                name="Europe (Ireland)",
                provider=CloudProvider.AWS,
                location="Ireland",
                latitude=53.3,
                longitude=-6.2,
                endpoint="https://eu-west-1.api.example.com",
                capabilities=RegionCapabilities(
                    compliance=[ComplianceFramework.GDPR],
                    max_capacity=100,
                ),
                cost_multiplier=1.1,
            ),
        ]
        async with RegionManager() as manager:
            for region in regions:
                await manager.register_region(region)
            router = RegionAwareRouter(region_manager=manager)
            near = await router.route_request({"user_location": BERLIN})
            cheap = await router.route_request({}, RoutingStrategy.COST_BASED)

            assert manager.list_regions() == regions
            assert manager.get_stats()["total_capacity"] == 200
            assert (near.selected_region, cheap.selected_region) == ("eu-west-1", "us-east-1")
            # Nobody stated a score and nobody has looked: that is unknown, neither healthy nor down.
            assert manager.list_regions(healthy_only=True) == []


class TestMonitoring:
    """The figures to watch."""

    async def test_statistics(
        self,
        manager: RegionManager,
        router: RegionAwareRouter,
        handler: FailureHandler,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        region_manager, failure_handler = manager, handler
        await router.route_request({"user_location": BERLIN})
        await router.route_request({}, RoutingStrategy.COST_BASED)
        await failure_handler.handle_region_failure(failed_region="us-east-1", reason="Health check failed")

        # Region health
        stats = region_manager.get_stats()
        print(f"Healthy: {stats['healthy_regions']}/{stats['total_regions']}")
        # Routing distribution
        stats = router.get_routing_stats()
        print(f"Decisions: {stats['decisions_by_region']}")
        # Failover events
        stats = failure_handler.get_failover_stats()
        print(f"Failovers: {stats['total_failovers']}")
        print(f"Avg duration: {stats['average_duration_ms']:.1f}ms")

        assert capsys.readouterr().out.splitlines() == [
            "Healthy: 3/3",
            "Decisions: {'eu-west-1': 1, 'us-west-2': 1}",
            "Failovers: 1",
            f"Avg duration: {failure_handler.events[0].duration_ms:.1f}ms",
        ]


class TestTroubleshooting:
    """What to look at when something is wrong."""

    async def test_region_not_available(self, manager: RegionManager, capsys: pytest.CaptureFixture[str]) -> None:
        # Check region health
        health = await manager.get_region_health("us-east-1")
        print(f"Status: {health.status}")
        print(f"Error rate: {health.error_rate}")
        print(f"Capacity: {health.capacity_utilization}%")

        assert capsys.readouterr().out == "Status: healthy\nError rate: 0.0\nCapacity: 30.0%\n"

    async def test_routing_fails(
        self, manager: RegionManager, router: RegionAwareRouter, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for region in manager.regions.values():
            region.health_score = 5.0

        # Check if any healthy regions exist
        regions = manager.list_regions(healthy_only=True)
        if not regions:
            print("No healthy regions available!")
        with pytest.raises(NoEligibleRegionError) as refusal:
            await router.route_request({"user_location": BERLIN})

        assert capsys.readouterr().out == "No healthy regions available!\n"
        assert not refusal.value.policy_bound
        assert refusal.value.reasons == dict.fromkeys(("us-east-1", "us-west-2", "eu-west-1"), "is down")

    async def test_compliance_violations(
        self, manager: RegionManager, optimizer: DataLocalityOptimizer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        manager.regions["us-east-1"].capabilities.compliance = [ComplianceFramework.SOC2]
        registered = eu_data_policy()
        registered.policy_id = "policy_id"
        await optimizer.register_policy(registered)

        # Check region compliance
        region = manager.get_region("us-east-1")
        print(f"Compliance: {[c.value for c in region.compliance_frameworks]}")
        # Verify policy requirements
        policy = optimizer.policies["policy_id"]
        print(f"Required: {[c.value for c in policy.compliance_requirements]}")
        print(f"Allowed: {policy.allowed_regions}")

        assert capsys.readouterr().out.splitlines() == [
            "Compliance: ['soc2']",
            "Required: ['gdpr']",
            "Allowed: ('eu-west-1', 'eu-central-1')",
        ]
