//! `lifeboat-sign keygen`

use std::path::{Path, PathBuf};

use lifeboat_report::signature::KeyPair;
use lifeboat_shell::{Failure, Outcome, Ui};
use lifeboat_trust::key::{Sign as _, SigningKey};
use lifeboat_trust::key_file;
use lifeboat_trust::private_key::PrivateKey;

use crate::secret::{self, SecretError};

/// Make a key pair: PREFIX.key to sign with, PREFIX.pub to verify with
///
/// The files are the ones that cosign makes, and each tool reads the other's. The private key is encrypted with a
/// passphrase, which is asked twice on the terminal. Files are never overwritten.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat-sign keygen release
  lifeboat-sign keygen release --import old-release.pem
  COSIGN_PASSWORD=$(cat passphrase) lifeboat-sign keygen /etc/lifeboat/release

Where nobody can be asked, the passphrase comes from the variable COSIGN_PASSWORD.")]
pub(crate) struct Args {
    /// Path and beginning of the two files' names
    prefix: PathBuf,
    /// Take this private key in place of a new one: PEM that nothing protects, ECDSA P-256 or RSA
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<Outcome, Failure> {
    let with = |extension: &str| {
        let mut path = args.prefix.clone().into_os_string();
        path.push(extension);
        PathBuf::from(path)
    };
    let (private_path, public_path) = (with(".key"), with(".pub"));
    // Check this before asking for a passphrase, so that nobody types one in vain.
    for path in [&private_path, &public_path] {
        if path.symlink_metadata().is_ok() {
            return Err(SecretError::Exists { path: path.clone() }.into());
        }
    }
    let passphrase = secret::new_passphrase(ui)?;
    if passphrase.is_empty() {
        ui.warn("the passphrase is empty: anyone who reads the private key's file can sign with it");
    }
    let key = match &args.import {
        Some(path) => secret::import(path)?,
        None => PrivateKey::EcdsaP256(SigningKey::generate()),
    };
    secret::write_new(&private_path, &key_file::seal_private(&key, &passphrase)?, 0o600)?;
    secret::write_new(&public_path, &key_file::write_public(key.verification_key()), 0o644)?;
    let shown = |path: &Path| path.display().to_string();
    ui.report(&KeyPair {
        private_key: shown(&private_path),
        public_key: shown(&public_path),
        key_id: key.verification_key().id().to_string(),
    });
    Ok(Outcome::Done)
}
