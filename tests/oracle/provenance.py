"""SLSA provenance (acceptance.md, Provenance; SLSA provenance v1)."""

import re
from dataclasses import dataclass
from typing import Any

from .certificates import Saying
from .refusal import Refused

PROVENANCE_TYPE = "https://slsa.dev/provenance/v1"

_RUNNER = "https://github.com/actions/runner/"
_RELEASE = re.compile(r"@refs/tags/v[0-9]+\.[0-9]+\.[0-9]+\Z")
_REPOSITORY = re.compile(r"[A-Za-z0-9._~/:-]+\Z")
_GITLAB = re.compile(
    r"https://gitlab\.com/gitlab-org/gitlab-runner/-/blob/[^/]+/PROVENANCE\.md\Z")
_ABSENT = object()


@dataclass(frozen=True)
class _BuildType:
    """A row of the table of build types; places are pointers below `/buildDefinition`."""

    repository: str
    parameters: str
    members: tuple[str, ...]
    ref: str | None = None
    path: str | None = None
    digests: str | None = None
    runner: str | None = None


_E = "/externalParameters"
_WORKFLOW = _BuildType(
    f"{_E}/workflow/repository", f"{_E}/inputs", ("inputs", "vars", "workflow"),
    f"{_E}/workflow/ref", f"{_E}/workflow/path",
    runner="/internalParameters/github/runner_environment")
_CONTAINER = _BuildType(
    f"{_E}/source/uri", _E, ("source", "builderImage", "configPath", "buildConfig"),
    digests=f"{_E}/source/digest")
_BUILD_TYPES = {
    "https://actions.github.io/buildtypes/workflow/v1": _WORKFLOW,
    "https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1": _WORKFLOW,
    "https://github.com/slsa-framework/slsa-github-generator/delegator-generic@v0": _WORKFLOW,
    "https://github.com/slsa-framework/slsa-github-generator/delegator-lowperms-generic@v0":
        _WORKFLOW,
    "https://slsa.dev/container-based-build/v0.1": _CONTAINER,
    "https://slsa.dev/container-based-build/v0.1?draft": _CONTAINER,
    "https://cloud.google.com/build/gcb-buildtypes/google-worker/v1": _BuildType(
        f"{_E}/buildConfigSource/repository", f"{_E}/substitutions",
        ("buildConfigSource", "substitutions"), f"{_E}/buildConfigSource/ref",
        f"{_E}/buildConfigSource/path"),
    "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md":
        _BuildType(f"{_E}/configSource/uri", f"{_E}/request/args", ("configSource", "request"),
                   digests=f"{_E}/configSource/digest"),
}
_RUNNERS = _BuildType(
    f"{_E}/source", f"{_E}/variables", ("entryPoint", "source", "variables"))


@dataclass(frozen=True)
class _Source:
    """What a predicate says of where it was built from; `None` is what it does not say."""

    repository: str | None
    ref: str | None
    commit: str | None
    path: str | None
    runner: str | None


def pointed(value: Any, pointer: str) -> Any:
    """The value at a JSON pointer (RFC 6901), or `_ABSENT`."""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and re.fullmatch("0|[1-9][0-9]{0,8}", name) and (
                int(name) < len(value)):
            value = value[int(name)]
        else:
            return _ABSENT
    return value


def is_there(value: Any) -> bool:
    """Say whether a pointer led anywhere."""
    return value is not _ABSENT


def normal_form(repository: str) -> str | None:
    """The normal form of a repository, if it has one."""
    text = repository.removeprefix("git+").removeprefix("https://").removesuffix(".git")
    parts = text.split("/")
    good = (
        _REPOSITORY.match(text) and "://" not in text and len(parts) >= 2
        and not any(part in ("", "..") for part in parts)
    )
    return text if good else None


def check_consistency(predicate: Any, saying: Saying) -> None:
    """Certificate and predicate say the same of the build (Consistency)."""
    builder = pointed(predicate, "/runDetails/builder/id")
    if isinstance(builder, str) and builder.startswith(_RUNNER):
        _same(builder.removeprefix(_RUNNER), saying.runner)
    row = _row(_text(predicate, "/buildType"))
    if row is None:
        return
    source = _source(predicate, row)
    if source.repository is not None and saying.repository is not None:
        normal = normal_form(source.repository)
        if normal is None or normal != normal_form(saying.repository):
            raise Refused("certificate and statement name different sources")
    _same(source.ref, saying.ref)
    _same(source.commit, saying.commit)
    _same(source.runner, saying.runner)
    if None not in (source.path, saying.repository, saying.configuration):
        _same(f"{saying.repository}/{source.path}", re.sub(
            r"@[^@]*\Z", "", saying.configuration or ""))


def check_expectations(predicate: Any, expected: dict[str, Any], saying: Saying | None) -> None:
    """The predicate is what the caller expects (Expectations)."""
    builder = pointed(predicate, "/runDetails/builder/id")
    kind = pointed(predicate, "/buildDefinition/buildType")
    if not isinstance(builder, str) or not isinstance(kind, str):
        raise Refused("it names no builder, or no type of build")
    if saying and builder not in (saying.signer or saying.identity, saying.identity):
        raise Refused("it names another builder than its certificate")
    wanted = expected["builder"]
    if wanted is not None and builder != wanted:
        release = builder.removeprefix(wanted)
        if "@" in wanted or release == builder or not _RELEASE.match(release):
            raise Refused("it was built by another builder")
    row = _row(kind)
    if row:
        external = _value(predicate, _E)
        if is_there(external) and external is not None and not (
            isinstance(external, dict) and set(external) <= set(row.members)
        ):
            raise Refused("it has parameters that its type of build does not have")
    else:
        _check_pointers(expected)
    _check_origins(predicate, row, expected, saying)
    for name, wanted in expected["parameters"].items():
        if name.startswith("/"):
            found = pointed(predicate, name)
        else:
            assert row is not None
            parameters = _value(predicate, row.parameters)
            found = parameters.get(name, _ABSENT) if isinstance(parameters, dict) else _ABSENT
        ((_, value),) = wanted.items()
        if not is_there(found) or not _equal(found, value):
            raise Refused("it was built with another parameter")


