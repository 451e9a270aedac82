//! Signing and verifying in real registries, one that lists referrers and one that does not, and with the real cosign.

mod archives;
mod conformance;
mod consumers;
mod interop;
mod keyless;
mod legacy;
mod oracle;
mod release;
mod snapshots;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use lifeboat_core::Sha256Digest;
use lifeboat_tests::command::{Output, lifeboat, run};
use lifeboat_tests::gate::{Missing, listening, setting, trial};
use lifeboat_tests::registry::TestRepository;
use tempfile::TempDir;

const SIGN: &str = env!("CARGO_BIN_EXE_tested-sign");
const VERIFY: &str = env!("CARGO_BIN_EXE_tested-verify");
const SBOM: &str = r#"{"spdxVersion":"SPDX-2.3","name":"app"}"#;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (kind, variable) in
        [("tag", "LIFEBOAT_TEST_REGISTRY"), ("referrers", "LIFEBOAT_TEST_REFERRERS_REGISTRY")]
    {
        let mut add = |name: &str, test: fn(&Bench) -> Result<(), Failed>| {
            let name = format!("supply_chain::{kind}::{name}");
            trials.push(trial(&name, listening(variable), move |address| test(&Bench::new(&address, None)?)));
        };
        add("verdicts", verdicts);
        add("attestations", attestations);
        add("signers_at_the_same_time_lose_nothing", signers_at_the_same_time);
        let mut add = |name: &str, test: fn(&Bench) -> Result<(), Failed>| {
            let name = format!("supply_chain::{kind}::{name}");
            let both = listening(variable)
                .and_then(|address| Ok::<_, Missing>((address, setting("LIFEBOAT_TEST_COSIGN")?)));
            trials.push(trial(&name, both, move |(address, cosign)| {
                test(&Bench::new(&address, Some(cosign))?)
            }));
        };
        add("cosign_verifies_what_we_sign", cosign_verifies_ours);
        add("we_verify_what_cosign_signs", we_verify_cosigns);
        add("cosign_and_we_sign_the_same_image", both_sign);
    }
    let cosign = || setting("LIFEBOAT_TEST_COSIGN");
    trials.push(trial("supply_chain::files_both_ways", cosign(), |cosign| {
        files(&Bench::new("", Some(cosign))?)
    }));
    trials.extend(archives::trials());
    trials.extend(conformance::trials());
    trials.extend(consumers::trials());
    trials.extend(release::trials());
    trials.extend(interop::trials());
    trials.extend(keyless::trials());
    trials.extend(oracle::trials());
    trials.extend(legacy::trials());
    trials.extend(snapshots::trials());
    trials
}

/// A folder with two key pairs, and a repository with an image.
struct Bench {
    folder: TempDir,
    repository: TestRepository,
    cosign: Option<String>,
}

const PASSPHRASE: &str = "correct horse";

