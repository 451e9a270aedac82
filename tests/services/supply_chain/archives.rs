//! Images outside of registries: an archive of `docker save`, and an image of the engine.

use std::fs;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use lifeboat_core::Sha256Digest;
use lifeboat_tests::command::{Output, run};
use lifeboat_tests::gate::{Missing, listening, setting, trial};

use super::{Bench, says};

pub(crate) fn trials() -> Vec<Trial> {
    let needs = || {
        setting("LIFEBOAT_TEST_DOCKER")?;
        Ok::<_, Missing>((listening("LIFEBOAT_TEST_REGISTRY")?, setting("LIFEBOAT_TEST_BUSYBOX_IMAGE")?))
    };
    vec![
        trial("supply_chain::archives::docker_save", needs(), |(address, image)| {
            saved(&Bench::new(&address, None)?, &image)
        }),
        trial("supply_chain::archives::docker_engine", needs(), |(address, image)| {
            engine(&Bench::new(&address, None)?, &image)
        }),
        trial("supply_chain::archives::an_image_that_was_never_pushed", needs(), |(address, _)| {
            never_pushed(&Bench::new(&address, None)?)
        }),
    ]
}

fn docker(bench: &Bench, args: &[&str]) -> Output {
    run(Command::new("docker").args(args).current_dir(bench.path("")))
}

fn saved(bench: &Bench, image: &str) -> Result<(), Failed> {
    docker(bench, &["save", image, "-o", "app.tar"]).expect_code(0);
    let id = docker(bench, &["image", "inspect", "--format", "{{.Id}}", image]).expect_code(0);
    let reference = format!("oci:app.tar:{}", image.rsplit(':').next().ok_or("a tag")?);
    let verify = |key: &str| bench.verify(&["image", &reference, "--key", key]);
    says(&verify("release.pub").expect_code(1), "it is not signed");
    let sbom =
        ["attest", &reference, "--type", "spdxjson", "--predicate", "sbom.json", "--key", "release.key"];
    for args in [&["image", &reference, "--key", "release.key"][..], &sbom] {
        bench.sign(args).expect_code(0);
        bench.sign(&[args, &["--format", "legacy"]].concat()).expect_code(0);
    }
    says(&verify("release.pub").expect_code(0), id.stdout.trim());
    verify("other.pub").expect_code(1);
    bench
        .verify(&["attestation", "docker-archive:app.tar", "--type", "spdxjson", "--key", "release.pub"])
        .expect_code(0);
    bench.verify(&["tree", "oci:app.tar", "--key", "release.pub"]).expect_code(0);
    // The engine loads it as before.
    docker(bench, &["load", "-i", "app.tar"]).expect_code(0);
    // A layer other than the one in the image.
    let archive = fs::read(bench.path("app.tar"))?;
    let text = b"BusyBox v1";
    let at = archive.windows(text.len()).position(|window| window == text).ok_or("text of busybox")?;
    let mut exchanged = archive.clone();
    exchanged[at] ^= 1;
    fs::write(bench.path("app.tar"), exchanged)?;
    says(&verify("release.pub").expect_code(1), "it was damaged or exchanged");
    fs::write(bench.path("app.tar"), &archive[..archive.len() / 2])?;
    assert_ne!(verify("release.pub").code, Some(0));
    fs::write(bench.path("app.tar"), Sha256Digest::of(b"no archive").to_string())?;
    assert_ne!(verify("release.pub").code, Some(0));
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "all trials have one shape")]
fn engine(bench: &Bench, image: &str) -> Result<(), Failed> {
    let pushed = bench.tagged();
    docker(bench, &["tag", image, &pushed]).expect_code(0);
    let reference = format!("docker:{pushed}");
    let verify = |key: &str| bench.verify(&["image", &reference, "--key", key]);
    docker(bench, &["push", "--quiet", &pushed]).expect_code(0);
    verify("release.pub").expect_code(1);
    bench.sign(&["image", &reference, "--key", "release.key"]).expect_code(0);
    verify("release.pub").expect_code(0);
    verify("other.pub").expect_code(1);
    bench.verify(&["image", &pushed, "--key", "release.pub"]).expect_code(0);
    bench.verify(&["image", "docker:lifeboat-test/absent:1", "--key", "release.pub"]).expect_code(2);
    docker(bench, &["image", "rm", &pushed]).expect_code(0);
    Ok(())
}

/// Nothing can be attached to an image in the engine. This follows the advice of the refusal literally.
fn never_pushed(bench: &Bench) -> Result<(), Failed> {
    fs::create_dir(bench.path("content"))?;
    fs::write(bench.path("content/hello"), bench.repository.name())?;
    // By the engine's own name for it, which nobody else uses.
    let import = "tar -C content -c . | docker import -";
    let id = run(Command::new("sh").args(["-ec", import]).current_dir(bench.path(""))).expect_code(0);
    let id = id.stdout.trim();
    let reference = format!("docker:{id}");
    let said = bench.verify(&["image", &reference, "--key", "release.pub"]).expect_code(2);
    says(&said, "was never pushed or pulled");
    let mut advice =
        said.stderr.split('`').filter(|text| text.starts_with("docker save") || text.starts_with("oci:"));
    let (save, archive) = (advice.next().ok_or("a command")?, advice.next().ok_or("a reference")?);
    run(Command::new("sh").args(["-ec", save]).current_dir(bench.path(""))).expect_code(0);
    bench.sign(&["image", archive, "--key", "release.key"]).expect_code(0);
    says(&bench.verify(&["image", archive, "--key", "release.pub"]).expect_code(0), id);
    bench.verify(&["image", archive, "--key", "other.pub"]).expect_code(1);
    // The engine still accepts the signed archive, and the image is the one that was signed.
    docker(bench, &["image", "rm", id]).expect_code(0);
    docker(bench, &["load", "--quiet", "--input", "image.tar"]).expect_code(0);
    docker(bench, &["image", "rm", id]).expect_code(0);
    Ok(())
}
