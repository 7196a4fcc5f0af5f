"""What a proxy is to do, from the objects of a cluster."""

from __future__ import annotations

import pytest
from ingress_objects import asked, config_of, ingress, service, slice_of, state_of

from k8semu.kube.ingress.config import Options, Upstream
from k8semu.kube.ingress.configure import configure

WEB = (
    service("web", "10.96.0.20", ("http", 80), ("admin", 81)),
    slice_of("web", "172.17.0.3", "172.17.1.2", port_name="http"),
)
CART = (service("cart", "10.96.0.21"), slice_of("cart", "172.17.1.3"))


def upstreams(config: object, host: str = "a.example", path: str = "/") -> tuple[Upstream, ...]:
    location = config.server(host).paths.find(path)  # type: ignore[attr-defined]
    assert location is not None
    return location.backend.upstreams  # type: ignore[no-any-return]


def test_a_host_and_a_path_lead_to_the_cluster_ip_of_a_service() -> None:
    config = config_of(ingress("i", {"a.example": {"/": "web:80"}}), *WEB)
    assert upstreams(config) == (Upstream("10.96.0.20", 80),)
    assert config.problems == ()


def test_or_straight_to_its_ready_endpoints_where_that_is_asked_for() -> None:
    config = config_of(ingress("i", {"a.example": {"/": "web:http"}}, service_upstream="false"), *WEB)
    assert upstreams(config) == (Upstream("172.17.0.3", 8080), Upstream("172.17.1.2", 8080))


def test_the_config_map_can_say_so_for_all() -> None:
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "s"},
        "data": {"service-upstream": "false"},
    }
    config = config_of(ingress("i", {"a.example": {"/": "web:80"}}), *WEB, settings, config_map=("default", "s"))
    assert len(upstreams(config)) == 2


@pytest.mark.parametrize(("port", "why"), [("80", ""), ("http", ""), ("82", "no port 82"), ("web", "no port web")])
def test_a_port_is_named_or_numbered(port: str, why: str) -> None:
    config = config_of(ingress("i", {"a.example": {"/": f"web:{port}"}}), *WEB)
    assert bool(upstreams(config)) is not bool(why)
    assert why in "".join(map(str, config.problems))


def test_a_service_that_is_not_there_and_one_without_endpoints_are_said_to_be_so() -> None:
    hosts = {"a.example": {"/": "nobody:80", "/empty": "empty:80"}}
    config = config_of(ingress("i", hosts), service("empty", "10.96.0.22"))
    assert [str(problem) for problem in config.problems] == [
        "Ingress default/i: no Service default/nobody",
        "Ingress default/i: Service default/empty has no ready endpoint",
    ]  # fmt: skip
    assert upstreams(config) == ()


def test_endpoints_that_are_not_ready_are_none() -> None:
    config = config_of(
        ingress("i", {"a.example": {"/": "x:80"}}), service("x", "None"), slice_of("x", "172.17.0.9", ready=False)
    )
    assert upstreams(config) == ()


def test_a_headless_service_has_only_endpoints_and_an_external_name_is_called_by_its_name() -> None:
    config = config_of(ingress("i", {"a.example": {"/": "x:80", "/out": "y:80"}}),
                       service("x", "None"), slice_of("x", "172.17.0.9"),
                       service("y", "", type="ExternalName", externalName="www.example.org"))  # fmt: skip
    assert upstreams(config) == (Upstream("172.17.0.9", 8080),)
    assert upstreams(config, path="/out") == (Upstream("www.example.org", 80),)


def test_of_two_that_claim_a_path_the_older_has_it() -> None:
    old = ingress("z-old", {"a.example": {"/": "web:80"}}, made="2026-01-01T00:00:00Z")
    young = ingress("a-young", {"a.example": {"/": "cart:80", "/cart": "cart:80"}}, made="2026-01-02T00:00:00Z")
    config = config_of(young, old, *WEB, *CART)
    assert (asked(config, "a.example/"), asked(config, "a.example/cart/1")) == ("web:80", "cart:80")
    assert [str(problem) for problem in config.problems] == [
        "Ingress default/a-young: a.example/: Ingress default/z-old has it"
    ]


