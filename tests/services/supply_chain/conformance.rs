//! The offline cases of the public sigstore-conformance suite in the folder that `SIGSTORE_CONFORMANCE` names: a clone
//! of the suite, or only its folder of bundles. The project holds no copy.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use lifeboat_core::Sha256Digest;
use lifeboat_tests::command::{Output, lifeboat, run};
use lifeboat_tests::gate::{corpus, skipped};
use serde_json::Value;

const VERIFY: &str = env!("CARGO_BIN_EXE_tested-verify");

/// The signer, if a case does not name one.
const IDENTITY: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

/// The variables that name the suite's folder, and one with trusted roots of other verifiers' tests.
const SUITE: &str = "SIGSTORE_CONFORMANCE";
pub(super) const ROOTS: &str = "LIFEBOAT_TEST_ROOTS";

/// The minimum number of folders in the suite.
const FOLDERS: usize = 70;

pub(crate) fn trials() -> Vec<Trial> {
    let name = "supply_chain::conformance";
    let suite = match suite() {
        Ok(Some(suite)) => suite,
        Ok(None) => {
            let reason = format!("{SUITE} names no folder: 140 public cases of sigstore-conformance");
            return vec![skipped(name, reason), roots_of_others()];
        }
        Err(problem) => return vec![Trial::test(name, || Err(problem)), roots_of_others()],
    };
    let mut trials = vec![roots_of_others()];
    trials.push(Trial::test("supply_chain::conformance::the_suite_is_whole", {
        let found = suite.len();
        move || match found {
            0..FOLDERS => Err(Failed::from(format!("{found} folders, where {FOLDERS} were expected"))),
            _ => Ok(()),
        }
    }));
    let cosigned = suite.iter().find(|case| case.ends_with(COSIGNED)).cloned();
    trials.push(Trial::test("supply_chain::conformance::cosignatures_of_real_witnesses", move || {
        cosignatures(&cosigned.ok_or_else(|| Failed::from(format!("no folder {COSIGNED}")))?)
    }));
    trials.push(Trial::test("supply_chain::conformance::trusted_roots_have_no_errors", {
        let roots: Vec<PathBuf> =
            suite.iter().filter(|case| !is_bad(case)).map(|case| case.join(ROOT)).collect();
        move || no_errors(&roots)
    }));
    for case in suite {
        for by_digest in [false, true] {
            let (case, form) = (case.clone(), if by_digest { "digest" } else { "file" });
            let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
            trials.push(Trial::test(format!("supply_chain::conformance::{name}::{form}"), move || {
                judge(&case, by_digest)
            }));
        }
    }
    trials
}

/// The file name of a case's trusted root.
const ROOT: &str = "trusted_root.json";

fn is_bad(case: &Path) -> bool {
    case.to_string_lossy().ends_with("_fail")
}

/// Trusted roots of other verifiers' tests, at any depth of their folder.
fn roots_of_others() -> Trial {
    let name = "supply_chain::trusted_roots_have_no_errors";
    let Some(folder) = corpus(ROOTS) else {
        // The built-in root is checked in any case.
        return skipped(name, format!("{ROOTS} names no folder: trusted roots of other verifiers' tests"));
    };
    Trial::test(name, move || {
        let mut roots = Vec::new();
        find_roots(&folder, &mut roots)?;
        if roots.is_empty() {
            return Err(format!("{} holds no trusted roots", folder.display()).into());
        }
        no_errors(&roots)
    })
}

/// Finds files that declare to be trusted roots.
fn find_roots(folder: &Path, roots: &mut Vec<PathBuf>) -> Result<(), Failed> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_roots(&path, roots)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            let json: Value = serde_json::from_slice(&fs::read(&path)?).unwrap_or_default();
            let kind = json["mediaType"].as_str().unwrap_or_default();
            roots.extend(kind.starts_with("application/vnd.dev.sigstore.trustedroot").then_some(path));
        }
    }
    Ok(())
}

fn no_errors(roots: &[PathBuf]) -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    for root in roots.iter().filter(|root| root.is_file()) {
        let root = root.display().to_string();
        let said = run(&mut lifeboat(VERIFY, home.path(), ["trusted-root", "check", &root]));
        if said.code != Some(0) {
            return Err(format!("{said:?}").into());
        }
    }
    Ok(())
}

