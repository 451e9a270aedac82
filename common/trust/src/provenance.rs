//! SLSA provenance (SLSA 1.0, "Provenance" and "Verifying artifacts"): where an artifact was built, by whom, from what.
//!
//! The build type determines where source, ref, commit and parameters are found (`build_type`). Dependencies may
//! confirm these, but are never the only place that names a source. If a certificate describes the build as well, it
//! must agree with the statement, whatever else is expected.

mod build_type;

use std::collections::BTreeMap;

use lifeboat_core::{Fault, Kind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::build_type::{Build, Origin, text};
use crate::certificate::Claims;
use crate::json::printable;
use crate::judge::Accepted;
use crate::refusal::Refusal;
use crate::statement::Statement;
use crate::step;

/// The type of statements that are provenance.
const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";

/// The builder that names nothing but the kind of machine (npm, "Provenance").
const RUNNER: &str = "https://github.com/actions/runner/";

/// The caller's expectations of a build.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    /// The builder's id; without an `@ref`, any release of it.
    pub builder: Option<String>,
    /// The source repository.
    pub source: Option<Source>,
    /// The ref that was built, such as `refs/tags/v1.0`.
    pub git_ref: Option<String>,
    /// Parameters that the build was started with, by name. A name that starts with a slash is a JSON pointer (RFC
    /// 6901) into the predicate.
    pub parameters: BTreeMap<String, Parameter>,
    /// The place of the source repository, for unknown build types: a JSON pointer into the predicate.
    pub source_at: Option<String>,
    /// The place of the ref, likewise.
    pub git_ref_at: Option<String>,
}

/// The expected value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parameter {
    /// This text, but not a number or boolean with the same spelling.
    Text(String),
    /// This JSON value.
    Json(Value),
}

impl Parameter {
    fn matches(&self, found: &Value) -> bool {
        match self {
            Self::Text(text) => found.as_str() == Some(text),
            Self::Json(value) => found == value,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) => Value::String(text.clone()).to_string(),
            Self::Json(value) => value.to_string(),
        }
    }
}

/// A source repository, in the one form in which it is compared: `https://host/path`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Source(String);

impl TryFrom<String> for Source {
    type Error = NotASource;

    fn try_from(text: String) -> Result<Self, NotASource> {
        // It is normalised already; adding `.git` keeps the parser from removing another suffix.
        let source: Self = format!("{text}.git").parse()?;
        if source.0 == text { Ok(source) } else { Err(NotASource { text }) }
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.0
    }
}

/// A text that is not a source repository.
#[derive(Debug, thiserror::Error)]
#[error("`{}` names no source repository", printable(text))]
pub struct NotASource {
    /// The text.
    pub text: String,
}

impl Fault for NotASource {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn advice(&self) -> Option<String> {
        Some("write it like github.com/acme/app or git+https://git.example/app".to_owned())
    }
}

impl std::str::FromStr for Source {
    type Err = NotASource;

    fn from_str(text: &str) -> Result<Self, NotASource> {
        let not = || NotASource { text: text.to_owned() };
        let rest = text.strip_prefix("git+").unwrap_or(text);
        let rest = rest.strip_prefix("https://").unwrap_or(rest);
        let rest = rest.strip_suffix(".git").unwrap_or(rest);
        let is_path = rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~/:".contains(&b));
        let parts: Vec<&str> = rest.split('/').collect();
        let is_whole = parts.len() >= 2 && parts.iter().all(|part| !part.is_empty() && *part != "..");
        if !is_path || !is_whole || rest.contains("://") {
            return Err(not());
        }
        Ok(Self(format!("https://{rest}")))
    }
}

impl Expectations {
    /// Whether nothing is expected.
    pub fn is_empty(&self) -> bool {
        let Self { builder, source, git_ref, parameters, source_at, git_ref_at } = self;
        builder.is_none()
            && source.is_none()
            && git_ref.is_none()
            && parameters.is_empty()
            && source_at.is_none()
            && git_ref_at.is_none()
    }

