"""/etc/resolv.conf: read, written, and what the kubelet puts into a Pod's.

    ClusterFirst             the cluster's DNS, its search list, ndots:5
    ClusterFirstWithHostNet  the same, also for Pods in their node's network
    Default                  what the node has
    None                     only what dnsConfig says

Kubernetes: pkg/kubelet/network/dns/dns.go GetPodDNS(); containerd writes search, nameserver, options
Linux: resolv.conf(5)
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class DnsOption(Protocol):
        @property
        def name(self) -> str: ...
        @property
        def value(self) -> str | None: ...

    class DnsConfig(Protocol):
        """A Pod's `spec.dnsConfig`."""

        @property
        def nameservers(self) -> Sequence[str]: ...
        @property
        def searches(self) -> Sequence[str]: ...
        @property
        def options(self) -> Sequence[DnsOption]: ...


DnsPolicy = Literal["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]
MAX_NAMESERVERS, MAX_SEARCH, MAX_SEARCH_CHARS = 3, 32, 2048
CLUSTER_OPTIONS = ("ndots:5",)


class ResolvConf(Struct, frozen=True):
    """The three things a resolv.conf says. Options are ``ndots:5`` or ``edns0``."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def text(self) -> str:
        """As containerd writes it."""
        lines = [f"search {' '.join(self.search)}"] if self.search else []
        lines += [f"nameserver {address}" for address in self.nameservers]
        lines += [f"options {' '.join(self.options)}"] if self.options else []
        return "".join(line + "\n" for line in lines)


def parse_resolv_conf(text: str) -> ResolvConf:
    """As the C library reads it: what it does not know it passes over; the last `search` or `domain` counts."""
    nameservers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if not words or line[0] in "#;" or len(words) < 2:
            continue
        if words[0] == "nameserver":
            nameservers.append(words[1])
        elif words[0] == "search":
            search = tuple(words[1:])
        elif words[0] == "domain":
            search = (words[1],)
        elif words[0] == "options":
            options += words[1:]
    return ResolvConf(tuple(nameservers), search, tuple(options))


def pod_resolv_conf(
    namespace: str, policy: DnsPolicy, host_network: bool, config: DnsConfig | None, node: ResolvConf,
    cluster_dns: tuple[str, ...] = ("10.96.0.10",), domain: str = "cluster.local",
) -> ResolvConf:  # fmt: skip
    """What a Pod's resolv.conf says. `node`: its node's; without `cluster_dns` every Pod gets that."""
    of_cluster = policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not host_network)
    if policy == "None":
        base = ResolvConf()
    elif of_cluster and cluster_dns:
        search = (f"{namespace}.svc.{domain}", f"svc.{domain}", domain, *node.search)
        base = ResolvConf(cluster_dns, _unique(search), CLUSTER_OPTIONS)
    else:
        base = node
    if config is not None:
        base = ResolvConf(
            _unique((*base.nameservers, *config.nameservers)), _unique((*base.search, *config.searches)),
            _merged(base.options, config.options),
        )  # fmt: skip
    return ResolvConf(base.nameservers[:MAX_NAMESERVERS], _fitting(base.search), base.options)


def resolv_conf_text(
    namespace: str, policy: DnsPolicy, host_network: bool, config: DnsConfig | None, node: str,
    cluster_dns: tuple[str, ...], domain: str,
) -> str:  # fmt: skip
    """The same as text, from the text that its node has."""
    if config is None:
        return _usual_text(namespace, policy, host_network, node, cluster_dns, domain)
    mine = parse_resolv_conf(node)
    return pod_resolv_conf(namespace, policy, host_network, config, mine, cluster_dns, domain).text()


@lru_cache(maxsize=256)
def _usual_text(
    namespace: str, policy: DnsPolicy, host_network: bool, node: str, cluster_dns: tuple[str, ...], domain: str
) -> str:
    """One text for all Pods that say nothing of their own."""
    mine = parse_resolv_conf(node)
    return pod_resolv_conf(namespace, policy, host_network, None, mine, cluster_dns, domain).text()


def _unique(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _merged(options: tuple[str, ...], wanted: Sequence[DnsOption]) -> tuple[str, ...]:
    """An option that is said again takes the place of the one before."""
    by_name = {option.partition(":")[0]: option for option in options}
    for option in wanted:
        by_name[option.name] = f"{option.name}:{option.value}" if option.value else option.name
    return tuple(by_name.values())


def _fitting(search: tuple[str, ...]) -> tuple[str, ...]:
    kept: list[str] = []
    length = -1
    for domain in search[:MAX_SEARCH]:
        length += 1 + len(domain)
        if length > MAX_SEARCH_CHARS:
            break
        kept.append(domain)
    return tuple(kept)
