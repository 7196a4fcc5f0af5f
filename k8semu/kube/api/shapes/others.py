"""Leases, Events, ConfigMaps and Secrets."""

from k8semu.kube.api.shapes import AnyShape, Flag, Map, Number, Shape, Target, Text


class LeaseSpec(Shape):
    holder_identity: Text = None
    lease_duration_seconds: Number = None
    renew_time: Text = None
    acquire_time: Text = None


class LeaseShape(AnyShape):
    spec: LeaseSpec | None = None


class EventShape(AnyShape):
    type: Text = None
    reason: Text = None
    message: Text = None
    involved_object: Target | None = None


class DataShape(AnyShape):
    data: Map = None
    binary_data: Map = None
    immutable: Flag = None


class SecretShape(DataShape):
    string_data: Map = None
    type: Text = None
