"""What is wrong with a request: the `Status` object that the API server answers with.

Kubernetes: staging/src/k8s.io/apimachinery/pkg/api/errors/errors.go
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8semu.errors import K8semuError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8semu.kube.api.field import FieldError
    from k8semu.kube.api.resources import Resource

OPTIMISTIC_LOCK = "the object has been modified; please apply your changes to the latest version and try again"


class ApiError(K8semuError):
    """A request that is refused: HTTP `code`, machine-readable `reason`, `message`, and `details`."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details

    def status(self) -> dict[str, Any]:
        """As JSON: what stands in the answer's body."""
        body: dict[str, Any] = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
            "reason": self.reason, "details": self.details, "code": self.code,
        }  # fmt: skip
        if self.details is None:
            del body["details"]
        return body

    @staticmethod
    def from_status(body: dict[str, Any]) -> ApiError:
        """The error that a server's `Status` says."""
        code, details = body.get("code"), body.get("details")
        return ApiError(
            code if isinstance(code, int) else 500, str(body.get("reason", "")), str(body.get("message", "")),
            details if isinstance(details, dict) else None,
        )  # fmt: skip


def success(resource: Resource, name: str, uid: str) -> dict[str, Any]:
    """What a delete answers when the object is gone."""
    return {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {**_details(resource, name), "uid": uid},
    }  # fmt: skip


def _details(resource: Resource, name: str) -> dict[str, Any]:
    details = {"name": name, "group": resource.group, "kind": resource.plural}
    if not resource.group:
        del details["group"]
    return details


def not_found(resource: Resource, name: str) -> ApiError:
    message = f'{resource.qualified} "{name}" not found'
    return ApiError(404, "NotFound", message, _details(resource, name))


def already_exists(resource: Resource, name: str) -> ApiError:
    message = f'{resource.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(resource, name))


def conflict(resource: Resource, name: str, why: str = OPTIMISTIC_LOCK) -> ApiError:
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(resource, name))


def invalid(resource: Resource, name: str, errors: Sequence[FieldError]) -> ApiError:
    """422 with a cause per field."""
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    said = list(dict.fromkeys(str(error) for error in errors))
    text = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    details = {"name": name, "group": resource.group, "kind": resource.kind}
    if not resource.group:
        del details["group"]
    causes = [{"reason": error.reason, "message": error.body, "field": error.field} for error in errors]
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {text}', {**details, "causes": causes})


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def forbidden(resource: Resource, name: str, why: str) -> ApiError:
    message = f'{resource.qualified} "{name}" is forbidden: {why}'
    return ApiError(403, "Forbidden", message, _details(resource, name))


def expired(asked: int, oldest: int) -> ApiError:
    """A watch from a version that is no longer remembered: list again."""
    return ApiError(410, "Expired", f"too old resource version: {asked} ({oldest})")


def outdated() -> ApiError:
    """A list of how it was, which nobody remembers here."""
    return ApiError(410, "Expired", "The resourceVersion for the provided list is too old.")


def too_large_version(asked: int, current: int) -> ApiError:
    """A version that has yet to come: of another server, perhaps."""
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return ApiError(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1})


def internal_error(why: str) -> ApiError:
    causes = {"causes": [{"message": why}]}
    return ApiError(500, "InternalError", f"Internal error occurred: {why}", causes)


def service_unavailable(why: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", why)


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def no_such_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    types = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {types}"
    return ApiError(415, "UnsupportedMediaType", message)