/// The folders of the suite's cases; `None` if the suite is missing.
pub(super) fn suite() -> Result<Option<Vec<PathBuf>>, Failed> {
    let Some(root) = corpus(SUITE) else { return Ok(None) };
    let places = ["test/assets/bundle-verify", "assets", "."];
    let folder = places.iter().map(|place| root.join(place)).find(|place| place.join("a.txt").is_file());
    let folder = folder.ok_or_else(|| format!("{SUITE} is {}, which holds no suite", root.display()))?;
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut cases: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    cases.sort();
    Ok(Some(cases))
}

/// A case whose checkpoint has the cosignatures of three witnesses, and the published keys of two of them.
const COSIGNED: &str = "rekor2-dsse-happy-path";
const WITNESSES: [&str; 2] = [
    "witness.navigli.sunlight.geomys.org+a3e00fe2+BNy/co4C1Hn1p+INwJrfUlgz7W55dSZReusH/GhUhJ/G",
    "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
];

/// Both witnesses count, but not one whose cosignature was changed.
fn cosignatures(case: &Path) -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    let path = |name: &str| home.path().join(name).display().to_string();
    for (name, key) in ["one", "two"].into_iter().zip(WITNESSES) {
        fs::write(path(name), key)?;
    }
    let verify = |bundle: &Path, flags: &[&str]| -> Result<Output, Failed> {
        let mut args = arguments(case, bundle, false)?;
        args.extend(flags.iter().map(|flag| (*flag).to_owned()));
        Ok(run(&mut lifeboat(VERIFY, home.path(), args)))
    };
    let good = case.join("bundle.sigstore.json");
    let both = ["--witness", &path("one"), "--witness", &path("two"), "--json"];
    let said = verify(&good, &both)?.expect_code(0);
    let report: Value = serde_json::from_str(&said.stdout)?;
    let found = &report["accepted"][0];
    assert_eq!(found["cosignatures"].as_array().map(Vec::len), Some(2), "{found}");
    assert_eq!(found["unchecked_cosignatures"], 1);
    // With the last bytes of a cosignature changed, it is refused, even if the other witness would be enough.
    let bundle = fs::read_to_string(&good)?;
    let changed = bundle.replace("9tlCg==", "9tlCw==");
    assert_ne!(bundle, changed);
    let forged = &home.path().join("forged.json");
    fs::write(forged, changed)?;
    let said = verify(forged, &[&both[..], &["--witness-threshold", "1"]].concat())?.expect_code(1);
    assert!(said.stdout.contains("is wrong"), "{said:?}");
    verify(forged, &both[2..])?.expect_code(0);
    Ok(())
}

/// Runs one case; a name that ends in `_fail` must not verify.
fn judge(case: &Path, by_digest: bool) -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    let bundle = case.join("bundle.sigstore.json");
    let said = run(&mut lifeboat(VERIFY, home.path(), arguments(case, &bundle, by_digest)?));
    let must_fail = is_bad(case);
    // A malformed trusted root is a usage error; everything else is a verdict.
    let is_right = if must_fail { matches!(said.code, Some(1 | 2)) } else { said.code == Some(0) };
    if is_right { Ok(()) } else { Err(Failed::from(format!("{said:?}"))) }
}

/// The command line that verifies a bundle as the case requires.
pub(super) fn arguments(case: &Path, bundle: &Path, by_digest: bool) -> Result<Vec<String>, Failed> {
    let own = |name: &str| Some(case.join(name)).filter(|path| path.is_file());
    let text = |name: &str, default: &str| {
        own(name).map_or(Ok(default.to_owned()), |path| {
            fs::read_to_string(path).map(|text| text.trim().to_owned())
        })
    };
    let artifact = own("artifact").unwrap_or_else(|| case.with_file_name("a.txt"));
    let artifact = if by_digest {
        Sha256Digest::of(&fs::read(artifact)?).to_oci()
    } else {
        artifact.display().to_string()
    };
    let mut args = vec!["blob".to_owned(), artifact, "--bundle".to_owned(), bundle.display().to_string()];
    if let Some(root) = own(ROOT) {
        args.extend(["--trusted-root".to_owned(), root.display().to_string()]);
    }
    if let Some(key) = own("key.pub") {
        args.extend(["--key".to_owned(), key.display().to_string()]);
    } else {
        args.extend(["--certificate-identity".to_owned(), text("identity", IDENTITY)?]);
        args.extend(["--certificate-oidc-issuer".to_owned(), text("issuer", ISSUER)?]);
    }
    Ok(args)
}
