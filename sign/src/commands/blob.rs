//! `lifeboat-sign blob`

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use lifeboat_report::signature::{Signature, StoredBundle};
use lifeboat_shell::{Failure, Outcome, Ui, write_output_file};
use lifeboat_trust::bundle::Bundle;
use lifeboat_trust::domain;
use lifeboat_trust::statement::Statement;

use crate::key::open_key;

/// Sign a file; the signature goes into a bundle beside it
///
/// What is signed is a statement about the file (in-toto, of the type `urn:lifeboat:file:v0`), which `cosign
/// verify-blob-attestation` verifies as well; with --plain it is the file's bytes alone.
///
/// The file may be of any size: it is read once and not kept in memory. A file whose signature would be one of an image
/// as well is refused.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat-sign blob app.tar.gz --bundle app.tar.gz.sigstore.json --key release.key
  lifeboat-verify blob app.tar.gz --bundle app.tar.gz.sigstore.json --key release.pub")]
pub(crate) struct Args {
    /// File to sign
    file: PathBuf,
    /// File that the bundle is written to; one that is there is replaced
    #[arg(long, value_name = "OUT")]
    bundle: PathBuf,
    /// Sign the file's bytes and nothing else, as `cosign sign-blob` does and `cosign verify-blob` wants it
    #[arg(long)]
    plain: bool,
    /// Private key to sign with, as `keygen` or cosign makes it, or plugin:COMMAND for one that is held elsewhere
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<Outcome, Failure> {
    let same = |other: &Path| {
        fs::canonicalize(&args.bundle).is_ok_and(|b| fs::canonicalize(other).is_ok_and(|o| o == b))
    };
    if same(&args.file) || same(&args.key) {
        return Err(Failure::usage(
            format!("the bundle would overwrite {}", args.bundle.display()),
            "give another file to `--bundle`",
        ));
    }
    let key = open_key(&args.key, ui)?;
    let file = args.file.display();
    let (digest, look_alike) = File::open(&args.file).and_then(domain::digest).map_err(|error| {
        Failure::usage(format!("the file {file} cannot be read: {error}"), "check its name and permissions")
    })?;
    if let Some(look_alike) = look_alike {
        return Err(Failure::refused(
            format!("{file} is not signed as a file: {look_alike}, and its signature would be one of that"),
            "find out who made the file and why; sign an image by `lifeboat-sign image REF`, or sign an archive of the file",
        ));
    }
    let bundle = if args.plain {
        Bundle::sign_file(digest, &*key)?
    } else {
        let name = args.file.file_name().unwrap_or_default().to_string_lossy();
        Bundle::sign_statement(Statement::file(digest, &name), &*key)?
    };
    let json = bundle.to_json();
    write_output_file(&args.bundle, &json, 0o644).map_err(|error| {
        let file = args.bundle.display();
        Failure::refused(
            format!("the bundle {file} cannot be written: {error}"),
            "check the folder and its free space",
        )
    })?;
    ui.report(&Signature {
        subject: args.file.display().to_string(),
        digest: digest.to_oci(),
        tag: None,
        predicate_type: None,
        key_id: key.verification_key().id().to_string(),
        bundle: StoredBundle::File { path: args.bundle.display().to_string() },
        also: None,
        children: Vec::new(),
    });
    Ok(Outcome::Done)
}
