//! Signatures by an identity in the older form: cosign 2 puts a certificate from a real Fulcio and the promise of a
//! log, or a timestamp, into the annotations under a legacy tag.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::{Failed, Trial};
use lifeboat_core::Sha256Digest;
use lifeboat_tests::command::{Output, run};
use lifeboat_tests::gate::{Missing, listening, setting, trial};
use lifeboat_tests::log::TestLog;
use serde_json::{Value, json};

use super::keyless::{ALONE, IDENTITY, Instance, Programs, instance, issuer};
use super::{Bench, PASSPHRASE, SBOM, says};

const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const LOG_BUNDLE: &str = "dev.sigstore.cosign/bundle";

pub(crate) fn trials() -> Vec<Trial> {
    let needs = || {
        let cosigns = (setting("LIFEBOAT_TEST_COSIGN")?, setting("LIFEBOAT_TEST_COSIGN2")?);
        Ok::<_, Missing>((listening("LIFEBOAT_TEST_REGISTRY")?, cosigns, Programs::found()?))
    };
    vec![trial("supply_chain::legacy::by_an_identity", needs(), |(address, cosigns, programs)| {
        let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        by_an_identity(&Case::new(&address, cosigns, &programs)?)
    })]
}

/// Two images that an identity signed.
struct Case {
    bench: Bench,
    cosign2: String,
    issuer: String,
    token: String,
    instance: Instance,
    log: TestLog,
    log_url: String,
}

impl Case {
    fn new(address: &str, (cosign, cosign2): (String, String), programs: &Programs) -> Result<Self, Failed> {
        let bench = Bench::new(address, Some(cosign))?;
        let (issuer, token) = issuer(&bench.path(""))?;
        let instance = instance(&bench, programs, &issuer)?;
        let log = TestLog::default();
        let mut root: Value = serde_json::from_slice(&std::fs::read(bench.path("trusted_root.json"))?)?;
        root["tlogs"].as_array_mut().ok_or("logs")?.push(log.trusted_root()["tlogs"][0].clone());
        std::fs::write(bench.path("trusted_root.json"), root.to_string())?;
        std::fs::write(bench.path("log.pub"), log.public_key())?;
        let log_url = log.serve();
        Ok(Self { bench, cosign2, issuer, token, instance, log, log_url })
    }

    fn cosign2(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.cosign2);
        command.args(args).arg("--allow-http-registry").current_dir(self.bench.path(""));
        // Whom cosign 2 trusts when it verifies.
        command.env("SIGSTORE_ROOT_FILE", "fulcio.pem").env("SIGSTORE_REKOR_PUBLIC_KEY", "log.pub");
        run(command.env("HOME", self.bench.path("")).env("COSIGN_PASSWORD", PASSPHRASE))
    }

    /// Signs or attests, without the certificate transparency log that loopback lacks.
    fn signs(&self, verb: &[&str], how: &[&str], reference: &str) {
        let by = ["--fulcio-url", &self.instance.fulcio, "--identity-token", &self.token];
        let there = ["--insecure-skip-verify", "-y", reference];
        self.cosign2(&[verb, &by[..], how, &there].concat()).expect_code(0);
    }

    fn verify(&self, verb: &[&str], by: [&str; 2], flags: &[&str]) -> Output {
        let by = ["--certificate-identity", by[0], "--certificate-oidc-issuer", by[1]];
        let root = ["--trusted-root", "trusted_root.json"];
        self.bench.verify(&[verb, &by, &root, flags].concat())
    }

    /// The manifest under the legacy tag of an image.
    fn manifest(&self, image: Sha256Digest) -> Result<Value, Failed> {
        let manifest =
            self.bench.repository.get(&format!("manifests/{}", tag(image))).ok_or("a signature")?;
        Ok(serde_json::from_slice(&manifest)?)
    }
}

fn tag(image: Sha256Digest) -> String {
    format!("sha256-{image}.sig")
}

/// The annotations of the only signature in a manifest.
fn annotations(manifest: &Value) -> Value {
    manifest["layers"][0]["annotations"].clone()
}

fn log_bundle(annotations: &Value) -> Result<Value, Failed> {
    Ok(serde_json::from_str(annotations[LOG_BUNDLE].as_str().ok_or("a log bundle")?)?)
}

