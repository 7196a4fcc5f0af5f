"""What Prometheus reads of the controller, read by Prometheus' own parser."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from k8semu.kube.ingress.metrics import HISTOGRAMS, PREFIX, Done, Metrics

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SECONDS = st.floats(0, 1000, allow_nan=False)


def done(host: str = "a.example", path: str = "/", seconds: float = 0.2) -> Done:
    return Done(host, "GET", path, ("default", "shop"), "web", 200, seconds, 120, 3000, 0.001, seconds, seconds)


def read(metrics: Metrics) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """By name of a sample, by labels: its value."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(metrics.text()):
        assert family.documentation
        assert family.type in ("counter", "gauge", "histogram")
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_prometheus_reads_each_family_with_its_type() -> None:
    metrics = Metrics({"controller_pod": "me"})
    metrics.record(done())
    families = list(text_string_to_metric_families(metrics.text()))
    types = {(family.name.removeprefix(PREFIX), family.type) for family in families}
    assert types == {
        *((histogram.name, "histogram") for histogram in HISTOGRAMS),
        ("requests", "counter"), ("success", "counter"), ("config_last_reload_successful", "gauge"),
        ("nginx_process_connections", "gauge"), ("nginx_process_connections", "counter"),
        ("nginx_process_requests", "counter"),
    }  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(TEXT, TEXT, SECONDS)
def test_whatever_a_label_or_a_value_is_it_is_read_back(host: str, path: str, seconds: float) -> None:
    metrics = Metrics({"controller_pod": "me"})
    metrics.record(done(host, path, seconds=seconds))
    samples = read(metrics)
    [labels] = samples[PREFIX + "requests_total"]       # so the parser calls a counter
    assert (dict(labels)["host"], dict(labels)["path"]) == (host, path)
    assert samples[PREFIX + "request_duration_seconds_sum"][labels] == seconds
    assert samples[PREFIX + "response_size_sum"][labels] == 3000


@settings(max_examples=30, deadline=None)
@given(st.lists(SECONDS, min_size=1, max_size=20))
def test_buckets_add_up_as_prometheus_wants_them(times: list[float]) -> None:
    metrics = Metrics({})
    for seconds in times:
        metrics.record(done(seconds=seconds))
    buckets = {float(dict(labels)["le"]): value
               for labels, value in read(metrics)[PREFIX + "request_duration_seconds_bucket"].items()}  # fmt: skip
    assert [buckets[most] for most in sorted(buckets)] == [
        sum(seconds <= most for seconds in times) for most in sorted(buckets)
    ]
    assert buckets[float("inf")] == len(times)