@pytest.mark.parametrize(
    ("cls", "options", "taken"),
    [
        ("nginx", {}, True), ("other", {}, False), (None, {}, False), (None, {"without_class": True}, True),
        ("nginx", {"controller": "example.com/mine"}, False), ("nginx", {"namespace": "shop"}, False),
    ],
)  # fmt: skip
def test_a_controller_serves_the_ingresses_of_its_class(
    cls: str | None, options: dict[str, object], taken: bool
) -> None:
    config = config_of(ingress("i", {"a.example": {"/": "web:80"}}, cls=cls), *WEB, **options)
    assert (asked(config, "a.example/") == "web:80") is taken


def test_the_old_annotation_names_a_class_too() -> None:
    old = ingress("i", {"a.example": {"/": "web:80"}}, cls=None)
    old["metadata"]["annotations"]["kubernetes.io/ingress.class"] = "nginx"
    assert asked(config_of(old, *WEB), "a.example/") == "web:80"


def test_what_nobody_claims_goes_to_a_default_backend_or_nowhere() -> None:
    claims = ingress("i", {"a.example": {"/x": "web:80"}})
    assert asked(config_of(claims, *WEB), "a.example/y") == asked(config_of(claims, *WEB), "b.example/") == ""
    both = ingress("i", {"a.example": {"/x": "web:80"}}, default="cart:80")
    config = config_of(both, *WEB, *CART)
    assert [asked(config, url) for url in ("a.example/x", "a.example/y", "b.example/")] == ["web:80", "cart:80", ""]
    config = config_of(ingress("all", {}, default="cart:80"), claims, *WEB, *CART)
    assert [asked(config, url) for url in ("a.example/x", "a.example/y", "b.example/")] == [
        "web:80",
        "cart:80",
        "cart:80",
    ]
    config = config_of(claims, *WEB, *CART, default_backend=("default", "cart"))
    assert asked(config, "b.example/") == "cart:80"


def test_a_rule_without_a_host_is_for_every_host_that_has_none_of_its_own() -> None:
    config = config_of(ingress("i", {"": {"/": "web:80"}, "a.example": {"/": "cart:80"}}), *WEB, *CART)
    assert (asked(config, "b.example/"), asked(config, "a.example/")) == ("web:80", "cart:80")


@pytest.mark.parametrize(
    ("name", "value"),
    [("proxy_body_size", "lots"), ("ssl_redirect", "maybe"), ("proxy_read_timeout", "-1"),
    ("whitelist_source_range", "here"),
     ("backend_protocol", "GRPC"), ("permanent_redirect_code", "200")],
)  # fmt: skip
def test_an_annotation_that_makes_no_sense_denies_its_locations(name: str, value: str) -> None:
    config = config_of(ingress("i", {"a.example": {"/": "web:80"}}, **{name: value}), *WEB)
    location = config.server("a.example").paths.find("/")
    assert location is not None
    assert location.denied.startswith(name.replace("_", "-"))
    assert location.denied in str(config.problems[0])


def test_one_rewritten_path_makes_all_paths_of_its_host_expressions() -> None:
    one = ingress(
        "one", {"a.example": {"/shop(/|$)(.*)": "web:80"}}, kind="ImplementationSpecific", rewrite_target="/$2"
    )
    two = ingress("two", {"a.example": {"/cart": "cart:80"}}, made="2026-01-02T00:00:00Z")
    config = config_of(one, two, *WEB, *CART)
    assert asked(config, "a.example/SHOP/x") == "web:80"
    assert asked(config, "a.example/cartoon") == "cart:80"
    bad = ingress("bad", {"a.example": {"/(": "web:80", "/": "cart:80"}}, use_regex="true")
    assert asked(config_of(bad, *WEB, *CART), "a.example/(") == "cart:80"


def test_what_goes_is_forgotten() -> None:
    state = state_of(ingress("i", {"a.example": {"/": "web:80"}}), *WEB)
    state.take({"type": "DELETED", "object": WEB[1]})
    assert configure(state,
     Options()).server("a.example").paths.find("/").backend.upstreams == ()  # type: ignore[union-attr]
    state.take({"type": "DELETED", "object": ingress("i", {})})
    assert configure(state, Options()).servers == {}
