"""The whole exception family: what a user can have got wrong.

Three kinds of trouble are never mixed. A packet that cannot go on is a drop with a
reason (`k8semu.linux.core.drop`), not an exception. Wrong input is an `InputError`: what,
where, and what would be right. A fault of the emulator itself is an assertion.
"""

from __future__ import annotations

from collections.abc import Iterable


def near(word: str, known: Iterable[str], most: int = 1, cutoff: float = 0.6) -> list[str]:
    """The known words that `word` may have been meant for, the nearest first."""
    from difflib import get_close_matches  # late: a file without mistakes needs none

    return get_close_matches(word, list(known), most, cutoff)


class K8semuError(Exception):
    """Base of every error that k8semu raises on purpose."""


class InputError(K8semuError):
    """The input is wrong: `what`, `where` it stands, and what would be right (`hint`).

    `file`, `line` (1-based) and `path` (``spec.nodes[0].address``) say where, as far as known.
    """

    def __init__(
        self, what: str, *, file: str | None = None, line: int | None = None, path: str = "", hint: str = ""
    ) -> None:
        super().__init__(what)
        self.what, self.file, self.line, self.path, self.hint = what, file, line, path, hint

    def __str__(self) -> str:
        where = self.file or ""
        if self.line is not None:
            where += f":{self.line}"
        parts = [part for part in (where, self.path, self.what) if part]
        text = ": ".join(parts)
        return f"{text} ({self.hint})" if self.hint else text


class ScenarioError(InputError):
    """A scenario file or manifest cannot be used."""


class CaptureError(InputError):
    """A capture file cannot be read or written."""


class CommandError(InputError):
    """A command to a node's kernel was refused, in the words of the real tool."""


class CniError(InputError):
    """A CNI plugin failed; `code` is the error code of the CNI specification."""

    def __init__(self, code: int, msg: str, details: str = "") -> None:
        super().__init__(msg)
        self.code, self.msg, self.details = code, msg, details


class MountError(InputError):
    """A volume of a Pod cannot be set up, in the kubelet's words. The Pod waits: the kubelet tries again."""

    WORDS = "MountVolume.SetUp failed for volume"


class SandboxError(InputError):
    """A Pod's sandbox cannot be made, in the kubelet's words."""

    WORDS = "failed to construct FQDN"


class ContainerConfigError(InputError):
    """A container cannot be made, since its environment names what is not there, in the kubelet's words. Its Pod
    waits: the kubelet tries again."""

    REASON = "CreateContainerConfigError"


class OutputError(K8semuError):
    """Standard output cannot be written. `reader_left`: it is a pipe that nobody reads any more."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write standard output: {error.strerror or error}")
        self.reader_left = isinstance(error, BrokenPipeError)


class StalledError(K8semuError):
    """Nothing is left to happen, and a program still waits: names the program and what it waits for."""


class NotVerifiableError(K8semuError):
    """The kernel of this machine lacks what a comparison needs."""
