"""The kubelet: brings Pods up and down on its node.

    sandbox: netns + pause container ─▶ CNI ADD ─▶ the Pod's containers, all in that one netns

Kubernetes: pkg/kubelet/kuberuntime/kuberuntime_sandbox.go, kuberuntime_container.go
Differs: containers start at once; no image pulls, probes, or restarts.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from k8semu.apps.shell.docker import Container
from k8semu.cluster.node import PAUSE_IMAGE, Machine, Node
from k8semu.cni.spec import Args
from k8semu.errors import SandboxError
from k8semu.kube.dns.resolv_conf import resolv_conf_text
from k8semu.kube.images import base_name, command_line, expanded, launch, own_program
from k8semu.kube.objects import Pod
from k8semu.sim.digest import sha256

if TYPE_CHECKING:
    from k8semu.apps.resolver import Libc
    from k8semu.cluster.cluster import Cluster

MUSL_IMAGES = ("alpine", "busybox", "curl")
"""Images whose C library is musl."""
HOST_NAME_MAX = 64
"""Linux: __NEW_UTS_LEN"""
BUSYBOX_IMAGES = ("busybox", "alpine")


def netns_of(pod: Pod) -> str:
    """``client``; outside the default namespace ``kube-system.coredns``."""
    meta = pod.metadata
    return meta.name if meta.namespace == "default" else f"{meta.namespace}.{meta.name}"


JSON = dict[str, Any]


class Known:
    """What the API server said when a Pod started: what is said later, its containers never hear of.

    `services` are those of its namespace, `api` is the Service `kubernetes`, if there is one; `named` holds by
    (plural, name) what its containers' environments name.
    """

    __slots__ = ("api", "named", "pod", "services")

    def __init__(self, pod: JSON, services: tuple[JSON, ...], api: JSON | None) -> None:
        self.pod, self.services, self.api = pod, services, api
        self.named: dict[tuple[str, str], JSON | None] = {}


class PodMachine(Machine):
    """A running Pod. `sandbox` is there once its node is awake."""

    sandbox: Container

    def __init__(
        self, cluster: Cluster, pod: Pod, node: Node, known: Known, mounted: dict[str, str] | None = None
    ) -> None:
        super().__init__(cluster, node.netns_name if pod.spec.host_network else netns_of(pod), pod.metadata.name)
        self.pod = pod
        self.node = node
        self.known = known
        self.mounted = mounted or {}
        """Files from volumes."""

    @property
    def nodename(self) -> str:
        """Kubernetes: pkg/kubelet/kubelet_pods.go GeneratePodHostNameAndDomain(), util.GetNodenameForKernel()"""
        spec = self.pod.spec
        if spec.host_network:
            return self.node.nodename
        return self.fqdn if spec.set_hostname_as_fqdn else self._host

    @property
    def _host(self) -> str:
        """Without a domain, cut to a label's length. Kubernetes: truncatePodHostnameIfNeeded()"""
        name = self.pod.spec.hostname or self.hostname
        return name if len(name) < 64 else name[:63].rstrip("-.")

    @property
    def fqdn(self) -> str:
        """``web-0.web.default.svc.cluster.local`` where a Pod has a subdomain."""
        spec = self.pod.spec
        if spec.host_network or not spec.subdomain:
            return self._host if not spec.host_network else self.node.fqdn
        return f"{self._host}.{spec.subdomain}.{self.pod.metadata.namespace}.svc.{self.cluster.dns_domain}"

    @property
    def busybox(self) -> bool:
        return any(base_name(container.image) in BUSYBOX_IMAGES for container in self.pod.spec.containers)

    @property
    def env(self) -> dict[str, str]:
        """What a command in the first container finds."""
        return self.env_of("")

    def env_of(self, container: str) -> dict[str, str]:
        """The environment that a container, by default the first, started with."""
        from k8semu.kube.kubelet.environment import Place, environment  # late: few ask

        pod, api, named = self.known.pod, self.known.api, self.known.named
        if api is None:
            from k8semu.kube.api.bootstrap import service_of_api_server

            api = service_of_api_server(self.cluster.service_cidr)
        services = self.known.services if self.pod.spec.enable_service_links else ()
        told = (api, *(service for service in services if service is not api))
        part = next(part for part in pod["spec"]["containers"] if container in ("", part["name"]))
        place = Place(self.address, self.node.address, self.nodename)
        return environment(pod, part, told, lambda plural, name: named.get((plural, name)), place)

    @property
    def files(self) -> dict[str, str]:
        """What can be read in it, by path. Its node is awake from now on."""
        self.cluster.sleepers.wake(self.netns_name)
        return super().files

    @property
    def fields(self) -> dict[str, str]:
        """What a manifest usually takes from the downward API, by the usual names."""
        meta = self.pod.metadata
        return {
            "POD_NAME": meta.name, "POD_NAMESPACE": meta.namespace, "POD_IP": self.address,
            "NODE_NAME": self.node.name, "HOST_IP": self.node.address,
        }  # fmt: skip


