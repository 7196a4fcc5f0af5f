"""Files that Pods get from Secrets and ConfigMaps."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import certificates
import msgspec
import pytest
import yaml

from k8semu.cluster.volumes import mounted
from k8semu.errors import InputError, MountError, ScenarioError
from k8semu.kube.images import launch
from k8semu.kube.objects import Container, Pod
from k8semu.scenario.load import load
from k8semu.scenario.run import run

JSON = dict[str, Any]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


OBJECTS: dict[tuple[str, str], JSON] = {
    ("secrets", "tls"): {"data": {"tls.crt": b64("C"), "tls.key": b64("K")}},
    ("configmaps", "conf"): {"data": {"a": "1", "b": "2"}, "binaryData": {"c": b64("3")}},
}


def files(volume: JSON, **mount: str) -> dict[str, str]:
    container = {"name": "c", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/x/", **mount}]}
    spec = {"containers": [container], "volumes": [{"name": "v", **volume}]}
    pod = msgspec.convert({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}, Pod)
    return mounted(pod, lambda plural, name: OBJECTS.get((plural, name)))


SECRET, CONFIG = {"secret": {"secretName": "tls"}}, {"configMap": {"name": "conf"}}


def test_each_key_is_a_file() -> None:
    assert files(SECRET) == {"/x/tls.crt": "C", "/x/tls.key": "K"}
    assert files(CONFIG) == {"/x/a": "1", "/x/b": "2", "/x/c": "3"}
    assert files({"emptyDir": {}}) == {}


def test_items_choose_keys_and_say_where_they_lie() -> None:
    items = [{"key": "b", "path": "deep/file"}]
    assert files({"configMap": {"name": "conf", "items": items}}) == {"/x/deep/file": "2"}


def test_a_sub_path_is_one_file() -> None:
    assert files(SECRET, subPath="tls.crt", mountPath="/etc/cert.pem") == {"/etc/cert.pem": "C"}


@pytest.mark.parametrize(
    ("volume", "why"),
    [
        ({"secret": {"secretName": "gone"}}, 'secret "gone" not found'),
        ({"configMap": {"name": "gone"}}, 'configmap "gone" not found'),
        ({"secret": {"secretName": "tls", "items": [{"key": "z", "path": "z"}]}}, "non-existent secret key: z"),
        ({"configMap": {"name": "conf", "items": [{"key": "z", "path": "z"}]}}, "non-existent config key: z"),
    ],
)
def test_what_is_not_there_keeps_the_pod_from_starting(volume: JSON, why: str) -> None:
    with pytest.raises(MountError, match=why):
        files(volume)
    source = next(iter(volume.values()))
    assert files({next(iter(volume)): {**source, "optional": True}}) == {}


@pytest.mark.parametrize(
    ("image", "args", "ports", "secure"),
    [
        ("agnhost:2", ["--http-port=8443", "--tls-cert-file=/c", "--tls-private-key-file=/k"], [8443], True),
        ("agnhost", ["netexec", "--http-port", "81"], [81], False),
        ("traefik/whoami", ["-cert", "/c", "-key", "/k", "--port", "443"], [443], True),
        ("hashicorp/http-echo", ["-listen=:9000", "-text=hello"], [9000], False),
        ("agnhost", ["netexec", "--http-port=many"], [8080], False),
        ("nginx", ["--http-port=81"], [80], False),
    ],
)
def test_a_server_s_own_flags_say_where_and_how_it_serves(
    image: str, args: list[str], ports: list[int], secure: bool
) -> None:
    container = msgspec.convert({"name": "c", "image": image, "args": args}, Container)
    start = launch(container, "web", {}, {}, {"/c": "C", "/k": "K"})
    assert start is not None
    said = {"certificate": "C", "key": "K"} if secure else {}
    assert start.args == {"name": "web", "ports": ports, **said}
    if secure:
        with pytest.raises(InputError, match="open /c: no such file"):
            launch(container, "web", {}, {}, {})


def scenario(folder: Path, *steps: JSON, secret: str = "tls", later: bool = False) -> Path:
    """A Pod that serves over TLS, and one that has the authority's certificate in a file."""
    shop = certificates.certificate("shop.example", kind="p256")
    held = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}, "type": "kubernetes.io/tls",
            "stringData": {"tls.crt": shop.pem, "tls.key": shop.key}}  # fmt: skip
    flags = ["netexec", "--http-port=8443", "--tls-cert-file=/tls/tls.crt", "--tls-private-key-file=/tls/tls.key"]
    server = _pod("shop", "agnhost", flags, {"secret": {"secretName": secret}}, "/tls")
    client = _pod("client", "curl", [], {"configMap": {"name": "ca"}}, "/ca")
    trusted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca"},
               "data": {"ca.crt": certificates.authority()}}  # fmt: skip
    waits: JSON = {"apply": [server], "expect": {"pending": ["shop"]}}
    apply = [waits, {"apply": [held], "expect": {"started": ["shop"]}}] if later else []
    spec = {"nodes": [{"name": "host1", "address": "10.100.0.2/24", "podCIDR": "172.17.0.0/24"}],
            "names": {"shop.example": "172.17.0.3"}, "steps": [*apply, *steps]}  # fmt: skip
    head = {"apiVersion": "k8semu/v1", "kind": "Scenario", "spec": spec}
    path = folder / "mounted.yaml"
    path.write_text(yaml.safe_dump_all([head, client, trusted, *([] if later else [server, held])]))
    return path


def _pod(name: str, image: str, args: list[str], volume: JSON, place: str) -> JSON:
    container = {"name": name, "image": image, "args": args, "volumeMounts": [{"name": "v", "mountPath": place}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [container], "volumes": [{"name": "v", **volume}]}}  # fmt: skip


CALL: JSON = {"http": {"from": "client", "url": "https://shop.example:8443/", "cacert": "/ca/ca.crt"},
              "expect": {"status": 200, "servedBy": "shop"}}  # fmt: skip
CURL: JSON = {"exec": {"on": "client", "command": "curl -sS --cacert /ca/ca.crt https://shop.example:8443/hello"},
              "expect": {"code": 0, "contains": "/hello"}}  # fmt: skip
CAT: JSON = {"exec": {"on": "shop", "command": "cat /tls/tls.crt"}, "expect": {"contains": "BEGIN CERTIFICATE"}}


def test_a_pod_serves_with_the_certificate_in_its_volume_and_another_trusts_it(tmp_path: Path) -> None:
    result = run(load(str(scenario(tmp_path, CALL, CURL, CAT))), tmp_path)
    assert result.ok, [step.failures for step in result.steps]


def test_a_pod_whose_secret_comes_later_waits_for_it(tmp_path: Path) -> None:
    result = run(load(str(scenario(tmp_path, CALL, later=True))), tmp_path)
    assert result.ok, [(step.name, step.result, step.failures) for step in result.steps]


def test_a_pod_of_a_file_whose_secret_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match='failed for volume "v" : secret "gone" not found') as error:
        run(load(str(scenario(tmp_path, CALL, secret="gone"))), tmp_path)
    assert error.value.path.endswith("spec.volumes")