    /// Compares the provenance in an accepted statement with the expectations.
    pub fn check<'p>(&self, mut accepted: Accepted<'p>) -> Result<Accepted<'p>, Refusal> {
        if self.is_empty() {
            return Ok(accepted);
        }
        let refused = |reason: String| Refusal::unproven(step::EXPECTATIONS, reason);
        let predicate = accepted.statement.as_ref().and_then(predicate);
        let predicate = predicate.ok_or_else(|| refused("it has no predicate".to_owned()))?;
        let needed = |place: &str| {
            let found = text(&predicate, place).map_err(|reason| format!("it is not a provenance: {reason}"));
            found.and_then(|found| found.ok_or_else(|| format!("it is not a provenance: it has no {place}")))
        };
        let builder = needed("/runDetails/builder/id").map_err(refused)?;
        let build_type = needed("/buildDefinition/buildType").map_err(refused)?;
        self.check_builder(builder, accepted.certificate.as_ref())?;
        self.check_definition(&predicate, build_type, accepted.certificate.as_ref()).map_err(refused)?;
        accepted.evidence.steps.extend([step::BUILDER, step::EXPECTATIONS]);
        Ok(accepted)
    }

    fn check_builder(&self, id: &str, certificate: Option<&Claims>) -> Result<(), Refusal> {
        let refused = |reason: String| Err(Refusal::unproven(step::BUILDER, reason));
        if let Some(claims) = certificate {
            let own = claims.build_signer_uri.as_deref().unwrap_or(&claims.identity);
            if id != own && id != claims.identity {
                return refused(format!(
                    "it names the builder {}, and its certificate was issued to {}",
                    printable(id),
                    printable(own)
                ));
            }
        }
        match &self.builder {
            Some(expected) if !is_builder(expected, id) => {
                refused(format!("it was built by {}, not by {expected}", printable(id)))
            }
            _ => Ok(()),
        }
    }

    fn check_definition(
        &self,
        predicate: &Value,
        build_type: &str,
        certificate: Option<&Claims>,
    ) -> Result<(), String> {
        let is_by_name = |name: &String| !name.starts_with('/');
        let needs_type = (self.source.is_some() && self.source_at.is_none())
            || (self.git_ref.is_some() && self.git_ref_at.is_none())
            || self.parameters.keys().any(is_by_name);
        let build = Build::read(predicate)?;
        match &build {
            Some(build) => build.check_members()?,
            None if needs_type => {
                return Err(format!(
                    "its build type `{}` is not known here, so that nobody can tell where it names its source and \
                     parameters: say where, with --source-at, --ref-at, and JSON pointers as names of parameters",
                    printable(build_type)
                ));
            }
            None => {}
        }
        let origins = self.origins(predicate, build.as_ref(), certificate)?;
        if let Some(expected) = &self.source {
            if origins.iter().all(|origin| origin.text.is_empty()) {
                return Err("it does not say from which source it was built".to_owned());
            }
            let other =
                origins.iter().find(|one| !one.text.is_empty() && one.source.as_ref() != Some(expected));
            if let Some(other) = other {
                let (text, expected) = (printable(&other.text), &expected.0);
                return Err(format!("it was built from {text} (so {other}), not from {expected}"));
            }
        }
        if let Some(expected) = &self.git_ref {
            let mut refs =
                origins.iter().filter_map(|origin| Some((origin, origin.git_ref.as_deref()?))).peekable();
            if refs.peek().is_none() {
                return Err(format!("it was built from no ref that it names, not from {expected}"));
            }
            if let Some((other, found)) = refs.find(|(_, found)| *found != expected.as_str()) {
                return Err(format!(
                    "it was built from {} (so {other}), not from {expected}",
                    printable(found)
                ));
            }
        }
        for (name, expected) in &self.parameters {
            let found = match name.strip_prefix('/') {
                Some(_) => predicate.pointer(name),
                None => build.as_ref().and_then(|build| build.parameter(name)),
            };
            if !found.is_some_and(|found| expected.matches(found)) {
                let found = found
                    .map_or("not there".to_owned(), |found| format!("`{}`", printable(&found.to_string())));
                let expected = printable(&expected.shown());
                return Err(format!("its parameter `{}` is {found}, not `{expected}`", printable(name)));
            }
        }
        Ok(())
    }

    /// All places that name the source: the build type's, the one that the caller gives, and the certificate.
    fn origins(
        &self,
        predicate: &Value,
        build: Option<&Build<'_>>,
        certificate: Option<&Claims>,
    ) -> Result<Vec<Origin>, String> {
        let mut origins: Vec<Origin> = build.and_then(|build| build.origin.clone()).into_iter().collect();
        let at = |place: &Option<String>| place.as_deref().map_or(Ok(None), |place| text(predicate, place));
        let (source, git_ref) = (at(&self.source_at)?, at(&self.git_ref_at)?);
        for (place, found) in [(&self.source_at, source), (&self.git_ref_at, git_ref)] {
            if let (Some(place), None) = (place, found) {
                return Err(format!("nothing stands at {}", printable(place)));
            }
        }
        if source.is_some() || git_ref.is_some() {
            origins.push(Origin::new("the place that was given", source.unwrap_or_default(), git_ref)?);
        }
        if let Some(Claims { source_repository_uri: Some(uri), source_repository_ref, .. }) = certificate {
            origins.push(Origin::new("its certificate", uri, source_repository_ref.as_deref())?);
        }
        Ok(origins)
    }
}