def _runtime_name(container: str, pod: Pod) -> str:
    """k8s_CONTAINER_POD_NAMESPACE_UID_0, as the kubelet has always named them."""
    meta = pod.metadata
    return f"k8s_{container}_{meta.name}_{meta.namespace}_{_uid(meta.namespace, meta.name)}_0"


@lru_cache(maxsize=8)
def _uid(namespace: str, name: str) -> str:
    """What the names of a Pod's containers, which start one after the other, have in common."""
    digest = sha256(f"{namespace}/{name}".encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"


def run_pod(
    cluster: Cluster, node: Node, pod: Pod, known: Known, mounted: dict[str, str] | None = None
) -> PodMachine:
    """SyncPod for a new Pod with the files `mounted` into it; CniError if the network cannot take it, SandboxError.

    On a sleeping node only its address is sure: all else is done when it wakes, in the same order.
    """
    machine = PodMachine(cluster, pod, node, known, mounted)
    if pod.spec.set_hostname_as_fqdn and len(machine.nodename) > HOST_NAME_MAX:
        what = (
            f"{SandboxError.WORDS} from Pod hostname and cluster domain, FQDN {machine.nodename} is too long "
            f"({HOST_NAME_MAX} characters is the max, {len(machine.nodename)} characters requested)"
        )
        raise SandboxError(what)
    now = cluster.clock.now
    if pod.spec.host_network:
        machine.address = node.address
    elif cluster.sleepers.sleeps(node.netns_name):
        assert node.cni is not None
        machine.address = node.cni.bridge.ipam.promise()
        cluster.sleepers.pod(machine.netns_name, node.netns_name)
    cluster.sleepers.later(node.netns_name, lambda: _bring_up(machine, now))
    annotations = pod.metadata.annotations
    if annotations and any(own_program(container.name, annotations) for container in pod.spec.containers):
        cluster.sleepers.wake(node.netns_name)  # it may speak first
    return machine


def _bring_up(machine: PodMachine, now: int) -> None:
    """All that makes a Pod run; `now` is when that was decided."""
    pod, node = machine.pod, machine.node
    machine.sandbox = node.run_container(_runtime_name("POD", pod), PAUSE_IMAGE, "/pause", now)
    if not pod.spec.host_network:
        _sandbox(machine)
    _write_files(machine)
    for container in pod.spec.containers:
        command = command_line(expanded(container, partial(machine.env_of, container.name)))
        node.run_container(_runtime_name(container.name, pod), container.image, command, now)
    _start_containers(machine)


def _start_containers(machine: PodMachine) -> None:
    pod = machine.pod
    for container in pod.spec.containers:
        start = launch(
            container, pod.metadata.name, pod.metadata.annotations, machine.fields, machine.files,
            partial(machine.env_of, container.name),
        )  # fmt: skip
        if start is not None:
            pid = f"{pod.metadata.namespace}/{pod.metadata.name}/{container.name}"
            args, api = start.args, machine.cluster.api_url
            if start.watches and api:
                args = {**args, "api": api}
            own = own_program(container.name, pod.metadata.annotations) is not None
            kept = own or machine.cluster.keeps_logs
            log = machine.cluster.log(pid, base_name(container.image), own) if kept else None
            program = machine.program(start.function, args, container.name)
            machine.cluster.start(machine.netns_name, pid, program, terminal=log)
            if start.watches and not api and machine.cluster.on_watch is not None:
                machine.cluster.on_watch(pid, start.watches)


def _cni_args(machine: PodMachine) -> Args:
    mappings = tuple(
        (port.host_port, port.container_port, port.protocol.lower(), port.host_ip)
        for container in machine.pod.spec.containers for port in container.ports if port.host_port is not None
    )  # fmt: skip
    return Args(machine.sandbox.id, machine.netns_name, "eth0", mappings)


def _sandbox(machine: PodMachine) -> None:
    """The namespace that the pause container holds, plugged in by CNI."""
    cluster, node = machine.cluster, machine.node
    cluster.add_netns(machine.netns_name)
    assert node.cni is not None
    try:
        address = node.cni.add(_cni_args(machine)).address()
        assert machine.address in ("", address), "another address than was promised"
        machine.address = address
    except Exception:
        cluster.del_netns(machine.netns_name)
        node.remove_container(_runtime_name("POD", machine.pod))
        raise


def _hosts(machine: PodMachine) -> str:
    """A Pod's /etc/hosts. Kubernetes: pkg/kubelet/kubelet_pods.go managedHostsFileContent(), nodeHostsFileContent()"""
    spec, names = machine.pod.spec, machine.fqdn
    if spec.host_network:
        text = "# Kubernetes-managed hosts file (host network).\n" + machine.node.files["/etc/hosts"]
    else:
        names += f"\t{machine._host}" if spec.subdomain else ""
        text = (
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
            "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
            f"{machine.address}\t{names}\n"
        )
    if spec.host_aliases:
        text += "\n# Entries added by HostAliases.\n"
        text += "".join(f"{alias['ip']}\t{chr(9).join(alias.get('hostnames') or ())}\n" for alias in spec.host_aliases)
    return text


def _write_files(machine: PodMachine) -> None:
    machine.files["/etc/hosts"] = _hosts(machine)
    machine.files.update(machine.mounted)
    spec, cluster = machine.pod.spec, machine.cluster
    machine.files["/etc/resolv.conf"] = resolv_conf_text(
        machine.pod.metadata.namespace, spec.dns_policy, spec.host_network, spec.dns_config,
        machine.node.files.get("/etc/resolv.conf", ""), cluster.dns_servers, cluster.dns_domain,
    )  # fmt: skip
    if cluster.dns_runs and not spec.host_network:
        _resolver(machine)
    elif not spec.host_network and (spec.hostname or spec.subdomain or spec.host_aliases):
        _know_hosts(machine)


def _know_hosts(machine: PodMachine) -> None:
    """Without a DNS, its programs know what its /etc/hosts says besides what all know."""
    from k8semu.apps.resolver import parse_hosts

    known = parse_hosts(machine.files["/etc/hosts"])
    machine.net.sockets.hosts.update({name: addresses[0] for name, addresses in known.items()})


def _resolver(machine: PodMachine) -> None:
    """The Pod's programs ask the cluster's DNS: with musl's resolver in images that are built on it."""
    images = [base_name(container.image) for container in machine.pod.spec.containers]
    libc: Libc = "musl" if images[0] in MUSL_IMAGES else "glibc"
    files = machine.files
    machine.cluster.use_dns(machine.netns_name, files["/etc/resolv.conf"], files["/etc/hosts"], libc)


def end_programs(cluster: Cluster, pod: Pod) -> None:
    """SIGTERM to a Pod's containers: they close what they have open, and their Pod still carries it."""
    for container in pod.spec.containers:
        cluster.stop(f"{pod.metadata.namespace}/{pod.metadata.name}/{container.name}")


def stop_pod(cluster: Cluster, machine: PodMachine) -> None:
    """KillPod: programs end, CNI DEL, the sandbox goes. Wakes the node."""
    pod, node = machine.pod, machine.node
    cluster.sleepers.wake(node.netns_name)
    end_programs(cluster, pod)
    for container in pod.spec.containers:
        cluster.logs.pop(f"{pod.metadata.namespace}/{pod.metadata.name}/{container.name}", None)
        node.remove_container(_runtime_name(container.name, pod))
    if not pod.spec.host_network:
        assert node.cni is not None
        node.cni.delete(Args(machine.sandbox.id, machine.netns_name))
        cluster.del_netns(machine.netns_name)
    node.remove_container(_runtime_name("POD", pod))
