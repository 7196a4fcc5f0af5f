"""What a Pod knows of itself and of Services without asking anybody: its environment, its names, its /etc/hosts."""

from __future__ import annotations

import json
import os
import platform
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from own_machine_scenario import SCENARIO

from k8semu.errors import ScenarioError
from k8semu.scenario.load import load, parse
from k8semu.scenario.run import Run, run
from k8semu.scenario.steps import command_output

JSON = dict[str, Any]
NODE = {"name": "host1", "address": "10.100.0.2/24", "podCIDR": "172.17.0.0/24"}
LOCAL = (
    "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
)


def pod(name: str, env: Any = (), env_from: Any = (), image: str = "busybox", **spec: Any) -> JSON:
    container = {"name": "main", "image": image, "env": list(env), "envFrom": list(env_from)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [container], **spec}}  # fmt: skip


def service(name: str, address: str, namespace: str = "default", **port: Any) -> JSON:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": address, "ports": [{"port": 6379, **port}]}}  # fmt: skip


def config(name: str, **data: str) -> JSON:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def text(*manifests: JSON, steps: Any = (), **spec: Any) -> str:
    head = {"apiVersion": "k8semu/v1", "kind": "Scenario", "spec": {"nodes": [NODE], "steps": list(steps), **spec}}
    return yaml.safe_dump_all([json.loads(json.dumps(each)) for each in (head, *manifests)])   # no aliases


@contextmanager
def running(*manifests: JSON, **spec: Any) -> Iterator[Any]:
    """What a command line prints on a machine of the cluster."""
    this = Run(parse(text(*manifests, **spec), "pods.yaml", "pods"))

    def said(machine: str, *argv: str) -> str:
        output = this.cluster.run(command_output(this.built, machine, list(argv)))
        return str(output.shown)

    try:
        this.build()
        this.settle()
        yield said
    finally:
        this.close()


def test_a_pod_is_told_of_the_services_of_its_namespace_and_of_the_api_server() -> None:
    there = [service("redis-primary", "10.96.0.11"), service("far", "10.96.0.12", "other"), pod("client")]
    with running(*there) as said:
        found = dict(line.split("=", 1) for line in said("client", "env").splitlines())
    assert found["REDIS_PRIMARY_SERVICE_HOST"] == "10.96.0.11"
    assert found["REDIS_PRIMARY_PORT_6379_TCP_ADDR"] == "10.96.0.11"
    assert (found["KUBERNETES_SERVICE_HOST"], found["KUBERNETES_SERVICE_PORT_HTTPS"]) == ("10.96.0.1", "443")
    assert found["KUBERNETES_PORT_443_TCP"] == "tcp://10.96.0.1:443"
    assert (found["HOSTNAME"], found["HOME"]) == ("client", "/root")
    assert not any(name.startswith("FAR_") for name in found)


def test_a_command_line_is_filled_in_from_the_environment() -> None:
    server = pod("server", [{"name": "PORT", "value": "81"}], image="agnhost")
    server["spec"]["containers"][0]["args"] = ["netexec", "--http-port=$(PORT)", "$(REDIS_SERVICE_HOST)", "$$(PORT)"]
    with running(service("redis", "10.96.0.11"), server) as said:
        assert "netexec --http-port=81 10.96.0.11 $(PORT)" in said("host1", "docker", "ps", "--no-trunc")
        assert said("host1", "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://172.17.0.2:81/") == "200"


def test_without_service_links_only_the_api_server_is_told() -> None:
    with running(service("redis", "10.96.0.11"), pod("client", enableServiceLinks=False)) as said:
        assert "REDIS" not in said("client", "env")
        assert said("client", "printenv", "KUBERNETES_SERVICE_HOST") == "10.96.0.1\n"


SERVED = "curl -s http://$ACCOUNT_SERVICE_HOST/"


