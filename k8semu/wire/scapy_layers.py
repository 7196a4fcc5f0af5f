"""The one door to Scapy: its layers, loaded without asking the machine for its routes.

Traps of Scapy that this border contains: an unknown attribute is set in silence; default
addresses come from the machine it runs on; `p[IP]` of a VXLAN frame is the outer header; a
checksum stays stale after an edit until it is deleted; importing it costs more than a run does.
Import this module only where a frame is built or read, and late.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

logging.getLogger("scapy").setLevel(logging.CRITICAL)  # it warns about the machine's missing routes

# Scapy asks at its import whether there is cryptography, for layers that are not loaded here: a fifth of
# the time it takes. For so long there is none.
_without = "cryptography" not in sys.modules
if _without:
    sys.modules["cryptography"] = None  # type: ignore[assignment]
try:
    from scapy.config import conf
finally:
    if _without:
        del sys.modules["cryptography"]

conf.route_autoload = False    # never depend on the machine's routing table
conf.route6_autoload = False
conf.ipv6_enabled = False

from scapy.layers.inet import ICMP, IP, TCP, UDP  # noqa: E402
from scapy.layers.l2 import ARP, Ether  # noqa: E402
from scapy.layers.vxlan import VXLAN  # noqa: E402
from scapy.packet import Packet, Padding, Raw  # noqa: E402

__all__ = ["ARP", "ICMP", "IP", "TCP", "UDP", "VXLAN", "Any", "Ether", "Packet", "Padding", "Raw"]
