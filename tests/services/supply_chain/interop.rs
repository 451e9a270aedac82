//! The matrix: we verify what cosign 3 and cosign 2 sign, and they verify what we sign; an image, an index,
//! attestations of each type; as referrers, under the fallback tag and under legacy tags; in both kinds of registries.

use std::fs;

use libtest_mimic::{Failed, Trial};
use lifeboat_core::Sha256Digest;
use lifeboat_tests::command::Output;
use lifeboat_tests::gate::{Missing, listening, setting, trial};
use serde_json::Value;

use super::Bench;

/// The types of attestations, each with a realistic predicate.
const TYPES: [(&str, &str); 6] = [
    ("spdxjson", r#"{"spdxVersion":"SPDX-2.3","name":"app"}"#),
    ("cyclonedx", r#"{"bomFormat":"CycloneDX","specVersion":"1.5"}"#),
    (
        "slsaprovenance1",
        r#"{"buildDefinition":{"buildType":"https://slsa.dev/container-based-build/v0.1","externalParameters":{"source":{"uri":"git+https://github.com/acme/app@refs/tags/v1"}},"resolvedDependencies":[{"uri":"git+https://github.com/acme/app@refs/tags/v1"}]},"runDetails":{"builder":{"id":"https://ci.example/builder@v1"}}}"#,
    ),
    (
        "vuln",
        r#"{"invocation":{"parameters":null,"uri":"","event_id":"","builder.id":""},"scanner":{"uri":"x","version":"1","db":{"uri":"","version":""},"result":null},"metadata":{"scanStartedOn":"2024-01-01T00:00:00Z","scanFinishedOn":"2024-01-01T00:00:00Z"}}"#,
    ),
    (
        "openvex",
        r#"{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.com/vex","author":"a","timestamp":"2024-01-01T00:00:00Z","version":1,"statements":[]}"#,
    ),
    ("custom", r#"{"note":"good"}"#),
];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (kind, variable) in
        [("tag", "LIFEBOAT_TEST_REGISTRY"), ("referrers", "LIFEBOAT_TEST_REFERRERS_REGISTRY")]
    {
        for (version, program) in [(3, "LIFEBOAT_TEST_COSIGN"), (2, "LIFEBOAT_TEST_COSIGN2")] {
            let mut add = |name: &str, test: fn(&Matrix) -> Result<(), Failed>| {
                let name = format!("supply_chain::interop::{kind}::cosign{version}::{name}");
                let both =
                    listening(variable).and_then(|address| Ok::<_, Missing>((address, setting(program)?)));
                trials.push(trial(&name, both, move |(address, cosign)| {
                    test(&Matrix { bench: Bench::new(&address, Some(cosign))?, version })
                }));
            };
            add("images", images);
            add("indexes", indexes);
            add("attestations", attestations);
            add("annotations", annotations);
            add("one_tag_for_both", one_tag_for_both);
        }
    }
    trials
}

struct Matrix {
    bench: Bench,
    version: u8,
}

impl Matrix {
    /// The forms that this cosign writes, with the flags for each.
    fn forms(&self) -> Vec<(&'static str, Vec<&'static str>)> {
        match self.version {
            3 => vec![
                ("bundle", vec!["--use-signing-config=false", "--new-bundle-format=true"]),
                ("legacy", vec!["--use-signing-config=false", "--new-bundle-format=false"]),
            ],
            _ => vec![("legacy", vec![])],
        }
    }

    fn theirs(&self, verb: &[&str], form: &[&str], reference: &str) -> Output {
        let flags = ["--key", "release.key", "--tlog-upload=false", "--allow-http-registry", "-y"];
        self.bench.cosign(&[verb, form, &flags, &[reference]].concat())
    }

    /// Verifies with cosign, which is told the form to look for.
    fn they_verify(&self, verb: &[&str], form: &str, reference: &str) -> Output {
        let flags = ["--key", "release.pub", "--insecure-ignore-tlog=true", "--allow-http-registry"];
        let new = match (self.version, form) {
            (3, "bundle") => vec!["--new-bundle-format=true"],
            (3, _) => vec!["--new-bundle-format=false"],
            _ => vec![],
        };
        self.bench.cosign(&[verb, &flags, &new, &[reference]].concat())
    }

    fn image(&self, content: &str) -> Sha256Digest {
        self.bench.repository.image("1.0", content)
    }
}

fn images(matrix: &Matrix) -> Result<(), Failed> {
    for (form, flags) in matrix.forms() {
        // Signed by cosign.
        let image = matrix.image(&format!("an image that they sign: {form}"));
        let reference = matrix.bench.pinned(image);
        matrix.theirs(&["sign"], &flags, &reference).expect_code(0);
        let said =
            matrix.bench.verify(&["--json", "image", &reference, "--key", "release.pub"]).expect_code(0);
        let report: Value = serde_json::from_str(&said.stdout)?;
        assert_eq!(report["accepted"][0]["format"], form);
        matrix.bench.verify(&["image", &reference, "--key", "other.pub"]).expect_code(1);
        // Signed by us.
        let image = matrix.image(&format!("an image that we sign: {form}"));
        let reference = matrix.bench.pinned(image);
        matrix.bench.sign(&["image", &reference, "--key", "release.key", "--format", form]).expect_code(0);
        matrix.they_verify(&["verify"], form, &reference).expect_code(0);
        matrix.bench.verify(&["image", &reference, "--key", "release.pub"]).expect_code(0);
    }
    // Both forms at once, whichever cosign looks for. cosign 2 needs a trusted root as soon as it sees a bundle, even
    // next to a legacy tag.
    if matrix.version == 2 {
        return Ok(());
    }
    let image = matrix.image("an image that we sign twice");
    let reference = matrix.bench.pinned(image);
    matrix.bench.sign(&["image", &reference, "--key", "release.key", "--format", "both"]).expect_code(0);
    for (form, _) in matrix.forms() {
        matrix.they_verify(&["verify"], form, &reference).expect_code(0);
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "all trials have one shape")]
fn indexes(matrix: &Matrix) -> Result<(), Failed> {
    for (form, flags) in matrix.forms() {
        let children = [matrix.image(&format!("amd64 {form}")), matrix.image(&format!("arm64 {form}"))];
        let index = matrix.bench.repository.image_index("index", &children);
        let (pinned, child) = (matrix.bench.pinned(index), matrix.bench.pinned(children[1]));
        matrix.theirs(&["sign"], &flags, &pinned).expect_code(0);
        matrix.bench.verify(&["image", &pinned, "--key", "release.pub"]).expect_code(0);
        let platform = ["image", &pinned, "--platform", "linux/arm64", "--key", "release.pub"];
        matrix.bench.verify(&platform).expect_code(0);
        matrix.bench.verify(&["image", &child, "--key", "release.pub"]).expect_code(1);
        matrix.theirs(&["sign", "--recursive"], &flags, &pinned).expect_code(0);
        matrix.bench.verify(&["image", &child, "--key", "release.pub"]).expect_code(0);

        let children =
            [matrix.image(&format!("our amd64 {form}")), matrix.image(&format!("our arm64 {form}"))];
        let index = matrix.bench.repository.image_index("index", &children);
        let sign =
            ["image", &matrix.bench.pinned(index), "--recursive", "--key", "release.key", "--format", form];
        matrix.bench.sign(&sign).expect_code(0);
        for digest in [index, children[0], children[1]] {
            matrix.they_verify(&["verify"], form, &matrix.bench.pinned(digest)).expect_code(0);
        }
    }
    Ok(())
}

fn attestations(matrix: &Matrix) -> Result<(), Failed> {
    for (form, flags) in matrix.forms() {
        let (theirs, ours) = (matrix.image(&format!("theirs {form}")), matrix.image(&format!("ours {form}")));
        let (theirs, ours) = (matrix.bench.pinned(theirs), matrix.bench.pinned(ours));
        for (kind, predicate) in TYPES {
            fs::write(matrix.bench.path("predicate.json"), predicate)?;
            let attest = ["attest", "--type", kind, "--predicate", "predicate.json"];
            matrix.theirs(&attest, &flags, &theirs).expect_code(0);
            let args =
                ["--type", kind, "--predicate", "predicate.json", "--key", "release.key", "--format", form];
            matrix.bench.sign(&[&["attest", &ours][..], &args].concat()).expect_code(0);
        }
        for (kind, _) in TYPES {
            let verify = |reference: &str, key: &str| {
                matrix.bench.verify(&["attestation", reference, "--type", kind, "--key", key])
            };
            verify(&theirs, "release.pub").expect_code(0);
            verify(&theirs, "other.pub").expect_code(1);
            verify(&ours, "release.pub").expect_code(0);
            matrix.they_verify(&["verify-attestation", "--type", kind], form, &ours).expect_code(0);
        }
        // We refuse what cosign accepts here: none of these is a signature.
        matrix.bench.verify(&["image", &theirs, "--key", "release.pub"]).expect_code(1);
        let provenance = |source: &str, git_ref: &str| {
            matrix.bench.verify(&[
                "attestation",
                &theirs,
                "--type",
                "slsaprovenance1",
                "--key",
                "release.pub",
                "--builder",
                "https://ci.example/builder@v1",
                "--source",
                source,
                "--ref",
                git_ref,
            ])
        };
        provenance("github.com/acme/app", "refs/tags/v1").expect_code(0);
        provenance("github.com/acme/other", "refs/tags/v1").expect_code(1);
        provenance("github.com/acme/app", "refs/tags/v2").expect_code(1);
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "all trials have one shape")]
fn annotations(matrix: &Matrix) -> Result<(), Failed> {
    for (form, flags) in matrix.forms() {
        let (theirs, ours) = (matrix.image(&format!("theirs {form}")), matrix.image(&format!("ours {form}")));
        let (theirs, ours) = (matrix.bench.pinned(theirs), matrix.bench.pinned(ours));
        matrix.theirs(&["sign", "-a", "stage=test"], &flags, &theirs).expect_code(0);
        let sign = ["image", &ours, "--key", "release.key", "--annotation", "stage=test", "--format", form];
        matrix.bench.sign(&sign).expect_code(0);
        let verify = |reference: &str, annotation: &str| {
            matrix.bench.verify(&["image", reference, "--key", "release.pub", "--annotation", annotation])
        };
        for reference in [&theirs, &ours] {
            verify(reference, "stage=test").expect_code(0);
            verify(reference, "stage=production").expect_code(1);
        }
        matrix.they_verify(&["verify", "-a", "stage=test"], form, &ours).expect_code(0);
    }
    Ok(())
}

/// Both add to one legacy tag, and neither loses what the other added.
fn one_tag_for_both(matrix: &Matrix) -> Result<(), Failed> {
    let image = matrix.image("an image that both sign");
    let reference = matrix.bench.pinned(image);
    let legacy = matrix.forms().pop().ok_or("a form")?.1;
    matrix.theirs(&["sign"], &legacy, &reference).expect_code(0);
    matrix.bench.sign(&["image", &reference, "--key", "other.key", "--format", "legacy"]).expect_code(0);
    let flags = ["--key", "second.key", "--tlog-upload=false", "--allow-http-registry", "-y"];
    matrix.bench.sign(&["keygen", "second"]).expect_code(0);
    matrix.bench.cosign(&[&["sign"], &legacy[..], &flags, &[&reference]].concat()).expect_code(0);
    for key in ["release.pub", "other.pub", "second.pub"] {
        matrix.bench.verify(&["image", &reference, "--key", key]).expect_code(0);
    }
    let all = ["--key", "release.pub", "--key", "other.pub", "--key", "second.pub", "--threshold", "3"];
    matrix.bench.verify(&[&["image", &reference][..], &all].concat()).expect_code(0);
    let tree = matrix.bench.verify(&["tree", &reference, "--key", "release.pub", "--json"]).expect_code(0);
    let tree: Value = serde_json::from_str(&tree.stdout)?;
    assert_eq!(tree["hanging"].as_array().map(Vec::len), Some(3), "{tree}");
    Ok(())
}
