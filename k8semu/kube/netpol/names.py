"""Names of chains and sets: a prefix that says what for, and a hash of what it is about.

    KUBE-NWPLCY-  one policy       KUBE-SRC-  where packets may come from
    KUBE-POD-FW-  one Pod          KUBE-DST-  where they may go

The chains have another name each time that they are written, those of sets last.

Kubernetes: kube-router pkg/controllers/netpol/policy.go networkPolicyChainName(), policySourcePodIPSetName(), …
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

FAMILY = "IPv4"


def digest(*parts: str) -> str:
    """16 digits of base32."""
    return base64.b32encode(hashlib.sha256("".join(parts).encode()).digest())[:16].decode()


def policy_chain(namespace: str, name: str, version: str, direction: str = "") -> str:
    """`direction`: of a policy that has a chain for each."""
    return "KUBE-NWPLCY-" + digest(namespace, name, version, FAMILY, direction)


def pod_chain(namespace: str, name: str, version: str) -> str:
    return "KUBE-POD-FW-" + digest(namespace, name, version)


def selected_set(prefix: str, namespace: str, name: str) -> str:
    """The Pods that a policy isolates: KUBE-DST-… for what comes to them, KUBE-SRC-… for what they send."""
    return prefix + digest(namespace, name, FAMILY)


def rule_set(prefix: str, namespace: str, name: str, direction: str, number: int, what: str, port: str = "") -> str:
    """A set of one rule of a policy. `direction`: ingress or egress; `what`: pod, ipblock or namedport."""
    return prefix + digest(namespace, name, f"{direction}rule", str(number), port, FAMILY, what)


def with_digest(chain: str, words: Sequence[str]) -> list[str]:
    """A rule whose comment ends with a hash of itself, by which the controller finds it again."""
    at = list(words).index("--comment") + 1
    return [*words[:at], f"{words[at]} - {digest(chain, *words)}", *words[at + 1 :]]
