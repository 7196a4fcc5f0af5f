"""NetworkPolicies as manifests: of which types their fields are. What they may say is the API server's to judge."""

# Annotations are types here, not their text (no `from __future__`): msgspec would compile each text by itself.
from typing import Literal

from k8semu.kube.api.shapes.policies import PolicySpec
from k8semu.kube.objects import KubeObject, ObjectMeta


class NetworkPolicy(KubeObject, kw_only=True):
    api_version: Literal["networking.k8s.io/v1"]
    kind: Literal["NetworkPolicy"]
    metadata: ObjectMeta
    spec: PolicySpec | None = None