fn by_an_identity(case: &Case) -> Result<(), Failed> {
    let (image, other) =
        (case.bench.repository.image("1.0", "an image"), case.bench.repository.image("2.0", "another image"));
    let reference = case.bench.pinned(image);
    let logged = ["--rekor-url", &case.log_url];
    // The other one first: its certificate is valid when the log receives this one.
    case.signs(&["sign"], &logged, &case.bench.pinned(other));
    case.signs(&["sign"], &logged, &reference);

    let ann = [IDENTITY, case.issuer.as_str()];
    let lax = ["--insecure-ignore-sct"];
    let verify = |flags: &[&str]| case.verify(&["image", &reference], ann, flags);
    let said = verify(&[&lax[..], &["--json"]].concat()).expect_code(0);
    let report: Value = serde_json::from_str(&said.stdout)?;
    let found = &report["accepted"][0];
    assert_eq!((found["format"].as_str(), found["identity"].as_str()), (Some("legacy"), Some(IDENTITY)));
    // A legacy signature has only a promise from its log.
    assert_eq!((found["log_entries"].as_u64(), found["log_promises"].as_u64()), (Some(0), Some(1)));
    assert_eq!(found["timestamps"].as_u64(), Some(0));
    let steps: Vec<&str> =
        found["steps"].as_array().ok_or("steps")?.iter().filter_map(|step| step["name"].as_str()).collect();
    let expected =
        ["format", "log time", "certificate", "log promise", "log entry", "signature", "identity", "subject"];
    assert_eq!(steps, expected);
    // cosign also accepts the log's promise.
    let theirs = ["--certificate-identity", IDENTITY, "--certificate-oidc-issuer", &case.issuer];
    case.cosign2(&[&["verify", "--offline"], &theirs[..], &lax, &[&reference]].concat()).expect_code(0);

    // Someone else, another issuer, another instance, and a certificate without a log.
    let by = |identity: &str, issuer: &str| case.verify(&["image", &reference], [identity, issuer], &lax);
    says(&by("eve@example.com", &case.issuer).expect_code(1), "it was signed by ann@example.com");
    says(&by(IDENTITY, "https://accounts.example.com").expect_code(1), "it was signed by ann@example.com");
    let by = ["--certificate-identity", IDENTITY, "--certificate-oidc-issuer", &case.issuer];
    case.bench.verify(&[&["image", &reference], &by[..], &lax].concat()).expect_code(1);
    says(&verify(&[]).expect_code(1), "signed certificate timestamp");
    says(&verify(&["--min-time", "2100-01-01T00:00:00Z", lax[0]]).expect_code(1), "before 2100");
    says(
        &case.bench.verify(&["image", &reference, "--key", "release.pub"]).expect_code(1),
        "only keys were given",
    );

    forgeries(case, image, other)?;
    attestation(case, &reference)?;
    timestamp(case, &lax)
}

/// Every annotation that does not match the others is refused.
fn forgeries(case: &Case, image: Sha256Digest, other: Sha256Digest) -> Result<(), Failed> {
    let (good, of_other) = (case.manifest(image)?, annotations(&case.manifest(other)?));
    let (own, mut others) = (log_bundle(&annotations(&good))?, log_bundle(&of_other)?);
    let body = |bundle: &Value| -> Result<Vec<u8>, Failed> {
        Ok(STANDARD.decode(bundle["Payload"]["body"].as_str().ok_or("a text")?)?)
    };
    let now = own["Payload"]["integratedTime"].as_i64().ok_or("a time")?;
    // The log promises the other at a time when both certificates are valid, regardless of their exact start.
    others["SignedEntryTimestamp"] = STANDARD.encode(case.log.promise(&body(&others)?, now, 0)).into();
    others["Payload"]["integratedTime"] = now.into();
    let body = body(&own)?;
    let with = |member: &[&str], value: Value| {
        let mut bundle = own.clone();
        let place = member.iter().fold(&mut bundle, |place, name| &mut place[*name]);
        *place = value;
        bundle
    };
    // The promise of this or another log for the same entry.
    let promised = |log: &TestLog, time: i64| {
        let mut bundle = own.clone();
        bundle["SignedEntryTimestamp"] = STANDARD.encode(log.promise(&body, time, 0)).into();
        bundle["Payload"]["integratedTime"] = time.into();
        bundle["Payload"]["logID"] = log.id().to_string().into();
        bundle
    };
    let refused = |change: &[(&str, Value)], reason: &str| -> Result<(), Failed> {
        let mut manifest = good.clone();
        let annotations = manifest["layers"][0]["annotations"].as_object_mut().ok_or("annotations")?;
        for (name, value) in change {
            match value {
                Value::Null => drop(annotations.remove(*name)),
                Value::String(_) => drop(annotations.insert((*name).to_owned(), value.clone())),
                json => drop(annotations.insert((*name).to_owned(), json.to_string().into())),
            }
        }
        case.bench.repository.put_manifest(&tag(image), &manifest);
        let reference = case.bench.pinned(image);
        let by = [IDENTITY, case.issuer.as_str()];
        let said = case.verify(&["image", &reference], by, &["--insecure-ignore-sct"]).expect_code(1);
        says(&said, reason);
        Ok(())
    };
    let certificate = (CERTIFICATE, of_other[CERTIFICATE].clone());
    // The promise is not for this entry, this time, this place, or by this log.
    refused(&[(LOG_BUNDLE, with(&["Payload", "integratedTime"], (now + 1).into()))], "SET")?;
    refused(&[(LOG_BUNDLE, with(&["Payload", "logIndex"], 1.into()))], "SET")?;
    refused(&[(LOG_BUNDLE, with(&["Payload", "body"], others["Payload"]["body"].clone()))], "SET")?;
    refused(&[(LOG_BUNDLE, with(&["SignedEntryTimestamp"], others["SignedEntryTimestamp"].clone()))], "SET")?;
    let stranger = TestLog::default();
    refused(&[(LOG_BUNDLE, promised(&stranger, now))], "not of a log that")?;
    let mut borrowed = promised(&stranger, now);
    borrowed["Payload"]["logID"] = case.log.id().to_string().into();
    refused(&[(LOG_BUNDLE, borrowed)], "SET")?;
    // It is good, but about another signature.
    refused(&[(LOG_BUNDLE, others.clone())], "about another file")?;
    refused(&[(LOG_BUNDLE, others), certificate.clone()], "did not make its signature")?;
    // It is good, but the certificate was not valid then.
    for (time, reason) in [
        (now - 3600, "no path leads from it to the authority"),
        (now + 1800, "and now is"),
        (0, "is not believed at 1970-01-01T00:00:00Z"),
    ] {
        refused(&[(LOG_BUNDLE, promised(&case.log, time))], reason)?;
    }
    // Another signature's certificate, none, or something that is not a certificate.
    refused(&[certificate], "did not make its signature")?;
    refused(&[(CERTIFICATE, Value::Null)], "only an identity was given")?;
    refused(&[(CERTIFICATE, "x".into())], "its certificate is not PEM")?;
    // Nothing shows when it was signed.
    refused(&[(LOG_BUNDLE, Value::Null)], "it carries no log entry")?;
    refused(&[(LOG_BUNDLE, json!({}))], "missing field")?;
    case.bench.repository.put_manifest(&tag(image), &good);
    let reference = case.bench.pinned(image);
    let by = [IDENTITY, case.issuer.as_str()];
    case.verify(&["image", &reference], by, &["--insecure-ignore-sct"]).expect_code(0);
    Ok(())
}