impl Bench {
    fn new(address: &str, cosign: Option<String>) -> Result<Self, Failed> {
        let repository = TestRepository::fresh(address, "trust");
        let bench = Self { folder: tempfile::tempdir()?, repository, cosign };
        bench.sign(&["keygen", "release"]).expect_code(0);
        bench.sign(&["keygen", "other"]).expect_code(0);
        fs::write(bench.path("sbom.json"), SBOM)?;
        Ok(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn signing(&self, args: &[&str]) -> Command {
        let mut command = lifeboat(SIGN, self.folder.path(), args);
        command.current_dir(&self.folder).env("COSIGN_PASSWORD", PASSPHRASE);
        command
    }

    fn sign(&self, args: &[&str]) -> Output {
        run(&mut self.signing(args))
    }

    fn verify(&self, args: &[&str]) -> Output {
        run(lifeboat(VERIFY, self.folder.path(), args).current_dir(&self.folder))
    }

    fn cosign(&self, args: &[&str]) -> Output {
        let program = self.cosign.as_ref().expect("the trial asked for cosign");
        let mut command = Command::new(program);
        run(command
            .args(args)
            .current_dir(&self.folder)
            .env("HOME", self.folder.path())
            .env("COSIGN_PASSWORD", PASSPHRASE))
    }

    fn tagged(&self) -> String {
        format!("{}:1.0", self.repository.name())
    }

    fn pinned(&self, digest: Sha256Digest) -> String {
        format!("{}@{}", self.repository.name(), digest.to_oci())
    }
}

fn says(said: &Output, text: &str) {
    // Reports wrap long lines between words.
    let words: Vec<&str> = said.stdout.split_whitespace().chain(said.stderr.split_whitespace()).collect();
    assert!(words.join(" ").contains(text), "`{text}` is not in {said:?}");
}

fn verdicts(bench: &Bench) -> Result<(), Failed> {
    let image = bench.repository.image("1.0", "an image");
    let tagged = bench.tagged();
    let verify = |reference: &str| bench.verify(&["image", reference, "--key", "release.pub"]);
    says(&verify(&tagged).expect_code(1), "it is not signed: no bundle refers to it");
    bench.sign(&["image", &tagged, "--key", "other.key"]).expect_code(0);
    says(&verify(&tagged).expect_code(1), "it was not signed by release.pub");
    let sign = bench.sign(&["--json", "image", &tagged, "--key", "release.key"]).expect_code(0);
    let sign: serde_json::Value = serde_json::from_str(&sign.stdout)?;
    assert_eq!(sign["digest"], image.to_oci());
    for reference in [tagged.clone(), bench.pinned(image), format!("{tagged}@{}", image.to_oci())] {
        verify(&reference).expect_code(0);
    }

    // The same bundle attached to another image.
    let manifest = sign["bundle"]["manifest"].as_str().ok_or("a manifest")?;
    let manifest = bench.repository.get(&format!("manifests/{manifest}")).ok_or("the manifest")?;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest)?;
    let layer = manifest["layers"][0]["digest"].as_str().ok_or("a layer")?;
    let bundle = bench.repository.get(&format!("blobs/{layer}")).ok_or("the bundle")?;
    let another = bench.repository.image("1.0", "another image");
    bench.repository.referrer(another, "application/vnd.dev.sigstore.bundle.v0.3+json", &bundle);
    says(&verify(&tagged).expect_code(1), "its signature by release.pub is good, but for");

    // The tag has moved by now.
    says(&verify(&format!("{tagged}@{}", image.to_oci())).expect_code(1), "the tag `1.0` points to");
    says(
        &bench
            .sign(&["image", &format!("{tagged}@{}", image.to_oci()), "--key", "release.key"])
            .expect_code(1),
        "points to",
    );
    verify(&bench.pinned(image)).expect_code(0);
    says(&verify(&format!("{}:absent", bench.repository.name())).expect_code(2), "there is no tag `absent`");
    Ok(())
}

fn attestations(bench: &Bench) -> Result<(), Failed> {
    let image = bench.repository.image("1.0", "an image");
    let reference = bench.pinned(image);
    let attest =
        ["attest", &reference, "--type", "spdxjson", "--predicate", "sbom.json", "--key", "release.key"];
    bench.sign(&attest).expect_code(0);
    says(
        &bench.verify(&["image", &reference, "--key", "release.pub"]).expect_code(1),
        "it is an attestation `spdxjson`",
    );
    let verify = |kind: &str, key: &str| {
        bench.verify(&["attestation", &reference, "--type", kind, "--key", key, "--output", "verified.json"])
    };
    verify("spdxjson", "other.pub").expect_code(1);
    verify("cyclonedx", "release.pub").expect_code(1);
    verify("spdxjson", "release.pub").expect_code(0);
    assert_eq!(fs::read_to_string(bench.path("verified.json"))?, SBOM);
    Ok(())
}

fn signers_at_the_same_time(bench: &Bench) -> Result<(), Failed> {
    let image = bench.repository.image("1.0", "an image");
    let reference = bench.pinned(image);
    let kind = |number: i32| format!("https://example.com/note/{number}");
    let children: Vec<_> = (0..6)
        .map(|number| {
            let kind = kind(number);
            let args =
                ["attest", &reference, "--type", &kind, "--predicate", "sbom.json", "--key", "release.key"];
            bench.signing(&args).stdout(std::process::Stdio::null()).spawn()
        })
        .collect::<Result<_, _>>()?;
    for mut child in children {
        assert!(child.wait()?.success());
    }
    for number in 0..6 {
        bench
            .verify(&["attestation", &reference, "--type", &kind(number), "--key", "release.pub"])
            .expect_code(0);
    }
    Ok(())
}

fn cosign_verifies_ours(bench: &Bench) -> Result<(), Failed> {
    let image = bench.repository.image("1.0", "an image");
    let reference = bench.pinned(image);
    bench.sign(&["image", &bench.tagged(), "--key", "release.key"]).expect_code(0);
    let loopback = ["--insecure-ignore-tlog=true", "--allow-http-registry", &reference];
    bench.cosign(&[&["verify", "--key", "release.pub"][..], &loopback].concat()).expect_code(0);
    let refused = bench.cosign(&[&["verify", "--key", "other.pub"][..], &loopback].concat());
    assert_ne!(refused.code, Some(0));
    let sbom =
        ["attest", &bench.tagged(), "--type", "spdxjson", "--predicate", "sbom.json", "--key", "release.key"];
    bench.sign(&sbom).expect_code(0);
    fs::write(bench.path("note.txt"), "a note that is not JSON")?;
    let note =
        ["attest", &bench.tagged(), "--type", "custom", "--predicate", "note.txt", "--key", "release.key"];
    bench.sign(&note).expect_code(0);
    for kind in ["spdxjson", "custom"] {
        let verify = ["verify-attestation", "--type", kind, "--key", "release.pub"];
        bench.cosign(&[&verify[..], &loopback].concat()).expect_code(0);
    }
    // cosign uses our encrypted key file.
    let public = bench.cosign(&["public-key", "--key", "release.key"]).expect_code(0);
    assert_eq!(public.stdout.trim(), fs::read_to_string(bench.path("release.pub"))?.trim());
    Ok(())
}

const NO_LOG: [&str; 4] =
    ["--use-signing-config=false", "--tlog-upload=false", "--allow-http-registry", "-y"];

fn we_verify_cosigns(bench: &Bench) -> Result<(), Failed> {
    let image = bench.repository.image("1.0", "an image");
    let reference = bench.pinned(image);
    bench.cosign(&["generate-key-pair"]).expect_code(0);
    bench.cosign(&[&["sign", "--key", "cosign.key"][..], &NO_LOG, &[&reference]].concat()).expect_code(0);
    let attest = ["attest", "--key", "cosign.key", "--type", "spdxjson", "--predicate", "sbom.json"];
    bench.cosign(&[&attest[..], &NO_LOG, &[&reference]].concat()).expect_code(0);
    bench.verify(&["image", &bench.tagged(), "--key", "cosign.pub"]).expect_code(0);
    bench.verify(&["image", &bench.tagged(), "--key", "release.pub"]).expect_code(1);
    let attestation = ["attestation", &bench.tagged(), "--type", "spdxjson", "--key", "cosign.pub"];
    bench.verify(&[&attestation[..], &["--output", "verified.json"]].concat()).expect_code(0);
    let verified: serde_json::Value = serde_json::from_slice(&fs::read(bench.path("verified.json"))?)?;
    assert_eq!(verified, serde_json::from_str::<serde_json::Value>(SBOM)?);
    // We use cosign's encrypted key file, with its passphrase.
    let another = bench.repository.image("2.0", "another image");
    bench.sign(&["image", &bench.pinned(another), "--key", "cosign.key"]).expect_code(0);
    bench.verify(&["image", &bench.pinned(another), "--key", "cosign.pub"]).expect_code(0);
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "all trials have one shape")]
fn both_sign(bench: &Bench) -> Result<(), Failed> {
    let image = bench.repository.image("1.0", "an image");
    let reference = bench.pinned(image);
    bench.sign(&["image", &reference, "--key", "release.key"]).expect_code(0);
    bench.cosign(&[&["sign", "--key", "other.key"][..], &NO_LOG, &[&reference]].concat()).expect_code(0);
    bench.sign(&["image", &reference, "--key", "release.key"]).expect_code(0);
    for key in ["release.pub", "other.pub"] {
        bench.verify(&["image", &reference, "--key", key]).expect_code(0);
        let verify =
            ["verify", "--key", key, "--insecure-ignore-tlog=true", "--allow-http-registry", &reference];
        bench.cosign(&verify).expect_code(0);
    }
    Ok(())
}

