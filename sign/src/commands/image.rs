//! `lifeboat-sign image`

use std::path::PathBuf;

use lifeboat_registry::Reference;
use lifeboat_shell::{Failure, Outcome, RegistryFlags, Ui};
use lifeboat_trust::statement::{PredicateType, Statement};

use crate::key::open_key;
use crate::target::{Format, Saying, Target};

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
    /// registry/name[:tag][@sha256:…], oci:DIR[:tag] for a layout or archive on disk, or docker:NAME
    #[arg(value_name = "REF")]
    reference: String,
    /// Private key to sign with, as `keygen` or cosign makes it, or plugin:COMMAND for one that is held elsewhere
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Sign every image of an index as well, and the index last
    #[arg(long)]
    recursive: bool,
    /// In which form the signature is attached
    #[arg(long, value_enum, default_value_t = Format::Bundle)]
    format: Format,
    /// An annotation to sign along with the image; give it again for more
    #[arg(long = "annotation", value_name = "NAME=VALUE", value_parser = parse_annotation)]
    annotations: Vec<(String, String)>,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// Reads `NAME=VALUE`.
pub(crate) fn parse_annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

pub(crate) async fn run(args: &Args, ui: &Ui) -> Result<Outcome, Failure> {
    let reference: Reference = args.reference.parse()?;
    let open = || open_key(&args.key, ui);
    let (target, key) = Target::resolve_beside(reference, args.registry.clone(), open).await?;
    let annotations = args.annotations.iter().cloned().collect();
    let saying = Saying {
        predicate_type: &PredicateType::image_signature(),
        statement: &|digest| Statement::image_signature(digest, &annotations),
        annotations: &annotations,
    };
    ui.report(&target.sign(&saying, &*key, args.format, args.recursive).await?);
    Ok(Outcome::Done)
}
