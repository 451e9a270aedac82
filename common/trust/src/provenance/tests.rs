use lifeboat_core::Sha256Digest;

use super::*;
use crate::bundle::Bundle;
use crate::judge::{Claim, judge};
use crate::key::SigningKey;
use crate::policy::{Policy, Signer};
use crate::statement::{self, PredicateType, Statement};

const GENERATOR: &str =
    "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml";

fn provenance(builder: &str, repository: &str, git_ref: &str, dependency: &str) -> String {
    format!(
        r#"{{"buildDefinition":{{"buildType":"https://actions.github.io/buildtypes/workflow/v1","externalParameters":{{"inputs":{{"release":"true"}},"workflow":{{"repository":"{repository}","ref":"{git_ref}"}}}},"resolvedDependencies":[{{"uri":"{dependency}"}}]}},"runDetails":{{"builder":{{"id":"{builder}"}}}}}}"#
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
        parameters: BTreeMap::from([("release".to_owned(), Parameter::Text("true".to_owned()))]),
        ..Expectations::default()
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
    let branch = provenance(&format!("{GENERATOR}@refs/heads/main"), repository, "refs/tags/v1", dependency);
    insta::assert_snapshot!(refusal(&branch), @"it was built by https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml@refs/heads/main, not by https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml");
    let elsewhere = provenance(&builder, "https://github.com/acme/other", "refs/tags/v1", dependency);
    insta::assert_snapshot!(refusal(&elsewhere), @"it was built from https://github.com/acme/other (so externalParameters.workflow.repository), not from https://github.com/acme/app");
    let two_faced = provenance(&builder, repository, "refs/tags/v2", dependency);
    insta::assert_snapshot!(refusal(&two_faced), @"externalParameters.workflow.repository and resolvedDependencies name different refs");
    let old = good.replace("refs/tags/v1\"", "refs/tags/v0\"");
    insta::assert_snapshot!(refusal(&old), @"it was built from refs/tags/v0 (so externalParameters.workflow.repository), not from refs/tags/v1");
    insta::assert_snapshot!(refusal(&good.replace(r#""release":"true""#, r#""release":"false""#)), @r#"its parameter `release` is `\"false\"`, not `\"true\"`"#);
    insta::assert_snapshot!(refusal(r#"{"buildDefinition":{}}"#), @"it is not a provenance: it has no /runDetails/builder/id");
}

#[test]
fn one_source_has_one_form() {
    let same = ["github.com/acme/app", "https://github.com/acme/app", "git+https://github.com/acme/app.git"];
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

const BUILDER: &str = "https://ci.example/builder@v1";

/// Provenance of this type with these external parameters and dependencies.
fn built(kind: &str, external: &str, dependencies: &str) -> String {
    format!(
        r#"{{"buildDefinition":{{"buildType":"{kind}","externalParameters":{external},"resolvedDependencies":{dependencies}}},"runDetails":{{"builder":{{"id":"{BUILDER}"}}}}}}"#
    )
}

fn source_and_ref() -> Expectations {
    Expectations {
        builder: Some(BUILDER.to_owned()),
        source: Some("github.com/acme/app".parse().unwrap()),
        git_ref: Some("refs/tags/v1".to_owned()),
        ..Expectations::default()
    }
}

const GITHUB: &str = "https://actions.github.io/buildtypes/workflow/v1";
const CLOUD_BUILD: &str = "https://cloud.google.com/build/gcb-buildtypes/google-worker/v1";
const CONTAINER: &str = "https://slsa.dev/container-based-build/v0.1";
const BUILDKIT: &str = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";
const GITLAB: &str = "https://gitlab.com/gitlab-org/gitlab-runner/-/blob/v17.0.0/PROVENANCE.md";
const GOOD_DEPENDENCY: &str = r#"[{"uri":"git+https://github.com/acme/app@refs/tags/v1"}]"#;

#[test]
fn each_build_type_has_its_source_in_its_own_place() {
    let good = [
        (
            GITHUB,
            r#"{"workflow":{"repository":"https://github.com/acme/app","ref":"refs/tags/v1","path":"w.yml"}}"#,
        ),
        (
            CLOUD_BUILD,
            r#"{"buildConfigSource":{"repository":"git+https://github.com/acme/app","ref":"refs/tags/v1"}}"#,
        ),
        (CONTAINER, r#"{"source":{"uri":"git+https://github.com/acme/app@refs/tags/v1"}}"#),
        (BUILDKIT, r#"{"configSource":{"uri":"https://github.com/acme/app.git#refs/tags/v1"},"request":{}}"#),
    ];
    for (kind, external) in good {
        check(&built(kind, external, "[]"), &source_and_ref()).unwrap();
        check(&built(kind, external, GOOD_DEPENDENCY), &source_and_ref()).unwrap();
        let evil = external.replace("acme/app", "mallory/evil");
        let reason = check(&built(kind, &evil, GOOD_DEPENDENCY), &source_and_ref()).unwrap_err();
        assert!(reason.contains("mallory/evil"), "{kind}: {reason}");
        let branch = external.replace("refs/tags/v1", "refs/heads/evil");
        check(&built(kind, &branch, "[]"), &source_and_ref()).unwrap_err();
    }
    // GitLab gives no ref.
    let external =
        r#"{"entryPoint":"build","source":"https://gitlab.com/acme/app","variables":{"RELEASE":"1"}}"#;
    let source =
        Expectations { source: Some("gitlab.com/acme/app".parse().unwrap()), ..Expectations::default() };
    check(&built(GITLAB, external, "[]"), &source).unwrap();
    check(&built(GITLAB, external, "[]"), &source_and_ref()).unwrap_err();
}

#[test]
fn a_dependency_is_no_origin_and_a_source_in_another_place_is_none() {
    let workflow = r#""workflow":{"repository":"https://github.com/acme/app","ref":"refs/tags/v1"}"#;
    let table = [
        ("only a dependency", GITHUB, "{}".to_owned()),
        ("null", GITHUB, "null".to_owned()),
        ("the place of another type", CLOUD_BUILD, format!("{{{workflow}}}")),
        (
            "a member that the type does not define",
            GITHUB,
            format!(r#"{{{workflow},"repository":"https://github.com/mallory/evil"}}"#),
        ),
        (
            "an object in place of a text",
            GITHUB,
            r#"{"workflow":{"repository":{"url":"https://github.com/acme/app"}}}"#.to_owned(),
        ),
        (
            "a list in place of an object",
            CONTAINER,
            r#"{"source":[{"uri":"git+https://github.com/acme/app@refs/tags/v1"}]}"#.to_owned(),
        ),
        (
            "a ref in the repository and another beside it",
            GITHUB,
            format!("{{{workflow}}}").replace("acme/app", "acme/app@refs/heads/evil"),
        ),
        ("no ref", GITHUB, r#"{"workflow":{"repository":"https://github.com/acme/app"}}"#.to_owned()),
        ("no repository", GITHUB, r#"{"workflow":{"ref":"refs/tags/v1"}}"#.to_owned()),
    ];
    for (what, kind, external) in table {
        check(&built(kind, &external, GOOD_DEPENDENCY), &source_and_ref()).expect_err(what);
    }
    // Two dependencies on the same repository, one of which contradicts the source.
    let both = r#"[{"uri":"git+https://github.com/acme/app@refs/tags/v1","digest":{"gitCommit":"a"}},{"uri":"git+https://github.com/acme/app@refs/tags/v1","digest":{"gitCommit":"b"}}]"#;
    let reason = check(&built(GITHUB, &format!("{{{workflow}}}"), both), &source_and_ref()).unwrap_err();
    assert!(reason.contains("different commits"), "{reason}");
}

#[test]
fn a_build_type_that_is_not_known_needs_a_pointer() {
    let external = r#"{"runSpec":{"params":[{"name":"git-url","value":"https://github.com/acme/app"}],"release":true},"at":"refs/tags/v1"}"#;
    let tekton = built("https://tekton.dev/chains/v2/slsa", external, GOOD_DEPENDENCY);
    let reason = check(&tekton, &source_and_ref()).unwrap_err();
    assert!(reason.contains("is not known here"), "{reason}");
    // The builder can be checked without them.
    check(&tekton, &Expectations { builder: Some(BUILDER.to_owned()), ..Expectations::default() }).unwrap();
    let pointing = |source: &str, at: &str| Expectations {
        source_at: Some(source.to_owned()),
        git_ref_at: Some(at.to_owned()),
        ..source_and_ref()
    };
    let (source, at) = (
        "/buildDefinition/externalParameters/runSpec/params/0/value",
        "/buildDefinition/externalParameters/at",
    );
    check(&tekton, &pointing(source, at)).unwrap();
    check(
        &tekton.replace("\"https://github.com/acme/app\"", "\"https://github.com/mallory/evil\""),
        &pointing(source, at),
    )
    .unwrap_err();
    check(&tekton, &pointing(source, "/buildDefinition/nothing")).unwrap_err();
    check(&tekton, &pointing("/buildDefinition/externalParameters/runSpec", at)).unwrap_err();
    let parameter = |name: &str, json: &str| Expectations {
        parameters: BTreeMap::from([(name.to_owned(), Parameter::Json(serde_json::from_str(json).unwrap()))]),
        ..Expectations::default()
    };
    check(&tekton, &parameter("/buildDefinition/externalParameters/runSpec/release", "true")).unwrap();
    check(&tekton, &parameter("release", "true")).unwrap_err();
}

#[test]
fn parameters_have_types_and_one_place() {
    let inputs = r#"{"inputs":{"text":"true","truth":true,"number":100,"list":["a"],"none":null},"vars":{"text":"false"},"workflow":{"repository":"https://github.com/acme/app"}}"#;
    let predicate = built(GITHUB, inputs, "[]");
    let given = |name: &str, value: Parameter| {
        let parameters = BTreeMap::from([(name.to_owned(), value)]);
        check(&predicate, &Expectations { parameters, ..Expectations::default() })
    };
    let text = |text: &str| Parameter::Text(text.to_owned());
    let json = |text: &str| Parameter::Json(serde_json::from_str(text).unwrap());
    for (name, value) in [
        ("text", text("true")),
        ("text", json("\"true\"")),
        ("truth", json("true")),
        ("number", json("100")),
        ("list", json("[\"a\"]")),
        ("none", json("null")),
    ] {
        given(name, value).unwrap();
    }
    for (name, value) in [
        ("text", json("true")),
        ("truth", text("true")),
        ("number", text("100")),
        ("number", json("\"100\"")),
        ("list", text("[\"a\"]")),
        ("none", text("null")),
        ("absent", json("null")),
        ("inputs", json("{}")),
    ] {
        given(name, value).unwrap_err();
    }
}

fn claims() -> Claims {
    Claims {
        key: Sha256Digest::of(b"key"),
        not_before: jiff::Timestamp::UNIX_EPOCH,
        not_after: jiff::Timestamp::UNIX_EPOCH,
        identity: BUILDER.to_owned(),
        issuer: "https://issuer.example".to_owned(),
        build_signer_uri: None,
        runner_environment: Some("github-hosted".to_owned()),
        source_repository_uri: Some("https://github.com/acme/app".to_owned()),
        source_repository_digest: Some("aaaa".to_owned()),
        source_repository_ref: Some("refs/tags/v1".to_owned()),
        build_config_uri: Some(
            "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1".to_owned(),
        ),
    }
}

#[test]
fn a_certificate_and_a_statement_that_contradict_each_other_are_refused_whatever_is_expected() {
    let good = r#"{"buildDefinition":{"buildType":"https://actions.github.io/buildtypes/workflow/v1","externalParameters":{"workflow":{"repository":"https://github.com/acme/app","ref":"refs/tags/v1","path":".github/workflows/release.yml"}},"internalParameters":{"github":{"runner_environment":"github-hosted"}},"resolvedDependencies":[{"uri":"git+https://github.com/acme/app@refs/tags/v1","digest":{"gitCommit":"aaaa"}}]},"runDetails":{"builder":{"id":"https://github.com/actions/runner/github-hosted"}}}"#;
    let compared = |text: &str| compare(&serde_json::from_str(text).unwrap(), &claims());
    assert!(compared(good).unwrap());
    for (from, to, what) in [
        ("https://github.com/acme/app\",\"ref", "https://github.com/mallory/evil\",\"ref", "the source"),
        ("\"ref\":\"refs/tags/v1\"", "\"ref\":\"refs/heads/x\"", "different refs"),
        ("@refs/tags/v1\",\"digest", "\",\"digest", ""),
        ("\"gitCommit\":\"aaaa\"", "\"gitCommit\":\"bbbb\"", "the commit bbbb"),
        ("release.yml\"}", "other.yml\"}", "the workflow"),
        (
            "\"runner_environment\":\"github-hosted\"",
            "\"runner_environment\":\"self-hosted\"",
            "the runner self-hosted",
        ),
        ("actions/runner/github-hosted", "actions/runner/self-hosted", "the runner self-hosted"),
    ] {
        let changed = good.replace(from, to);
        assert_ne!(changed, good);
        match compared(&changed) {
            Ok(_) => assert_eq!(what, ""),
            Err(reason) => assert!(reason.contains(what) && !what.is_empty(), "{reason}"),
        }
    }
    // For an unknown build type nothing can be compared.
    assert!(!compared(&good.replace(GITHUB, "https://example.com/x")).unwrap());
}

#[test]
fn what_is_expected_survives_its_document() {
    let expectations = Expectations {
        builder: Some("https://ci.example".to_owned()),
        source: Some("git.example/app.git.git".parse().unwrap()),
        git_ref: Some("refs/tags/v1".to_owned()),
        parameters: BTreeMap::from([
            ("a".to_owned(), Parameter::Text("x".to_owned())),
            ("b".to_owned(), Parameter::Json(serde_json::json!([1, null]))),
        ]),
        source_at: Some("/a".to_owned()),
        git_ref_at: None,
    };
    let json = serde_json::to_string(&expectations).unwrap();
    let again: Expectations = serde_json::from_str(&json).unwrap();
    assert_eq!(format!("{again:?}"), format!("{expectations:?}"));
    for bad in [json.replace("https://git.example", "x://"), json.replace("builder", "baker")] {
        serde_json::from_str::<Expectations>(&bad).unwrap_err();
    }
}
