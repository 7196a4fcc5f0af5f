"""Deployments, ReplicaSets, StatefulSets and DaemonSets."""

from k8semu.kube.api.shapes import AnyShape, Condition, Expression, Flag, Map, Meta, Number, NumberOrText, Shape, Text
from k8semu.kube.api.shapes.pods import PodSpec


class Template(Shape):
    metadata: Meta | None = None
    spec: PodSpec | None = None


class Selector(Shape):
    match_labels: Map = None
    match_expressions: list[Expression] | None = None


class Rolling(Shape):
    max_unavailable: NumberOrText = None
    max_surge: NumberOrText = None
    partition: Number = None


class RollingStrategy(Shape):
    type: Text = None
    rolling_update: Rolling | None = None


class Ordinals(Shape):
    start: Number = None


class WorkloadSpec(Shape):
    ordinals: Ordinals | None = None
    replicas: Number = None
    selector: Selector | None = None
    template: Template | None = None
    strategy: RollingStrategy | None = None
    update_strategy: RollingStrategy | None = None
    service_name: Text = None
    pod_management_policy: Text = None
    min_ready_seconds: Number = None
    revision_history_limit: Number = None
    progress_deadline_seconds: Number = None
    paused: Flag = None


class WorkloadStatus(Shape):
    replicas: Number = None
    ready_replicas: Number = None
    conditions: list[Condition] | None = None


class WorkloadShape(AnyShape):
    spec: WorkloadSpec | None = None
    status: WorkloadStatus | None = None
