//! Signing and verifying without a registry: OCI layouts, archives and files.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

mod archives;
mod attacks;
mod corpus;
mod credentials;
mod identities;
mod keys;
mod logs;
mod options;
mod polyglots;
mod properties;
mod servers;
mod snapshots;
mod verdicts;
mod witnesses;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use lifeboat_core::Sha256Digest;
use lifeboat_tests::command::{Output, lifeboat, run};
use lifeboat_tests::layout::LayoutBuilder;
use tempfile::TempDir;

const SIGN: &str = env!("CARGO_BIN_EXE_tested-sign");
const VERIFY: &str = env!("CARGO_BIN_EXE_tested-verify");
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A working folder with the key pairs `release` and `other`.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        // Opening and creating a key are deliberately slow, so the pairs are created once.
        static KEYS: OnceLock<Vec<(&str, Vec<u8>)>> = OnceLock::new();
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        let keys = KEYS.get_or_init(|| {
            let names = ["release.key", "release.pub", "other.key", "other.pub"];
            desk.sign(&["keygen", "release"]).expect_code(0);
            desk.sign(&["keygen", "other"]).expect_code(0);
            names.map(|name| (name, fs::read(desk.path(name)).unwrap())).to_vec()
        });
        for (name, content) in keys {
            fs::write(desk.path(name), content).unwrap();
            fs::set_permissions(desk.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn layout(&self) -> LayoutBuilder {
        LayoutBuilder::create(&self.path("app"))
    }

    fn sign(&self, args: &[&str]) -> Output {
        let mut command = lifeboat(SIGN, self.folder.path(), args);
        run(command.current_dir(&self.folder).env("COSIGN_PASSWORD", "correct horse"))
    }

    fn sign_without_passphrase(&self, args: &[&str]) -> Output {
        run(lifeboat(SIGN, self.folder.path(), args).current_dir(&self.folder))
    }

    fn verify(&self, args: &[&str]) -> Output {
        run(lifeboat(VERIFY, self.folder.path(), args).current_dir(&self.folder))
    }
}

/// The output without what differs between runs.
fn told(text: &str) -> String {
    let mut told = String::new();
    for line in text.lines() {
        let words = line.split(' ').map(|word| {
            let hex = word.trim_start_matches("sha256:").trim_end_matches([',', ':', ';', ')']);
            let is_id = hex.len() >= 16 && hex.bytes().all(|b| b.is_ascii_hexdigit());
            if is_id { word.replace(hex, "…") } else { word.to_owned() }
        });
        told += &(words.collect::<Vec<_>>().join(" ") + "\n");
    }
    told
}

#[test]
fn what_is_signed_verifies_by_tag_by_digest_and_alone() {
    let desk = Desk::new();
    let layout = desk.layout();
    let image = layout.image("1.0", "an image");
    let signed = desk.sign(&["image", "oci:app:1.0", "--key", "release.key"]).expect_code(0);
    assert!(signed.stdout.contains(&image.to_oci()), "{}", signed.stdout);
    insta::assert_snapshot!(told(&signed.stdout), @r"
    signed    oci:app:1.0
    digest    sha256:…
    key       …
    bundle    sha256:…
    ");
    let by_digest = format!("oci:app@{}", image.to_oci());
    let by_both = format!("oci:app:1.0@{}", image.to_oci());
    for reference in ["oci:app:1.0", "oci:app", &by_digest, &by_both] {
        desk.verify(&["image", reference, "--key", "release.pub"]).expect_code(0);
    }
    let verified =
        desk.verify(&["image", "oci:app:1.0", "--key", "other.pub", "--key", "release.pub"]).expect_code(0);
    insta::assert_snapshot!(told(&verified.stdout), @r"
    VERIFIED  oci:app:1.0
    digest    sha256:…
    claim     an image signature by other.pub or release.pub
    bundle    sha256:…
      signed by release.pub (key …)
    ");
    let json = desk.verify(&["--json", "image", "oci:app:1.0", "--key", "release.pub"]).expect_code(0);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["schema"], "lifeboat.verification/v1");
    assert_eq!(json["verdict"], "verified");
    assert_eq!(json["digest"], image.to_oci());
    assert_eq!(json["accepted"][0]["signer"], "release.pub");
    // Everything that was in the layout is still there.
    let index = layout.index();
    assert_eq!(index["annotations"]["kept"], "as it is");
    assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "1.0");
    assert!(index["manifests"][1]["annotations"]["org.opencontainers.image.ref.name"].is_null());
}

#[test]
fn an_unsigned_image_is_refused() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    let said = desk.verify(&["image", "oci:app:1.0", "--key", "release.pub"]).expect_code(1);
    insta::assert_snapshot!(told(&said.stdout), @r"
    REFUSED   oci:app:1.0
    digest    sha256:…
    claim     an image signature by release.pub
    reason    it is not signed: no bundle refers to it
    do        do not use it; its publisher can sign it:
      lifeboat-sign image oci:app:1.0 …
    ");
    assert_eq!(said.stderr, "");
}

#[test]
fn a_signature_by_another_key_is_refused() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    desk.sign(&["image", "oci:app:1.0", "--key", "other.key"]).expect_code(0);
    let said = desk.verify(&["image", "oci:app:1.0", "--key", "release.pub"]).expect_code(1);
    insta::assert_snapshot!(told(&said.stdout), @r"
    REFUSED   oci:app:1.0
    digest    sha256:…
    claim     an image signature by release.pub
    reason    its one bundle does not show that
    bundle    sha256:…
      it was not signed by release.pub; it says that key … signed
      it
    do        do not use it; its publisher can sign it:
      lifeboat-sign image oci:app:1.0 …
    ");
}

#[test]
fn a_good_signature_of_another_image_is_refused() {
    let desk = Desk::new();
    let layout = desk.layout();
    let good = layout.image("good", "a good image");
    let bad = layout.image("bad", "a bad image");
    desk.sign(&["image", "oci:app:good", "--key", "release.key"]).expect_code(0);
    let (_, bundle) = layout.referrers(good).pop().unwrap();
    layout.referrer(bad, BUNDLE, &bundle);
    let said = desk.verify(&["image", "oci:app:bad", "--key", "release.pub"]).expect_code(1);
    assert!(said.stdout.contains("is good, but"), "{}", said.stdout);
    insta::assert_snapshot!(told(&said.stdout), @r"
    REFUSED   oci:app:bad
    digest    sha256:…
    claim     an image signature by release.pub
    reason    its one bundle does not show that
    bundle    sha256:…
      its signature by release.pub is good, but for
      sha256:…, not
      for sha256:…
    do        do not use it; its publisher can sign it:
      lifeboat-sign image oci:app:bad …
    ");
}

#[test]
fn a_tag_that_moved_is_refused() {
    let desk = Desk::new();
    let layout = desk.layout();
    let before = layout.image("1.0", "before");
    desk.sign(&["image", "oci:app:1.0", "--key", "release.key"]).expect_code(0);
    layout.image("1.0", "after");
    let reference = format!("oci:app:1.0@{}", before.to_oci());
    let said = desk.verify(&["image", &reference, "--key", "release.pub"]).expect_code(1);
    insta::assert_snapshot!(told(&said.stderr), @r"
    error: the tag `1.0` points to sha256:… now, not to sha256:…
      help: find out who moved the tag; to go on with the digest alone, leave the tag out of the reference
    ");
    // The digest is still signed; the tag now points to something unsigned.
    let by_digest = format!("oci:app@{}", before.to_oci());
    desk.verify(&["image", &by_digest, "--key", "release.pub"]).expect_code(0);
    desk.verify(&["image", "oci:app:1.0", "--key", "release.pub"]).expect_code(1);
}

#[test]
fn a_signed_sbom_is_no_signature_and_a_signature_no_sbom() {
    let desk = Desk::new();
    let layout = desk.layout();
    layout.image("1.0", "an image");
    let sbom = "{ \"spdxVersion\": \"SPDX-2.3\",\n \"size\": 1.0e3 }";
    // White space around the document does not count.
    fs::write(desk.path("sbom.json"), format!("{sbom}\n\n")).unwrap();
    let attest =
        ["attest", "oci:app:1.0", "--type", "spdxjson", "--predicate", "sbom.json", "--key", "release.key"];
    insta::assert_snapshot!(told(&desk.sign(&attest).expect_code(0).stdout), @r"
    attested  oci:app:1.0
    digest    sha256:…
    states    https://spdx.dev/Document
    key       …
    bundle    sha256:…
    ");
    let said = desk.verify(&["image", "oci:app:1.0", "--key", "release.pub"]).expect_code(1);
    insta::assert_snapshot!(told(&said.stdout), @r"
    REFUSED   oci:app:1.0
    digest    sha256:…
    claim     an image signature by release.pub
    reason    its one bundle does not show that
    bundle    sha256:…
      its signature by release.pub is good, but it is an attestation `spdxjson`,
      not an image signature
    do        do not use it; its publisher can sign it:
      lifeboat-sign image oci:app:1.0 …
    ");

    let attestation = |kind: &str, key: &str| {
        desk.verify(&[
            "attestation",
            "oci:app:1.0",
            "--type",
            kind,
            "--key",
            key,
            "--output",
            "verified.json",
        ])
    };
    attestation("cyclonedx", "release.pub").expect_code(1);
    attestation("spdxjson", "other.pub").expect_code(1);
    assert!(!desk.path("verified.json").exists(), "nothing that is not verified is written");
    let said = attestation("spdxjson", "release.pub").expect_code(0);
    insta::assert_snapshot!(told(&said.stdout), @r"
    VERIFIED  oci:app:1.0
    digest    sha256:…
    claim     an attestation spdxjson by release.pub
    bundle    sha256:…
      signed by release.pub (key …)
      predicate written to verified.json
    ");
    assert_eq!(fs::read_to_string(desk.path("verified.json")).unwrap(), sbom);

    // A second, different one: now the user must say which one is meant.
    fs::write(desk.path("sbom.json"), r#"{"spdxVersion":"SPDX-2.2"}"#).unwrap();
    let second = desk.sign(&[&["--json"][..], &attest[..]].concat()).expect_code(0);
    let second: serde_json::Value = serde_json::from_str(&second.stdout).unwrap();
    let said = attestation("spdxjson", "release.pub").expect_code(2);
    insta::assert_snapshot!(told(&said.stderr), @r"
    error: 2 different attestations of this type verify, and `--output` takes one
      help: choose with `--only`: sha256:… or sha256:…
    ");
    let second = second["bundle"]["manifest"].as_str().unwrap();
    let only = ["attestation", "oci:app:1.0", "--type", "spdxjson", "--key", "release.pub", "--only", second];
    desk.verify(&[&only[..], &["--output", "verified.json"]].concat()).expect_code(0);
    assert_eq!(fs::read_to_string(desk.path("verified.json")).unwrap(), r#"{"spdxVersion":"SPDX-2.2"}"#);
}

#[test]
fn a_predicate_that_is_not_what_its_type_says_is_not_signed() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    fs::write(desk.path("sbom.json"), r#"{"bomFormat":"CycloneDX"}"#).unwrap();
    let attest = |kind: &str, file: &str| {
        let args = ["attest", "oci:app:1.0", "--type", kind, "--predicate", file, "--key", "release.key"];
        told(&desk.sign(&args).expect_code(2).stderr)
    };
    insta::assert_snapshot!(attest("spdxjson", "sbom.json"), @r"
    error: the predicate is not a document of the type `spdxjson`: it has no `spdxVersion`
      help: check that `--predicate` and `--type` belong together, such as `syft IMAGE -o spdx-json` and spdxjson
    ");
    insta::assert_snapshot!(attest("spdx", "sbom.json"), @r"
    error: `spdx` is not a type of attestation: neither a known short name nor an absolute URI
      help: give one of spdxjson, cyclonedx, slsaprovenance1, vuln, openvex, custom, or the predicate type's full URI
    ");
    insta::assert_snapshot!(attest("spdxjson", "absent.json"), @r"
    error: the predicate absent.json cannot be read: No such file or directory (os error 2)
      help: give a file of at most 64 MiB
    ");
}

#[test]
fn damage_is_refused_wherever_it_is() {
    let desk = Desk::new();
    let layout = desk.layout();
    let image = layout.image("1.0", "an image");
    desk.sign(&["image", "oci:app:1.0", "--key", "release.key"]).expect_code(0);
    let (manifest, bundle) = layout.referrers(image).pop().unwrap();
    let verify = || desk.verify(&["image", "oci:app:1.0", "--key", "release.pub"]).expect_code(1);
    let flip = |digest: Sha256Digest| {
        let path = layout.blob_path(digest);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        fs::write(&path, bad).unwrap();
        (path, good)
    };
    let repair = |(path, good): (PathBuf, Vec<u8>)| fs::write(path, good).unwrap();

    let damaged = flip(Sha256Digest::of(&bundle));
    insta::assert_snapshot!(told(&verify().stdout), @r"
    REFUSED   oci:app:1.0
    digest    sha256:…
    claim     an image signature by release.pub
    reason    its one bundle does not show that
    bundle    sha256:…
      the blob
      sha256:… has
      the digest
      sha256:…, not
      sha256:…: it
      was damaged or exchanged
    do        do not use it; its publisher can sign it:
      lifeboat-sign image oci:app:1.0 …
    ");
    repair(damaged);
    let damaged = flip(manifest);
    insta::assert_snapshot!(told(&verify().stdout), @r"
    REFUSED   oci:app:1.0
    digest    sha256:…
    claim     an image signature by release.pub
    reason    its one bundle does not show that
    bundle    sha256:…
      the blob
      sha256:… has
      the digest
      sha256:…, not
      sha256:…: it
      was damaged or exchanged
    do        do not use it; its publisher can sign it:
      lifeboat-sign image oci:app:1.0 …
    ");
    repair(damaged);
    let damaged = flip(image);
    insta::assert_snapshot!(told(&verify().stderr), @r"
    error: the blob sha256:… has the digest sha256:…, not sha256:…: it was damaged or exchanged
      help: do not use it; compare with another copy, and tell the operator of the registry
    ");
    repair(damaged);
    fs::remove_file(layout.blob_path(Sha256Digest::of(&bundle))).unwrap();
    insta::assert_snapshot!(told(&verify().stdout), @r"
    REFUSED   oci:app:1.0
    digest    sha256:…
    claim     an image signature by release.pub
    reason    its one bundle does not show that
    bundle    sha256:…
      there is no blob
      sha256:… in
      app
    do        do not use it; its publisher can sign it:
      lifeboat-sign image oci:app:1.0 …
    ");
}

#[test]
fn hostile_bundles_do_not_hide_a_good_one_and_do_not_count() {
    let desk = Desk::new();
    let layout = desk.layout();
    let image = layout.image("1.0", "an image");
    layout.referrer(image, BUNDLE, b"<html>");
    layout.referrer(image, BUNDLE, &vec![b'['; 2 << 20]);
    layout.referrer(image, BUNDLE, "[".repeat(500_000).as_bytes());
    layout.referrer(image, "application/vnd.dev.sigstore.bundle+json;version=0.1", b"{}");
    layout.referrer(image, "text/plain", b"a note");
    let verify = ["image", "oci:app:1.0", "--key", "release.pub"];
    insta::assert_snapshot!(told(&desk.verify(&verify).expect_code(1).stdout), @r"
    REFUSED   oci:app:1.0
    digest    sha256:…
    claim     an image signature by release.pub
    reason    none of its 4 bundles shows that
    bundle    sha256:…
      this is not a Sigstore bundle (it is not a JSON object)
    bundle    sha256:…
      the layer
      sha256:… is
      larger than 1048576 bytes
    bundle    sha256:…
      this is not a Sigstore bundle (it is not a JSON object)
    bundle    sha256:…
      this is not a Sigstore bundle (missing field `mediaType` at line 1 column 2)
    do        do not use it; its publisher can sign it:
      lifeboat-sign image oci:app:1.0 …
    ");
    desk.sign(&["image", "oci:app:1.0", "--key", "release.key"]).expect_code(0);
    desk.verify(&verify).expect_code(0);
}

#[test]
fn signers_at_the_same_time_lose_no_signature() {
    let desk = Desk::new();
    let layout = desk.layout();
    let image = layout.image("1.0", "an image");
    fs::write(desk.path("note.json"), r#"{"note":"good"}"#).unwrap();
    let children: Vec<_> = (0..6)
        .map(|number| {
            let kind = format!("https://example.com/note/{number}");
            let args =
                ["attest", "oci:app", "--type", &kind, "--predicate", "note.json", "--key", "release.key"];
            let mut command = lifeboat(SIGN, desk.folder.path(), args);
            command
                .current_dir(&desk.folder)
                .env("COSIGN_PASSWORD", "correct horse")
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(layout.referrers(image).len(), 6);
}

#[test]
fn a_file_verifies_by_its_content_or_its_digest() {
    let desk = Desk::new();
    fs::write(desk.path("app.tar"), "content").unwrap();
    let sign = desk
        .sign(&["blob", "app.tar", "--bundle", "app.sigstore.json", "--key", "release.key"])
        .expect_code(0);
    insta::assert_snapshot!(told(&sign.stdout), @r"
    signed    app.tar
    digest    sha256:…
    key       …
    bundle    app.sigstore.json
    ");
    let verify =
        |file: &str, key: &str| desk.verify(&["blob", file, "--bundle", "app.sigstore.json", "--key", key]);
    insta::assert_snapshot!(told(&verify("app.tar", "release.pub").expect_code(0).stdout), @r"
    VERIFIED  app.tar
    digest    sha256:…
    claim     the signature of a file by release.pub
    bundle    app.sigstore.json
      signed by release.pub (key …)
    ");
    let digest = Sha256Digest::of(b"content").to_oci();
    verify(&digest, "release.pub").expect_code(0);
    verify(&Sha256Digest::of(b"other").to_oci(), "release.pub").expect_code(1);
    verify("sha256:12", "release.pub").expect_code(2);
    insta::assert_snapshot!(told(&verify("app.tar", "other.pub").expect_code(1).stdout), @r"
    REFUSED   app.tar
    digest    sha256:…
    claim     the signature of a file by other.pub
    reason    its one bundle does not show that
    bundle    app.sigstore.json
      it was not signed by other.pub; it says that key … signed it
    do        do not use the file; fetch it and its bundle again from where it was published
    ");
    fs::write(desk.path("app.tar"), "Content").unwrap();
    insta::assert_snapshot!(told(&verify("app.tar", "release.pub").expect_code(1).stdout), @r"
    REFUSED   app.tar
    digest    sha256:…
    claim     the signature of a file by release.pub
    reason    its one bundle does not show that
    bundle    app.sigstore.json
      its signature by release.pub is good, but for
      sha256:…, not
      for sha256:…
    do        do not use the file; fetch it and its bundle again from where it was published
    ");
    let over = desk.sign(&["blob", "app.tar", "--bundle", "app.tar", "--key", "release.key"]).expect_code(2);
    insta::assert_snapshot!(told(&over.stderr), @r"
    error: the bundle would overwrite app.tar
      help: give another file to `--bundle`
    ");
}

#[test]
fn a_file_is_signed_as_a_file_and_never_as_an_image() {
    let desk = Desk::new();
    let layout = desk.layout();
    let image = layout.image("1.0", "an image");
    let content = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(desk.path(name)).unwrap()).unwrap()
    };
    fs::write(desk.path("file"), "content").unwrap();
    let sign = |file: &str, flags: &[&str]| {
        desk.sign(&[&["blob", file, "--bundle", "file.json", "--key", "release.key"], flags].concat())
    };
    let verify = |flags: &[&str]| {
        desk.verify(&[&["blob", "file", "--bundle", "file.json", "--key", "release.pub"], flags].concat())
    };
    sign("file", &[]).expect_code(0);
    assert!(content("file.json")["dsseEnvelope"].is_object());
    verify(&[]).expect_code(0);
    verify(&["--type", "urn:lifeboat:file:v0"]).expect_code(0);
    verify(&["--type", "https://sigstore.dev/cosign/sign/v1"]).expect_code(1);
    sign("file", &["--plain"]).expect_code(0);
    assert!(content("file.json")["messageSignature"].is_object());
    verify(&[]).expect_code(0);

    // The bytes that an image's signature covers, in both forms.
    let statement = lifeboat_trust::statement::Statement::image_signature(image, &BTreeMap::new());
    let envelope =
        lifeboat_trust::dsse::pre_authentication_encoding("application/vnd.in-toto+json", &statement);
    let simple = lifeboat_trust::legacy::payload(image, "app", &BTreeMap::new());
    fs::remove_file(desk.path("file.json")).unwrap();
    for (bytes, reason) in
        [(&envelope, "it begins with `DSSEv1 `"), (&simple, "it is the payload of a signature")]
    {
        fs::write(desk.path("report.txt"), bytes).unwrap();
        for flags in [&[][..], &["--plain"]] {
            let said = sign("report.txt", flags).expect_code(1);
            assert!(said.stderr.contains(reason), "{}", said.stderr);
            assert!(!desk.path("file.json").exists());
        }
    }
    // A file that is the image's manifest: its signature still is one of a file.
    fs::copy(layout.blob_path(image), desk.path("manifest")).unwrap();
    sign("manifest", &[]).expect_code(0);
    layout.referrer(image, BUNDLE, &fs::read(desk.path("file.json")).unwrap());
    let said = desk.verify(&["image", "oci:app:1.0", "--key", "release.pub"]).expect_code(1);
    assert!(said.stdout.contains("it is an attestation"), "{}", said.stdout);
}

#[test]
fn references_that_name_nothing_are_refused() {
    let desk = Desk::new();
    let layout = desk.layout();
    layout.image("1.0", "one");
    layout.image("2.0", "two");
    fs::create_dir(desk.path("empty")).unwrap();
    let verify = |reference: &str| {
        told(&desk.verify(&["image", reference, "--key", "release.pub"]).expect_code(2).stderr)
    };
    insta::assert_snapshot!(verify("alpine:3.20"), @r"
    error: `alpine:3.20` is not an image reference: it names no registry
      help: write `docker.io/library/alpine:3.20`
    ");
    assert!(verify("docker:../app").contains("what follows `docker:` is not the name of an image"));
    insta::assert_snapshot!(verify("oci:absent"), @r"
    error: absent is not an OCI image layout: there is no such folder
      help: give the folder that holds `oci-layout` and `index.json`, or an archive as `docker save` writes it
    ");
    insta::assert_snapshot!(verify("oci:empty"), @r"
    error: empty is not an OCI image layout: it has no file `oci-layout`
      help: give the folder that holds `oci-layout` and `index.json`, or an archive as `docker save` writes it
    ");
    insta::assert_snapshot!(verify("oci:app:3.0"), @r"
    error: there is no tag `3.0` in app, which holds 1.0, 2.0
      help: check the name, and that it was put there
    ");
    insta::assert_snapshot!(verify("oci:app"), @r"
    error: app holds 2 images (:1.0, :2.0), and the reference names none of them
      help: add `:tag` or `@sha256:…` to the reference
    ");
    insta::assert_snapshot!(verify(&format!("oci:app@{}", Sha256Digest::of(b"absent").to_oci())), @r"
    error: there is no blob sha256:… in app
      help: check the name, and that it was put there
    ");
}

#[test]
fn every_verb_has_examples() {
    let desk = Desk::new();
    for (binary, verbs) in [
        (SIGN, &["keygen", "image", "attest", "blob", "snapshot"][..]),
        (VERIFY, &["image", "attestation", "blob"]),
    ] {
        for verb in verbs {
            let help =
                run(&mut lifeboat(binary, Path::new(desk.folder.path()), [verb, "--help"])).expect_code(0);
            assert!(help.stdout.contains("Examples:"), "{}", help.stdout);
            // People type examples, so their lines are not wrapped.
            let is_example = |line: &str| line.contains("  lifeboat-") || line.ends_with('\\');
            let fits = |line: &str| is_example(line) || line.chars().count() <= 100;
            assert!(help.stdout.lines().all(fits), "{}", help.stdout);
        }
    }
}
