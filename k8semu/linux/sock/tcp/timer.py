"""What happens when nothing comes: retransmission, window probes, delayed acknowledgements, keepalive.

A timer that moves is not taken out of the heap: it looks when it fires whether its time has come.

Linux: net/ipv4/tcp_timer.c
RFC: 6298, 9293 section 3.8.6.1 (probes), 1122 section 4.2.3.6 (keepalive)
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from k8semu.linux.core.jiffies import JIFFY
from k8semu.sim.clock import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from k8semu.linux.sock.tcp.sock import TcpSock

TIMEOUT_INIT = NS_PER_S
RTO_MIN = 200 * NS_PER_MS
RTO_MAX = 120 * NS_PER_S
ATO_MIN = 40 * NS_PER_MS
TIMEOUT_MIN = 8 * NS_PER_MS
"""Two ticks at 250 Hz. Linux: TCP_TIMEOUT_MIN."""
ORPHAN_RETRIES = 8
RETRANS, PROBE0, LOSS_PROBE = "retransmit", "window probe", "loss probe"


def set_rto(sk: TcpSock, delay: int, what: str = RETRANS) -> None:
    """Have the one timer of the sending side fire in `delay` ns, for `what`. Linux: icsk_pending."""
    at = sk.clock.now + delay
    sk.rto_at, sk.pending = at, what
    timer = sk.rto_timer
    if timer is None or timer.fn is None or timer.when > at:
        if timer is not None:
            timer.cancel()
        sk.rto_timer = sk.clock.timer(delay, _rto_fires, sk)


def clear_rto(sk: TcpSock) -> None:
    """Nothing is in flight and nothing to probe."""
    sk.rto_at = 0
    if sk.rto_timer is not None:
        sk.rto_timer.cancel()
        sk.rto_timer = None


def rearm_rto(sk: TcpSock) -> None:
    """Start the timer anew while something is in flight. Linux: tcp_rearm_rto()."""
    if sk.rtx:
        set_rto(sk, sk.rto)
    else:
        clear_rto(sk)


def set_xmit_timer(sk: TcpSock, advancing: bool) -> None:
    """Something is in flight: a loss probe first if it may be one, else the RTO. Linux: tcp_set_xmit_timer()."""
    if not schedule_loss_probe(sk, advancing):
        rearm_rto(sk)


def schedule_loss_probe(sk: TcpSock, advancing: bool) -> bool:
    """Two round trips without an answer: ask, sooner than the RTO would. Linux: tcp_schedule_loss_probe()."""
    rtx = sk.rtx
    if not rtx or not sk.sack_ok or sk.ca_state != "Open":
        return False
    delay = TIMEOUT_INIT
    if sk.srtt:
        delay = 2 * sk.srtt + (RTO_MIN if len(rtx) == 1 else TIMEOUT_MIN)
    left = sk.rto if advancing else rtx[0].sent_at + sk.rto - sk.clock.now
    set_rto(sk, min(delay, left) if left > 0 else delay, LOSS_PROBE)
    return True


def _send_loss_probe(sk: TcpSock) -> None:
    """New data if there is some, else the last segment again. Linux: tcp_send_loss_probe(). RFC: 8985 section 7."""
    from k8semu.linux.sock.tcp import output, recovery

    if not sk.rtx:
        return
    if not sk.tlp_high:
        before = len(sk.rtx)
        if sk.unsent:
            output.write_xmit(sk, push=True, one=True, probe=True)
        if len(sk.rtx) == before:
            stamp = sk.retrans_stamp        # a probe begins no recovery
            recovery.retransmit(sk, sk.rtx[-1])
            sk.retrans_stamp = stamp
            sk.tlp_retrans = True
        else:
            sk.tlp_retrans = False
        sk.tlp_high = sk.snd_nxt
    rearm_rto(sk)


def clear_all(sk: TcpSock) -> None:
    """The socket is done. Linux: tcp_clear_xmit_timers()."""
    clear_rto(sk)
    sk.delack_at = 0
    for timer in (sk.delack_timer, sk.keepalive_timer):
        if timer is not None:
            timer.cancel()
    sk.delack_timer = sk.keepalive_timer = None


# --- round trip time --------------------------------------------------------------------------


def rtt_sample(sk: TcpSock, rtt: int) -> None:
    """A round trip took `rtt` ns. Linux: tcp_rtt_estimator(), tcp_set_rto()."""
    rtt = max(rtt, 1)
    sk.min_rtt = min(sk.min_rtt or rtt, rtt)
    if sk.srtt == 0:
        sk.srtt = rtt
        sk.mdev = rtt >> 1
    else:
        sk.mdev += (abs(rtt - sk.srtt) - sk.mdev) >> 2
        sk.srtt = max(sk.srtt + (rtt - sk.srtt >> 3), 1)
    sk.rttvar = max(4 * sk.mdev, RTO_MIN)
    sk.rto = rto(sk)


def rto(sk: TcpSock) -> int:
    """How long to wait, by what round trips took. Linux: __tcp_set_rto(), usecs_to_jiffies()."""
    return min(-(-(sk.srtt + sk.rttvar) // JIFFY) * JIFFY, RTO_MAX)


# --- retransmission ---------------------------------------------------------------------------


def _rto_fires(sk: TcpSock) -> None:
    at = sk.rto_at
    if not at:
        return
    now = sk.clock.now
    if at > now:
        sk.rto_timer = sk.clock.timer(at - now, _rto_fires, sk)
        return
    sk.rto_at = 0
    if sk.pending is PROBE0:
        _probe_timer(sk)
    elif sk.pending is LOSS_PROBE:
        _send_loss_probe(sk)
    else:
        _retransmit_timer(sk)
    if sk.has_news:
        sk.notify()


def model_timeout(retries: int, base: int = RTO_MIN) -> int:
    """How long `retries` retransmissions take with an RTO that was `base` first. Linux: tcp_model_timeout()."""
    linear = (RTO_MAX // base).bit_length() - 1
    if retries <= linear:
        return ((2 << retries) - 1) * base
    return ((2 << linear) - 1) * base + (retries - linear) * RTO_MAX


def _write_timeout(sk: TcpSock) -> bool:
    """Too many retransmissions: give up. Linux: tcp_write_timeout()."""
    from k8semu.linux.sock.tcp.states import SYN_RECV, SYN_SENT

    settings = sk.net.sysctl
    if sk.state in (SYN_SENT, SYN_RECV):
        retries = settings.integer("net.ipv4.tcp_syn_retries")
        most = retries + (syn_linear_timeouts(sk) if sk.state is SYN_SENT else 0)
        limit_ns = sk.user_timeout * NS_PER_MS or model_timeout(retries, TIMEOUT_INIT)
        expired = sk.retransmits >= most or _elapsed(sk, limit_ns)
    else:
        retries = ORPHAN_RETRIES if sk.orphan else settings.integer("net.ipv4.tcp_retries2")
        limit_ns = sk.user_timeout * NS_PER_MS or model_timeout(retries)
        expired = _elapsed(sk, limit_ns)
    if expired:
        sk.fail(sk.err_soft or errno.ETIMEDOUT)
    return expired


def _elapsed(sk: TcpSock, limit_ns: int) -> bool:
    """Since the first retransmission (of a SYN: since the first SYN). Linux: retransmits_timed_out()."""
    return bool(sk.retransmits) and sk.clock.now - sk.retrans_stamp >= limit_ns


def _until_user_timeout(sk: TcpSock) -> int:
    """The RTO, but no longer than the program is willing to wait. Linux: tcp_clamp_rto_to_user_timeout()."""
    if not sk.user_timeout:
        return sk.rto
    left = sk.user_timeout * NS_PER_MS - (sk.clock.now - sk.retrans_stamp)
    return min(sk.rto, max(left, NS_PER_MS))


def syn_linear_timeouts(sk: TcpSock) -> int:
    """SYNs sent a second apart before the interval doubles. Linux 6.5: net.ipv4.tcp_syn_linear_timeouts."""
    return sk.net.sysctl.integer("net.ipv4.tcp_syn_linear_timeouts")


def _retransmit_timer(sk: TcpSock) -> None:
    """Linux: tcp_retransmit_timer()."""
    from k8semu.linux.sock.tcp import recovery
    from k8semu.linux.sock.tcp.states import SYN_RECV, SYN_SENT

    if not sk.rtx or _write_timeout(sk):
        return
    if sk.state not in (SYN_SENT, SYN_RECV):
        sk.tlp_high = 0
        recovery.enter_loss(sk)
    sk.retransmits += 1
    sk.total_rto += 1
    recovery.retransmit(sk, sk.rtx[0])
    if sk.state is not SYN_SENT or sk.total_rto > syn_linear_timeouts(sk):
        sk.backoff += 1
        sk.rto = min(sk.rto << 1, RTO_MAX)
    set_rto(sk, _until_user_timeout(sk))


# --- zero window ------------------------------------------------------------------------------


def set_probe(sk: TcpSock) -> None:
    """Ask for the window after a while. Linux: tcp_check_probe_timer(), tcp_probe0_when()."""
    set_rto(sk, min(max(sk.rto, RTO_MIN) << min(sk.backoff, 9), RTO_MAX), PROBE0)


def _probe_timer(sk: TcpSock) -> None:
    """Linux: tcp_probe_timer(), tcp_send_probe0()."""
    from k8semu.linux.sock.tcp import output

    if sk.rtx or not sk.unsent:
        sk.probes_out = 0
        return
    retries = ORPHAN_RETRIES if sk.orphan else sk.net.sysctl.integer("net.ipv4.tcp_retries2")
    if sk.probes_out >= retries:
        sk.fail(sk.err_soft or errno.ETIMEDOUT)
        return
    sk.probes_out += 1
    output.write_wakeup(sk)
    if sk.rtx:
        rearm_rto(sk)
        return
    if sk.backoff < retries:
        sk.backoff += 1
    set_probe(sk)


# --- delayed acknowledgement ------------------------------------------------------------------


def delay_ack(sk: TcpSock) -> None:
    """Acknowledge within 40 ms, unless something else carries it. Linux: tcp_send_delayed_ack()."""
    if sk.delack_at:
        return
    sk.ack_pending = True
    delay = ATO_MIN if sk.lrcvtime else NS_PER_MS   # only a FIN came: the next tick
    sk.delack_at = sk.clock.now + delay
    sk.delack_timer = sk.clock.timer(delay, _delack_fires, sk)


def _delack_fires(sk: TcpSock) -> None:
    """Linux: tcp_delack_timer_handler()."""
    from k8semu.linux.sock.tcp import output

    sk.delack_at = 0
    sk.delack_timer = None
    if sk.ack_pending:
        sk.pingpong = False
        output.send_ack(sk)


# --- keepalive --------------------------------------------------------------------------------


def start_keepalive(sk: TcpSock) -> None:
    """SO_KEEPALIVE was set, or the connection that has it came up. Linux: tcp_set_keepalive()."""
    stop_keepalive(sk)
    if sk.keepalive:
        sk.keepalive_timer = sk.clock.timer(sk.keep_idle * NS_PER_S, _keepalive_fires, sk)


def stop_keepalive(sk: TcpSock) -> None:
    if sk.keepalive_timer is not None:
        sk.keepalive_timer.cancel()
        sk.keepalive_timer = None


def _keepalive_fires(sk: TcpSock) -> None:
    """Linux: tcp_keepalive_timer()."""
    from k8semu.linux.sock.tcp import output

    sk.keepalive_timer = None
    delay = sk.keep_idle * NS_PER_S
    if not sk.rtx and not sk.unsent:
        idle = sk.clock.now - max(sk.lrcvtime, sk.lsndtime)
        if idle >= delay:
            limit = sk.user_timeout * NS_PER_MS
            if (sk.probes_out and idle >= limit) if limit else sk.probes_out >= sk.keep_cnt:
                output.send_active_reset(sk)
                sk.fail(sk.err_soft or errno.ETIMEDOUT)
                sk.notify()
                return
            sk.probes_out += 1
            output.send_probe(sk)
            delay = sk.keep_intvl * NS_PER_S
        else:
            delay -= idle
    sk.keepalive_timer = sk.clock.timer(delay, _keepalive_fires, sk)
