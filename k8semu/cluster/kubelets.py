"""The kubelets of all nodes: Pods that are bound to a node come up there, and go when they shall.

    bound         sandbox, containers ─▶ status: podIP, Running; Ready at once, or after the probe's initial delay
    deletion      preStop (sleep) ─▶ SIGTERM ─▶ programs end ─▶ sandbox goes ─▶ the object goes
    object gone   the same without preStop: somebody deleted by force

Kubernetes: pkg/kubelet/kubelet.go syncLoop(), SyncPod(), SyncTerminatingPod(), pkg/kubelet/status
Differs: probes are not sent. A Pod with a readinessProbe is ready initialDelaySeconds after its start.
Not modelled: preStop hooks other than `sleep`, liveness, restarts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec.structs import replace

from k8semu.cluster.kubelet import Known, PodMachine, end_programs, netns_of, run_pod, stop_pod
from k8semu.errors import CniError, ContainerConfigError, InputError, MountError, SandboxError
from k8semu.kube.objects import ObjectMeta, Pod, PodSpec
from k8semu.kube.pod_status import running
from k8semu.sim.clock import NS_PER_S

if TYPE_CHECKING:
    from k8semu.cluster.cluster import Cluster
    from k8semu.cluster.node import Node
    from k8semu.kube.api.cache import Cache
    from k8semu.kube.api.meta import Stamps
    from k8semu.kube.api.registry import Event, Registry

JSON = dict[str, Any]
Key = tuple[str, str]
"""(namespace, name)."""
MOUNTED = ("secrets", "configmaps")
LAST_WORDS = NS_PER_S // 1000
"""Nanoseconds that programs get after SIGTERM to close their connections."""


class Api(Protocol):
    """The API server as a kubelet needs it: `Registry`, or a copy of it that a watch keeps."""

    @property
    def caches(self) -> dict[str, Cache]: ...
    @property
    def stamps(self) -> Stamps: ...
    def subscribe(self, plural: str, listener: Callable[[Event], None]) -> Any: ...
    def update(self, plural: str, obj: JSON, subresource: str = "", *, trusted: bool = False) -> Any: ...
    def delete(self, plural: str, namespace: str, name: str, *, grace: int) -> Any: ...


class Kubelets:
    """What runs on all nodes. `machines`: every running Pod by the name of its namespace.

    `settle` is called when something was written at a later time.
    """

    def __init__(
        self, cluster: Cluster, registry: Api, nodes: dict[str, Node], settle: Callable[[], object],
        machines: dict[str, PodMachine] | None = None, objects: Registry | None = None,
    ) -> None:  # fmt: skip
        """`objects`: where Services, Secrets and ConfigMaps are read, if not in `registry`."""
        self.cluster, self.registry, self.nodes, self.settle = cluster, registry, nodes, settle
        self.machines: dict[str, PodMachine] = {} if machines is None else machines
        self.failed: dict[Key, InputError] = {}
        self.on_pod: list[Callable[[str, PodMachine], None]] = []   # told ADDED, DELETED of Pods that run
        self._pods: dict[Key, tuple[str, PodMachine]] = {}    # with the uid of the object
        self._ending: dict[str, None] = {}                    # Pods on their way down, named as in `machines`
        self._due: dict[Key, None] = {}
        self._starting: dict[Key, None] = {}                  # Pods that are not ready for the first time yet
        self._like: tuple[JSON, PodSpec] = ({}, PodSpec(containers=[]))   # the last spec, and what it is, typed
        self._services: dict[str, tuple[JSON, ...]] = {}      # by namespace, until one changes
        registry.subscribe("pods", self._heard)
        kept = registry if objects is None else objects
        self._recorder = objects if objects is registry else None    # on the wire, nobody hears of its events
        self._objects = kept.caches
        kept.subscribe("services", lambda event: self._services.clear())
        for plural in MOUNTED:
            kept.subscribe(plural, self._heard_of_files)

    def _heard(self, event: Event) -> None:
        pod, old = event.object, event.old
        meta = pod["metadata"]
        same = old is not None and event.type == "MODIFIED" and pod["spec"] is old["spec"]
        if same and "deletionTimestamp" not in meta:
            return                           # only its status or labels changed
        if pod["spec"].get("nodeName") or event.type == "DELETED":
            self._due[meta["namespace"], meta["name"]] = None

    def _heard_of_files(self, event: Event) -> None:
        """Pods that wait for the files of a Secret or ConfigMap try again."""
        for key in [key for key, error in self.failed.items() if key[0] == event.object["metadata"]["namespace"]]:
            if isinstance(self.failed[key], (MountError, ContainerConfigError)):
                del self.failed[key]
                self._due[key] = None

    def _files(self, pod: Pod) -> dict[str, str] | None:
        """What its volumes bring; None where it has none. MountError."""
        if not pod.spec.volumes:
            return None
        from k8semu.cluster.volumes import mounted  # late: few Pods have any

        return mounted(pod, lambda plural, name: self._objects[plural].get(pod.metadata.namespace, name))

    def _known(self, pod: Pod, obj: JSON) -> Known:
        """What its containers will be told; ContainerConfigError if one's environment names what is not there."""
        namespace = pod.metadata.namespace
        cache = self._objects["services"]
        services = self._services.get(namespace)
        if services is None:
            services = self._services[namespace] = tuple(cache.list(namespace))
        known = Known(obj, services, cache.get("default", "kubernetes"))
        if any(container.names_objects for container in pod.spec.containers):
            from k8semu.kube.kubelet.environment import look_up  # late: few Pods have any

            look_up(obj, lambda plural, name: self._objects[plural].get(namespace, name), known.named)
        return known

    def work(self) -> bool:
        """Do what was heard since the last time; whether there was anything."""
        if not self._due:
            return False
        while self._due:
            due, self._due = self._due, {}
            for key in due:
                self._sync(key)
        return True

    def _sync(self, key: Key) -> None:
        pod = self.registry.caches["pods"].get(*key)
        uid, machine = self._pods.get(key, ("", None))
        if machine is not None and (pod is None or pod["metadata"]["uid"] != uid):
            self._terminate(key, machine)
        elif pod is None:
            self.failed.pop(key, None)
        elif "deletionTimestamp" in pod["metadata"]:
            self._finish(key, pod, machine)
        elif machine is None and key not in self.failed:
            self._start(key, pod)

    # --- up -------------------------------------------------------------------------------------

    def _start(self, key: Key, obj: JSON) -> None:
        pod = self._typed(obj)
        name = netns_of(pod)
        node = self.nodes.get(pod.spec.node_name)
        if name in self._ending or node is None:
            return                           # the one before is still there; its end brings this one up
        try:
            machine = run_pod(self.cluster, node, pod, self._known(pod, obj), self._files(pod))
        except (CniError, MountError, ContainerConfigError, SandboxError) as error:
            self.failed[key] = error
            self._waits(obj, node, error)
            return
        self.machines[name] = machine
        self._pods[key] = (obj["metadata"]["uid"], machine)
        self._tell("ADDED", machine)
        if pod.metadata.name not in self.cluster.hosts:
            self.cluster.name(pod.metadata.name, machine.address)
        probes = [c.readiness_probe for c in pod.spec.containers if c.readiness_probe is not None]
        delay = max(probe.initial_delay_seconds for probe in probes) if probes else 0
        self._report(key, obj, machine, ready=not delay)
        if delay:
            self._starting[key] = None
            self.cluster.clock.post(delay * NS_PER_S, self._ready, key, machine)

    def _waits(self, obj: JSON, node: Node, error: InputError) -> None:
        """Say of a Pod why its containers do not start: `kubectl get pods`, `kubectl describe pod`."""
        if isinstance(error, ContainerConfigError):
            from k8semu.kube.pod_status import waiting

            status = waiting(obj, node.address, error.REASON, error.what, self.registry.stamps.now())
            self.registry.update("pods", {**obj, "status": status}, "status", trusted=True)
            self._warn(obj, "Failed", f"Error: {error.what}")
        elif isinstance(error, MountError):
            self._warn(obj, "FailedMount", error.what)
        elif isinstance(error, SandboxError):
            self._warn(obj, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error.what}")

    def _warn(self, obj: JSON, reason: str, message: str) -> None:
        """Kubernetes: pkg/kubelet/events/event.go"""
        if self._recorder is not None:
            from k8semu.kube.controllers.events import record

            record(self._recorder, self.cluster.clock, "kubelet", obj, "Warning", reason, message)

    def _typed(self, obj: JSON) -> Pod:
        """The Pod that an object says. The Pods of a workload follow one another, and share what they ask for."""
        spec, (before, typed) = obj["spec"], self._like
        node = spec.get("nodeName", "")
        if spec == {**before, "nodeName": node}:
            typed = replace(typed, node_name=node)
        else:
            typed = msgspec.convert(spec, PodSpec)
        self._like = (spec, typed)
        said = obj["metadata"]               # checked by the API server
        meta = ObjectMeta(
            name=said["name"], namespace=said["namespace"], labels=said.get("labels") or {},
            annotations=said.get("annotations") or {},
        )  # fmt: skip
        return Pod(api_version="v1", kind="Pod", metadata=meta, spec=typed)

    def _tell(self, what: str, machine: PodMachine) -> None:
        for told in self.on_pod:
            told(what, machine)

    def _ready(self, key: Key, machine: PodMachine) -> None:
        pod = self.registry.caches["pods"].get(*key)
        if pod is not None and self._pods.get(key, ("", None))[1] is machine:
            self._starting.pop(key, None)
            self._report(key, pod, machine, ready=True)
            self.settle()

    def report_again(self, node: str) -> None:
        """A node is heard again: its Pods run as before, whatever was said of them meanwhile.

        Kubernetes: pkg/kubelet/status/status_manager.go needsReconcile()
        """
        for key, (_, machine) in self._pods.items():
            pod = self.registry.caches["pods"].get(*key)
            if machine.node.name == node and pod is not None and "deletionTimestamp" not in pod["metadata"]:
                self._report(key, pod, machine, ready=key not in self._starting)

    def _report(self, key: Key, obj: JSON, machine: PodMachine, ready: bool) -> None:
        """The Pod's status, as the API server is told it."""
        status = running(obj, [machine.address], machine.node.address, self.registry.stamps.now(), ready)
        self.registry.update("pods", {**obj, "status": status}, "status", trusted=True)

    # --- down -----------------------------------------------------------------------------------

    def _finish(self, key: Key, obj: JSON, machine: PodMachine | None) -> None:
        """A Pod was asked to go: in its own time, but within its grace period."""
        if machine is None:
            self.registry.delete("pods", *key, grace=0)
            return
        name = netns_of(machine.pod)
        if name in self._ending:
            return
        self._ending[name] = None
        grace = obj["metadata"].get("deletionGracePeriodSeconds", 0)
        sleep = max((c.pre_stop_sleep for c in machine.pod.spec.containers), default=0)
        self.cluster.clock.post(min(sleep, grace) * NS_PER_S, self._sigterm, key, machine)

    def _terminate(self, key: Key, machine: PodMachine) -> None:
        """The object is gone: the Pod goes at once."""
        name = netns_of(machine.pod)
        if name not in self._ending:
            self._ending[name] = None
            self._sigterm(key, machine)

    def _sigterm(self, key: Key, machine: PodMachine) -> None:
        end_programs(self.cluster, machine.pod)
        self._tell("DELETED", machine)
        self.cluster.clock.post(LAST_WORDS, self._gone, key, machine)

    def _gone(self, key: Key, machine: PodMachine) -> None:
        name = netns_of(machine.pod)
        del self.machines[name], self._pods[key], self._ending[name]
        self._starting.pop(key, None)
        stop_pod(self.cluster, machine)
        if self.cluster.hosts.get(machine.hostname) == machine.address:
            self.cluster.unname(machine.hostname)
        pod = self.registry.caches["pods"].get(*key)
        if pod is not None and "deletionTimestamp" in pod["metadata"]:
            self.registry.delete("pods", *key, grace=0)
        self._due[key] = None
        self.settle()