def test_a_service_that_is_published_later_is_in_dns_and_in_no_environment_until_the_pod_starts_anew(
    tmp_path: Path
) -> None:
    server = {**pod("server", image="nginx"), "metadata": {"name": "server", "labels": {"app": "account"}}}
    account = service("account", "10.96.0.20", port=80)
    account["spec"]["selector"] = {"app": "account"}
    client = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "client"},
              "spec": {"selector": {"matchLabels": {"app": "client"}}, "template": {
                  "metadata": {"labels": {"app": "client"}},
                  "spec": {"containers": [{"name": "c", "image": "busybox"}]}}}}  # fmt: skip
    ask = {"on": "client-0", "command": "printenv ACCOUNT_SERVICE_HOST"}
    steps = [
        {"name": "published", "apply": [account]},
        {"name": "the old environment", "exec": ask, "expect": {"code": 1}},
        {"name": "by name", "http": {"from": "client-0", "url": "http://account/"}, "expect": {"servedBy": "server"}},
        {"name": "restarted", "kill": {"pod": "client-0"}, "expect": {"started": ["client-0"]}},
        {"name": "a new environment", "exec": ask, "expect": {"code": 0, "contains": "10.96.0.20"}},
        {"name": "by address", "exec": {"on": "client-0", "command": f"sh -c '{SERVED}'"},
         "expect": {"contains": "server"}},
    ]  # fmt: skip
    path = tmp_path / "later.yaml"
    path.write_text(text(server, client, steps=steps))
    result = run(load(str(path)), tmp_path)
    assert result.ok, [(step.name, step.result, step.failures) for step in result.steps]


def test_a_pod_whose_config_map_comes_later_waits_for_it(tmp_path: Path) -> None:
    waits = pod("late", [{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "level"}}}])
    steps = [
        {"apply": [waits], "expect": {"pending": ["late"], "error": 'configmap "conf" not found'}},
        {"exec": {"on": "client", "command": "kubectl get pods late"},
         "expect": {"contains": "CreateContainerConfigError"}},
        {"exec": {"on": "client", "command": "kubectl describe pod late"},
         "expect": {"contains": 'Error: configmap "conf" not found'}},
        {"apply": [config("conf", other="x")],
         "expect": {"pending": ["late"]}},
        {"apply": [config("conf", level="debug")], "expect": {"started": ["late"]}},
        {"exec": {"on": "late", "command": "printenv LEVEL"}, "expect": {"contains": "debug"}},
        {"apply": [config("conf", level="info")]},
        {"exec": {"on": "late", "command": "printenv LEVEL"}, "expect": {"contains": "debug"}},
    ]  # fmt: skip
    path = tmp_path / "later.yaml"
    path.write_text(text(pod("client"), steps=steps))
    result = run(load(str(path)), tmp_path)
    assert result.ok, [(step.name, step.result, step.failures) for step in result.steps]


def test_a_pod_of_a_file_that_names_what_is_not_there_is_an_error() -> None:
    wrong = pod("p", env_from=[{"secretRef": {"name": "gone"}}])
    said = 'CreateContainerConfigError: secret "gone" not found'
    with pytest.raises(ScenarioError, match=said) as error, running(wrong):
        pass
    assert error.value.path.endswith("spec.containers")


@pytest.mark.parametrize(
    ("source", "path", "what"),
    [
        ({"fieldRef": {"fieldPath": 5}}, "valueFrom.fieldRef.fieldPath", "a whole number where a text belongs"),
        ({"fieldRef": {"fieldpath": "x"}}, "valueFrom.fieldRef.fieldpath", "did you mean fieldPath"),
        ({"fieldRef": {"fieldPath": "spec.x"}}, "valueFrom.fieldRef.fieldPath", "Unsupported value"),
        ({"fieldRef": {"fieldPath": "x"}}, "valueFrom.fieldRef.fieldPath", "field label not supported: x"),
        ({"resourceFieldRef": {"resource": "cpu"}}, "valueFrom.resourceFieldRef.resource", "Unsupported value"),
        ({"secretKeyRef": {"name": "x"}}, "valueFrom.secretKeyRef.key", "Required value"),
        ({"secretKeyRef": {"name": "x", "key": "a b"}}, "valueFrom.secretKeyRef.key", "a valid config key"),
        ({}, "valueFrom", "must specify one of"),
        ({"fieldRef": {"fieldPath": "metadata.name"}, "secretKeyRef": {"name": "x", "key": "k"}}, "valueFrom",
         "more than one field"),
    ],
)  # fmt: skip
def test_a_source_that_cannot_be_is_refused_where_it_stands(source: JSON, path: str, what: str) -> None:
    wrong = pod("p", [{"name": "A", "valueFrom": source}])
    with pytest.raises(ScenarioError, match=what) as error, running(wrong):
        pass
    assert error.value.path.endswith(f"spec.containers[0].env[0].{path}")
    assert error.value.line is not None


