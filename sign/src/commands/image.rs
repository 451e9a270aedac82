//! `lifeboat-sign image`

use std::collections::BTreeMap;
use std::path::PathBuf;

use lifeboat_registry::Reference;
use lifeboat_shell::{Failure, Outcome, Ui};
use lifeboat_trust::statement::{PredicateType, Statement};

use crate::secret::open_key;
use crate::target::Target;

/// Sign an image, in a registry or in an OCI layout on disk
///
/// A tag is resolved once, and what is signed is the digest that it names at that moment; the report says which. The
/// signature is attached to the image as a Sigstore bundle, where lifeboat-verify and cosign find it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat-sign image registry.example/app:1.0 --key release.key
  lifeboat-sign image registry.example/app@sha256:… --key release.key
  lifeboat-sign image oci:./build/app:1.0 --key release.key

The passphrase comes from COSIGN_PASSWORD, or is asked on the terminal. Credentials are those of
`docker login` or `podman login`.")]
pub(crate) struct Args {
    /// registry/name[:tag][@sha256:…], or oci:DIR[:tag] for a layout on disk
    #[arg(value_name = "REF")]
    reference: String,
    /// Private key to sign with, as `keygen` or cosign makes it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Speak plain HTTP to the registry, also where it is not on loopback
    #[arg(long)]
    allow_http: bool,
}

pub(crate) async fn run(args: &Args, ui: &Ui) -> Result<Outcome, Failure> {
    let reference: Reference = args.reference.parse()?;
    let key = open_key(&args.key, ui)?;
    let target = Target::resolve(reference, args.allow_http).await?;
    let statement = Statement::image_signature(target.digest(), &BTreeMap::new());
    ui.report(&target.attach(statement, &PredicateType::image_signature(), &key).await?);
    Ok(Outcome::Done)
}
