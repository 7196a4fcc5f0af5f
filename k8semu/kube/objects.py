"""Kubernetes objects as `kubectl apply` takes them, as far as the network needs them.

Unknown fields are passed over, as an API server prunes them; a wrong type is an error with its path.

Kubernetes: staging/src/k8s.io/api/core/v1/types.go, apps/v1/types.go
"""

# Annotations are types here, not their text (no `from __future__`): msgspec would compile each text by itself.
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

DnsLabel = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
DnsName = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
PortNumber = Annotated[int, Meta(ge=1, le=65535)]


class KubeObject(Struct, rename="camel", kw_only=True):
    """Base of all parts: camelCase in the file."""


class ObjectMeta(KubeObject, kw_only=True):
    name: DnsName
    namespace: DnsLabel = "default"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class ContainerPort(KubeObject, kw_only=True):
    container_port: PortNumber
    host_port: PortNumber | None = None
    host_ip: str = field(default="", name="hostIP")
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    name: str = ""


class EnvVar(KubeObject, kw_only=True):
    name: str
    value: str = ""
    value_from: dict[str, Any] | None = None
    """Read where it is needed: see `kube.kubelet.environment`."""


class Probe(KubeObject, kw_only=True):
    initial_delay_seconds: Annotated[int, Meta(ge=0)] = 0


class SleepAction(KubeObject, kw_only=True):
    seconds: Annotated[int, Meta(ge=0)] = 0


class LifecycleHandler(KubeObject, kw_only=True):
    sleep: SleepAction | None = None


class Lifecycle(KubeObject, kw_only=True):
    pre_stop: LifecycleHandler | None = None


class VolumeMount(KubeObject, kw_only=True):
    name: str
    mount_path: str = ""
    sub_path: str = ""


class KeyToPath(KubeObject, kw_only=True):
    key: str
    path: str


class SecretVolume(KubeObject, kw_only=True):
    secret_name: str = ""
    items: list[KeyToPath] = []
    optional: bool = False


class ConfigMapVolume(KubeObject, kw_only=True):
    name: str = ""
    items: list[KeyToPath] = []
    optional: bool = False


class Volume(KubeObject, kw_only=True):
    """Of any kind; those that bring files are read."""

    name: str
    secret: SecretVolume | None = None
    config_map: ConfigMapVolume | None = None


class Container(KubeObject, kw_only=True):
    name: DnsLabel
    image: str = ""
    command: list[str] = []
    args: list[str] = []
    ports: list[ContainerPort] = []
    env: list[EnvVar] = []
    env_from: list[dict[str, Any]] = []
    volume_mounts: list[VolumeMount] = []
    readiness_probe: Probe | None = None
    lifecycle: Lifecycle | None = None

    @property
    def names_objects(self) -> bool:
        """Does its environment take something from elsewhere, that may not be there?"""
        return bool(self.env_from) or any(variable.value_from is not None for variable in self.env)

    @property
    def pre_stop_sleep(self) -> int:
        """Seconds between the begin of the Pod's deletion and SIGTERM."""
        hook = self.lifecycle.pre_stop if self.lifecycle is not None else None
        return hook.sleep.seconds if hook is not None and hook.sleep is not None else 0


class PodDnsOption(KubeObject, kw_only=True):
    name: str = ""
    value: str | None = None


class PodDnsConfig(KubeObject, kw_only=True):
    nameservers: list[str] = []
    searches: list[str] = []
    options: list[PodDnsOption] = []


class PodSpec(KubeObject, kw_only=True):
    containers: Annotated[list[Container], Meta(min_length=1)]
    node_name: str = ""
    node_selector: dict[str, str] = {}
    host_network: bool = False
    hostname: str = ""
    subdomain: str = ""
    set_hostname_as_fqdn: bool = field(default=False, name="setHostnameAsFQDN")
    enable_service_links: bool = True
    host_aliases: list[dict[str, Any]] = []
    dns_policy: Literal["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"] = "ClusterFirst"
    dns_config: PodDnsConfig | None = None
    volumes: list[Volume] = []


class TemplateMeta(KubeObject, kw_only=True):
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class PodTemplateSpec(KubeObject, kw_only=True):
    metadata: TemplateMeta = field(default_factory=TemplateMeta)
    spec: PodSpec


class Pod(KubeObject, kw_only=True):
    api_version: Literal["v1"]
    kind: Literal["Pod"]
    metadata: ObjectMeta
    spec: PodSpec


class WorkloadSpec(KubeObject, kw_only=True):
    template: PodTemplateSpec
    replicas: Annotated[int, Meta(ge=0, le=100_000)] = 1
    selector: dict[str, Any] = {}


class Workload(KubeObject, kw_only=True):
    """A Deployment, ReplicaSet, StatefulSet or DaemonSet: something that makes Pods."""

    api_version: Literal["apps/v1"]
    kind: Literal["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"]
    metadata: ObjectMeta
    spec: WorkloadSpec


WORKLOADS = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")


class NodeAddress(KubeObject, kw_only=True):
    type: str
    address: str


class NodeStatus(KubeObject, kw_only=True):
    addresses: list[NodeAddress] = []


class NodeObjectSpec(KubeObject, kw_only=True):
    pod_cidr: str = field(default="", name="podCIDR")


class NodeObject(KubeObject, kw_only=True):
    """A Node: its labels, and its address and Pod subnet as far as they are said."""

    api_version: Literal["v1"]
    kind: Literal["Node"]
    metadata: ObjectMeta
    spec: NodeObjectSpec = field(default_factory=NodeObjectSpec)
    status: NodeStatus = field(default_factory=NodeStatus)

    def internal_ip(self) -> str:
        """The InternalIP of `status.addresses`, or ''."""
        return next((a.address for a in self.status.addresses if a.type == "InternalIP"), "")


class Namespace(KubeObject, kw_only=True):
    api_version: Literal["v1"]
    kind: Literal["Namespace"]
    metadata: ObjectMeta


class AnyObject(KubeObject, kw_only=True):
    """An object of any other kind: kept with its name, and otherwise as it is."""

    api_version: Annotated[str, Meta(min_length=1)]
    kind: Annotated[str, Meta(min_length=1)]
    metadata: ObjectMeta


def full_name(meta: ObjectMeta) -> str:
    """``default/client``."""
    return f"{meta.namespace}/{meta.name}"