# --- names ----------------------------------------------------------------------------------------


def test_a_pod_is_called_by_its_name() -> None:
    with running(pod("client")) as said:
        assert said("client", "hostname") == said("client", "uname", "-n") == said("client", "cat", "/etc/hostname")
        assert said("client", "hostname") == said("client", "hostname", "-f") == "client\n"
        assert said("client", "hostname", "-i") == "172.17.0.2\n"
        assert said("client", "cat", "/etc/hosts") == f"{LOCAL}172.17.0.2\tclient\n"


def test_a_pod_may_have_a_host_name_a_subdomain_and_aliases() -> None:
    aliases = [{"ip": "10.1.2.3", "hostnames": ["foo.remote", "bar.remote"]}]
    with running(pod("p", hostname="box", subdomain="front", hostAliases=aliases)) as said:
        assert (said("p", "hostname"), said("p", "printenv", "HOSTNAME")) == ("box\n", "box\n")
        assert said("p", "hostname", "-f") == "box.front.default.svc.cluster.local\n"
        assert said("p", "cat", "/etc/hosts") == (
            f"{LOCAL}172.17.0.2\tbox.front.default.svc.cluster.local\tbox\n"
            "\n# Entries added by HostAliases.\n10.1.2.3\tfoo.remote\tbar.remote\n"
        )


@pytest.mark.parametrize("dns", [True, False])
def test_programs_in_a_pod_find_what_its_etc_hosts_says(dns: bool) -> None:
    aliases = [{"ip": "10.1.2.3", "hostnames": ["foo.remote"]}]
    web = pod("web", hostname="box", subdomain="front", hostAliases=aliases)
    with running(web, pod("other"), services={"dns": dns}) as said:
        for name in ("box", "box.front.default.svc.cluster.local"):
            assert said("web", "getent", "hosts", name).split()[0] == "172.17.0.2"
        assert said("web", "getent", "hosts", "foo.remote").split() == ["10.1.2.3", "foo.remote"]
        assert said("other", "getent", "hosts", "foo.remote") == ""


def test_a_host_name_may_be_the_whole_one_and_is_cut_after_63_letters() -> None:
    long = f"{'a' * 62}-{'b' * 10}"
    with running(pod("p", subdomain="s", setHostnameAsFQDN=True), pod(long)) as said:
        assert said("p", "uname", "-n") == "p.s.default.svc.cluster.local\n"
        assert said("p", "hostname", "-s") == "p\n"
        assert said(long, "hostname") == f"{'a' * 62}\n"


def test_a_whole_name_that_the_kernel_cannot_hold_keeps_the_pod_from_starting() -> None:
    wrong = pod("p", hostname="h" * 40, subdomain="s", setHostnameAsFQDN=True)
    said = r"is too long \(64 characters is the max, 68 characters requested\)"
    with pytest.raises(ScenarioError, match=said) as error, running(wrong):
        pass
    assert error.value.path.endswith("spec.setHostnameAsFQDN")


def test_the_pods_of_a_stateful_set_are_in_its_domain() -> None:
    spec = {"serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": pod("x")["spec"]}}  # fmt: skip
    sets = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec}
    with running(sets) as said:
        assert said("db-0", "hostname", "-f") == "db-0.db.default.svc.cluster.local\n"