def _check_pointers(expected: dict[str, Any]) -> None:
    """With an unknown type of build everything needs a pointer (Expectations, 5)."""
    if (
        (expected["source"] is not None and expected["source_at"] is None)
        or (expected["git_ref"] is not None and expected["git_ref_at"] is None)
        or not all(name.startswith("/") for name in expected["parameters"])
    ):
        raise Refused("it does not say where its type of build names this")


def _check_origins(
    predicate: Any, row: _BuildType | None, expected: dict[str, Any], saying: Saying | None
) -> None:
    """Each origin names the source and ref that are expected (Expectations, 6)."""
    repositories, refs = [], []
    if row:
        source = _source(predicate, row)
        repositories.append(source.repository)
        refs.append(source.ref)
    if expected["source_at"] is not None:
        repository, ref = _split(_given(predicate, expected["source_at"]))
        repositories.append(repository)
        refs.append(ref)
    if expected["git_ref_at"] is not None:
        refs.append(_given(predicate, expected["git_ref_at"]))
    if saying:
        repositories.append(saying.repository)
        refs.append(saying.ref)
    if expected["source"] is not None:
        wanted = normal_form(expected["source"])
        named = [normal_form(item) for item in repositories if item is not None]
        if wanted is None or not named or any(item != wanted for item in named):
            raise Refused("it was built from another source")
    if expected["git_ref"] is not None:
        given = [item for item in refs if item is not None]
        if not given or any(item != expected["git_ref"] for item in given):
            raise Refused("it was built from another ref")


def _given(predicate: Any, pointer: str) -> str:
    """The text at a pointer of the caller's; nothing there refuses."""
    value = pointed(predicate, pointer)
    if not isinstance(value, str):
        raise Refused("there is no text where its source should be")
    return value


def _row(kind: str | None) -> _BuildType | None:
    """The row of the table for a `buildType`, if it is a known one."""
    return _RUNNERS if kind and _GITLAB.match(kind) else _BUILD_TYPES.get(kind or "")


def _value(predicate: Any, pointer: str) -> Any:
    """The value at a place of the table."""
    return pointed(predicate, "/buildDefinition" + pointer)


def _text(predicate: Any, pointer: str | None) -> str | None:
    """The text at a place of the table; what is there and is no text refuses."""
    value = _ABSENT if pointer is None else _value(predicate, pointer)
    if value is _ABSENT or value is None:
        return None
    if not isinstance(value, str):
        raise Refused("it names its source by something that is no text")
    return value


def _split(repository: str) -> tuple[str, str | None]:
    """A repository without the ref that it may carry, and that ref."""
    cut = max(repository.rfind("@"), repository.rfind("#"))
    if cut >= 0 and repository[cut + 1 :].startswith("refs/"):
        return repository[:cut], repository[cut + 1 :]
    return repository, None


def _source(predicate: Any, row: _BuildType) -> _Source:
    """Read where the predicate says that it was built from."""
    repository, ref = _text(predicate, row.repository), _text(predicate, row.ref)
    if repository is not None:
        repository, carried = _split(repository)
        if carried is not None and ref not in (None, carried):
            raise Refused("it names two refs")
        ref = ref if ref is not None else carried
    commit = _commit(_value(predicate, row.digests)) if row.digests else None
    normal = normal_form(repository) if repository is not None else None
    dependencies = pointed(predicate, "/buildDefinition/resolvedDependencies")
    for item in dependencies if normal and isinstance(dependencies, list) else []:
        uri = item.get("uri") if isinstance(item, dict) else None
        if not isinstance(uri, str):
            continue
        place, its_ref = _split(uri)
        if normal_form(place) != normal:
            continue
        its_commit = _commit(item.get("digest"))
        if None not in (ref, its_ref) and ref != its_ref:
            raise Refused("a dependency names another ref")
        if None not in (commit, its_commit) and commit != its_commit:
            raise Refused("a dependency names another commit")
        commit = commit if commit is not None else its_commit
    return _Source(repository, ref, commit, _text(predicate, row.path),
                   _text(predicate, row.runner))


def _commit(digests: Any) -> str | None:
    """The commit among digests, if they say one; two different ones refuse."""
    if not isinstance(digests, dict):
        return None
    found = {digests[name] for name in ("gitCommit", "sha1")
             if isinstance(digests.get(name), str)}
    if len(found) > 1:
        raise Refused("it names two commits")
    return found.pop() if found else None


def _same(stated: str | None, certified: str | None) -> None:
    """Compare where both say it."""
    if stated is not None and certified is not None and stated != certified:
        raise Refused("certificate and statement differ about the build")


def _equal(one: Any, two: Any) -> bool:
    """Say whether two JSON values are the same, with numbers written in the same way."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_equal(one[name], two[name]) for name in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(_equal(a, b) for a, b in zip(one, two))
    return type(one) is type(two) and one == two
