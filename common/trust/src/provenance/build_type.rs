//! Build types: where each of them records what was built, from where, and with which parameters (SLSA 1.0,
//! "Provenance", `buildType`, which determines what the parameters mean).

use std::fmt;

use serde_json::Value;

use super::Source;
use crate::json::printable;

/// Where a build type records its inputs. All places are JSON pointers (RFC 6901) into the predicate.
struct Layout {
    is_of: fn(&str) -> bool,
    /// The repository, optionally followed by `@` or `#` and its ref.
    repository: &'static str,
    git_ref: Option<&'static str>,
    /// The workflow in the repository.
    path: Option<&'static str>,
    /// The digests of the source.
    digest: Option<&'static str>,
    /// The kind of machine that it ran on.
    runner: Option<&'static str>,
    /// The object that holds the parameters.
    parameters: &'static str,
    /// All members that external parameters of this type have.
    members: &'static [&'static str],
}

const EXTERNAL: &str = "/buildDefinition/externalParameters";

const LAYOUTS: [Layout; 5] = [
    // https://actions.github.io/buildtypes/workflow/v1,
    // https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1 and the delegated builds of
    // slsa-github-generator, which use the same form.
    Layout {
        is_of: |kind| {
            [
                "https://actions.github.io/buildtypes/workflow/v1",
                "https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1",
                "https://github.com/slsa-framework/slsa-github-generator/delegator-generic@v0",
                "https://github.com/slsa-framework/slsa-github-generator/delegator-lowperms-generic@v0",
            ]
            .contains(&kind)
        },
        repository: "/buildDefinition/externalParameters/workflow/repository",
        git_ref: Some("/buildDefinition/externalParameters/workflow/ref"),
        path: Some("/buildDefinition/externalParameters/workflow/path"),
        digest: None,
        runner: Some("/buildDefinition/internalParameters/github/runner_environment"),
        parameters: "/buildDefinition/externalParameters/inputs",
        members: &["inputs", "vars", "workflow"],
    },
    // https://slsa.dev/container-based-build/v0.1
    Layout {
        is_of: |kind| {
            [
                "https://slsa.dev/container-based-build/v0.1",
                "https://slsa.dev/container-based-build/v0.1?draft",
            ]
            .contains(&kind)
        },
        repository: "/buildDefinition/externalParameters/source/uri",
        git_ref: None,
        path: None,
        digest: Some("/buildDefinition/externalParameters/source/digest"),
        runner: None,
        parameters: EXTERNAL,
        members: &["source", "builderImage", "configPath", "buildConfig"],
    },
    // https://cloud.google.com/build/docs/securing-builds/slsa-provenance-v1
    Layout {
        is_of: |kind| kind == "https://cloud.google.com/build/gcb-buildtypes/google-worker/v1",
        repository: "/buildDefinition/externalParameters/buildConfigSource/repository",
        git_ref: Some("/buildDefinition/externalParameters/buildConfigSource/ref"),
        path: Some("/buildDefinition/externalParameters/buildConfigSource/path"),
        digest: None,
        runner: None,
        parameters: "/buildDefinition/externalParameters/substitutions",
        members: &["buildConfigSource", "substitutions"],
    },
    // https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md
    Layout {
        is_of: |kind| {
            kind == "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
        },
        repository: "/buildDefinition/externalParameters/configSource/uri",
        git_ref: None,
        path: None,
        digest: Some("/buildDefinition/externalParameters/configSource/digest"),
        runner: None,
        parameters: "/buildDefinition/externalParameters/request/args",
        members: &["configSource", "request"],
    },
    // https://docs.gitlab.com/ci/runners/provenance/
    Layout {
        is_of: |kind| {
            let version = kind.strip_prefix("https://gitlab.com/gitlab-org/gitlab-runner/-/blob/");
            version
                .and_then(|rest| rest.strip_suffix("/PROVENANCE.md"))
                .is_some_and(|v| !v.is_empty() && !v.contains('/'))
        },
        repository: "/buildDefinition/externalParameters/source",
        git_ref: None,
        path: None,
        digest: None,
        runner: None,
        parameters: "/buildDefinition/externalParameters/variables",
        members: &["entryPoint", "source", "variables"],
    },
];

