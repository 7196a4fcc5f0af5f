"""What a container runs follows from its image."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from k8semu.errors import InputError
from k8semu.kube.images import Launch, base_name, command_line, expand, launch
from k8semu.kube.objects import Container


def container(image: str, *ports: int, **more: Any) -> Container:
    listed = [{"containerPort": port} for port in ports]
    return msgspec.convert({"name": "c", "image": image, "ports": listed, **more}, Container)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("nginx", "nginx"), ("nginx:1.27", "nginx"), ("library/nginx@sha256:abc", "nginx"),
        ("localhost:5000/team/whoami:v1", "whoami"), ("", ""),
    ],
)  # fmt: skip
def test_an_image_is_known_by_its_last_word(image: str, name: str) -> None:
    assert base_name(image) == name


@pytest.mark.parametrize(
    ("image", "declared", "served"),
    [
        ("nginx", (), [80]), ("nginx", (8080,), [8080]), ("agnhost", (), [8080]), ("http-echo", (), [5678]),
        ("mine/shop:v2", (9000, 9001), [9000, 9001]),
    ],
)  # fmt: skip
def test_a_server_serves_the_declared_ports_or_its_usual_one(
    image: str, declared: tuple[int, ...], served: list[int]
) -> None:
    expected = Launch("k8semu.apps.http_echo:http_echo", {"name": "web", "ports": served})
    assert launch(container(image, *declared), "web", {}) == expected


@pytest.mark.parametrize("image", ["busybox", "curlimages/curl:8", "alpine", "mine/unknown"])
def test_what_declares_nothing_and_serves_nothing_sleeps(image: str) -> None:
    assert launch(container(image), "web", {}) is None


def test_an_annotation_names_the_users_own_program() -> None:
    own = {"k8semu/program": "shop.main:serve", "k8semu/program.side": "shop.side:serve"}
    assert launch(container("busybox"), "web", own) == Launch("shop.main:serve")
    assert launch(container("busybox", name="side"), "web", own) == Launch("shop.side:serve")


def test_arguments_are_json_with_the_pods_fields_filled_in() -> None:
    args = '{"ip": "$(POD_IP)", "ports": [80, "$(PORT)"], "n": {"a": 1}}'
    own = {"k8semu/program": "shop.main:serve", "k8semu/args": args}
    found = launch(container("busybox"), "web", own, {"POD_IP": "172.17.0.2"}, env=lambda: {"PORT": "81"})
    assert found == Launch("shop.main:serve", {"ip": "172.17.0.2", "ports": [80, "81"], "n": {"a": 1}})
    own["k8semu/args.side"] = '{"port": 1}'
    assert launch(container("busybox", name="side"), "web", own) == Launch("shop.main:serve", {"port": 1})


@pytest.mark.parametrize("text", ["{", "[]", "80", "[" * 100_000])
def test_arguments_that_are_no_json_object_are_refused(text: str) -> None:
    own = {"k8semu/program": "shop.main:serve", "k8semu/args": text}
    with pytest.raises(InputError):
        launch(container("busybox"), "web", own)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$(A)", "1"), ("$(B)", "$(B)"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$A", "$A"), ("$(A", "$(A"), ("", "")],
)
def test_names_are_filled_in_as_in_a_containers_args(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


def test_a_servers_flags_are_filled_in_from_its_environment() -> None:
    server = container("agnhost", args=["netexec", "--http-port=$(PORT)"])
    found = launch(server, "web", {}, env=lambda: {"PORT": "81"})
    assert found == Launch("k8semu.apps.http_echo:http_echo", {"name": "web", "ports": [81]})


def test_docker_ps_shows_the_manifests_command() -> None:
    assert command_line(container("busybox", command=["sleep"], args=["9"])) == "sleep 9"
    assert command_line(container("busybox")) == "sh"