fn attestation(case: &Case, reference: &str) -> Result<(), Failed> {
    std::fs::write(case.bench.path("sbom.json"), SBOM)?;
    let attest = ["attest", "--type=spdxjson", "--predicate=sbom.json"];
    case.signs(&attest, &["--rekor-url", &case.log_url], reference);
    let verify = |kind: &str, identity: &str| {
        let by = [identity, case.issuer.as_str()];
        case.verify(&["attestation", reference, "--type", kind], by, &["--insecure-ignore-sct"])
    };
    verify("spdxjson", IDENTITY).expect_code(0);
    verify("cyclonedx", IDENTITY).expect_code(1);
    verify("spdxjson", "eve@example.com").expect_code(1);
    Ok(())
}

/// A timestamp in place of a log.
fn timestamp(case: &Case, lax: &[&str]) -> Result<(), Failed> {
    let image = case.bench.repository.image("3.0", "a third image");
    let reference = case.bench.pinned(image);
    let stamped = ["--tlog-upload=false", "--timestamp-server-url", &case.instance.timestamp];
    case.signs(&["sign"], &stamped, &reference);
    let verify = |flags: &[&str]| {
        case.verify(&["image", &reference], [IDENTITY, case.issuer.as_str()], &[lax, flags].concat())
    };
    says(&verify(&[]).expect_code(1), "it carries no log entry");
    let said = verify(&["--insecure-ignore-tlog", "--json"]).expect_code(0);
    let report: Value = serde_json::from_str(&said.stdout)?;
    let found = &report["accepted"][0];
    assert_eq!((found["log_entries"].as_u64(), found["timestamps"].as_u64()), (Some(0), Some(1)));
    // Without it nothing shows when it was signed.
    let mut manifest = case.manifest(image)?;
    let annotations = manifest["layers"][0]["annotations"].as_object_mut().ok_or("annotations")?;
    annotations.remove("dev.sigstore.cosign/rfc3161timestamp").ok_or("a timestamp")?;
    case.bench.repository.put_manifest(&tag(image), &manifest);
    verify(&["--insecure-ignore-tlog"]).expect_code(1);

    // A timestamp of a signature with a key.
    let image = case.bench.repository.image("4.0", "a fourth image");
    let reference = case.bench.pinned(image);
    case.cosign2(&[&["sign", "-y", "--key", "release.key"], &stamped[..], &[&reference]].concat())
        .expect_code(0);
    let verify = |root: &[&str]| {
        case.bench.verify(&[&["image", &reference, "--key", "release.pub", "--json"], root].concat())
    };
    let said = verify(&["--trusted-root", "trusted_root.json"]).expect_code(0);
    let report: Value = serde_json::from_str(&said.stdout)?;
    assert_eq!(report["accepted"][0]["timestamps"], 1);
    says(&verify(&[]).expect_code(1), "does not match any trusted TSA");
    Ok(())
}
