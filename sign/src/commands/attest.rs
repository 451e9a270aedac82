//! `lifeboat-sign attest`

use std::collections::BTreeMap;
use std::path::PathBuf;

use lifeboat_core::clock::{Clock as _, SystemClock};
use lifeboat_core::limits::read_file_capped;
use lifeboat_registry::Reference;
use lifeboat_shell::{Failure, Outcome, RegistryFlags, Ui};
use lifeboat_trust::bundle::MAX_PREDICATE_BYTES;
use lifeboat_trust::statement::{Predicate, PredicateType, Statement};

use crate::key::open_key;
use crate::target::{Format, Saying, Target};

/// Sign a statement about an image: its SBOM, provenance, vulnerability scan or anything else
///
/// The file given to --predicate is what is stated. It is checked to be of the named type as far as a look at its head
/// can tell, signed together with the image's digest, and attached to the image. A JSON document is kept byte for byte, from
/// its first character to its last: white space around it is none of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  syft registry.example/app:1.0 -o spdx-json > sbom.json
  lifeboat-sign attest registry.example/app:1.0 --type spdxjson --predicate sbom.json --key release.key
  lifeboat-sign attest oci:./build/app --type cyclonedx --predicate bom.json --key release.key
  lifeboat-sign attest registry.example/app:1.0 --type https://example.com/review/v1 \\
      --predicate review.json --key release.key

Attestations do not sign the image: `lifeboat-verify image` does not accept them as signatures.")]
pub(crate) struct Args {
    /// registry/name[:tag][@sha256:…], oci:DIR[:tag] for a layout or archive on disk, or docker:NAME
    #[arg(value_name = "REF")]
    reference: String,
    /// spdxjson, cyclonedx, slsaprovenance1, vuln, openvex, custom, or the predicate type's URI
    #[arg(long = "type", value_name = "TYPE")]
    kind: String,
    /// File that holds what is stated
    #[arg(long, value_name = "FILE")]
    predicate: PathBuf,
    /// Private key to sign with, as `keygen` or cosign makes it, or plugin:COMMAND for one that is held elsewhere
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// State it of every image of an index as well, and of the index last
    #[arg(long)]
    recursive: bool,
    /// In which form the attestation is attached
    #[arg(long, value_enum, default_value_t = Format::Bundle)]
    format: Format,
    #[command(flatten)]
    registry: RegistryFlags,
}

pub(crate) async fn run(args: &Args, ui: &Ui) -> Result<Outcome, Failure> {
    let reference: Reference = args.reference.parse()?;
    let kind: PredicateType = args.kind.parse()?;
    if kind == PredicateType::image_signature() {
        return Err(Failure::usage(
            "this type is the plain signature of an image, not an attestation",
            "use `lifeboat-sign image`",
        ));
    }
    let content = read_file_capped(&args.predicate, MAX_PREDICATE_BYTES).map_err(|error| {
        Failure::usage(
            format!("the predicate {} cannot be read: {error}", args.predicate.display()),
            format!("give a file of at most {} MiB", MAX_PREDICATE_BYTES >> 20),
        )
    })?;
    let predicate = Predicate::from_file(&kind, content, SystemClock.now())?;
    let open = || open_key(&args.key, ui);
    let (target, key) = Target::resolve_beside(reference, args.registry.clone(), open).await?;
    let none = BTreeMap::new();
    let name = target.name();
    let saying = Saying {
        predicate_type: &kind,
        statement: &|digest| Statement::attestation(digest, &name, &kind, &predicate, &none),
        annotations: &none,
    };
    ui.report(&target.sign(&saying, &*key, args.format, args.recursive).await?);
    Ok(Outcome::Done)
}
