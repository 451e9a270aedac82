//! The release step, in its plain form, against the real engine and a real registry.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use lifeboat_tests::command::{Said, run};
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
    vec![trial("supply_chain::release::plain_shell", needs(), |(address, syft, cosign)| {
        plain_shell(&Bench::new(&address, Some(cosign))?, &syft)
    })]
}

fn plain_shell(bench: &Bench, syft: &str) -> Result<(), Failed> {
    fs::create_dir(bench.path("bin"))?;
    for (program, name) in [(SIGN, "lifeboat-sign"), (VERIFY, "lifeboat-verify"), (syft, "syft")] {
        symlink(program, bench.path("bin").join(name))?;
    }
    fs::create_dir(bench.path("context"))?;
    fs::write(bench.path("context/Dockerfile"), "FROM scratch\nCOPY hello /hello\n")?;
    fs::write(bench.path("context/hello"), bench.repository.name())?;
    let path = format!("{}:{}", bench.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    let reference = bench.tagged();
    let release = |changes: &[(&str, &str)]| -> Said {
        let mut command = Command::new(RELEASE);
        command.args([&reference, "context"]).current_dir(bench.path("")).env("PATH", &path);
        command.envs([
            // The builder that comes with the engine, and no update checks.
            ("DOCKER_BUILDKIT", "0"),
            ("SYFT_CHECK_FOR_APP_UPDATE", "false"),
            ("COSIGN_PASSWORD", PASSPHRASE),
            ("RELEASE_KEY", "release.key"),
            ("RELEASE_PUB", "release.pub"),
            ("RELEASE_SOURCE", "github.com/acme/app"),
            ("RELEASE_REF", "refs/tags/v1"),
            ("RELEASE_COMMIT", "0123456789abcdef0123456789abcdef01234567"),
            ("RELEASE_BUILDER", "https://ci.acme.example/release@v1"),
        ]);
        run(command.env("HOME", bench.path("")).envs(changes.iter().copied()))
    };
    let said = release(&[]).expect_code(0);
    let pinned = said.stdout.trim();
    assert!(pinned.starts_with(&format!("{}@sha256:", bench.repository.name())), "{said:?}");
    let cosign = ["--key", "release.pub", "--insecure-ignore-tlog=true", "--allow-http-registry", pinned];
    bench.cosign(&[&["verify"], &cosign[..]].concat()).expect_code(0);
    for kind in ["spdxjson", "slsaprovenance1"] {
        bench.cosign(&[&["verify-attestation", "--type", kind], &cosign[..]].concat()).expect_code(0);
    }

    // Whatever goes wrong, no digest is announced.
    for (changes, reason) in [
        (("RELEASE_PUB", "other.pub"), ""),
        (("COSIGN_PASSWORD", "wrong"), "the passphrase does not open the key file"),
        (("RELEASE_SBOM", "false"), ""),
        (("RELEASE_SBOM", "echo no-json"), "the predicate is not JSON"),
        (("RELEASE_SOURCE", ""), "RELEASE_SOURCE is not set"),
        (("RELEASE_COMMIT", "HEAD"), "RELEASE_COMMIT is no commit"),
    ] {
        let said = release(&[changes]);
        assert!(said.code != Some(0) && said.stdout.is_empty(), "{changes:?}: {said:?}");
        says(&said, reason);
    }
    let _ = run(Command::new("docker").args(["image", "rm", "--force", &reference]));
    Ok(())
}