/// Compares what provenance says about a build with what the certificate of its signer says. Returns whether there was
/// anything to compare; other kinds of statements, and unknown build types, have nothing.
pub(crate) fn check_certificate(statement: &Statement, claims: &Claims) -> Result<bool, Refusal> {
    if statement.predicate_type != PREDICATE_TYPE {
        return Ok(false);
    }
    let Some(predicate) = predicate(statement) else { return Ok(false) };
    compare(&predicate, claims).map_err(|reason| Refusal::unproven(step::CONSISTENCY, reason))
}

fn compare(predicate: &Value, claims: &Claims) -> Result<bool, String> {
    let contradiction = |what: &str, stated: &str, certified: &str| {
        let (stated, certified) = (printable(stated), printable(certified));
        Err(format!("it states the {what} {stated}, and its certificate is for the {what} {certified}"))
    };
    let builder = predicate.pointer("/runDetails/builder/id").and_then(Value::as_str).unwrap_or_default();
    if let (Some(stated), Some(certified)) = (builder.strip_prefix(RUNNER), &claims.runner_environment)
        && stated != certified
    {
        return contradiction("runner", stated, certified);
    }
    let Some(build) = Build::read(predicate)? else { return Ok(false) };
    if let Some(origin) = &build.origin {
        if let Some(certified) = &claims.source_repository_uri
            && origin.source != certified.parse().ok()
        {
            return contradiction("source", &origin.text, certified);
        }
        let pairs = [
            ("ref", &origin.git_ref, &claims.source_repository_ref),
            ("commit", &origin.commit, &claims.source_repository_digest),
        ];
        for (what, stated, certified) in pairs {
            if let (Some(stated), Some(certified)) = (stated, certified)
                && stated != certified
            {
                return contradiction(what, stated, certified);
            }
        }
    }
    if let (Some(stated), Some(certified)) = (build.path, &claims.build_config_uri) {
        let path = certified.rsplit_once('@').map_or(certified.as_str(), |(path, _)| path);
        let repository = claims.source_repository_uri.as_deref().unwrap_or_default();
        if path.strip_prefix(repository).and_then(|path| path.strip_prefix('/')) != Some(stated) {
            return contradiction("workflow", stated, certified);
        }
    }
    if let (Some(stated), Some(certified)) = (build.runner, &claims.runner_environment)
        && stated != certified
    {
        return contradiction("runner", stated, certified);
    }
    Ok(true)
}

fn predicate(statement: &Statement) -> Option<Value> {
    serde_json::from_str(statement.predicate.as_ref()?.get()).ok()
}

/// Whether `id` is the expected builder: the same text, or a release of it if no ref was expected.
fn is_builder(expected: &str, id: &str) -> bool {
    if expected == id {
        return true;
    }
    let Some((builder, git_ref)) = id.split_once('@') else { return false };
    !expected.contains('@')
        && builder == expected
        && git_ref.strip_prefix("refs/tags/v").is_some_and(|version| {
            let numbers: Vec<&str> = version.split('.').collect();
            numbers.len() == 3
                && numbers.iter().all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        })
}

#[cfg(test)]
mod tests;
