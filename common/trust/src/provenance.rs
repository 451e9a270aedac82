//! SLSA provenance (SLSA 1.0, "Provenance" and "Verifying artifacts"): where an artifact was built, by whom, from what.
//!
//! What a statement says in several places must be the same in all of them, and where a certificate speaks of the build
//! as well, it must say the same as the statement.

use std::collections::BTreeMap;

use lifeboat_core::{Fault, Kind};
use serde::Deserialize;
use serde_json::Value;

use crate::certificate::Claims;
use crate::json::printable;
use crate::judge::Accepted;
use crate::refusal::Refusal;
use crate::step;

/// What the caller expects of a build.
#[derive(Debug, Clone)]
pub struct Expectations {
    /// The builder's id; without an `@ref`, any release of it.
    pub builder: Option<String>,
    /// The source repository.
    pub source: Option<Source>,
    /// The ref that was built, such as `refs/tags/v1.0`.
    pub git_ref: Option<String>,
    /// Parameters that the build was started with.
    pub parameters: BTreeMap<String, String>,
}

/// A source repository, in the one form that is compared: `https://host/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source(String);

/// A text that names no source repository.
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    build_definition: BuildDefinition,
    run_details: RunDetails,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition {
    build_type: String,
    #[serde(default)]
    external_parameters: BTreeMap<String, Value>,
    #[serde(default)]
    resolved_dependencies: Option<Vec<Dependency>>,
}

#[derive(Deserialize)]
struct Dependency {
    #[serde(default)]
    uri: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunDetails {
    builder: Builder,
}

#[derive(Deserialize)]
struct Builder {
    id: String,
}

impl Expectations {
    /// Whether nothing is expected.
    pub fn is_empty(&self) -> bool {
        self.builder.is_none()
            && self.source.is_none()
            && self.git_ref.is_none()
            && self.parameters.is_empty()
    }

    /// Compares the provenance of a statement that counts with what is expected.
    pub fn check<'p>(&self, mut accepted: Accepted<'p>) -> Result<Accepted<'p>, Refusal> {
        if self.is_empty() {
            return Ok(accepted);
        }
        let predicate = accepted.statement.as_ref().and_then(|statement| statement.predicate.as_ref());
        let predicate: Predicate = predicate
            .ok_or_else(|| "it has no predicate".to_owned())
            .and_then(|json| serde_json::from_str(json.get()).map_err(|error| error.to_string()))
            .map_err(|reason| {
                Refusal::unproven(step::EXPECTATIONS, format!("it is no provenance: {reason}"))
            })?;
        self.check_builder(&predicate.run_details.builder.id, accepted.certificate.as_ref())?;
        self.check_definition(&predicate.build_definition, accepted.certificate.as_ref())?;
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

    fn check_definition(&self, build: &BuildDefinition, certificate: Option<&Claims>) -> Result<(), Refusal> {
        let refused = |reason: String| Err(Refusal::unproven(step::EXPECTATIONS, reason));
        let mut origins = build.origins();
        if let Some(Claims { source_repository_uri: Some(uri), source_repository_ref, .. }) = certificate {
            origins.push(Origin::new("its certificate", uri, source_repository_ref.as_deref()));
        }
        if origins.is_empty() && (self.source.is_some() || self.git_ref.is_some()) {
            let kind = printable(&build.build_type);
            return refused(format!("it does not say from which source it was built (build type `{kind}`)"));
        }
        for origin in &origins {
            if let Some(expected) = &self.source
                && origin.source.as_ref() != Some(expected)
            {
                return refused(format!(
                    "it was built from {} (so {}), not from {}",
                    printable(&origin.text),
                    origin.place,
                    expected.0
                ));
            }
        }
        let refs: Vec<&Origin> = origins.iter().filter(|origin| origin.git_ref.is_some()).collect();
        if let Some(pair) = refs.windows(2).find(|pair| pair[0].git_ref != pair[1].git_ref) {
            return refused(format!("{} and {} name different refs", pair[0].place, pair[1].place));
        }
        if let Some(pair) = origins.windows(2).find(|pair| pair[0].source != pair[1].source) {
            return refused(format!("{} and {} name different sources", pair[0].place, pair[1].place));
        }
        if let Some(expected) = &self.git_ref {
            let found = refs.first().and_then(|origin| origin.git_ref.as_deref());
            if found != Some(expected) {
                let found = found.map_or("no ref that it names".to_owned(), printable);
                return refused(format!("it was built from {found}, not from {expected}"));
            }
        }
        for (name, expected) in &self.parameters {
            let found = build.parameter(name);
            if found.as_ref() != Some(expected) {
                let found = found.map_or("nothing".to_owned(), |value| format!("`{}`", printable(&value)));
                return refused(format!("its parameter `{name}` is {found}, not `{expected}`"));
            }
        }
        Ok(())
    }
}

/// Where a source is named, and which.
struct Origin {
    place: &'static str,
    text: String,
    source: Option<Source>,
    git_ref: Option<String>,
}

impl Origin {
    fn new(place: &'static str, uri: &str, git_ref: Option<&str>) -> Self {
        // `repository@ref`, or `repository#ref` as BuildKit has it. A `@` before the host would be a user's name.
        let (repository, inner) = match uri.rsplit_once(['@', '#']) {
            Some((repository, inner)) if inner.starts_with("refs/") => (repository, Some(inner)),
            _ => (uri, None),
        };
        let git_ref = git_ref.or(inner).map(str::to_owned);
        Self { place, text: uri.to_owned(), source: repository.parse().ok(), git_ref }
    }
}

