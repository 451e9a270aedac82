//! Options without effect are refused, so that nobody believes that they had one.

use std::fs;

use super::{Desk, told};

#[test]
fn what_no_signer_is_there_for_is_refused() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    let options: [&[&str]; 7] = [
        &["--threshold", "2"],
        &["--threshold", "1"],
        &["--annotation", "env=prod"],
        &["--min-time", "2020-01-01T00:00:00Z"],
        &["--require-log"],
        &["--insecure-ignore-tlog"],
        &["--insecure-ignore-sct"],
    ];
    for option in options {
        let said = desk.verify(&[&["tree", "oci:app:1.0"], option].concat()).expect_code(2);
        assert!(said.stderr.contains("cannot be applied here"), "{said:?}");
        let repository = desk.path("nowhere").display().to_string();
        let snapshot = ["snapshot", "latest", "-r", &repository];
        let said = desk.verify(&[&snapshot[..], option].concat()).expect_code(2);
        assert!(said.stderr.contains("cannot be applied here"), "{said:?}");
    }
    insta::assert_snapshot!(told(&desk.verify(&["tree", "oci:app:1.0", "--require-log"]).expect_code(2).stderr), @r"
    error: `--require-log` cannot be applied here: no signer is named
      help: leave it out, or name signers and what they must have signed
    ");
}

#[test]
fn what_a_verb_cannot_apply_is_refused_with_signers_as_well() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    desk.sign(&["image", "oci:app:1.0", "--key", "release.key"]).expect_code(0);
    let keys = ["--key", "release.pub", "--key", "other.pub"];
    desk.verify(&[&["tree", "oci:app:1.0"], &keys[..]].concat()).expect_code(0);
    let said =
        desk.verify(&[&["tree", "oci:app:1.0", "--threshold", "2"], &keys[..]].concat()).expect_code(2);
    assert!(said.stderr.contains("nothing is counted"), "{said:?}");
    let repository = desk.path("nowhere").display().to_string();
    let snapshot = ["snapshot", "latest", "-r", &repository, "--annotation", "env=prod"];
    let said = desk.verify(&[&snapshot[..], &keys[..]].concat()).expect_code(2);
    assert!(said.stderr.contains("bears no annotations"), "{said:?}");
}

#[test]
fn a_name_that_is_given_twice_is_refused() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    let image =
        ["image", "oci:app:1.0", "--key", "release.pub", "--annotation", "a=1", "--annotation", "a=2"];
    let said = desk.verify(&image).expect_code(2);
    assert!(said.stderr.contains("`--annotation` names `a` twice"), "{said:?}");
    let attestation = ["attestation", "oci:app:1.0", "--type", "slsaprovenance1", "--key", "release.pub"];
    let twice = ["--parameter", "x=a", "--parameter", "x:=1"];
    let said = desk.verify(&[&attestation[..], &twice].concat()).expect_code(2);
    assert!(said.stderr.contains("`--parameter` names `x` twice"), "{said:?}");
    for bad in ["x", "=1", ":=1", "x:={"] {
        desk.verify(&[&attestation[..], &["--parameter", bad]].concat()).expect_code(2);
    }
    let pointers: [&[&str]; 3] = [
        &["--source-at", "/a"],
        &["--source", "github.com/acme/app", "--source-at", "a"],
        &["--ref-at", "/a"],
    ];
    for bad in pointers {
        desk.verify(&[&attestation[..], bad].concat()).expect_code(2);
    }
}

#[test]
fn a_threshold_that_the_named_signers_cannot_meet_is_refused() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    fs::copy(desk.path("release.pub"), desk.path("copy.pub")).unwrap();
    let two = ["image", "oci:app:1.0", "--threshold", "2", "--key", "release.pub", "--key", "copy.pub"];
    insta::assert_snapshot!(told(&desk.verify(&two).expect_code(2).stderr), @r"
    error: 2 signers must have signed, and only 1 are named: one of them twice
      help: give more `--key`, or lower `--threshold`
    ");
    let pattern =
        ["--certificate-identity-regexp", ".*", "--certificate-oidc-issuer-regexp", ".*", "--threshold", "2"];
    desk.verify(&[&["image", "oci:app:1.0"], &pattern[..]].concat()).expect_code(2);
}
