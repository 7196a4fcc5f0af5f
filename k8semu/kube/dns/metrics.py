"""What CoreDNS counts, in the text form that Prometheus reads.

Kubernetes: coredns plugin/metrics/vars/vars.go, plugin/cache/metrics.go
Differs: counters of questions, answers and the cache; no histograms, nothing of the process.
"""

from __future__ import annotations

from k8semu.kube.dns.message import Message, rcode_name, type_name

VERSION = "1.14.7"
HELP = {
    "coredns_build_info": ("gauge", "Always 1: what is running."),
    "coredns_cache_entries": ("gauge", "Answers that are kept."),
    "coredns_cache_hits_total": ("counter", "Questions answered from the cache."),
    "coredns_cache_misses_total": ("counter", "Questions that the cache had no answer to."),
    "coredns_cache_requests_total": ("counter", "Questions put to the cache."),
    "coredns_dns_requests_total": ("counter", "Questions by protocol, address family and type."),
    "coredns_dns_responses_total": ("counter", "Answers by their code."),
}
COUNTED = ("A", "AAAA", "MX", "SOA", "CNAME", "PTR", "TXT", "NS", "SRV", "DS", "DNSKEY", "RRSIG", "NSEC", "NSEC3",
           "HTTPS", "IXFR", "AXFR", "ANY")  # fmt: skip
"""Types that have a counter of their own. Kubernetes: plugin/metrics/vars/monitor.go"""
SERVER = {"server": "dns://:53", "view": ""}
ZONES = {**SERVER, "zones": "."}


class Metrics:
    """Counters by name and labels."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        labels = _labels({"goversion": "", "revision": "", "version": VERSION})
        self._counts["coredns_build_info", labels] = 1

    def _add(self, name: str, labels: dict[str, str]) -> None:
        key = (name, _labels(labels))
        self._counts[key] = self._counts.get(key, 0) + 1

    def answered(self, request: Message, reply: Message, tcp: bool) -> None:
        """A question, and what became of it."""
        asked = type_name(request.questions[0].rtype) if request.questions else ""
        labels = {"family": "1", "proto": "tcp" if tcp else "udp", "type": asked if asked in COUNTED else "other"}
        self._add("coredns_dns_requests_total", {**labels, **SERVER, "zone": "."})
        self._add("coredns_dns_responses_total", {"rcode": rcode_name(reply.flags & 0xF), **SERVER, "zone": "."})

    def cached(self, reply: Message | None) -> None:
        """The cache was asked; None: in vain."""
        self._add("coredns_cache_requests_total", ZONES)
        if reply is None:
            self._add("coredns_cache_misses_total", ZONES)
        else:
            kind = "success" if reply.answers else "denial"
            self._add("coredns_cache_hits_total", {**ZONES, "type": kind})

    def text(self, entries: int) -> str:
        """The page /metrics. `entries`: of the cache."""
        counts = {**self._counts, ("coredns_cache_entries", _labels(ZONES)): entries}
        lines: list[str] = []
        for name, (kind, told) in HELP.items():
            rows = sorted(f"{name}{labels} {count}" for (known, labels), count in counts.items() if known == name)
            if rows:
                lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}", *rows]
        return "".join(line + "\n" for line in lines)


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}"
