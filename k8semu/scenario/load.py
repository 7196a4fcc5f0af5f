"""A scenario file as checked values: the scenario, and the manifests behind it.

    file ─▶ YAML documents ─▶ typed values (convert) ─▶ defaults ─▶ sense (check) ─▶ Loaded

Every error says the file, the line, the path in the document, and what would be right.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from k8semu.errors import InputError, ScenarioError, near
from k8semu.kube.fields import unknown, without_effect
from k8semu.kube.kinds import KINDS, KubeKind, group_of, is_foreign, type_of, why_inert
from k8semu.kube.objects import WORKLOADS, AnyObject, ObjectMeta, Pod, Workload, full_name
from k8semu.scenario.check import check
from k8semu.scenario.convert import WrongValue, convert, in_seconds, parts
from k8semu.scenario.defaults import default_nodes
from k8semu.scenario.model import ACTIONS, Metadata, Scenario
from k8semu.scenario.yaml import documents, line_of

API = "k8semu/v1"
STDIN = "-"
OF_A_CLUSTER = frozenset({"resourceVersion", "uid", "creationTimestamp", "generation", "selfLink", "managedFields"})
"""What the API server writes into metadata."""
BARE = {"metadata", "spec", "steps"}
"""What a first document may hold that says neither apiVersion nor kind."""


Nulls = list[tuple[dict[str, Any], str]]
"""Keys that have no value, each with its mapping."""


class Place(msgspec.Struct, frozen=True):
    """Where an object stands: its document, and the path to it there ('' but for items of a List)."""

    document: int
    prefix: str = ""


class Loaded(msgspec.Struct):
    """A scenario, its Pods and workloads, and the kinds that have no effect (yet, or at all)."""

    scenario: Scenario
    name: str
    file: str
    text: str
    pods: list[Pod] = []
    workloads: list[Workload] = []
    inert: list[str] = []
    """A line for each object without effect."""
    objects: list[KubeKind] = []
    """Nodes, Namespaces, Services, EndpointSlices, and all that is kept for later layers."""
    manifests: list[dict[str, Any]] = []
    """Every manifest as it stands in the file, in its order."""
    places: dict[str, Place] = {}
    """``Pod default/client`` to where it stands."""
    bare: bool = False
    """The first document is only a list of steps."""
    asked: str = ""
    """The name or file by which it was asked for."""

    def error(self, what: str, path: str, hint: str = "") -> ScenarioError:
        """An error at `path` (``spec.nodes[1].address``) of the scenario, with its line."""
        if self.bare:
            path = path.removeprefix("spec.")
        line = line_of(self.text, 0, parts("." + path))
        return ScenarioError(what, file=self.file, line=line, path=path, hint=hint)

    def manifest_error(self, key: str, what: str, path: str, hint: str = "") -> ScenarioError:
        """An error at `path` of the manifest `key` (``Deployment default/account``; a Pod's path is its template's)."""
        place = self.places.get(key)
        if place is None:
            return ScenarioError(what, file=self.file, path=path, hint=hint)
        inner = f".spec.template.{path}" if path and key.startswith(WORKLOADS) else path and f".{path}"
        return self.error_at(place, what, inner, hint)

    def refused(self, key: str, what: str, path: str, hint: str = "") -> ScenarioError:
        """An error at `path` (``spec.ports[0].nodePort``) of the manifest `key`, as the API server names it."""
        place = self.places.get(key)
        if place is None:
            return ScenarioError(what, file=self.file, path=path, hint=hint)
        return self.error_at(place, what, path and f".{path}", hint)

    def error_at(self, place: Place, what: str, path: str, hint: str = "") -> ScenarioError:
        """An error at `path` (``.spec.nodeName``) of the object at `place`."""
        inner = f"{place.prefix}{path}"
        line = line_of(self.text, place.document, parts(inner))
        return ScenarioError(what, file=self.file, line=line, path=f"documents[{place.document}]{inner}", hint=hint)


# --- finding and reading ------------------------------------------------------------------------


def bundled() -> dict[str, Path]:
    """The scenarios that come with k8semu, by name."""
    for folder in _folders():
        found = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
        if found:
            return found
    return {}


def _folders() -> tuple[Path, ...]:
    """Where they are: in the package, or in the checkout."""
    here = Path(__file__).parents[1]
    return here / "scenarios", here.parent / "scenarios"


def find(name: str) -> Path:
    """The file of a bundled scenario's name, or the file itself."""
    path = Path(name)
    if "\0" in name:
        raise InputError(f"no scenario {name!r}", hint="a name has no NUL")
    if path.suffix in (".yaml", ".yml") or "/" in name or name == STDIN:
        return path
    for folder in _folders():
        if _is_file(own := folder / f"{name}.yaml"):
            return own
    if _is_file(path):
        return path
    if os.path.isdir(name):  # noqa: PTH112  (Path.is_dir() raises where no file can be called so)
        raise InputError(f"{name!r} is a folder", hint=f"the files in it: {path}/*.yaml")
    close = near(name, bundled(), 3)
    raise InputError(
        f"no scenario {name!r}", hint=f"did you mean {' or '.join(close)}?" if close else "see `k8semu list`"
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:     # no file can be called so
        return False


def load(name: str) -> Loaded:
    """Read and check a bundled scenario, a file, or what comes by standard input (`-`, which is called stdin)."""
    path = find(name)
    if name == STDIN:
        path = Path("stdin")
    try:
        raw = path.read_bytes() if name != STDIN else sys.stdin.buffer.read() if sys.stdin is not None else b""
    except OSError as error:
        hint = "the name of a YAML file" if path.is_dir() else ""
        raise ScenarioError(f"cannot read: {error.strerror}", file=str(path), hint=hint) from None
    if path == Path(name):
        _beside(path)
    loaded = parse(decode(raw, str(path)), str(path), path.stem)
    loaded.asked = name
    return loaded


def _beside(file: Path) -> None:
    """Let Python find modules beside a user's own file, after all others: `k8semu/program: mine:serve`."""
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)


