//! `lifeboat-verify image`

use lifeboat_registry::Reference;
use lifeboat_shell::{Failure, Outcome, RegistryFlags, Ui};
use lifeboat_trust::bundle::MAX_SIGNATURE_BYTES;
use lifeboat_trust::statement::PredicateType;

use crate::evidence::{Forms, Image, Search};
use crate::findings::outcome;
use crate::signers::{self, EvidenceFlags, SignerFlags};
use crate::verdict::ReportFlags;

/// Verify that an image was signed by a trusted signer
///
/// The reference is resolved to a digest once, and the signature must be for that digest: use the digest in the report
/// to pull what was verified. A reference with tag and digest is refused when the tag points elsewhere by now.
/// Attestations, such as signed SBOMs, are not accepted in place of a signature. No log and no authority is asked:
/// what comes with a signature must prove it all.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat-verify image registry.example/app:1.0 --key release.pub
  lifeboat-verify image registry.example/app:1.0@sha256:… --key a.pub --key b.pub --threshold 2
  lifeboat-verify image oci:./build/app:1.0 --key release.pub --json
  lifeboat-verify image oci:./build/app:1.0 --key release.pub --report verdict.json
  lifeboat-verify image registry.example/app:1.0 --certificate-identity ann@example.com \\
      --certificate-oidc-issuer https://accounts.example.com

Exit codes: 0 verified; 1 unsigned, or signed by others or for something else; 3 could not be determined")]
pub(crate) struct Args {
    /// registry/name[:tag][@sha256:…], oci:DIR[:tag] for a layout or archive on disk, or docker:NAME
    #[arg(value_name = "REF")]
    reference: String,
    /// Of an index, verify the image of this platform: signed itself, or named by an index that is
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Count signatures in this form only, such as bundles where nothing older is made any more
    #[arg(long, value_enum, default_value_t = Forms::Both)]
    format: Forms,
    #[command(flatten)]
    signers: SignerFlags,
    #[command(flatten)]
    evidence: EvidenceFlags,
    #[command(flatten)]
    output: ReportFlags,
    #[command(flatten)]
    registry: RegistryFlags,
}

pub(crate) async fn run(args: &Args, ui: &Ui) -> Result<Outcome, Failure> {
    let reference: Reference = args.reference.parse()?;
    let policy = signers::policy(&args.signers, &args.evidence)?;
    let image = Image::resolve(reference, args.platform.as_deref(), &args.registry).await?;
    let claim = image.claim(PredicateType::image_signature());
    let search = Search {
        forms: args.format,
        max_bundle_bytes: MAX_SIGNATURE_BYTES,
        stop_when_met: true,
        only: None,
        expectations: None,
    };
    let mut findings = image.search(&claim, &policy, &search, args.output.record()).await?;
    let (asked, record) = image.asked(&claim, &policy, &search, &mut findings);
    let report = image.report(&claim, &policy, findings);
    args.output.write(asked, record, report.verdict)?;
    ui.report(&report);
    Ok(outcome(report.verdict))
}
