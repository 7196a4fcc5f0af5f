"""Running a scenario: build the cluster, take the steps, check what was expected.

    file ─▶ Loaded ─▶ Built cluster ─▶ step, step, step ─▶ RunResult (and the capture)
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from k8semu.capture.tap import CaptureSession, Sink
from k8semu.cluster.build import Built, ManifestError, NameServer, build
from k8semu.cluster.cluster import Cluster
from k8semu.cluster.journal import Step as StepEntry
from k8semu.cluster.pod_network import PodNetworkSpec
from k8semu.cluster.underlay import UNDERLAY
from k8semu.errors import InputError
from k8semu.scenario.check import enforces_policies, has_router, has_services
from k8semu.scenario.expect import check
from k8semu.scenario.load import Loaded
from k8semu.scenario.model import Scenario, Step, action_of
from k8semu.scenario.steps import TAKE, fault_link

if TYPE_CHECKING:
    from k8semu.cluster.service_network import ServiceNetworkSpec
    from k8semu.kube.cloud import CloudSpec
    from k8semu.linux.core.dev import NetDevice
    from k8semu.linux.core.net import Net
    from k8semu.trace.hop import TraceSink

SETTLE = 0.005
"""Seconds between steps, and before the first: servers listen, last frames arrive."""


class StepResult(msgspec.Struct):
    """What came of a step: `result` has what its `expect` can ask for; `failures` what was otherwise."""

    name: str
    kind: str
    ok: bool
    result: Any
    expect: dict[str, Any]
    failures: list[str]
    packets: tuple[int, int] = (0, 0)
    """The first packet id of the step, and the first after it."""


class RunResult(msgspec.Struct):
    """A whole run."""

    scenario: str
    ok: bool
    frames: int
    capture: str
    steps: list[StepResult]
    crashes: list[str] = []


def captured(net: Net, dev: NetDevice) -> bool:
    """Capture points: every device of nodes, Pods, hosts and router; the switch between them has none."""
    return net.name != UNDERLAY


class Run:
    """One run of a scenario: `built` can be looked at afterwards. Close it."""

    def __init__(self, loaded: Loaded, seed: int | None = None, trace: TraceSink | None = None) -> None:
        self.loaded = loaded
        spec = loaded.scenario.spec
        self.cluster = Cluster(seed if seed is not None else spec.seed, trace)
        self.built: Built
        self.session: CaptureSession | None = None
        self._following: set[str] = set()                   # steps that go on reading a log

    def capture(self, sink: Sink) -> None:
        """Capture everything from now on into `sink`."""
        self.session = CaptureSession(sink, captured)
        self.cluster.loop.secrets_taker = self.session.secrets
        self.cluster.on_netns.append(self.session.attach)

    def build(self) -> None:
        """Build the cluster; what is wrong with a manifest is a ScenarioError that says where."""
        scenario = self.loaded.scenario
        spec = scenario.spec
        try:
            self.built = build(
                self.cluster, spec.nodes, spec.hosts, has_router(self.loaded), network_of(scenario),
                self.loaded.manifests, services_of(self.loaded), spec.api_server, spec.control_plane == "wire",
                _cloud_of(self.loaded), NameServer(spec.name_server, spec.names) if spec.name_server else None,
                enforces_policies(self.loaded), spec.sysctls,
            )  # fmt: skip
            for name, address in spec.names.items():
                self.cluster.name(name, address)
            for link in spec.links:
                fault_link(self.built, link.on, link.dev, link.loss, link.delay)
        except ManifestError as error:
            raise self.loaded.refused(error.key, error.what, error.path, error.hint) from None
        except InputError as error:
            if error.file is None:
                error.file = self.loaded.file
            raise

    def settle(self) -> None:
        """What happens by itself before the first step: a load balancer's first checks, an API server's first words."""
        self.cluster.run(asyncio.sleep(SETTLE))

    def steps(
        self, each: Callable[[StepResult], None] | None = None, begins: Callable[[], None] | None = None
    ) -> list[StepResult]:
        """Take all steps, in order; `each` is told of each result, `begins` before each begins."""
        results: list[StepResult] = []

        async def take_all() -> None:
            await asyncio.sleep(SETTLE)
            for number, step in enumerate(self.loaded.scenario.spec.steps, 1):
                if begins is not None:
                    begins()
                result = await self._take(step, number)
                results.append(result)
                await asyncio.sleep(SETTLE)
                if each is not None:
                    each(result)

        self.cluster.run(take_all())
        return results

    async def _take(self, step: Step, number: int) -> StepResult:
        kind, action = action_of(step)
        name = step.name or f"{kind} {number}"
        reason = self._tells_time(kind, action, name) if kind in ("kubectl", "interrupt") or self._following else ""
        entry = StepEntry(number=number, name=name, time=self.cluster.clock.now, verifiable=not reason, reason=reason)
        self.cluster.journal.add(entry)
        first = self.cluster.world.peek_packet_id()
        try:
            result = await self._act(kind, action, name)
        except InputError as error:     # a machine that an earlier step took away, a workload whose Pod has no node
            if error.file is not None:
                raise
            raise self.loaded.error(error.what, f"spec.steps[{number - 1}].{kind}", error.hint) from None
        failures = check(step.expect, result, kind, self._makers)
        expect = msgspec.to_builtins(step.expect) if step.expect is not None else {}
        packets = (first, self.cluster.world.peek_packet_id())
        return StepResult(name, kind, not failures, result, expect, failures, packets)

    def _tells_time(self, kind: str, action: Any, name: str) -> str:
        """Why a step is not compared, in which what containers wrote is read; '' if none is."""
        reads = kind == "kubectl" and "logs" in action.command.split()[:1]
        if reads and action.background:
            self._following.add(name)
        compared = not reads and not self._following
        if kind == "interrupt":
            self._following.discard(action.step)
        return "" if compared else "what a container wrote says what time it is"

    def _makers(self, pod: str) -> list[str]:
        """The names of the workloads that made a Pod: its ReplicaSet and Deployment, say."""
        registry = self.built.master.registry
        found = [one for one in registry.list("pods") if one["metadata"]["name"] == pod]
        names: list[str] = []
        while found:
            meta = found.pop()["metadata"]
            for owner in meta.get("ownerReferences") or ():
                names.append(owner["name"])
                made_by = registry.caches["replicasets"].get(meta["namespace"], owner["name"])
                if owner["kind"] == "ReplicaSet" and made_by is not None:
                    found.append(made_by)
        return names

    async def _act(self, kind: str, action: Any, name: str) -> Any:
        if kind in ("kubectl", "interrupt"):
            from k8semu.scenario import kubectl_steps

            if kind == "interrupt":
                return await kubectl_steps.interrupt(self.built, action)
            return await kubectl_steps.kubectl(self.built, action, name)
        return await TAKE[kind](self.built, action)

    def finish(self) -> int:
        """Write the rest of the capture; the number of frames."""
        if self.session is None:
            return 0
        self.session.close()
        return self.session.frames

    def close(self) -> None:
        self.cluster.close()


def network_of(scenario: Scenario) -> PodNetworkSpec:
    """The Pod network as the cluster builder takes it."""
    net = scenario.spec.pod_network
    return PodNetworkSpec(
        plugin=net.plugin, backend=net.backend, bridge=net.bridge, cidr=net.cidr, mtu=net.mtu,
        direct_routing=net.direct_routing, hairpin=net.hairpin, ip_masq=net.ip_masq,
    )  # fmt: skip


def services_of(loaded: Loaded) -> ServiceNetworkSpec | None:
    """The Service network, if the file has a Service (or brings one in a step)."""
    spec = loaded.scenario.spec
    if not has_services(loaded):
        return None
    from k8semu.cluster.service_network import ServiceNetworkSpec
    from k8semu.kube.proxy.model import LocalDetector, ProxyConfig

    said = spec.services
    detector = LocalDetector("CIDR", spec.pod_network.cidr) if said.local_detector == "ClusterCIDR" else LocalDetector()
    proxy = ProxyConfig(
        detector=detector, masquerade_all=said.masquerade_all, localhost_node_ports=said.localhost_node_ports,
        node_port_addresses=tuple(said.node_port_addresses), ipvs_scheduler=said.ipvs_scheduler,
        strict_arp=said.strict_arp,
    )  # fmt: skip
    replicas = said.dns_replicas if said.dns else 0
    return ServiceNetworkSpec(mode=said.proxy_mode, cidr=said.cidr, seed=spec.seed, proxy=proxy, dns_replicas=replicas)


def _cloud_of(loaded: Loaded) -> CloudSpec | None:
    if loaded.scenario.spec.load_balancer is None:
        return None
    from k8semu.scenario.check_cloud import cloud_of

    return cloud_of(loaded, loaded.scenario.spec.load_balancer)


def open_sink(out: Path, name: str, form: str) -> tuple[Any, Path]:
    """A capture file (or folder of classic pcaps) that appears whole or not at all."""
    if form == "pcap":
        from k8semu.capture.pcap import PcapFolder

        return PcapFolder(out / name), out / name
    from k8semu.capture.pcapng import PcapngFile

    return PcapngFile(out / f"{name}.pcapng"), out / f"{name}.pcapng"


def run(
    loaded: Loaded,
    out: Path | None = None,
    *,
    form: str = "pcapng",
    seed: int | None = None,
    trace: TraceSink | None = None,
    each: Callable[[StepResult], None] | None = None,
    built: Callable[[Run], None] | None = None,
    begins: Callable[[], None] | None = None,
) -> RunResult:
    """Run a scenario; with `out`, its capture is written there. `built` is called once the cluster stands."""
    sink, path = open_sink(out, loaded.name, form) if out is not None else (None, None)
    collects = gc.isenabled()
    gc.disable()  # a run makes few cycles; collecting while it lasts costs a fifth of a short one
    this = Run(loaded, seed, trace)
    try:
        if sink is not None:
            this.capture(sink)
        this.build()
        if sink is not None:
            sink.names(this.built.names())
        if built is not None:
            built(this)
        steps = this.steps(each, begins)
        frames = this.finish()
    except BaseException:
        if sink is not None:
            sink.abort()
        raise
    finally:
        this.close()
        if collects:
            gc.enable()
    crashes = [f"{pid}: {type(error).__name__}: {error}" for pid, error in this.cluster.crashes]
    ok = all(step.ok for step in steps) and not crashes
    return RunResult(loaded.name, ok, frames, str(path) if path is not None else "", steps, crashes)


