//! Key files: created, imported, refused, and keys held by a command.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use lifeboat_tests::command::{lifeboat, run};

use super::{Desk, SIGN, told};

#[test]
fn key_files_are_private_and_never_overwritten() {
    let desk = Desk::new();
    desk.sign(&["keygen", "new"]).expect_code(0);
    let mode = |name: &str| fs::metadata(desk.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("new.key"), mode("new.pub") & 0o600), (0o600, 0o600));
    let before = fs::read(desk.path("new.key")).unwrap();
    insta::assert_snapshot!(told(&desk.sign(&["keygen", "new"]).expect_code(2).stderr), @r"
    error: new.key is there already, and key files are never overwritten
      help: choose another prefix, or move the old files away first
    ");
    fs::remove_file(desk.path("new.key")).unwrap();
    desk.sign(&["keygen", "new"]).expect_code(2);
    assert!(!desk.path("new.key").exists(), "half a pair is not made");
    fs::write(desk.path("new.key"), before).unwrap();
    insta::assert_snapshot!(told(&desk.sign_without_passphrase(&["keygen", "newer"]).expect_code(2).stderr), @r"
    error: the passphrase of the key is missing: COSIGN_PASSWORD is not set, and there is no terminal to ask on
      help: set COSIGN_PASSWORD (an empty value is an empty passphrase), or run it on a terminal
    ");
}

#[test]
fn keys_that_cannot_be_used_are_refused_with_the_reason() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    let sign = |key: &str| told(&desk.sign(&["image", "oci:app", "--key", key]).expect_code(2).stderr);
    let verify = |key: &str| told(&desk.verify(&["image", "oci:app", "--key", key]).expect_code(2).stderr);
    let missing = desk.sign_without_passphrase(&["image", "oci:app", "--key", "release.key"]).expect_code(2);
    insta::assert_snapshot!(told(&missing.stderr), @r"
    error: the passphrase of the key is missing: COSIGN_PASSWORD is not set, and there is no terminal to ask on
      help: set COSIGN_PASSWORD (an empty value is an empty passphrase), or run it on a terminal
    ");
    let mut wrong = lifeboat(SIGN, desk.folder.path(), ["image", "oci:app", "--key", "release.key"]);
    let wrong = run(wrong.current_dir(&desk.folder).env("COSIGN_PASSWORD", "battery staple")).expect_code(2);
    insta::assert_snapshot!(told(&wrong.stderr), @r"
    error: the key file release.key cannot be used
      because: the passphrase does not open the key file
      help: check COSIGN_PASSWORD; if the passphrase is right, the file is damaged: fetch its backup
    ");
    fs::write(desk.path("garbage.key"), "garbage").unwrap();
    insta::assert_snapshot!(sign("garbage.key"), @r"
    error: the key file garbage.key cannot be used
      because: this is not a private key file (it holds no PEM block)
      help: give the .key file of a pair that `lifeboat-sign keygen PREFIX` or `cosign generate-key-pair` made
    ");
    insta::assert_snapshot!(verify("garbage.key"), @r"
    error: the key file garbage.key cannot be used
      because: this is not a public key file (it holds no PEM block)
      help: give the .pub file of a key pair: PEM that begins `-----BEGIN PUBLIC KEY-----`
    ");
    insta::assert_snapshot!(sign("release.pub"), @r"
    error: the key file release.pub cannot be used
      because: this is a public key, and signing needs the private one
      help: give the .key file of the pair to `--key`
    ");
    insta::assert_snapshot!(verify("release.key"), @r"
    error: the key file release.key cannot be used
      because: this is a private key, and verifying needs the public one
      help: give the .pub file of the pair to `--key`, and keep the private key where signing happens
    ");
    insta::assert_snapshot!(sign("absent.key"), @r"
    error: the key file absent.key cannot be read
      because: No such file or directory (os error 2)
      help: give the private key's file to `--key`; `lifeboat-sign keygen PREFIX` makes one
    ");
    insta::assert_snapshot!(verify("absent.pub"), @r"
    error: the key file absent.pub cannot be read
      because: No such file or directory (os error 2)
      help: give the signer's .pub file to `--key`
    ");
    fs::set_permissions(desk.path("release.key"), fs::Permissions::from_mode(0o644)).unwrap();
    insta::assert_snapshot!(sign("release.key"), @r"
    error: others can read the private key release.key (mode 0644, expected 0600)
      help: run `chmod 600 release.key`; if someone may have read it, make a new key instead and retire this one
    ");
}

/// Runs openssl, which makes keys of every kind.
fn openssl(desk: &Desk, args: &[&str]) {
    let said = run(std::process::Command::new("openssl").args(args).current_dir(&desk.folder));
    said.expect_code(0);
}

#[test]
fn keys_of_other_tools_are_imported_and_sign() {
    let desk = Desk::new();
    let layout = desk.layout();
    layout.image("1.0", "an image");
    openssl(&desk, &["ecparam", "-name", "prime256v1", "-genkey", "-out", "sec1.pem"]);
    openssl(&desk, &["pkcs8", "-topk8", "-nocrypt", "-in", "sec1.pem", "-out", "pkcs8.pem"]);
    openssl(&desk, &["genrsa", "-out", "rsa.pem", "3072"]);
    openssl(&desk, &["genpkey", "-algorithm", "ed25519", "-out", "ed25519.pem"]);
    for name in ["sec1", "pkcs8", "rsa", "ed25519"] {
        let pem = format!("{name}.pem");
        fs::set_permissions(desk.path(&pem), fs::Permissions::from_mode(0o600)).unwrap();
        let said = desk.sign(&["keygen", name, "--import", &pem]);
        if name == "ed25519" {
            let said = said.expect_code(2);
            assert!(said.stderr.contains("another kind than ECDSA P-256 or RSA"), "{}", said.stderr);
            continue;
        }
        said.expect_code(0);
        let (key, public) = (format!("{name}.key"), format!("{name}.pub"));
        for format in ["bundle", "legacy"] {
            desk.sign(&["image", "oci:app:1.0", "--key", &key, "--format", format]).expect_code(0);
        }
        desk.verify(&["image", "oci:app:1.0", "--key", &public]).expect_code(0);
    }
    // One key in two forms is one key.
    assert_eq!(fs::read(desk.path("sec1.pub")).unwrap(), fs::read(desk.path("pkcs8.pub")).unwrap());
    fs::set_permissions(desk.path("rsa.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = desk.sign(&["keygen", "again", "--import", "rsa.pem"]).expect_code(2);
    assert!(said.stderr.contains("others can read the private key"), "{}", said.stderr);
}

#[test]
fn files_verify_with_every_kind_of_public_key() {
    let desk = Desk::new();
    fs::write(desk.path("file"), "content").unwrap();
    openssl(&desk, &["ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", "p384.pem"]);
    openssl(&desk, &["genrsa", "-out", "rsa.pem", "2048"]);
    openssl(&desk, &["genpkey", "-algorithm", "ed25519", "-out", "ed25519.pem"]);
    for name in ["p384", "rsa", "ed25519"] {
        let (pem, public, signature) = (format!("{name}.pem"), format!("{name}.pub"), format!("{name}.sig"));
        openssl(&desk, &["pkey", "-in", &pem, "-pubout", "-out", &public]);
        let sign: &[&str] = match name {
            "ed25519" => &["pkeyutl", "-sign", "-rawin", "-inkey", &pem, "-in", "file", "-out", &signature],
            _ => &["dgst", "-sha256", "-sign", &pem, "-out", &signature, "file"],
        };
        openssl(&desk, sign);
        let signature = base64(&fs::read(desk.path(&signature)).unwrap());
        let bundle = format!(
            r#"{{"mediaType":"{}","verificationMaterial":{{"publicKey":{{}}}},"messageSignature":{{"signature":"{signature}"}}}}"#,
            super::BUNDLE
        );
        fs::write(desk.path("bundle.json"), bundle).unwrap();
        desk.verify(&["blob", "file", "--bundle", "bundle.json", "--key", &public]).expect_code(0);
        let digest = lifeboat_core::Sha256Digest::of(b"content").to_oci();
        let said = desk.verify(&["blob", &digest, "--bundle", "bundle.json", "--key", &public]);
        if name == "ed25519" {
            let said = said.expect_code(1);
            assert!(said.stdout.contains("cannot verify the signature of a file"), "{}", said.stdout);
        } else {
            said.expect_code(0);
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut child =
        Command::new("base64").arg("-w0").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn a_key_that_a_command_holds_signs_and_is_not_believed_blindly() {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    openssl(&desk, &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "held.pem"]);
    openssl(&desk, &["pkey", "-in", "held.pem", "-pubout", "-out", "held.pub"]);
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/key-command-openssl");
    let sign = |command: &str| {
        let key = format!("plugin:{command}");
        let mut signing = lifeboat(SIGN, desk.folder.path(), ["image", "oci:app:1.0", "--key", &key]);
        run(signing.current_dir(&desk.folder).env("HELD_KEY", desk.path("held.pem")))
    };
    sign(example).expect_code(0);
    desk.verify(&["image", "oci:app:1.0", "--key", "held.pub"]).expect_code(0);
    desk.verify(&["image", "oci:app:1.0", "--key", "release.pub"]).expect_code(1);

    let command = desk.path("command");
    let bad = |script: &str| {
        fs::write(&command, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&command, fs::Permissions::from_mode(0o700)).unwrap();
        sign("./command")
    };
    let public = desk.path("held.pub").display().to_string();
    let said = bad("echo no token >&2; exit 3").expect_code(2);
    assert!(said.stderr.contains("no token"), "{}", said.stderr);
    let said = bad("echo hello").expect_code(2);
    assert!(said.stderr.contains("gave no public key"), "{}", said.stderr);
    let said = bad(&format!("[ $1 = public-key ] && exec cat {public}; echo AAAA")).expect_code(1);
    assert!(said.stderr.contains("does not verify with its own public key"), "{}", said.stderr);
    sign("./absent").expect_code(2);
}