fn files(bench: &Bench) -> Result<(), Failed> {
    fs::write(bench.path("app.tar"), "content")?;
    let sign = ["blob", "app.tar", "--bundle", "ours.json", "--key", "release.key"];
    let verify = |verb: &[&str], key: &str| {
        let flags = ["--bundle", "ours.json", "--insecure-ignore-tlog=true", "--key", key, "app.tar"];
        bench.cosign(&[verb, &flags].concat())
    };
    // A statement about the file, and only its bytes.
    for (verb, flags) in [
        (&["verify-blob-attestation", "--type", "urn:lifeboat:file:v0"][..], &[][..]),
        (&["verify-blob"], &["--plain"]),
    ] {
        bench.sign(&[&sign[..], flags].concat()).expect_code(0);
        verify(verb, "release.pub").expect_code(0);
        assert_ne!(verify(verb, "other.pub").code, Some(0));
        fs::write(bench.path("app.tar"), "another content")?;
        assert_ne!(verify(verb, "release.pub").code, Some(0));
        fs::write(bench.path("app.tar"), "content")?;
    }
    let sign = ["sign-blob", "--bundle", "theirs.json", "--key", "release.key", "--use-signing-config=false"];
    bench.cosign(&[&sign[..], &["--tlog-upload=false", "-y", "app.tar"]].concat()).expect_code(0);
    let digest = Sha256Digest::of(b"content").to_oci();
    for file in ["app.tar", &digest] {
        bench.verify(&["blob", file, "--bundle", "theirs.json", "--key", "release.pub"]).expect_code(0);
        bench.verify(&["blob", file, "--bundle", "theirs.json", "--key", "other.pub"]).expect_code(1);
    }
    Ok(())
}