/// A place that names a source, and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) place: String,
    /// The repository, verbatim.
    pub(super) text: String,
    pub(super) source: Option<Source>,
    pub(super) git_ref: Option<String>,
    pub(super) commit: Option<String>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl Origin {
    /// Parses a repository with a ref next to it, or in it: `repository@ref`, or `repository#ref` as `BuildKit` writes
    /// it.
    pub(super) fn new(place: &str, uri: &str, git_ref: Option<&str>) -> Result<Self, String> {
        // A `@` before the host would follow a user name.
        let (repository, inner) = match uri.rsplit_once(['@', '#']) {
            Some((repository, inner)) if inner.starts_with("refs/") => (repository, Some(inner)),
            _ => (uri, None),
        };
        if let (Some(inner), Some(beside)) = (inner, git_ref)
            && inner != beside
        {
            let (inner, beside) = (printable(inner), printable(beside));
            return Err(format!("{place} names the ref {inner} and {beside}"));
        }
        let git_ref = git_ref.or(inner).map(str::to_owned);
        let source = repository.parse().ok();
        Ok(Self { place: place.to_owned(), text: uri.to_owned(), source, git_ref, commit: None })
    }
}

/// The content of provenance with a known build type.
pub(super) struct Build<'v> {
    predicate: &'v Value,
    layout: &'static Layout,
    /// The source.
    pub(super) origin: Option<Origin>,
    /// The workflow in the repository.
    pub(super) path: Option<&'v str>,
    /// The kind of machine that it ran on.
    pub(super) runner: Option<&'v str>,
}

/// A place in readable form.
fn shown(pointer: &str) -> String {
    let place = pointer.strip_prefix("/buildDefinition/").unwrap_or(pointer);
    place.trim_start_matches('/').replace('/', ".")
}

/// The text at a place; `None` if it is missing or null. Any other value is refused.
pub(super) fn text<'v>(predicate: &'v Value, pointer: &str) -> Result<Option<&'v str>, String> {
    match predicate.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{} is not a text", shown(pointer))),
    }
}

/// The commit among digests of a source (SLSA 1.0, "Provenance", and its older name).
fn commit(digests: Option<&Value>) -> Result<Option<String>, String> {
    let found = |name: &str| digests.and_then(|all| all.get(name)).and_then(Value::as_str);
    match (found("gitCommit"), found("sha1")) {
        (Some(one), Some(other)) if one != other => Err("its source has two different commits".to_owned()),
        (one, other) => Ok(one.or(other).map(str::to_owned)),
    }
}

impl<'v> Build<'v> {
    /// Parses provenance by its build type; `None` if that is unknown.
    pub(super) fn read(predicate: &'v Value) -> Result<Option<Self>, String> {
        let kind = text(predicate, "/buildDefinition/buildType")?.unwrap_or_default();
        let Some(layout) = LAYOUTS.iter().find(|layout| (layout.is_of)(kind)) else { return Ok(None) };
        let at = |place: Option<&str>| place.map_or(Ok(None), |place| text(predicate, place));
        let mut build =
            Self { predicate, layout, origin: None, path: at(layout.path)?, runner: at(layout.runner)? };
        if let Some(repository) = text(predicate, layout.repository)? {
            let mut origin = Origin::new(&shown(layout.repository), repository, at(layout.git_ref)?)?;
            origin.commit = commit(layout.digest.and_then(|place| predicate.pointer(place)))?;
            build.confirm(&mut origin)?;
            build.origin = Some(origin);
        }
        Ok(Some(build))
    }

    /// Compares the source with the dependencies on the same repository. They may supply the commit, but must not
    /// contradict anything.
    fn confirm(&self, origin: &mut Origin) -> Result<(), String> {
        let dependencies = self.predicate.pointer("/buildDefinition/resolvedDependencies");
        for dependency in dependencies.and_then(Value::as_array).into_iter().flatten() {
            let Some(uri) = dependency.get("uri").and_then(Value::as_str) else { continue };
            let same = Origin::new("resolvedDependencies", uri, None)?;
            if same.source.is_none() || same.source != origin.source {
                continue;
            }
            if let (Some(one), Some(other)) = (&origin.git_ref, &same.git_ref)
                && one != other
            {
                return Err(format!("{origin} and {same} name different refs"));
            }
            match (&origin.commit, commit(dependency.get("digest"))?) {
                (Some(one), Some(other)) if *one != other => {
                    return Err(format!("{origin} and {same} name different commits"));
                }
                (None, Some(commit)) => origin.commit = Some(commit),
                _ => {}
            }
        }
        Ok(())
    }

    /// Refuses external parameters that the build type does not define, because their effect is unknown (SLSA 1.0,
    /// "Verifying artifacts", step 2).
    pub(super) fn check_members(&self) -> Result<(), String> {
        let external = self.predicate.pointer(EXTERNAL).and_then(Value::as_object);
        let unknown =
            external.into_iter().flatten().find(|(name, _)| !self.layout.members.contains(&name.as_str()));
        match unknown {
            Some((name, _)) => Err(format!(
                "its external parameters have the member `{}`, which its build type does not define",
                printable(name)
            )),
            None => Ok(()),
        }
    }

    /// A parameter that the build was started with.
    pub(super) fn parameter(&self, name: &str) -> Option<&'v Value> {
        self.predicate.pointer(self.layout.parameters)?.get(name)
    }
}