def decode(raw: bytes, file: str) -> str:
    """The text of a file; ScenarioError if it is none."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ScenarioError("not UTF-8", file=file, line=line, hint="scenarios are UTF-8 text") from None
    at = text.find("\0")
    if at >= 0:
        line = text.count("\n", 0, at) + 1
        raise ScenarioError("a NUL byte", file=file, line=line, hint="scenarios are text")
    return text


def parse(text: str, file: str, name: str) -> Loaded:
    """Check the text of a scenario file."""
    nulls: Nulls = []
    docs = documents(text, file, nulls)
    if not docs:
        raise ScenarioError("nothing in it", file=file, hint=f"a scenario starts with `apiVersion: {API}`")
    loaded = Loaded(Scenario(api_version="k8semu/v1", kind="Scenario", metadata=Metadata(name=name)), name, file, text)
    start = 0
    if _is_scenario(docs[0]):
        loaded.scenario = _scenario(loaded, docs[0], nulls)
        start = 1
    for number in range(start, len(docs)):
        _manifest(loaded, docs[number], Place(number))
    default_nodes(loaded)
    balanced = loaded.scenario.spec.load_balancer is not None or "LoadBalancer" in text
    if balanced:
        from k8semu.scenario.check_cloud import add_cloud

        add_cloud(loaded)
    check(loaded)
    if balanced:
        from k8semu.scenario.check_cloud import check_cloud

        check_cloud(loaded)
    return loaded


def _is_scenario(doc: Any) -> bool:
    """A document that says so, or that has a scenario's `spec` or `steps` and no kind of its own."""
    if not isinstance(doc, dict):
        return False
    version, kind = doc.get("apiVersion"), doc.get("kind")
    if kind is None and version is None:
        return bool(BARE & doc.keys())
    return kind == "Scenario" or (isinstance(version, str) and version.startswith("k8semu/"))


