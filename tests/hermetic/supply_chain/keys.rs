//! Key files: made, imported, refused, and keys that a command holds.

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
      do: choose another prefix, or move the old files away first
    ");
    fs::remove_file(desk.path("new.key")).unwrap();
    desk.sign(&["keygen", "new"]).expect_code(2);
    assert!(!desk.path("new.key").exists(), "half a pair is not made");
    fs::write(desk.path("new.key"), before).unwrap();
    insta::assert_snapshot!(told(&desk.sign_without_passphrase(&["keygen", "newer"]).expect_code(2).stderr), @r"
    error: the passphrase of the key is missing: COSIGN_PASSWORD is not set, and there is no terminal to ask on
      do: set COSIGN_PASSWORD (an empty value is an empty passphrase), or run it on a terminal
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
      do: set COSIGN_PASSWORD (an empty value is an empty passphrase), or run it on a terminal
    ");
    let mut wrong = lifeboat(SIGN, desk.folder.path(), ["image", "oci:app", "--key", "release.key"]);
    let wrong = run(wrong.current_dir(&desk.folder).env("COSIGN_PASSWORD", "battery staple")).expect_code(2);
    insta::assert_snapshot!(told(&wrong.stderr), @r"
    error: the key file release.key cannot be used
      because: the passphrase does not open the key file
      do: check COSIGN_PASSWORD; if the passphrase is right, the file is damaged: fetch its backup
    ");
    fs::write(desk.path("garbage.key"), "garbage").unwrap();
    insta::assert_snapshot!(sign("garbage.key"), @r"
    error: the key file garbage.key cannot be used
      because: this is not a private key file (it holds no PEM block)
      do: give the .key file of a pair that `lifeboat-sign keygen PREFIX` or `cosign generate-key-pair` made
    ");
    insta::assert_snapshot!(verify("garbage.key"), @r"
    error: the key file garbage.key cannot be used
      because: this is not a public key file (it holds no PEM block)
      do: give the .pub file of a key pair: PEM that begins `-----BEGIN PUBLIC KEY-----`
    ");
    insta::assert_snapshot!(sign("release.pub"), @r"
    error: the key file release.pub cannot be used
      because: this is a public key, and signing needs the private one
      do: give the .key file of the pair to `--key`
    ");
    insta::assert_snapshot!(verify("release.key"), @r"
    error: the key file release.key cannot be used
      because: this is a private key, and verifying needs the public one
      do: give the .pub file of the pair to `--key`, and keep the private key where signing happens
    ");
    insta::assert_snapshot!(sign("absent.key"), @r"
    error: the key file absent.key cannot be read
      because: No such file or directory (os error 2)
      do: give the private key's file to `--key`; `lifeboat-sign keygen PREFIX` makes one
    ");
    insta::assert_snapshot!(verify("absent.pub"), @r"
    error: the key file absent.pub cannot be read
      because: No such file or directory (os error 2)
      do: give the signer's .pub file to `--key`
    ");
    fs::set_permissions(desk.path("release.key"), fs::Permissions::from_mode(0o644)).unwrap();
    insta::assert_snapshot!(sign("release.key"), @r"
    error: others can read the private key release.key (mode 0644, expected 0600)
      do: run `chmod 600 release.key`; if someone may have read it, make a new key instead and retire this one
    ");
}
