"""Each mistake in a file is one error: file, line, path, and what would be right."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from k8semu.errors import ScenarioError
from k8semu.scenario.load import parse

HEAD = "apiVersion: k8semu/v1\nkind: Scenario\n"
TWO_NODES = HEAD + "spec:\n  nodes:\n    - {name: a, address: 10.0.0.2/24}\n    - "
POD = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: client}\nspec:\n  containers: [{name: c}]\n"


class Mistake(NamedTuple):
    name: str
    text: str
    line: int | None
    path: str
    says: str


def steps(*rows: str, then: str = POD) -> str:
    return HEAD + "spec:\n  steps:\n" + "".join(f"    - {row}\n" for row in rows) + then


def pod(spec: str, meta: str = "{name: x}") -> str:
    return f"apiVersion: v1\nkind: Pod\nmetadata: {meta}\nspec:\n{spec}\n"


MISTAKES = [
    Mistake("nothing in it", "# only a comment\n", None, "", "nothing in it"),
    Mistake("no YAML", "a: [1", 2, "", "not YAML"),
    Mistake("a tab", "a:\n\tb: 1\n", 2, "", "spaces, no tabs"),
    Mistake("a key too far left", "a:\n    b: 1\n   c: 2\n", 3, "", "keys of one mapping begin in one column"),
    Mistake("a text with a colon", "name: first: the call\n", 1, "", "quotes around a text with ': ' in it"),
    Mistake("an open quote", "a: 'b\n", 2, "", "a quote is open"),
    Mistake("a backend of another plugin", HEAD + "spec:\n  podNetwork: {plugin: weave, backend: udp}\n", 4,
            "spec.podNetwork.backend", "weave has no backends (plugin: flannel, which has udp)"),
    Mistake("direct routing without a tunnel", HEAD + "spec:\n  podNetwork: {backend: udp, directRouting: true}\n", 4,
            "spec.podNetwork.directRouting", "plugin: flannel, backend: vxlan"),
    Mistake("a control character", "a: \x01", None, "", "does not belong in YAML"),
    Mistake("a text", "hello", 1, "documents[0]", "a manifest is a mapping"),
    Mistake("a list", "- 1", 1, "documents[0]", "a manifest is a mapping"),
    Mistake("a duplicate key", HEAD + "spec:\n  seed: 1\n  seed: 2\n", 5, "", "duplicate key 'seed'"),
    Mistake("an alias of nothing", "a: [1]\nb: *x\n", 2, "", "alias *x (nothing before it is named &x)"),
    Mistake("an alias of another document", "a: &x [1]\n---\nb: *x\n", 3, "", "alias *x"),
    Mistake("an alias of itself", "a: &x\n  b: *x\n", 2, "", "it stands in what it is an alias of"),
    Mistake("an alias as a key", "a: &x b\n*x : 1\n", 2, "", "a key must be a plain word"),
    Mistake("aliases of aliases", "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)),
            5, "", "aliases stand for more than 100000 values"),
    Mistake("an alias nested too deep", "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 30 + "*a" + "]" * 30, 2, "",
            "at most 64 levels"),
    Mistake("a merge key of a list", "a: {<<: [1]}\n", 1, "", "it takes over a mapping"),
    Mistake("two merge keys", "a: &a {b: 1}\nc:\n  <<: *a\n  <<: *a\n", 4, "", "<<: [*a, *b]"),
    Mistake("a wrong value by an alias", HEAD + "spec:\n  nodes:\n    - &n {name: a, address: 10.0.0.2/24}\n"
            "    - *n\n", 6, "spec.nodes[1].name", "'a' is there already"),
    Mistake("a version that is gone, and its fields", "apiVersion: networking.k8s.io/v1beta1\nkind: Ingress\n"
            "metadata: {name: x}\nspec: {backend: {serviceName: web}}\n", 1, "documents[0].apiVersion",
            "did you mean networking.k8s.io/v1?"),
    Mistake("a mistyped group", "apiVersion: network.k8s.io/v1\nkind: Ingress\nmetadata: {name: x}\n", 1,
            "documents[0].apiVersion", "did you mean networking.k8s.io/v1?"),
    Mistake("a mistyped group without dots", "apiVersion: app/v1\nkind: Deployment\nmetadata: {name: x}\n", 1,
            "documents[0].apiVersion", "did you mean apps/v1?"),
    Mistake("a field that an Ingress lacks", "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: x}\n"
            "spec: {foo: 1}\n", 4, "documents[0].spec.foo", "an Ingress has no such field"),
    Mistake("an expectation without a value", steps("wait: 1\n      expect: {error: }"), 6,
            "spec.steps[0].expect.error", "'error' has no value"),
    Mistake("a command cut at its comma", steps("kubectl: {from: client, command: get pods,svc -A}"), 5,
            "spec.steps[0].kubectl.svc -A", "quote a text with a comma in it"),
    Mistake("a step without a value", steps("http:"), 5, "spec.steps[0].http", "'http' has no value"),
    Mistake("a pipe where no shell is", steps("exec: {on: client, command: ip route | grep default}"), 5,
            "spec.steps[0].exec.command", "'|' is for a shell"),
    Mistake("two commands where no shell is", steps("exec: {on: client, command: ip route; ip addr}"), 5,
            "spec.steps[0].exec.command", "';' is for a shell"),
    Mistake("a file to write where no shell is", steps("kubectl: {from: client, command: get pods > pods.txt}"), 5,
            "spec.steps[0].kubectl.command", "'>' is for a shell"),
    Mistake("a wrong manifest in a step of a file that begins with its steps", "steps:\n- wait: 1\n- apply:\n"
            "  - apiVersion: v1\n    kind: Service\n    metadata: {name: s}\n    spec: {ports: [{port: 70000}]}\n", 7,
            "documents[0].steps[1].apply[0].spec.ports[0].port", "70000 is out of range"),
    Mistake("what follows an alias", HEAD + "metadata: &m {layer: 1}\nspec:\n  names: {a: &b 10.0.0.1, c: *b}\n"
            "  seed: x\n", 6, "spec.seed", "a whole number"),
    Mistake("a tag", "a: !!python/object:os.system x\n", 1, "", "tags are not supported"),
    Mistake("a key that is a list", "? [1]\n: 2\n", 1, "", "a key must be a plain word"),
    Mistake("many brackets", "[" * 50_000, 1, "", "nested too deep"),
    Mistake("one bracket too many", "[" * 65 + "]" * 65, 1, "", "at most 64 levels"),
    Mistake("many dashes", "- " * 50_000, 1, "", "nested too deep"),
    Mistake("no version", "kind: Scenario\nspec: {}\n", 1, "", "such as k8semu/v1"),
    Mistake("a wait for ever", steps("wait: 1e30"), 5, "spec.steps[0].wait", "out of range (at most 86400)"),
    Mistake("no room for DNS", HEAD + "spec:\n  services: {cidr: 10.96.0.0/29}\n", 4, "spec.services.cidr",
            "at most /28"),
    Mistake("no room for a Master", HEAD + "spec:\n  controlPlane: wire\n  nodes: [{name: a, address: 10.0.0.1/29}]\n",
            5, "spec.nodes[0].address", "no room for the Master"),
    Mistake("an unknown key", HEAD + "spec:\n  nodez: []\n", 4, "spec.nodez", "did you mean nodes?"),
    Mistake("an unknown step", steps("pnig: {from: client, to: x}"), 5, "spec.steps[0].pnig", "did you mean ping?"),
    Mistake("another version", "apiVersion: k8semu/v2\nkind: Scenario\n", 1, "apiVersion", "did you mean k8semu/v1?"),
    Mistake("a wrong type", HEAD + "spec:\n  seed: abc\n", 4, "spec.seed", "a text where a whole number belongs"),
    Mistake("a list that is none", HEAD + "spec:\n  nodes: 5\n", 4, "spec.nodes", "where a list belongs"),
    Mistake("an unknown word", HEAD + "spec:\n  podNetwork: {plugin: flanel}\n", 4, "spec.podNetwork.plugin",
            "did you mean flannel?"),
    Mistake("a proxy mode that is not there", HEAD + "spec:\n  services: {proxyMode: ipvz}\n", 4,
            "spec.services.proxyMode", "did you mean ipvs?"),
    Mistake("a scheduler that is not there", HEAD + "spec:\n  services: {proxyMode: ipvs, ipvsScheduler: lblc}\n", 4,
            "spec.services.ipvsScheduler", "did you mean lc?"),
    Mistake("node ports on no network", HEAD + "spec:\n  services: {nodePortAddresses: [10.100.0.2/24]}\n", 4,
            "spec.services.nodePortAddresses[0]", "is no network"),
    Mistake("node ports on the primary address and others", HEAD + "spec:\n  services:\n"
            "    nodePortAddresses: [10.100.0.0/24, primary]\n", 5, "spec.services.nodePortAddresses[1]",
            "stands alone"),
    Mistake("node ports where they cannot be chosen", HEAD + "spec:\n  services:\n    proxyMode: userspace\n"
            "    nodePortAddresses: [primary]\n", 6, "spec.services.nodePortAddresses", "on all addresses"),
    Mistake("a number without end", HEAD + f"spec: {{seed: {'9' * 5000}}}\n", 3, "spec.seed", "whole number"),
    Mistake("a duplicate name", TWO_NODES + "{name: a, address: 10.0.0.3/24}\n", 6, "spec.nodes[1].name",
            "'a' is there already (see spec.nodes[0])"),
    Mistake("a duplicate address", TWO_NODES + "{name: b, address: 10.0.0.2/24}\n", 6, "spec.nodes[1].address",
            "10.0.0.2 is there already (a has it)"),
    Mistake("a bad address", TWO_NODES + "{name: b, address: 10.0.0.256/24}\n", 6, "spec.nodes[1].address",
            "is no address"),
    Mistake("no prefix length", TWO_NODES + "{name: b, address: 10.0.0.3}\n", 6, "spec.nodes[1].address",
            "has no network"),
    Mistake("a network's own address", TWO_NODES + "{name: b, address: 10.0.0.0/24}\n", 6, "spec.nodes[1].address",
            "is no host address"),
    Mistake("two networks that overlap", TWO_NODES + "{name: b, address: 10.0.1.2/16}\n", 6, "spec.nodes[1].address",
            "overlaps 10.0.0.0/24 (the network of a)"),
    Mistake("a bad name", TWO_NODES + "{name: B_1, address: 10.0.0.3/24}\n", 6, "spec.nodes[1].name", "is no name"),
    Mistake("a taken name", TWO_NODES + "{name: router, address: 10.0.0.3/24}\n", 6, "spec.nodes[1].name", "is taken"),
    Mistake("subnets that overlap", HEAD + "spec:\n  nodes:\n    - {name: a, address: 10.0.0.2/24, podCIDR: "
            "172.17.0.0/24}\n    - {name: b, address: 10.0.0.3/24, podCIDR: 172.17.0.128/25}\n", 6,
            "spec.nodes[1].podCIDR", "172.17.0.128/25 (the Pods of b) overlaps 172.17.0.0/24 (the Pods of a)"),
    Mistake("a subnet outside", TWO_NODES + "{name: b, address: 10.0.0.3/24, podCIDR: 172.18.0.0/24}\n", 6,
            "spec.nodes[1].podCIDR", "is not in the Pod network (a part of 172.17.0.0/16)"),
    Mistake("no room for subnets", HEAD + "spec:\n  podNetwork: {cidr: 172.17.0.0/24}\n", 3, "spec.nodes[1]",
            "has no /24 left"),
    Mistake("Services in the Pod network", HEAD + "spec:\n  services: {cidr: 172.17.3.0/24}\n", 4,
            "spec.services.cidr", "overlaps 172.17.0.0/16 (the Pod network)"),
    Mistake("nodes among the ClusterIPs", HEAD + "spec:\n  services: {proxyMode: nftables, cidr: 10.96.0.0/12}\n", 4,
            "spec.services.cidr", "10.96.0.0/12 (the Services) overlaps 10.100.0.0/24 (the network of host1)"),
    Mistake("nodes in the Pod network", HEAD + "spec:\n  nodes: [{name: a, address: 172.17.3.2/24}]\n", 4,
            "spec.nodes[0].address", "overlaps 172.17.0.0/16"),
    Mistake("the router's address", HEAD + "spec:\n  podNetwork: {plugin: routed}\n  nodes: [{name: a, address: "
            "10.0.0.1/24}]\n", 5, "spec.nodes[0].address", "is the router's address"),
    Mistake("a bridge that is no device", HEAD + "spec:\n  podNetwork: {bridge: a/b}\n", 4, "spec.podNetwork.bridge",
            "is no name of a device"),
    Mistake("a bridge that is another device", HEAD + "spec:\n  podNetwork: {bridge: eth0}\n", 4,
            "spec.podNetwork.bridge", "is another device"),
    Mistake("routed without a router", HEAD + "spec:\n  podNetwork: {plugin: routed}\n  router: false\n", 5,
            "spec.router", "routed needs a router"),
    Mistake("host-gw across networks", TWO_NODES + "{name: b, address: 10.0.1.2/24}\n  podNetwork: {backend: "
            "host-gw}\n", 7, "spec.podNetwork.backend", "host-gw needs all nodes in one network"),
    Mistake("an unknown Pod", steps("ping: {from: clinet, to: x}"), 5, "spec.steps[0].ping.from",
            "did you mean client?"),
    Mistake("an unknown node for exec", steps("exec: {on: hots1, command: ip addr}"), 5, "spec.steps[0].exec.on",
            "did you mean host1?"),
    Mistake("CNI on a Pod", steps("cni: {node: client, command: ADD, container: x}"), 5, "spec.steps[0].cni.node",
            "no node 'client'"),
    Mistake("a step with two actions", steps("{wait: 1s, ping: {from: client, to: x}}"), 5, "spec.steps[0]",
            "ping and wait in one step"),
    Mistake("a step with none", steps("name: x"), 5, "spec.steps[0]", "a step without an action"),
    Mistake("a duplicate step", steps("{name: x, wait: 1s}", "{name: x, wait: 1s}"), 6, "spec.steps[1].name",
            "step 'x' is there already"),
    Mistake("an expectation of another step", steps("{wait: 1s, expect: {received: 1}}"), 5,
            "spec.steps[0].expect.received", "wait has no 'received'"),
    Mistake("a misspelt expectation", steps("{wait: 1s, expect: {recieved: 1}}"), 5, "spec.steps[0].expect.recieved",
            "did you mean received?"),
    Mistake("a bad duration", steps("wait: 5 seconds"), 5, "spec.steps[0].wait", "such as 5s or 50ms"),
    Mistake("no URL", steps("http: {from: client, url: 'ftp://x/'}"), 5, "spec.steps[0].http.url", "is no URL"),
    Mistake("files without a kubelet that asks for them",
            HEAD + "spec: {controlPlane: wire}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n"
            "  containers: [{name: c}]\n  volumes:\n    - {name: v, secret: {secretName: s}}\n", 11,
            "documents[1].spec.volumes[0]", "control plane is on the wire"),
    Mistake("trust without TLS", steps("http: {from: client, url: 'http://x/', insecure: true}"), 5,
            "spec.steps[0].http.insecure", "there is no TLS"),
    Mistake("a file that is not there",
            HEAD + "spec:\n  hosts: [{name: u, address: 203.0.113.2/24, files: {/a.pem: x}}]\n  steps:\n"
            "    - http: {from: u, url: 'https://x/', cacert: /b.pem}\n" + POD, 6,
            "spec.steps[0].http.cacert", "there are: /a.pem"),
    Mistake("a port that is none", steps("http: {from: client, url: 'http://x:99999/'}"), 5,
            "spec.steps[0].http.url", "is no URL"),
    Mistake("TCP without a port", steps("tcp: {from: client, to: 172.17.0.3}"), 5, "spec.steps[0].tcp.to",
            "such as 172.17.0.3:80"),
    Mistake("an unknown machine for kubectl", steps("kubectl: {from: hots1, command: get pods}"), 5,
            "spec.steps[0].kubectl.from", "did you mean host1?"),
    Mistake("kubectl twice", steps("kubectl: {from: host1, command: kubectl get pods}"), 5,
            "spec.steps[0].kubectl.command", "what follows the word kubectl"),
    Mistake("half a kubectl command", steps("kubectl: {from: host1, command: \"get 'pods\"}"), 5,
            "spec.steps[0].kubectl.command", "No closing quotation"),
    Mistake("a proxy in the foreground", steps("kubectl: {from: host1, command: proxy}"), 5,
            "spec.steps[0].kubectl.command", "goes on until it is interrupted"),
    Mistake("an interrupt of nothing", steps("interrupt: {step: fwd}"), 5, "spec.steps[0].interrupt.step",
            "no step 'fwd' that runs in the background"),
    Mistake("an interrupt twice", steps("{name: p, kubectl: {from: host1, command: proxy, background: true}}",
            "interrupt: {step: p}", "interrupt: {step: p}"), 7, "spec.steps[2].interrupt.step", "no step 'p'"),
    Mistake("an API server on no machine", HEAD + "spec:\n  apiServer: hots1\n" + POD, 4, "spec.apiServer",
            "no node or host 'hots1'"),
    Mistake("half a command", steps("exec: {on: client, command: \"echo 'x\"}"), 5, "spec.steps[0].exec.command",
            "such as ip addr"),
    Mistake("a name", steps("dns: {from: client, name: a..b}"), 5, "spec.steps[0].dns.name", "no domain name"),
    Mistake("a container that is not there", steps("listen: {from: client, container: d, port: 80}"), 5,
            "spec.steps[0].listen.container", "Pod client has no container 'd'"),
    Mistake("nothing to do to a link", steps("link: {on: host1}"), 5, "spec.steps[0].link", "nothing happens"),
    Mistake("nothing to scale", steps("scale: {workload: deployment/acount, replicas: 1}"), 5,
            "spec.steps[0].scale.workload", "there are: none"),
    Mistake("a manifest to apply", steps("apply: [{apiVersion: v1, kind: Pod, metadata: {name: z}, spec: {}}]"), 5,
            "documents[0].spec.steps[0].apply[0].spec", "containers is missing"),
    Mistake("steps alone", "steps:\n- wait: 1s\n- pong: 1\n", 3, "steps[1].pong", "did you mean ping?"),
    Mistake("an unknown node", pod("  nodeName: hots1\n  containers: [{name: c}]"), 5, "documents[0].spec.nodeName",
            "did you mean host1?"),
    Mistake("labels that no node has", pod("  nodeSelector: {disk: ssd}\n  containers: [{name: c}]"), 5,
            "documents[0].spec.nodeSelector", "no node has the labels disk=ssd"),
    Mistake("an unknown field", pod("  containers: [{name: c, foo: 1}]"), 5, "documents[0].spec.containers[0].foo",
            "a Pod has no such field here"),
    Mistake("a misspelt field", pod("  contianers: []"), 5, "documents[0].spec.contianers", "did you mean containers?"),
    Mistake("no containers", pod("  {}"), 4, "documents[0].spec", "containers is missing"),
    Mistake("a port in quotes", pod("  containers:\n  - name: c\n    ports:\n    - containerPort: '80'"), 8,
            "documents[0].spec.containers[0].ports[0].containerPort", "a text where a whole number belongs"),
    Mistake("two containers of one name", pod("  containers: [{name: c}, {name: c}]"), 5,
            "documents[0].spec.containers[1].name", "is there already"),
    Mistake("a Pod name that is none", pod("  containers: [{name: c}]", "{name: X_y}"), 3,
            "documents[0].metadata.name", "'X_y' is no name"),
    Mistake("a Pod named as a node", pod("  containers: [{name: c}]", "{name: host1}"), 3,
            "documents[0].metadata.name", "is a machine's name"),
    Mistake("the same Pod twice", pod("  containers: [{name: c}]") + POD + POD, 15, "documents[2].metadata.name",
            "Pod default/client is there already (see line 7)"),
    Mistake("a kind that nobody knows", "apiVersion: v1\nkind: Deploymnet\nmetadata: {name: x}\n", 2,
            "documents[0].kind", "did you mean Deployment?"),
    Mistake("no kind", "apiVersion: v1\nmetadata: {name: x}\n", 1, "documents[0]", "kind is missing"),
    Mistake("the wrong group", "apiVersion: v1\nkind: Deployment\nmetadata: {name: x}\nspec: {}\n", 1,
            "documents[0].apiVersion", "apps/v1"),
    Mistake("an item of a List", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: "
            "{name: x}\n  spec: {containers: []}\n", 7, "documents[0].items[0].spec.containers", "an empty list"),
    Mistake("a selector that selects nothing", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec:\n"
            "  selector: {matchLabels: {app: a}}\n  template: {spec: {containers: [{name: c}]}}\n", 5,
            "documents[0].spec.selector", "does not match"),
    Mistake("a program that is not there", steps("program: {from: client, function: 'k8semu.apps.nothing:x'}"), 5,
            "spec.steps[0].program.function", "no program 'k8semu.apps.nothing:x'"),
    Mistake("a program that is no coroutine", steps("program: {from: client, function: 'json:dumps'}"), 5,
            "spec.steps[0].program.function", "is no `async def`"),
    Mistake("arguments that a program does not take",
            steps("program: {from: client, function: 'k8semu.apps.sockets:listen', args: {prot: 80}}"), 5,
            "spec.steps[0].program.args", "missing a required argument: 'port' (it takes port, address)"),
    Mistake("a Pod's program that is not there",
            pod("  containers: [{name: c}]", "{name: x, annotations: {k8semu/program: shop}}"), 3,
            "documents[0].metadata.annotations.k8semu/program", "no program 'shop'"),
    Mistake("a Pod's arguments that are no JSON",
            pod("  containers: [{name: c}]", "{name: x, annotations: {k8semu/program: 'k8semu.apps.sockets:listen', "
                "k8semu/args: '{port'}}"), 3, "documents[0].metadata.annotations.k8semu/args",
            'such as {"port": 8080}'),
    Mistake("a Pod's arguments that its program does not take",
            pod("  containers: [{name: c}]", "{name: x, annotations: {k8semu/program: 'k8semu.apps.sockets:listen', "
                "k8semu/args: '{}'}}"), 3, "documents[0].metadata.annotations.k8semu/args", "it takes port, address"),
    Mistake("a second scenario", HEAD + "---\n" + HEAD.replace("k8semu/v1", "v1"), 5, "documents[1].kind",
            "a second scenario"),
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_each_mistake_is_one_error_that_points_at_it(mistake: Mistake) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(mistake.text, "f.yaml", "f")
    error = caught.value
    assert error.file == "f.yaml"
    assert (error.line, error.path) == (mistake.line, mistake.path), str(error)
    assert mistake.says in str(error)
    assert "\n" not in str(error)
