"""What a container's environment and a Pod's host aliases are made of."""

# Annotations are types here, not their text (no `from __future__`): msgspec would compile each text by itself.
from k8semu.kube.api.shapes import Flag, NumberOrText, Shape, Strings, Text


class FieldRef(Shape):
    field_path: Text = None


class ResourceRef(Shape):
    container_name: Text = None
    resource: Text = None
    divisor: NumberOrText = None


class KeyRef(Shape):
    """Of a ConfigMap or Secret: a key, or all (`envFrom`)."""

    name: Text = None
    key: Text = None
    optional: Flag = None


class EnvSource(Shape):
    field_ref: FieldRef | None = None
    resource_field_ref: ResourceRef | None = None
    config_map_key_ref: KeyRef | None = None
    secret_key_ref: KeyRef | None = None


class EnvFrom(Shape):
    prefix: Text = None
    config_map_ref: KeyRef | None = None
    secret_ref: KeyRef | None = None


class HostAlias(Shape):
    ip: Text = None
    hostnames: Strings = None
