"""Network namespaces, the programs in them, and the one way to tell them something.

    tell(netns, command) ─▶ journal ─▶ emulated kernel
    start / call(program) ─▶ journal ─▶ a task on the simulated event loop, in its namespace

Everything that is done to a cluster passes here, so the journal is complete: the kernel twin
replays it and is the same cluster.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import sys
from collections.abc import Callable, Coroutine, Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from k8semu import late
from k8semu.apps.feed import Feed, current_feed
from k8semu.apps.terminal import Terminal, current_terminal
from k8semu.cluster import journal as j
from k8semu.cluster.journal import Call, Journal, NetnsAdd, NetnsDel, Program, Start, Stop, Tell
from k8semu.cluster.sleepers import Sleepers
from k8semu.errors import CommandError, InputError
from k8semu.linux.core.commands import Command
from k8semu.linux.netns import NetNs
from k8semu.sim.clock import NS_PER_S
from k8semu.sim.loop import SimLoop
from k8semu.sim.program import OpenFiles, current_files, current_program, current_stack
from k8semu.sim.world import World

if TYPE_CHECKING:
    from k8semu.apps.container_log import ContainerLog
    from k8semu.apps.resolver import Libc
    from k8semu.trace.hop import TraceSink

LAST_WORDS = NS_PER_S
"""Simulated time that programs get to close their connections at the end of a run."""
foreign: set[str] = set()
"""Modules of programs that are not ours, of all runs of this process."""
ProgramFunction = Callable[..., Coroutine[Any, Any, Any]]


def load_program(function: str) -> ProgramFunction:
    """The `async def` named ``package.module:function``; InputError if there is none."""
    module_name, _, name = function.partition(":")
    if module_name.partition(".")[0] != "k8semu":
        foreign.add(module_name)
        late.finish()
        from k8semu.sim.confine import confine

        confine()
    try:
        found = getattr(_import(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"no program {function!r}: {error}", hint="package.module:function") from None
    except Exception as error:     # whatever a user's own module does when it is imported
        raise InputError(f"no program {function!r}: {type(error).__name__}: {error}", hint="mend the module") from None
    if not asyncio.iscoroutinefunction(found):
        raise InputError(f"{function!r} is no `async def`", hint="a program is a coroutine function")
    program: ProgramFunction = found
    return program


def _import(name: str) -> ModuleType:
    if name in sys.modules or name.partition(".")[0] == "k8semu":
        return importlib.import_module(name)
    from k8semu.sim.identity import nobodys  # late: for programs of the user's own

    with nobodys():
        return importlib.import_module(name)


class Process:
    """A program that runs: its task, what it was started from, what it has open, is told, and has printed."""

    __slots__ = ("feed", "files", "netns", "pid", "program", "task", "terminal")

    def __init__(self, pid: str, netns: str, program: Program, terminal: Terminal | None = None) -> None:
        self.pid, self.netns, self.program = pid, netns, program
        self.files, self.feed, self.terminal = OpenFiles(), Feed(), terminal or Terminal()
        self.task: asyncio.Task[Any]


class Cluster:
    """All machines of one run. Use `loop` to let things happen."""

    def __init__(self, seed: int = 1, trace: TraceSink | None = None) -> None:
        self.world = World(seed)
        self.clock = self.world.clock
        self.loop = SimLoop(self.world.clock)
        self.journal = Journal()
        self.trace = trace
        self.netns: dict[str, NetNs] = {}                   # those that are there; `net` for one by name
        self.sleepers = Sleepers()
        self.processes: dict[str, Process] = {}
        self.on_netns: list[Callable[[NetNs], None]] = []   # told of each new namespace (captures)
        self.hosts: dict[str, str] = {}                     # names that resolve everywhere: name -> address
        self.api_url = ""                                   # where Pods find the API server, if it is on the wire
        self.on_watch: Callable[[str, tuple[str, ...]], None] | None = None
        """Told of each program that watches objects: its pid, and their kinds."""
        self.dns_servers: tuple[str, ...] = ("10.96.0.10",)  # what the kubelets are told: --cluster-dns
        self.dns_domain = "cluster.local"
        self.service_cidr = "10.96.0.0/12"                  # of ClusterIPs; the Master says it
        self.dns_runs = False                               # new Pods ask it for names, instead of knowing `hosts`
        self.crashes: list[tuple[str, BaseException]] = []
        self.logs: dict[str, ContainerLog] = {}             # what containers wrote: namespace/Pod/container -> log
        self.keeps_logs = False                             # somebody may ask for them: there are kubelets that listen
        self._undo: Callable[[], None] | None = None        # of `containers_print`
        self._identities = False                            # programs are told of their machines
        self.compared = False
        """Set before building: it will be replayed in a kernel, where no API server is, so that programs are fed."""
        self.reword: Callable[[Command], Command] | None = None
        """What is told instead of a command (a comparison takes chance out of rules)."""

    # --- namespaces ---------------------------------------------------------------------------

    def add_netns(self, name: str) -> NetNs:
        """`ip netns add NAME`, loopback up."""
        if name in self.netns:
            raise CommandError(f'Cannot create namespace file "/run/netns/{name}": File exists')
        net = self.netns[name] = NetNs(self.world, name, self.net)
        net.trace = self.trace
        net.sockets.resolve = self._resolve
        self.journal.add(NetnsAdd(netns=name))
        for listener in self.on_netns:
            listener(net)
        return net

    def del_netns(self, name: str) -> None:
        """`ip netns del NAME`: devices in it go, and the far ends of its veths."""
        self.journal.add(NetnsDel(netns=name))
        self.netns.pop(name).destroy()

    def net(self, name: str) -> NetNs:
        """A namespace; CommandError if there is none. Its node is awake from now on."""
        self.sleepers.wake(name)
        if name not in self.netns:
            raise CommandError(f'Cannot open network namespace "{name}": No such file or directory')
        return self.netns[name]

    def name(self, name: str, address: str) -> None:
        """Have `name` resolve to `address` everywhere."""
        self.hosts[name] = address
        self.journal.add(j.Name(name=name, address=address))

    def unname(self, name: str) -> None:
        """Have it resolve no more."""
        del self.hosts[name]
        self.journal.add(j.Name(name=name, address=""))

    def use_dns(self, netns: str, resolv_conf: str, hosts: str, libc: Libc = "glibc") -> None:
        """From now on programs in a namespace resolve names as its own /etc/resolv.conf and /etc/hosts say."""
        from k8semu.apps.resolver import Resolver

        net = self.net(netns)
        numbers = net.random("resolver")
        net.sockets.resolver = Resolver(resolv_conf, hosts, lambda: numbers.bits(16), libc)
        files = {"/etc/resolv.conf": resolv_conf, "/etc/hosts": hosts}
        self.journal.add(j.Files(netns=netns, files=files, libc=libc))

    def _resolve(self, name: str) -> str | None:
        return self.hosts.get(name)

    def tell(self, netns: str, command: Command) -> None:
        """Tell a namespace's kernel something (seam 2)."""
        if self.reword is not None:
            command = self.reword(command)
        self.net(netns).apply(command)
        self.journal.add(Tell(netns=netns, command=command))

    def tell_all(self, netns: str, commands: Iterable[Command]) -> None:
        for command in commands:
            self.tell(netns, command)

    # --- programs -----------------------------------------------------------------------------

    def _spawn(self, netns: str, pid: str, program: Program, terminal: Terminal | None = None) -> Process:
        """A program as a process of its own: its namespace, its name, what it opens."""
        function = load_program(program.function)
        process = Process(pid, netns, program, terminal)
        context = contextvars.copy_context()
        context.run(current_stack.set, self.net(netns).sockets)
        context.run(current_program.set, pid.rpartition("/")[2])
        context.run(current_files.set, process.files)
        context.run(current_feed.set, process.feed)
        context.run(current_terminal.set, process.terminal)
        if program.hostname:
            context.run(self._tell_of_itself, program)
        process.task = self.loop.create_task(function(**program.args), name=pid, context=context)
        return process

    def _tell_of_itself(self, program: Program) -> None:
        """What runs in this context is told of the emulated machine."""
        from k8semu.sim import identity

        if not self._identities:
            self._identities = True
            identity.install()
        mine = identity.Identity(program.hostname, program.env, program.fqdn, program.address, program.files)
        identity.current.set(mine)

    def start(
        self, netns: str, pid: str, program: Program, journal: bool = True, terminal: Terminal | None = None
    ) -> Process:
        """Start a program that runs until it is stopped. Wakes the node. `terminal`: what it writes to.

        Without `journal` it is a part of the emulator itself: it is no program that a kernel twin could run.
        """
        assert pid not in self.processes, f"{pid} runs already"
        if journal:
            self.journal.add(Start(netns=netns, pid=pid, program=program))
        process = self._spawn(netns, pid, program, terminal)
        self.processes[pid] = process
        process.task.add_done_callback(lambda task: self._ended(process, task))
        return process

    def _ended(self, process: Process, task: asyncio.Task[Any]) -> None:
        self.processes.pop(process.pid, None)
        self.loop.exit_process(process.files)
        if process.pid in self.logs and (log := self.logs[process.pid]) is process.terminal:
            log.end()
        if not task.cancelled() and (error := task.exception()) is not None:
            self.crashes.append((process.pid, error))

    def stop(self, pid: str) -> None:
        """End a program: its tasks are cancelled, its sockets close."""
        process = self.processes.pop(pid, None)
        if process is not None:
            self.journal.add(Stop(netns=process.netns, pid=pid))
            process.task.cancel()

    async def interrupt(self, process: Process) -> Any:
        """Ctrl-C for a program that was started: what it returns then (JSON values), or has returned before."""
        process.task.cancel()
        result = await process.task
        self.journal.add(Stop(netns=process.netns, pid=process.pid, result=result))
        return result

    def feed(self, pid: str, message: Any) -> None:
        """Tell a running program something (JSON values): its `apps.feed.next_message` returns it."""
        self.journal.add(j.Feed(pid=pid, message=message))
        self.processes[pid].feed.put(message)

    async def run_program(self, netns: str, name: str, program: Program) -> Any:
        """Run a program to its end, as another program asks (a container runtime): no entry in the journal."""
        process = self._spawn(netns, name, program)
        try:
            return await process.task
        finally:
            process.task.cancel()
            self.loop.exit_process(process.files)

    async def call(self, netns: str, name: str, program: Program) -> Any:
        """Run a client program to its end and return its result (JSON values)."""
        process = self._spawn(netns, name, program)
        result = await process.task
        self.loop.exit_process(process.files)
        self.journal.add(Call(netns=netns, program=program, result=result))
        return result

    def log(self, pid: str, image: str, prints: bool) -> ContainerLog:
        """A new container's log. `prints`: it is a program of the user's own, which writes by print()."""
        from k8semu.apps import container_log

        log = self.logs[pid] = container_log.ContainerLog(lambda: self.clock.now, image)
        if prints:
            if self._undo is None:
                self._undo = container_log.share_output()
            log.echo = container_log.on_terminal(f"pod/{pid.partition('/')[2]}")
        return log

    # --- running ------------------------------------------------------------------------------

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Let things happen until `main` is done; its result."""
        return self.loop.run_until_complete(main)

    def close(self) -> None:
        """End all programs, let their last frames pass, and end the loop."""
        self.loop.cancel_all()
        self.clock.run_until(self.clock.now + LAST_WORDS)
        self.loop.close()
        if self._undo is not None:
            self._undo()
        if self._identities:
            from k8semu.sim import identity

            self._identities = False
            identity.uninstall()
