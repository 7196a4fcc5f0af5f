"""NetworkPolicies for a reader: who enforces them, what has no effect, and which Pods each isolates now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8semu.kube.netpol.policy import Policy, Rule

if TYPE_CHECKING:
    from k8semu.cluster.build import Built

SHOWN = 6


def alone(plugin: str) -> str:
    """What becomes of policies where nothing but the Pod network's own plugin is there."""
    if plugin == "weave":
        return "weave's own controller, weave-npc, is not modelled"
    return f"{plugin} alone enforces none"


def who_enforces(plugin: str) -> str:
    return f"NetworkPolicies are enforced by kube-router's controller on every node; {alone(plugin)}"


def without_effect(manifest: dict[str, Any]) -> str:
    """What of a policy nobody looks at: ipBlocks of IPv6. Expects the right types."""
    spec = manifest.get("spec") or {}
    rules = [(rule, key) for way, key in (("ingress", "from"), ("egress", "to")) for rule in spec.get(way) or []]
    blocks = [(peer.get("ipBlock") or {}).get("cidr") or "" for rule, key in rules for peer in rule.get(key) or []]
    return ", ".join(f"ipBlock {cidr} (IPv6 is not modelled)" for cidr in blocks if ":" in cidr)


def isolated(built: Built) -> dict[str, str]:
    """A line for each NetworkPolicy, by its name."""
    network = built.master.policies
    if network is None:
        return {}
    names = {machine.address: machine.hostname for machine in built.pods.values()}
    return {policy.origin: _line(policy, names) for policy in network.policies()}


def _line(policy: Policy, names: dict[str, str]) -> str:
    pods = [names.get(address, address) for address in policy.selected]
    more = f" and {len(pods) - SHOWN} more" if len(pods) > SHOWN else ""
    both = (("ingress", policy.ingress), ("egress", policy.egress))
    allows = ", ".join(f"{way}: {_allows(rules)}" for way, rules in both if rules is not None)
    return f"isolates {', '.join(pods[:SHOWN]) or 'no Pod'}{more}; {allows}"


def _allows(rules: tuple[Rule, ...]) -> str:
    if not rules:
        return "allows nothing"
    return f"allows what {len(rules)} rule{'' if len(rules) == 1 else 's'} say{'s' if len(rules) == 1 else ''}"