def _scenario(loaded: Loaded, doc: dict[Any, Any], nulls: Nulls) -> Scenario:
    if "apiVersion" not in doc and "kind" not in doc:
        loaded.bare = "spec" not in doc
        spec = {key: value for key, value in doc.items() if key != "metadata"} if loaded.bare else doc["spec"]
        rest = {} if loaded.bare else {key: value for key, value in doc.items() if key != "spec"}
        metadata = {"metadata": doc["metadata"]} if "metadata" in doc else {}
        doc = {**rest, **metadata, "apiVersion": API, "kind": "Scenario", "spec": spec}
    if nulls:
        _keys_without_values(loaded, doc.get("spec"), nulls)
    try:
        scenario: Scenario = convert(in_seconds(doc), Scenario)
    except WrongValue as error:
        raise loaded.error(error.what, error.path.lstrip("."), error.hint) from None
    for i, step in enumerate(scenario.spec.steps):
        for j, manifest in enumerate(step.apply or []):
            place = Place(0, f"{'' if loaded.bare else '.spec'}.steps[{i}].apply[{j}]")
            thing = read_object(loaded, manifest, place)
            _say_inert(loaded, scenario, manifest, thing, f" (step {i + 1})")
    return scenario


def _keys_without_values(loaded: Loaded, spec: Any, nulls: Nulls) -> None:
    """In a step, a key without a value is half a sentence. In what is expected of headers and results it means: not
    there."""
    keys: dict[int, list[str]] = {}
    for mapping, key in nulls:
        keys.setdefault(id(mapping), []).append(key)
    steps = spec.get("steps") if isinstance(spec, dict) else None
    for i, step in enumerate(steps if isinstance(steps, list) else ()):
        if not isinstance(step, dict):
            continue
        expect = step.get("expect")
        for held in ("headers", "returns"):
            wanted = expect.get(held) if isinstance(expect, dict) else None
            if isinstance(wanted, dict):
                wanted |= dict.fromkeys(keys.get(id(wanted), ()))
        parts_of_it = {"": step, ".expect": expect, **{f".{name}": step[name] for name in ACTIONS if name in step}}
        for path, part in parts_of_it.items():
            for key in keys.get(id(part), ()):
                hint = "quote a text with a comma in it" if " " in key else "a value, or leave it out"
                raise loaded.error(f"{key!r} has no value", f"spec.steps[{i}]{path}.{key}", hint)


# --- manifests ----------------------------------------------------------------------------------


def _manifest(loaded: Loaded, doc: Any, place: Place) -> None:
    """Read one manifest, or the items of a List, and keep it where it belongs."""
    if isinstance(doc, dict) and doc.get("kind") == "List" and isinstance(doc.get("items"), list):
        for number, item in enumerate(doc["items"]):
            _manifest(loaded, item, Place(place.document, f"{place.prefix}.items[{number}]"))
        return
    thing = read_object(loaded, doc, place)
    foreign = is_foreign(doc["apiVersion"], thing.kind)
    key = f"{thing.kind} {full_name(thing.metadata)}"
    if foreign:
        key = f"{thing.kind}.{group_of(doc['apiVersion'])} {full_name(thing.metadata)}"
    if key in loaded.places:
        first = line_of(loaded.text, loaded.places[key].document, parts(loaded.places[key].prefix))
        raise loaded.error_at(place, f"{key} is there already", ".metadata.name", f"see line {first}")
    loaded.places[key] = place
    _say_inert(loaded, loaded.scenario, doc, thing)
    if foreign:
        return
    loaded.manifests.append(_new(doc))
    if isinstance(thing, Pod):
        loaded.pods.append(thing)
    elif isinstance(thing, Workload):
        loaded.workloads.append(thing)
    else:
        loaded.objects.append(thing)


