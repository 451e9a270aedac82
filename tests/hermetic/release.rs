//! The release step with stand-ins for the programs that it calls: what it refuses, what it passes to which program,
//! and that no failure goes unnoticed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use lifeboat_tests::command::{Output, run};
use tempfile::TempDir;

const RELEASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/release");
const REFERENCE: &str = "registry.example/acme/app:1.0";
const SECRETS: [(&str, &str); 2] =
    [("COSIGN_PASSWORD", "correct horse"), ("RELEASE_KEY", "held-release.key")];

/// A hundred hexadecimal digits would be too many.
fn digest(of: char) -> String {
    format!("sha256:{}", of.to_string().repeat(64))
}

/// The start of every stand-in: it records its arguments and environment, and fails if it is the call that should fail.
const PROLOGUE: &str = r#"#!/bin/sh
name=${0##*/}
echo "$name $*" >>"$STANDINS/calls"
env >>"$STANDINS/env.$name"
[ "$(wc -l <"$STANDINS/calls")" -ne "${FAILING_CALL:-0}" ] || exit 9
"#;

const DOCKER: &str = r#"
case $1 in
build)
    while [ "$1" != --iidfile ]; do shift; done
    printf %s "$BUILT" >"$2"
    ;;
push) printf 'The push refers to repository [x]\n1.0: digest: %s size: 528\n' "$PUSHED" ;;
image) [ "$3" != --format ] || echo "$FOUND" ;;
esac
"#;

struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["bin", "tree"] {
            fs::create_dir(desk.path(name)).unwrap();
        }
        let git = Command::new("sh").args(["-c", "command -v git"]).output().unwrap();
        let git = format!("exec {} \"$@\"", String::from_utf8(git.stdout).unwrap().trim());
        for (name, body) in [
            ("docker", DOCKER),
            ("git", git.as_str()),
            ("sbom", "echo '{\"spdxVersion\":\"SPDX-2.3\"}'"),
            ("lifeboat-sign", ""),
            ("lifeboat-verify", ""),
        ] {
            let path = desk.path("bin").join(name);
            fs::write(&path, format!("{PROLOGUE}{body}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(desk.path("tree/Dockerfile"), "FROM scratch\n").unwrap();
        fs::write(desk.path("tree/.gitignore"), "ignored\n").unwrap();
        desk.git(&["init", "--quiet", "--initial-branch", "main"]);
        desk.commit();
        desk.git(&["tag", "v1.0"]);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn git(&self, args: &[&str]) -> String {
        let author =
            ["-c", "user.name=ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false"];
        let mut git = Command::new("git");
        run(git.args(author).args(args).current_dir(self.path("tree")))
            .expect_code(0)
            .stdout
            .trim()
            .to_owned()
    }

    fn commit(&self) {
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "a change"]);
    }

    fn release(&self, reference: &str, changes: &[(&str, &str)]) -> Output {
        for entry in fs::read_dir(self.folder.path()).unwrap().flatten() {
            let name = entry.file_name();
            if name == "calls" || name.to_string_lossy().starts_with("env.") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        fs::write(self.path("calls"), "").unwrap();
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(RELEASE);
        command.args([reference, "."]).current_dir(self.path("tree")).env("PATH", path);
        command.env("STANDINS", self.folder.path()).env_remove("RELEASE_COMMIT").envs(SECRETS);
        command.envs([
            ("RELEASE_PUB", "release.pub"),
            ("RELEASE_SOURCE", "github.com/acme/app"),
            ("RELEASE_REF", "refs/tags/v1.0"),
            ("RELEASE_BUILDER", "https://ci.acme.example/release@v1"),
            ("RELEASE_SBOM", "sbom"),
            ("BUILT", &digest('a')),
            ("PUSHED", &digest('b')),
            ("FOUND", &digest('a')),
        ]);
        run(command.envs(changes.iter().copied()))
    }

    fn calls(&self, name: &str) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap();
        calls.lines().filter(|line| line.split(' ').next() == Some(name)).map(str::to_owned).collect()
    }

    #[track_caller]
    fn refuses(&self, changes: &[(&str, &str)], reason: &str) {
        let said = self.release(REFERENCE, changes);
        assert!(said.code != Some(0) && said.stdout.is_empty(), "{said:?}");
        assert!(said.stderr.contains(reason), "{said:?}");
        assert_eq!(self.calls("lifeboat-sign"), [""; 0], "{said:?}");
    }
}

#[test]
fn what_was_built_is_signed_and_announced() {
    let desk = Desk::new();
    let said = desk.release(REFERENCE, &[]).expect_code(0);
    let pinned = format!("registry.example/acme/app@{}", digest('b'));
    assert_eq!(said.stdout.trim(), pinned);
    let signed = desk.calls("lifeboat-sign");
    assert_eq!(signed.len(), 3);
    assert!(
        signed.iter().all(|call| call.contains(&pinned) && call.contains("--key held-release.key")),
        "{signed:?}"
    );
    let verified = desk.calls("lifeboat-verify");
    assert_eq!(verified.len(), 3);
    assert!(verified[0].contains(&format!("{REFERENCE}@{}", digest('b'))), "{verified:?}");
    // The commit that is checked out, by any of its names.
    let commit = desk.git(&["rev-parse", "HEAD"]);
    desk.release(REFERENCE, &[("RELEASE_COMMIT", &commit), ("RELEASE_REF", "refs/heads/main")])
        .expect_code(0);
    desk.git(&["update-ref", "refs/remotes/origin/next", "HEAD"]);
    desk.git(&["update-ref", "refs/remotes/pull/7/merge", "HEAD"]);
    for name in ["refs/heads/next", "refs/pull/7/merge"] {
        desk.release(REFERENCE, &[("RELEASE_REF", name)]).expect_code(0);
    }
    fs::write(desk.path("tree/ignored"), "by git").unwrap();
    desk.release(REFERENCE, &[]).expect_code(0);
}

