"""The settings of a namespace: `sysctl net.ipv4.ip_forward=1`.

Settings on the packet path are plain attributes; the dotted names are how people and components
reach them. Per-device settings come in three: `all`, `default` (copied to each new device), and
the device's own, combined as each setting's kernel macro does.

Linux: include/linux/inetdevice.h IN_DEV_ANDCONF/ORCONF/MAXCONF, net/ipv4/sysctl_net_ipv4.c
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from k8semu.errors import CommandError


class DevConf(msgspec.Struct):
    """net.ipv4.conf.DEV.*: Linux: struct ipv4_devconf."""

    forwarding: int = 0
    rp_filter: int = 0
    accept_redirects: int = 1
    secure_redirects: int = 1
    send_redirects: int = 1
    shared_media: int = 1
    accept_source_route: int = 0
    route_localnet: int = 0
    accept_local: int = 0
    proxy_arp: int = 0
    arp_filter: int = 0
    arp_notify: int = 0
    arp_ignore: int = 0
    arp_announce: int = 0
    arp_accept: int = 0
    log_martians: int = 0
    src_valid_mark: int = 0
    drop_unicast_in_l2_multicast: int = 0
    drop_gratuitous_arp: int = 0
    promote_secondaries: int = 0


class NeighConf(msgspec.Struct):
    """net.ipv4.neigh.DEV.*: times in ms or s as the name says. Linux: struct neigh_parms."""

    base_reachable_time_ms: int = 30_000
    retrans_time_ms: int = 1_000
    delay_first_probe_time: int = 5
    gc_stale_time: int = 60
    mcast_solicit: int = 3
    ucast_solicit: int = 3
    app_solicit: int = 0
    unres_qlen: int = 101


DEFAULTS: dict[str, int | str] = {
    "net.ipv4.ip_forward": 0,
    "net.ipv4.ip_default_ttl": 64,
    "net.ipv4.ip_no_pmtu_disc": 0,
    "net.ipv4.ip_local_port_range": "32768\t60999",
    "net.ipv4.ip_local_reserved_ports": "",
    "net.ipv4.ip_unprivileged_port_start": 1024,
    "net.ipv4.ip_nonlocal_bind": 0,
    "net.ipv4.ipfrag_time": 30,
    "net.ipv4.icmp_echo_ignore_all": 0,
    "net.ipv4.icmp_echo_ignore_broadcasts": 1,
    "net.ipv4.icmp_ratelimit": 1000,
    "net.ipv4.icmp_ratemask": 6168,
    "net.ipv4.icmp_errors_use_inbound_ifaddr": 0,
    "net.ipv4.ping_group_range": "0\t2147483647",
    "net.ipv4.tcp_syn_retries": 6,
    "net.ipv4.tcp_syn_linear_timeouts": 4,
    "net.ipv4.tcp_synack_retries": 5,
    "net.ipv4.tcp_retries1": 3,
    "net.ipv4.tcp_retries2": 15,
    "net.ipv4.tcp_fin_timeout": 60,
    "net.ipv4.tcp_timestamps": 1,
    "net.ipv4.tcp_sack": 1,
    "net.ipv4.tcp_window_scaling": 1,
    "net.ipv4.tcp_tw_reuse": 2,
    "net.ipv4.tcp_keepalive_time": 7200,
    "net.ipv4.tcp_keepalive_intvl": 75,
    "net.ipv4.tcp_keepalive_probes": 9,
    "net.ipv4.tcp_max_syn_backlog": 512,
    "net.ipv4.tcp_mtu_probing": 0,
    "net.ipv4.tcp_rmem": "4096\t131072\t6291456",
    "net.ipv4.tcp_wmem": "4096\t16384\t4194304",
    "net.ipv4.tcp_congestion_control": "cubic",
    "net.core.somaxconn": 4096,
    "net.core.rmem_default": 212992,
    "net.core.rmem_max": 212992,
    "net.core.wmem_default": 212992,
    "net.core.wmem_max": 212992,
    "net.ipv6.conf.all.disable_ipv6": 1,
    "net.ipv6.conf.default.disable_ipv6": 1,
    "net.bridge.bridge-nf-call-iptables": 1,
    "net.bridge.bridge-nf-call-arptables": 1,
    "net.bridge.bridge-nf-call-ip6tables": 1,
    "net.ipv4.vs.conntrack": 0,
    "net.ipv4.vs.conn_reuse_mode": 1,
    "net.ipv4.vs.expire_nodest_conn": 0,
    "net.ipv4.vs.expire_quiescent_template": 0,
    "net.netfilter.nf_conntrack_max": 262144,
    "net.netfilter.nf_conntrack_tcp_be_liberal": 0,
    "net.netfilter.nf_conntrack_tcp_ignore_invalid_rst": 0,
    "net.netfilter.nf_conntrack_tcp_loose": 1,
    "net.netfilter.nf_conntrack_tcp_max_retrans": 3,
    "net.netfilter.nf_conntrack_tcp_timeout_syn_sent": 120,
    "net.netfilter.nf_conntrack_tcp_timeout_syn_recv": 60,
    "net.netfilter.nf_conntrack_tcp_timeout_established": 432_000,
    "net.netfilter.nf_conntrack_tcp_timeout_fin_wait": 120,
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait": 60,
    "net.netfilter.nf_conntrack_tcp_timeout_last_ack": 30,
    "net.netfilter.nf_conntrack_tcp_timeout_time_wait": 120,
    "net.netfilter.nf_conntrack_tcp_timeout_close": 10,
    "net.netfilter.nf_conntrack_tcp_timeout_max_retrans": 300,
    "net.netfilter.nf_conntrack_tcp_timeout_unacknowledged": 300,
    "net.netfilter.nf_conntrack_udp_timeout": 30,
    "net.netfilter.nf_conntrack_udp_timeout_stream": 120,
    "net.netfilter.nf_conntrack_icmp_timeout": 30,
    "net.netfilter.nf_conntrack_generic_timeout": 600,
}


class SysctlTable:
    """All settings of one namespace. `ip_forward` and `bridge_nf_call_iptables` mirror their dotted names."""

    __slots__ = ("_changed", "_dev_conf", "_neigh_conf", "bridge_nf_call_iptables", "conf_all", "conf_default",
                 "ip_default_ttl", "ip_forward", "neigh_default", "values")  # fmt: skip

    def __init__(self, changed: Callable[[], None] | None = None) -> None:
        self._changed = changed
        self.values: dict[str, int | str] = dict(DEFAULTS)
        self.conf_all = DevConf()
        self.conf_default = DevConf()
        self.neigh_default = NeighConf()
        self._dev_conf: dict[str, DevConf] = {"all": self.conf_all, "default": self.conf_default}
        self._neigh_conf: dict[str, NeighConf] = {"default": self.neigh_default}
        self.ip_forward = 0
        self.ip_default_ttl = 64
        self.bridge_nf_call_iptables = 1

    def add_dev(self, name: str, conf: DevConf, neigh: NeighConf) -> None:
        self._dev_conf[name] = conf
        self._neigh_conf[name] = neigh

    def del_dev(self, name: str) -> None:
        self._dev_conf.pop(name, None)
        self._neigh_conf.pop(name, None)

    def _per_dev(self, name: str) -> tuple[DevConf | NeighConf, str] | None:
        for prefix, table in (("net.ipv4.conf.", self._dev_conf), ("net.ipv4.neigh.", self._neigh_conf)):
            if name.startswith(prefix):
                dev, _, key = name[len(prefix) :].rpartition(".")
                dev = dev.replace("/", ".")  # sysctl writes flannel.1 as flannel/1
                conf = table.get(dev)
                if conf is not None and key in conf.__struct_fields__:
                    return conf, key
        return None

    def get(self, name: str) -> int | str:
        """The value of a dotted name; CommandError in sysctl's words if there is no such setting."""
        found = self._per_dev(name)
        if found is not None:
            value: int = getattr(*found)
            return value
        if name not in self.values:
            raise _no_such(name)
        return self.values[name]

    def names(self) -> list[str]:
        """Every setting, in order; a dot in a device's name is written as a slash."""
        per_dev = [
            f"{prefix}{dev.replace('.', '/')}.{key}"
            for prefix, table in (("net.ipv4.conf.", self._dev_conf), ("net.ipv4.neigh.", self._neigh_conf))
            for dev, conf in table.items() for key in conf.__struct_fields__
        ]  # fmt: skip
        return sorted([*self.values, *per_dev])

    def integer(self, name: str) -> int:
        """The value of a numeric setting."""
        return int(self.values[name])

    def set(self, name: str, value: int | str) -> None:
        """`sysctl -w NAME=VALUE`; CommandError if there is no such setting or the value is no number."""
        found = self._per_dev(name)
        if found is None and name not in self.values:
            raise _no_such(name)
        current = 0 if found is not None else self.values[name]
        if isinstance(current, int):
            try:
                value = int(value)
            except ValueError:
                raise CommandError(f'sysctl: setting key "{name}": Invalid argument') from None
        if self._changed is not None:
            self._changed()
        if found is not None:
            setattr(found[0], found[1], value)
            return
        self.values[name] = value
        self._mirror(name, value)

    def _mirror(self, name: str, value: int | str) -> None:
        if name == "net.ipv4.ip_forward":
            self.ip_forward = int(value)
            for conf in self._dev_conf.values():  # Linux: net/ipv4/devinet.c inet_forward_change()
                conf.forwarding = int(value)
            self.conf_all.accept_redirects = int(not int(value))  # a router believes no other router
        elif name == "net.ipv4.ip_default_ttl":
            self.ip_default_ttl = int(value)
        elif name == "net.bridge.bridge-nf-call-iptables":
            self.bridge_nf_call_iptables = int(value)


def _no_such(name: str) -> CommandError:
    path = "/proc/sys/" + name.replace(".", "/")
    return CommandError(f"sysctl: cannot stat {path}: No such file or directory")
