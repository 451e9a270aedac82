//! Snapshots and cosign: it accepts a manifest's envelope and a countersignature exactly as they are in the repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use lifeboat_tests::command::{Output, lifeboat, run};
use lifeboat_tests::gate::{setting, trial};
use lifeboat_tests::repository::{Binaries, TestRepository};
use serde_json::Value;

use super::{PASSPHRASE, SIGN, VERIFY};

const BINARIES: Binaries =
    Binaries { backup: env!("CARGO_BIN_EXE_tested-backup"), restore: env!("CARGO_BIN_EXE_tested-restore") };

pub(crate) fn trials() -> Vec<Trial> {
    let name = "supply_chain::snapshots::cosign_accepts_the_manifest_and_a_countersignature";
    vec![trial(name, setting("LIFEBOAT_TEST_COSIGN"), |cosign| cosign_accepts(&cosign))]
}

fn cosign_accepts(cosign: &str) -> Result<(), Failed> {
    let repo = TestRepository::in_folder(BINARIES);
    fs::create_dir(repo.path("data"))?;
    fs::write(repo.path("data/file"), "content")?;
    repo.snapshot(&repo.path("data")).expect_code(0);
    let call = |binary: &str, args: &[&str]| -> Output {
        let mut command = lifeboat(binary, &repo.path(""), args);
        command.current_dir(repo.path("")).env("COSIGN_PASSWORD", PASSPHRASE);
        run(command.env("LIFEBOAT_REPOSITORY", &repo.location))
    };
    let only = |folder: &str, length: usize| -> Result<PathBuf, Failed> {
        let mut found = repo.objects(folder).into_iter();
        let is_meant = |path: &PathBuf| path.file_name().is_some_and(|name| name.len() == length);
        found.find(is_meant).ok_or_else(|| Failed::from(format!("an object below {folder}")))
    };
    call(SIGN, &["keygen", "auditor"]).expect_code(0);
    call(SIGN, &["snapshot", "latest", "--key", "auditor.key"]).expect_code(0);
    let report = call(VERIFY, &["snapshot", "latest", "--key", "auditor.pub", "--json"]).expect_code(0);
    let report: Value = serde_json::from_str(&report.stdout)?;
    fs::write(repo.path("host.pub"), report["writer_key"].as_str().ok_or("the host's key")?)?;

    // The subject of the statement is the sealed part, a separate object.
    let (manifest, part) = (only("snapshots", 10)?, only("parts", 64)?);
    let countersignature = only("snapshots", 64)?;
    let verify = |how: [&str; 2], key: &str, part: &Path| {
        let mut command = Command::new(cosign);
        command.args(["verify-blob-attestation", "--type", "urn:lifeboat:snapshot:v0", "--key", key]);
        command.args(["--insecure-ignore-tlog=true"]).args(how).arg(part);
        run(command.current_dir(repo.path("")).env("HOME", repo.path("")))
    };
    let (manifest, countersignature) =
        (manifest.display().to_string(), countersignature.display().to_string());
    verify(["--signature", &manifest], "host.pub", &part).expect_code(0);
    assert_ne!(verify(["--signature", &manifest], "auditor.pub", &part).code, Some(0));
    verify(["--bundle", &countersignature], "auditor.pub", &part).expect_code(0);
    assert_ne!(verify(["--bundle", &countersignature], "host.pub", &part).code, Some(0));
    fs::write(repo.path("other"), "another part")?;
    assert_ne!(verify(["--bundle", &countersignature], "auditor.pub", &repo.path("other")).code, Some(0));
    Ok(())
}