#[test]
fn a_tree_that_is_not_the_commit_is_refused() {
    let desk = Desk::new();
    let dirty = "is not what the commit";
    fs::write(desk.path("tree/new"), "untracked").unwrap();
    desk.refuses(&[], dirty);
    fs::remove_file(desk.path("tree/new")).unwrap();
    fs::write(desk.path("tree/Dockerfile"), "FROM evil\n").unwrap();
    desk.refuses(&[], dirty);
    desk.git(&["add", "."]);
    desk.refuses(&[], dirty);
    desk.git(&["reset", "--quiet"]);
    for hidden in ["--assume-unchanged", "--skip-worktree"] {
        desk.git(&["update-index", hidden, "Dockerfile"]);
        desk.refuses(&[], dirty);
        desk.git(&["update-index", &hidden.replace("--", "--no-"), "Dockerfile"]);
    }
    assert_eq!(desk.calls("docker"), [""; 0]);
    desk.git(&["checkout", "--quiet", "Dockerfile"]);
    desk.release(REFERENCE, &[]).expect_code(0);
    // A different tree from the one that git is pointed to.
    fs::write(desk.path("tree/new"), "untracked").unwrap();
    let other = Desk::new();
    let elsewhere = other.path("tree/.git").display().to_string();
    desk.refuses(
        &[("GIT_DIR", &elsewhere), ("GIT_WORK_TREE", &other.path("tree").display().to_string())],
        dirty,
    );
    fs::remove_dir_all(desk.path("tree/.git")).unwrap();
    desk.refuses(&[], "is not a checkout of a commit");
}

#[test]
fn a_ref_or_a_commit_that_is_not_checked_out_is_refused() {
    let desk = Desk::new();
    desk.refuses(&[("RELEASE_REF", "refs/tags/v9.9-does-not-exist")], "is not the commit");
    desk.refuses(&[("RELEASE_REF", "v1.0")], "RELEASE_REF is not a ref");
    desk.refuses(&[("RELEASE_REF", "HEAD")], "RELEASE_REF is not a ref");
    desk.refuses(&[("RELEASE_REF", "refs/tags/v1.0\nx")], "holds a control character");
    desk.refuses(&[("RELEASE_COMMIT", &"0".repeat(40))], "is a checkout of");
    desk.refuses(&[("RELEASE_COMMIT", "HEAD")], "RELEASE_COMMIT is not a commit");
    desk.refuses(&[("RELEASE_KEY", "")], "RELEASE_KEY is not set");
    desk.commit();
    desk.refuses(&[], "refs/tags/v1.0 is not the commit");
    desk.git(&["tag", "--force", "v1.0"]);
    desk.release(REFERENCE, &[]).expect_code(0);
    for bad in [
        "app:1.0",
        "registry.example/app",
        "registry.example/app:",
        "-x/y:1",
        "registry.example/app@sha256:0",
    ] {
        let said = desk.release(bad, &[]);
        assert!(said.code == Some(2) && said.stdout.is_empty(), "{bad}: {said:?}");
    }
}

#[test]
fn the_key_goes_to_nothing_that_runs_other_peoples_code() {
    let desk = Desk::new();
    // Names that the script uses itself, exported by its caller.
    desk.release(REFERENCE, &[("key", "x"), ("passphrase", "y")]).expect_code(0);
    for name in ["docker", "sbom", "git", "lifeboat-verify"] {
        let seen = fs::read_to_string(desk.path(&format!("env.{name}"))).unwrap();
        for (variable, value) in SECRETS {
            assert!(!seen.contains(value) && !seen.contains(variable), "{name} sees {variable}");
        }
    }
    let seen = fs::read_to_string(desk.path("env.lifeboat-sign")).unwrap();
    assert_eq!(seen.matches("COSIGN_PASSWORD=correct horse").count(), 3);
}

#[test]
fn an_image_that_was_not_built_here_is_not_signed() {
    let desk = Desk::new();
    let (other, none) = (digest('c'), String::new());
    desk.refuses(&[("FOUND", &other)], "the tag was moved in between");
    desk.refuses(&[("FOUND", &none)], "the tag was moved in between");
    desk.refuses(&[("BUILT", &none)], "the builder names no image");
    desk.refuses(&[("BUILT", "sha256:zz")], "the builder names no image");
    desk.refuses(&[("PUSHED", &none)], "does not say under which digest");
    desk.refuses(&[("PUSHED", &other[..70])], "does not say under which digest");
    // The digest of another repository is never used.
    desk.release(REFERENCE, &[]).expect_code(0);
    let asked = desk.calls("docker").join("\n");
    assert!(asked.contains(&format!("pull --quiet registry.example/acme/app@{}", digest('b'))), "{asked}");
    assert!(!asked.contains("RepoDigests"), "{asked}");
}

#[test]
fn whatever_fails_nothing_is_announced() {
    let desk = Desk::new();
    desk.release(REFERENCE, &[]).expect_code(0);
    let calls = fs::read_to_string(desk.path("calls")).unwrap();
    let count = calls.lines().count();
    assert!(count > 12, "{calls}");
    for failing in 1..=count {
        let said = desk.release(REFERENCE, &[("FAILING_CALL", &failing.to_string())]);
        let call = calls.lines().nth(failing - 1).unwrap();
        assert!(said.code != Some(0) && said.stdout.is_empty(), "{call}: {said:?}");
    }
}