def _unenforced(scenario: Scenario, doc: dict[str, Any]) -> str:
    """Why a NetworkPolicy has no effect, or a part of it; or ''."""
    from k8semu.scenario.policies import alone
    from k8semu.scenario.policies import without_effect as part_of

    if scenario.spec.network_policy != "none":
        return part_of(doc)
    return f"nobody enforces it, {alone(scenario.spec.pod_network.plugin)} (spec.networkPolicy: none)"


def _new(doc: dict[str, Any]) -> dict[str, Any]:
    """A manifest without what a cluster has written into it: `kubectl get -o yaml` of one is a file for another."""
    meta = doc.get("metadata")      # anything, in a kind that does nothing here
    if not isinstance(meta, dict) or OF_A_CLUSTER.isdisjoint(meta):
        return doc
    return {**doc, "metadata": {key: value for key, value in meta.items() if key not in OF_A_CLUSTER}}


def _say_inert(loaded: Loaded, scenario: Scenario, doc: dict[str, Any], thing: KubeKind, where: str = "") -> None:
    """Note what an object does not do."""
    if thing.kind == "NetworkPolicy" and not isinstance(thing, AnyObject):
        why = _unenforced(scenario, doc)
    elif isinstance(thing, AnyObject):
        why = why_inert(thing.api_version, thing.kind)
    else:
        why = ", ".join(without_effect(doc))
    if why:
        loaded.inert.append(f"{thing.kind} {thing.metadata.name}{where}: {why}")


def read_object(loaded: Loaded, doc: Any, place: Place) -> KubeKind:
    """A manifest as the type of its kind; ScenarioError says what is wrong with it."""
    if not isinstance(doc, dict):
        _fail(loaded, place, f"a manifest is a mapping, not {doc!r:.40}", "", "apiVersion: v1 and kind: Pod, say")
    for key in ("kind", "apiVersion"):
        if not isinstance(doc.get(key), str) or not doc[key]:
            _fail(loaded, place, f"{key} is missing", "", "apiVersion: v1 and kind: Pod, say")
    kind = doc["kind"]
    if kind == "Scenario":
        _fail(loaded, place, "a second scenario", ".kind", "one Scenario, in the first document")
    if is_foreign(doc["apiVersion"], kind):
        return _any_object(doc)
    if kind not in KINDS:
        close = near(kind, KINDS, 1, 0.8)
        close = close or [known for known in KINDS if sorted(known.lower()) == sorted(kind.lower())]
        if close:
            _fail(loaded, place, f"unknown kind {kind!r}", ".kind", f"did you mean {close[0]}?")
    if wrong := unknown(doc):
        _version_first(loaded, doc, place)
        one = f"an {kind}" if kind[0] in "AEIOU" else f"a {kind}"
        hint = f"did you mean {wrong.meant}?" if wrong.meant else f"{one} has no such field here"
        _fail(loaded, place, f"unknown key {wrong.key!r:.80}", wrong.path, hint)
    try:
        thing: KubeKind = convert(doc, type_of(kind))
    except WrongValue as error:
        if kind not in KINDS:   # of a kind that does nothing here, only the name matters
            return _any_object(doc)
        _fail(loaded, place, error.what, error.path, error.hint)
    return thing


def _version_first(loaded: Loaded, doc: dict[str, Any], place: Place) -> None:
    """A version that is gone has other fields: it is the mistake, and they are not."""
    try:
        convert(doc, type_of(doc["kind"]))
    except WrongValue as error:
        if error.path == ".apiVersion":
            _fail(loaded, place, error.what, error.path, error.hint)


def _any_object(doc: dict[Any, Any]) -> AnyObject:
    """What is kept of an object that does nothing here: its name."""
    meta = doc.get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    named = ObjectMeta(name=str(meta.get("name", "?")), namespace=str(meta.get("namespace", "default")))
    return AnyObject(api_version=doc["apiVersion"], kind=doc["kind"], metadata=named)


def _fail(loaded: Loaded, place: Place, what: str, path: str, hint: str = "") -> NoReturn:
    raise loaded.error_at(place, what, path, hint)
