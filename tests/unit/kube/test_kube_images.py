"""What a container runs follows from its image."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from k8semu.kube.images import Launch, base_name, command_line, launch
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


def test_docker_ps_shows_the_manifests_command() -> None:
    assert command_line(container("busybox", command=["sleep"], args=["9"])) == "sleep 9"
    assert command_line(container("busybox")) == "sh"
