//! `lifeboat-verify blob`

use std::fs::File;
use std::path::{Path, PathBuf};

use lifeboat_core::Sha256Digest;
use lifeboat_core::limits::read_file_capped;
use lifeboat_report::verification::{AcceptedBundle, RefusedBundle, Verdict, Verification};
use lifeboat_shell::{Failure, Outcome, Ui};
use lifeboat_trust::bundle::MAX_SIGNATURE_BYTES;
use lifeboat_trust::judge::judge_file;

use crate::evidence::outcome;
use crate::signers;

/// Verify that a file was signed by one of the given keys
///
/// In place of the file its digest may be given, for a file that is elsewhere or too large to fetch.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat-verify blob app.tar.gz --bundle app.tar.gz.sigstore.json --key release.pub
  lifeboat-verify blob sha256:9f86d0… --bundle app.tar.gz.sigstore.json --key release.pub

Exit codes: 0 verified; 1 signed by others or for something else")]
pub(crate) struct Args {
    /// File, or sha256: and its digest in hexadecimal
    #[arg(value_name = "FILE|sha256:HEX")]
    file: PathBuf,
    /// Bundle that holds the signature
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// Public key of a signer whose word counts; give it again for more, of which any one is enough
    #[arg(long = "key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<Outcome, Failure> {
    let unreadable = |what: &str, path: &Path, error: &std::io::Error| {
        let path = path.display();
        Failure::usage(format!("the {what} {path} cannot be read: {error}"), "check its name and permissions")
    };
    let policy = signers::read(&args.keys)?;
    let bundle = read_file_capped(&args.bundle, MAX_SIGNATURE_BYTES)
        .map_err(|error| unreadable("bundle", &args.bundle, &error))?;
    let digest = match args.file.to_str().filter(|text| text.starts_with("sha256:")) {
        Some(text) => Sha256Digest::from_oci(text).map_err(|error| {
            Failure::usage(error.to_string(), "write `./sha256:…` if a file of this name is meant")
        })?,
        None => File::open(&args.file)
            .and_then(Sha256Digest::of_reader)
            .map_err(|error| unreadable("file", &args.file, &error))?,
    };
    let shown = args.bundle.display().to_string();
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    let verdict = match judge_file(&bundle, digest, &policy) {
        Ok(signer) => {
            accepted.push(AcceptedBundle {
                bundle: shown,
                signer: signer.name().to_owned(),
                key_id: signer.key_id().to_string(),
                unchecked_log_entries: 0,
                written_to: None,
            });
            Verdict::Verified
        }
        Err(refusal) => {
            refused.push(RefusedBundle { bundle: shown, reason: refusal.to_string() });
            Verdict::Refused
        }
    };
    let signers: Vec<_> = policy.signers.iter().map(|signer| signer.name().to_owned()).collect();
    ui.report(&Verification {
        verdict,
        subject: args.file.display().to_string(),
        digest: digest.to_oci(),
        tag: None,
        claim: format!("the signature of a file by {}", signers.join(" or ")),
        predicate_type: None,
        signers,
        accepted,
        refused,
        unread: Vec::new(),
        others: 0,
        truncated: false,
        advice: (verdict == Verdict::Refused).then(|| {
            "do not use the file; fetch it and its bundle again from where it was published".to_owned()
        }),
    });
    Ok(outcome(verdict))
}