impl BuildDefinition {
    /// Everywhere that the source is named.
    fn origins(&self) -> Vec<Origin> {
        let mut origins = Vec::new();
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        for (name, place) in
            [("source", "externalParameters.source"), ("configSource", "externalParameters.configSource")]
        {
            match self.external_parameters.get(name) {
                Some(Value::String(uri)) => origins.push(Origin::new(place, uri, None)),
                Some(value) => {
                    origins.extend(
                        text(value, "uri").map(|uri| Origin::new(place, &uri, text(value, "ref").as_deref())),
                    );
                }
                None => {}
            }
        }
        if let Some(workflow) = self.external_parameters.get("workflow")
            && let Some(uri) = text(workflow, "repository")
        {
            origins.push(Origin::new("externalParameters.workflow", &uri, text(workflow, "ref").as_deref()));
        }
        let dependencies = self.resolved_dependencies.iter().flatten();
        if let Some(dependency) =
            dependencies.into_iter().find(|dependency| dependency.uri.starts_with("git+"))
        {
            origins.push(Origin::new("resolvedDependencies", &dependency.uri, None));
        }
        origins
    }

    /// A parameter of the build: an input of its workflow, or a parameter at the top.
    fn parameter(&self, name: &str) -> Option<String> {
        let inputs = ["inputs", "workflow_inputs"]
            .iter()
            .find_map(|group| self.external_parameters.get(*group)?.get(name));
        match inputs.or_else(|| self.external_parameters.get(name))? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}

/// Whether `id` is the expected builder: the same text, or a release of it where no ref was expected.
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
mod tests {
    use lifeboat_core::Sha256Digest;

    use super::*;
    use crate::bundle::Bundle;
    use crate::judge::{Claim, judge};
    use crate::key::SigningKey;
    use crate::policy::{Policy, Signer};
    use crate::statement::{self, PredicateType, Statement};

    const GENERATOR: &str = "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml";

    fn provenance(builder: &str, repository: &str, git_ref: &str, dependency: &str) -> String {
        format!(
            r#"{{"buildDefinition":{{"buildType":"https://example.com/build","externalParameters":{{"inputs":{{"release":"true"}},"workflow":{{"repository":"{repository}","ref":"{git_ref}"}}}},"resolvedDependencies":[{{"uri":"{dependency}"}}]}},"runDetails":{{"builder":{{"id":"{builder}"}}}}}}"#
        )
    }

    fn check(predicate: &str, expectations: &Expectations) -> Result<(), String> {
        let key = SigningKey::generate();
        let kind: PredicateType = "slsaprovenance1".parse().unwrap();
        let predicate = statement::Predicate::from_file(&kind, predicate.into(), jiff::Timestamp::UNIX_EPOCH);
        let subject = Sha256Digest::of(b"image");
        let payload = Statement::attestation(subject, "app", &kind, &predicate.unwrap(), &BTreeMap::new());
        let bundle = Bundle::sign_statement(payload, &key).unwrap().to_json();
        let signer = Signer::Key { name: "ci.pub".to_owned(), key: key.verification_key().clone() };
        let policy = Policy { signers: vec![signer], ..Policy::default() };
        let accepted = judge(&bundle, &Claim { subject, predicate_type: kind }, &policy).unwrap();
        expectations.check(accepted).map(drop).map_err(|refusal| refusal.to_string())
    }

    fn expected() -> Expectations {
        Expectations {
            builder: Some(GENERATOR.to_owned()),
            source: Some("github.com/acme/app".parse().unwrap()),
            git_ref: Some("refs/tags/v1".to_owned()),
            parameters: BTreeMap::from([("release".to_owned(), "true".to_owned())]),
        }
    }

    #[test]
    fn a_build_that_is_as_expected_counts_and_every_difference_is_named() {
        let builder = format!("{GENERATOR}@refs/tags/v2.1.0");
        let repository = "https://github.com/acme/app";
        let dependency = "git+https://github.com/acme/app@refs/tags/v1";
        let good = provenance(&builder, repository, "refs/tags/v1", dependency);
        check(&good, &expected()).unwrap();
        let refusal = |predicate: &str| check(predicate, &expected()).unwrap_err();
        let branch =
            provenance(&format!("{GENERATOR}@refs/heads/main"), repository, "refs/tags/v1", dependency);
        insta::assert_snapshot!(refusal(&branch), @"it was built by https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml@refs/heads/main, not by https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml");
        let elsewhere = provenance(&builder, "https://github.com/acme/other", "refs/tags/v1", dependency);
        insta::assert_snapshot!(refusal(&elsewhere), @"it was built from https://github.com/acme/other (so externalParameters.workflow), not from https://github.com/acme/app");
        let two_faced = provenance(&builder, repository, "refs/tags/v2", dependency);
        insta::assert_snapshot!(refusal(&two_faced), @"externalParameters.workflow and resolvedDependencies name different refs");
        let old = good.replace("refs/tags/v1\"", "refs/tags/v0\"");
        insta::assert_snapshot!(refusal(&old), @"it was built from refs/tags/v0, not from refs/tags/v1");
        insta::assert_snapshot!(refusal(&good.replace(r#""release":"true""#, r#""release":"false""#)), @"its parameter `release` is `false`, not `true`");
        insta::assert_snapshot!(refusal(r#"{"buildDefinition":{}}"#), @"it is no provenance: missing field `buildType` at line 1 column 21");
    }

    #[test]
    fn one_source_has_one_form() {
        let same =
            ["github.com/acme/app", "https://github.com/acme/app", "git+https://github.com/acme/app.git"];
        for text in same {
            assert_eq!(text.parse::<Source>().unwrap().0, "https://github.com/acme/app");
        }
        for other in [
            "",
            "app",
            "git+ssh://github.com/acme/app",
            "github.com/acme/../other",
            "https://me@github.com/acme/app",
        ] {
            assert!(other.parse::<Source>().is_err(), "{other}");
        }
    }
}
