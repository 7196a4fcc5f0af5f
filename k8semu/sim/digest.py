"""SHA-256 without OpenSSL: loading that to name a stream of random numbers takes longer than all of a run's numbers.

Python's own module for it has two names, as `random` knows; `hashlib` has the same function.
"""

from __future__ import annotations

try:
    from _sha2 import sha256  # type: ignore[import-not-found]
except ImportError:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found]  # Python 3.11
    except ImportError:
        from hashlib import sha256

__all__ = ["sha256"]
