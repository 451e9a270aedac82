//! `lifeboat-verify tree`

use lifeboat_core::{Fault as _, Kind, Sha256Digest};
use lifeboat_registry::{LegacyKind, Reference, RegistryError};
use lifeboat_report::verification::{Hanging, Tree, Verdict};
use lifeboat_shell::{Failure, Outcome, RegistryFlags, Ui};
use lifeboat_trust::bundle::{MAX_ATTESTATION_BYTES, MEDIA_TYPE_PREFIX};
use lifeboat_trust::judge::{self, Accepted, judge_legacy_attestation, judge_legacy_signature};
use lifeboat_trust::legacy;
use lifeboat_trust::policy::Policy;
use lifeboat_trust::refusal::Refusal;

use crate::evidence::{Image, chain};
use crate::signers::{self, EvidenceFlags, SignerFlags};

/// Show what hangs on an image, and whether it verifies
///
/// Everything that refers to the image is listed: bundles, legacy tags and other artifacts; of an index, for each of its
/// images as well. With signers, every signature and attestation is verified, whatever it states.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat-verify tree registry.example/app:1.0
  lifeboat-verify tree registry.example/app:1.0 --key release.pub --json

Exit codes: 0 shown; 1 signers were named, and nothing by them verifies; 3 something could not be read")]
pub(crate) struct Args {
    /// registry/name[:tag][@sha256:…], oci:DIR[:tag] for a layout or archive on disk, or docker:NAME
    #[arg(value_name = "REF")]
    reference: String,
    #[command(flatten)]
    signers: SignerFlags,
    #[command(flatten)]
    evidence: EvidenceFlags,
    #[command(flatten)]
    registry: RegistryFlags,
}

pub(crate) async fn run(args: &Args, ui: &Ui) -> Result<Outcome, Failure> {
    let reference: Reference = args.reference.parse()?;
    args.signers.refuse_threshold("everything is judged by itself, and nothing is counted")?;
    let policy = signers::policy_or_none(&args.signers, &args.evidence)?;
    let image = Image::resolve(reference, None, &args.registry).await?;
    let mut tree = Tree {
        subject: image.reference().to_string(),
        digest: image.digest().to_oci(),
        tag: image.tag().map(str::to_owned),
        platform: None,
        hanging: hanging(&image, image.digest(), &policy).await?,
        images: Vec::new(),
    };
    for child in image.children() {
        let digest = child.descriptor.digest;
        tree.images.push(Tree {
            subject: format!("{}@{}", image.reference().name(), digest.to_oci()),
            digest: digest.to_oci(),
            tag: None,
            platform: child.platform.clone(),
            hanging: hanging(&image, digest, &policy).await?,
            images: Vec::new(),
        });
    }
    ui.report(&tree);
    let found = || tree.hanging.iter().chain(tree.images.iter().flat_map(|image| &image.hanging));
    Ok(if found().any(|hanging| hanging.verdict == Some(Verdict::Undetermined)) {
        Outcome::Incomplete
    } else if policy.signers.is_empty() || found().any(|hanging| hanging.verdict == Some(Verdict::Verified)) {
        Outcome::Done
    } else {
        Outcome::Negative
    })
}

/// What hangs on the image of this digest.
async fn hanging(
    image: &Image,
    digest: Sha256Digest,
    policy: &Policy,
) -> Result<Vec<Hanging>, RegistryError> {
    let repository = image.repository();
    let referrers = repository.referrers(digest).await?;
    let mut found = Vec::new();
    for manifest in &referrers.manifests {
        let place = manifest.digest.to_oci();
        found.push(match repository.artifact(manifest, MEDIA_TYPE_PREFIX, MAX_ATTESTATION_BYTES).await {
            Ok(None) => Hanging::new(place, "artifact"),
            Ok(Some(artifact)) => {
                let judged = || judge::judge_any(&artifact.content, digest, None, policy);
                describe(Hanging::new(place, "bundle"), policy, judged, states(&artifact.content))
            }
            Err(error) => unread(place, "bundle", &error),
        });
    }
    for kind in [LegacyKind::Signatures, LegacyKind::Attestations] {
        let (layers, _) = repository.legacy(digest, kind).await?;
        for layer in layers {
            let place = layer.descriptor.digest.to_oci();
            let stated = match kind {
                LegacyKind::Signatures => None,
                LegacyKind::Attestations => layer.annotations.get(legacy::PREDICATE_TYPE).cloned(),
            };
            found.push(match repository.blob(&layer.descriptor, MAX_ATTESTATION_BYTES).await {
                Err(error) => unread(place, "legacy", &error),
                Ok(content) => {
                    let judged = || match kind {
                        LegacyKind::Signatures => {
                            judge_legacy_signature(&content, &layer.annotations, digest, policy)
                        }
                        LegacyKind::Attestations => {
                            judge_legacy_attestation(&content, &layer.annotations, digest, None, policy)
                        }
                    };
                    describe(Hanging::new(place, "legacy"), policy, judged, stated)
                }
            });
        }
    }
    found.extend(referrers.unread.iter().map(|(place, error)| unread(place.clone(), "list", error)));
    if referrers.truncated {
        let mut more = Hanging::new("…".to_owned(), "more");
        more.verdict = Some(Verdict::Undetermined);
        more.detail = Some("more refers to it than was looked at".to_owned());
        found.push(more);
    }
    Ok(found)
}

fn describe<'p>(
    mut hanging: Hanging,
    policy: &'p Policy,
    judged: impl FnOnce() -> Result<Accepted<'p>, Refusal>,
    stated: Option<String>,
) -> Hanging {
    hanging.states = stated;
    if policy.signers.is_empty() {
        return hanging;
    }
    match judged() {
        Ok(accepted) => {
            hanging.verdict = Some(Verdict::Verified);
            hanging.states = accepted.statement.as_ref().map(|statement| statement.predicate_type.clone());
            hanging.signer = Some(accepted.signer.name());
        }
        Err(refusal) => {
            hanging.verdict = Some(Verdict::Refused);
            hanging.detail = Some(refusal.to_string());
        }
    }
    hanging
}

/// What a bundle claims to state; nobody vouches for it.
fn states(bundle: &[u8]) -> Option<String> {
    use lifeboat_trust::bundle::{Bundle, Content};
    match Bundle::parse(bundle).ok()?.content {
        Content::Envelope(envelope) => {
            let statement = lifeboat_trust::statement::Statement::parse(&envelope.payload()).ok()?;
            Some(statement.predicate_type.chars().take(200).flat_map(char::escape_default).collect())
        }
        Content::Message { .. } => None,
    }
}

fn unread(place: String, form: &'static str, error: &RegistryError) -> Hanging {
    let mut hanging = Hanging::new(place, form);
    let is_open = error.kind() == Kind::Undetermined;
    hanging.verdict = Some(if is_open { Verdict::Undetermined } else { Verdict::Refused });
    hanging.detail = Some(chain(error));
    hanging
}