def test_a_pod_on_its_nodes_network_has_the_nodes_name() -> None:
    with running(pod("agent", hostNetwork=True)) as said:
        assert said("agent", "hostname") == said("agent", "printenv", "HOSTNAME") == "host1\n"
        assert said("host1", "hostname") == "host1\n"
        assert said("agent", "hostname", "-i") == said("host1", "hostname", "-i") == "10.100.0.2\n"
        assert said("agent", "cat", "/etc/hosts") == (
            f"# Kubernetes-managed hosts file (host network).\n{said('host1', 'cat', '/etc/hosts')}"
        )


# --- programs of the user's own ---------------------------------------------------------------------


def results() -> list[Any]:
    this = Run(parse(SCENARIO, "own.yaml", "own"))
    try:
        this.build()
        return [step.result for step in this.steps()]
    finally:
        this.close()


def test_a_program_is_told_of_its_own_machine_however_many_share_its_python() -> None:
    first, node, user, agent, again = results()
    assert first["mine"]["names"] == ["client"] * 5
    assert first["theirs"]["mine"]["names"] == ["box"] * 4 + ["box.front.default.svc.cluster.local"]
    assert first["theirs"]["yours"] == again["theirs"]["yours"] == "/client/172.17.1.2/1"
    assert (first["mine"]["address"], first["theirs"]["mine"]["address"]) == ("172.17.1.2", "172.17.0.2")
    assert first["theirs"]["mine"]["env"]["LINK"] == "see 10.96.0.11"
    assert (node["names"], user["names"], agent["names"]) == (["host1"] * 5, ["user"] * 5, ["host1"] * 5)
    assert (set(node["env"]), agent["env"]["PEER_SERVICE_HOST"]) == ({"PATH", "HOME"}, "10.96.0.11")


def test_a_program_reads_the_files_of_its_pod() -> None:
    mounted = pod("p", volumes=[{"name": "v", "configMap": {"name": "conf"}}])
    mounted["spec"]["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/etc/conf"}]
    steps = [{"program": {"from": where, "function": "own_machine:read", "args": {"path": path}}}
             for where, path in (("p", "/etc/conf/level"), ("p", "/etc/hosts"), ("host1", "/etc/hostname"),
                                 ("host1", "/etc/machine-id"))]  # fmt: skip
    this = Run(parse(text(config("conf", level="debug"), mounted, steps=steps), "files.yaml", "files"))
    try:
        this.build()
        level, hosts, name, gone = [step.result for step in this.steps()]
    finally:
        this.close()
    assert (level, name) == ({"value": "debug"}, {"value": "host1\n"})
    assert hosts == {"value": f"{LOCAL}172.17.0.2\tp\n"}
    assert gone == {"error": "FileNotFoundError: [Errno 2] No such file or directory: '/etc/machine-id'"}


@pytest.fixture
def not_imported() -> Iterator[None]:
    sys.modules.pop("own_machine", None)
    yield
    sys.modules.pop("own_machine", None)


@pytest.mark.usefixtures("not_imported")
def test_nothing_of_the_real_machine_is_in_what_a_program_sends_and_all_is_as_before_after_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real name is one that no capture has by chance."""
    name, secret = "the-real-machine-9f3a", "a-real-secret-77c1"
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", name, secret, secret, "x86_64")))
    monkeypatch.setattr(platform, "uname", lambda: platform.uname_result("Linux", name, secret, secret, "x86_64"))
    monkeypatch.setenv("USER", secret)
    monkeypatch.setenv("WHO", secret)
    path = tmp_path / "own.yaml"
    path.write_text(SCENARIO)
    captures = []
    for folder in ("a", "b"):
        result = run(load(str(path)), tmp_path / folder)
        assert result.ok, [(step.name, step.result) for step in result.steps]
        told = repr([step.result for step in result.steps])
        captures.append((tmp_path / folder / "own.pcapng").read_bytes())
        assert name not in told
        assert secret not in told
        assert (socket.gethostname(), os.uname().nodename, os.environ["USER"], platform.node()) == (
            name, name, secret, name,
        )  # fmt: skip
        assert type(os.environ) is os._Environ
    assert captures[0] == captures[1]
    assert name.encode() not in captures[0]
    assert secret.encode() not in captures[0]
    assert b"User-Agent: client" in captures[0]
