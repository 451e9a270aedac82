//! The release step in its three forms, with the real engine and a real registry: the shell script, and the steps of
//! the two pipelines as written in their files, with the environment that the platforms provide.

mod pipelines;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use lifeboat_tests::command::{Output, run};
use lifeboat_tests::gate::{Missing, listening, setting, trial};

use super::{Bench, PASSPHRASE, SIGN, VERIFY, says};

const RELEASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/release");

pub(crate) fn trials() -> Vec<Trial> {
    let needs = || {
        setting("LIFEBOAT_TEST_DOCKER")?;
        Ok::<_, Missing>((
            listening("LIFEBOAT_TEST_REGISTRY")?,
            setting("LIFEBOAT_TEST_SYFT")?,
            setting("LIFEBOAT_TEST_COSIGN")?,
        ))
    };
    let release = |name: &str, test: fn(&Release) -> Result<(), Failed>| {
        let name = format!("supply_chain::release::{name}");
        trial(&name, needs(), move |(address, syft, cosign)| {
            test(&Release::new(Bench::new(&address, Some(cosign))?, &syft)?)
        })
    };
    vec![
        release("plain_shell", plain_shell),
        release("github_actions", pipelines::github_actions),
        release("gitlab_ci", pipelines::gitlab_ci),
    ]
}

/// A source tree, and the programs that a release needs.
struct Release {
    bench: Bench,
    path: String,
    commit: String,
}

impl Release {
    fn new(bench: Bench, syft: &str) -> Result<Self, Failed> {
        fs::create_dir(bench.path("bin"))?;
        for (program, name) in [(SIGN, "lifeboat-sign"), (VERIFY, "lifeboat-verify"), (syft, "syft")] {
            symlink(program, bench.path("bin").join(name))?;
        }
        let tree = bench.path("tree");
        fs::create_dir_all(tree.join("scripts"))?;
        fs::copy(RELEASE, tree.join("scripts/release"))?;
        fs::copy(bench.path("release.pub"), tree.join("release.pub"))?;
        fs::write(tree.join("Dockerfile"), "FROM scratch\nCOPY hello /hello\n")?;
        fs::write(tree.join("hello"), bench.repository.name())?;
        let git = |args: &[&str]| {
            let author =
                ["-c", "user.name=ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false"];
            run(Command::new("git").args(author).args(args).current_dir(&tree)).expect_code(0).stdout
        };
        git(&["init", "--quiet"]);
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message", "a release"]);
        git(&["tag", "v1"]);
        git(&["tag", "v1.0"]);
        let commit = git(&["rev-parse", "HEAD"]).trim().to_owned();
        let path = format!("{}:{}", bench.path("bin").display(), std::env::var("PATH").unwrap_or_default());
        Ok(Self { bench, path, commit })
    }

    /// A command in the source tree, with the common environment of all forms.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.bench.path("tree")).env("PATH", &self.path).env("HOME", self.bench.path(""));
        // The engine's own builder, and no update checks.
        command.env("DOCKER_BUILDKIT", "0").env("SYFT_CHECK_FOR_APP_UPDATE", "false");
        command
    }

    /// cosign accepts all three signatures of the release.
    fn cosign_accepts(&self, pinned: &str) {
        assert!(pinned.starts_with(&format!("{}@sha256:", self.bench.repository.name())), "{pinned}");
        let cosign = ["--key", "release.pub", "--insecure-ignore-tlog=true", "--allow-http-registry", pinned];
        self.bench.cosign(&[&["verify"], &cosign[..]].concat()).expect_code(0);
        for kind in ["spdxjson", "slsaprovenance1"] {
            self.bench
                .cosign(&[&["verify-attestation", "--type", kind], &cosign[..]].concat())
                .expect_code(0);
        }
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        let _ = run(Command::new("docker").args(["image", "rm", "--force", &self.bench.tagged()]));
    }
}

#[expect(clippy::unnecessary_wraps, reason = "all trials have one shape")]
fn plain_shell(release: &Release) -> Result<(), Failed> {
    let reference = release.bench.tagged();
    let run_with = |changes: &[(&str, &str)]| -> Output {
        let mut command = release.command("scripts/release");
        command.args([&reference, "."]);
        command.envs([
            ("COSIGN_PASSWORD", PASSPHRASE),
            ("RELEASE_KEY", "../release.key"),
            ("RELEASE_PUB", "release.pub"),
            ("RELEASE_SOURCE", "github.com/acme/app"),
            ("RELEASE_REF", "refs/tags/v1"),
            ("RELEASE_COMMIT", &release.commit),
            ("RELEASE_BUILDER", "https://ci.acme.example/release@v1"),
        ]);
        run(command.envs(changes.iter().copied()))
    };
    let said = run_with(&[]).expect_code(0);
    release.cosign_accepts(said.stdout.trim());

    // If anything fails, no digest is printed.
    for (changes, reason) in [
        (("RELEASE_PUB", "../other.pub"), ""),
        (("COSIGN_PASSWORD", "wrong"), "the passphrase does not open the key file"),
        (("RELEASE_SBOM", "false"), ""),
        (("RELEASE_SBOM", "echo no-json"), "the predicate is not JSON"),
        (("RELEASE_SOURCE", ""), "RELEASE_SOURCE is not set"),
        (("RELEASE_COMMIT", "HEAD"), "RELEASE_COMMIT is not a commit"),
        (("RELEASE_COMMIT", "0123456789abcdef0123456789abcdef01234567"), "is a checkout of"),
        (("RELEASE_REF", "refs/tags/v9"), "refs/tags/v9 is not the commit"),
    ] {
        let said = run_with(&[changes]);
        assert!(said.code != Some(0) && said.stdout.is_empty(), "{changes:?}: {said:?}");
        says(&said, reason);
    }
    Ok(())
}
