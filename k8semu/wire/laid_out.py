"""Headers that Scapy has laid out: written by `python -m k8semu.wire.lay_out`, not by hand."""

from typing import Any

LAID_OUT: dict[tuple[Any, ...], bytes] = {
    ("ip_template", 1, 0): bytes.fromhex(
        "0000000000000000000000000800450000140001000040017ae90000000000000000"
    ),
    ("ip_template", 1, 192): bytes.fromhex(
        "000000000000000000000000080045c000140001000040017a290000000000000000"
    ),
    ("ip_template", 6, 0): bytes.fromhex(
        "0000000000000000000000000800450000140001000040067ae40000000000000000"
    ),
    ("ip_template", 6, 192): bytes.fromhex(
        "000000000000000000000000080045c000140001000040067a240000000000000000"
    ),
    ("ip_template", 17, 0): bytes.fromhex(
        "0000000000000000000000000800450000140001000040117ad90000000000000000"
    ),
    ("ip_template", 17, 192): bytes.fromhex(
        "000000000000000000000000080045c000140001000040117a190000000000000000"
    ),
    ("arp_template", 1): bytes.fromhex(
        "000000000000000000000000080600010800060400010000000000000000000000000000000000000000"
    ),
    ("arp_template", 2): bytes.fromhex(
        "000000000000000000000000080600010800060400020000000000000000000000000000000000000000"
    ),
    ("icmp_template", 0, 0): bytes.fromhex(
        "0000ffff00000000"
    ),
    ("icmp_template", 8, 0): bytes.fromhex(
        "0800f7ff00000000"
    ),
    ("icmp_template", 5, 0): bytes.fromhex(
        "0500faff00000000"
    ),
    ("icmp_template", 5, 1): bytes.fromhex(
        "0501fafe00000000"
    ),
    ("icmp_template", 11, 0): bytes.fromhex(
        "0b00f4ff00000000"
    ),
    ("icmp_template", 11, 1): bytes.fromhex(
        "0b01f4fe00000000"
    ),
    ("icmp_template", 3, 0): bytes.fromhex(
        "0300fcff00000000"
    ),
    ("icmp_template", 3, 1): bytes.fromhex(
        "0301fcfe00000000"
    ),
    ("icmp_template", 3, 2): bytes.fromhex(
        "0302fcfd00000000"
    ),
    ("icmp_template", 3, 3): bytes.fromhex(
        "0303fcfc00000000"
    ),
    ("icmp_template", 3, 4): bytes.fromhex(
        "0304fcfb00000000"
    ),
    ("icmp_template", 3, 9): bytes.fromhex(
        "0309fcf600000000"
    ),
    ("icmp_template", 3, 10): bytes.fromhex(
        "030afcf500000000"
    ),
    ("icmp_template", 3, 13): bytes.fromhex(
        "030dfcf200000000"
    ),
    ("vxlan_template",): bytes.fromhex(
        "0000000000000000000000000800450000240001000040117ac9000000000000000000000000001000000800000000000000"
    ),
    ("tcp_template", ()): bytes.fromhex(
        "0000000000000000000000000800450000280000400040063ad1000000000000000000000000000000000000000050000000"
        "afe50000"
    ),
    ("tcp_template", (("NOP", None), ("NOP", None), ("Timestamp", (0, 0)))): bytes.fromhex(
        "0000000000000000000000000800450000340000400040063ac5000000000000000000000000000000000000000080000000"
        "76ce00000101080a0000000000000000"
    ),
    ("tcp_template", (("MSS", 0), ("SAckOK", b""), ("Timestamp", (0, 0)), ("NOP", None), ("WScale", 7))): bytes.fromhex(
        "00000000000000000000000008004500003c0000400040063abd0000000000000000000000000000000000000000a0000000"
        "4db70000020400000402080a000000000000000001030307"
    ),
}
