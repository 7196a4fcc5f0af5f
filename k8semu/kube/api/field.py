"""What is wrong with a field of an object: a list of these is what validation returns.

Kubernetes: staging/src/k8s.io/apimachinery/pkg/util/validation/field/errors.go
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

_json = msgspec.json.Encoder(order="sorted")


class FieldError(msgspec.Struct, frozen=True):
    """`reason` is the machine's word, `body` what a person reads after the field's path."""

    reason: str
    field: str
    body: str

    def __str__(self) -> str:
        return f"{self.field}: {self.body}"


Errors = list[FieldError]


def required(field: str, detail: str = "") -> FieldError:
    return FieldError("FieldValueRequired", field, _with("Required value", detail))


def invalid(field: str, value: Any, detail: str) -> FieldError:
    return FieldError("FieldValueInvalid", field, _with(f"Invalid value: {shown(value)}", detail))


def forbidden(field: str, detail: str) -> FieldError:
    return FieldError("FieldValueForbidden", field, _with("Forbidden", detail))


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", field, f"Duplicate value: {shown(value)}")


def not_found(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueNotFound", field, f"Not found: {shown(value)}")


def not_supported(field: str, value: Any, supported: Iterable[str]) -> FieldError:
    values = ", ".join(f'"{word}"' for word in supported)
    body = f"Unsupported value: {shown(value)}: supported values: {values}"
    return FieldError("FieldValueNotSupported", field, body)


def too_long(field: str, most: int) -> FieldError:
    return FieldError("FieldValueTooLong", field, f"Too long: may not be more than {most} bytes")


def too_many(field: str, actual: int, most: int) -> FieldError:
    return FieldError("FieldValueTooMany", field, f"Too many: {actual}: must have at most {most} items")


def shown(value: Any) -> str:
    """A value as it stands in an error: JSON, since Kubernetes 1.33."""
    return _json.encode(value).decode()


def _with(what: str, detail: str) -> str:
    return f"{what}: {detail}" if detail else what
