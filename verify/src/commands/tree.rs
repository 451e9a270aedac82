//! `lifeboat-verify tree`

use std::collections::BTreeMap;

use lifeboat_core::{Fault as _, Kind, Sha256Digest};
use lifeboat_registry::{Found, LegacyKind, Reference, RegistryError};
use lifeboat_report::tree::{Hanging, Tree};
use lifeboat_report::verification::Verdict;
use lifeboat_shell::{Failure, Outcome, RegistryFlags, Ui};
use lifeboat_trust::bundle::{
    Bundle, Content, MAX_ATTESTATION_BYTES, MAX_SIGNATURE_BYTES, MEDIA_TYPE_PREFIX, PREDICATE_TYPE,
};
use lifeboat_trust::legacy;
use lifeboat_trust::policy::Policy;
use lifeboat_trust::statement::Statement;

use crate::evidence::{Image, chain};
use crate::findings::outcome;
use crate::item::{Asked, Form, Item};
use crate::question::{Question, Unjudged, Unread};
use crate::record::Record;
use crate::signers::{self, EvidenceFlags, SignerFlags, SignersError};
use crate::verdict::{self, ReportFlags};

/// Show what hangs on an image, and whether it verifies
///
/// Everything that refers to the image is listed: bundles, legacy tags and other artifacts; of an index, for each of its
/// images as well. With signers, every signature and attestation is verified, whatever it states.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat-verify tree registry.example/app:1.0
  lifeboat-verify tree registry.example/app:1.0 --key release.pub --json
  lifeboat-verify tree registry.example/app:1.0 --key release.pub --report verdict.json

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
    output: ReportFlags,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// The walk over everything attached to an image.
struct Look<'a> {
    image: &'a Image,
    policy: &'a Policy,
    record: Record,
    unjudged: Unjudged,
}

pub(crate) async fn run(args: &Args, ui: &Ui) -> Result<Outcome, Failure> {
    let reference: Reference = args.reference.parse()?;
    args.signers.refuse_threshold("everything is judged by itself, and nothing is counted")?;
    let policy = signers::policy_or_none(&args.signers, &args.evidence)?;
    if policy.signers.is_empty() && args.output.is_wanted() {
        return Err(SignersError::NotApplied { flag: "--report", why: "no signer is named" }.into());
    }
    let image = Image::resolve(reference, None, &args.registry).await?;
    let record = args.output.record();
    let mut look = Look { image: &image, policy: &policy, record, unjudged: Unjudged::default() };
    let mut tree = Tree {
        subject: image.reference().to_string(),
        digest: image.digest().to_oci(),
        tag: image.tag().map(str::to_owned),
        platform: None,
        hanging: look.hanging(image.digest()).await?,
        images: Vec::new(),
    };
    for child in image.index().into_iter().flat_map(|index| &index.children) {
        let digest = child.descriptor.digest;
        tree.images.push(Tree {
            subject: format!("{}@{}", image.reference().name(), digest.to_oci()),
            digest: digest.to_oci(),
            tag: None,
            platform: child.platform.clone(),
            hanging: look.hanging(digest).await?,
            images: Vec::new(),
        });
    }
    let found = || tree.hanging.iter().chain(tree.images.iter().flat_map(|image| &image.hanging));
    let verdict = if found().any(|hanging| hanging.verdict == Some(Verdict::Undetermined)) {
        Verdict::Undetermined
    } else if policy.signers.is_empty() || found().any(|hanging| hanging.verdict == Some(Verdict::Verified)) {
        Verdict::Verified
    } else {
        Verdict::Refused
    };
    let Look { record, unjudged, .. } = look;
    let asked = verdict::Asked {
        subject: verdict::Subject {
            name: tree.subject.clone(),
            digest: image.digest(),
            tag: tree.tag.clone(),
            index: None,
        },
        question: Question::of_each(&policy),
        policy: &policy,
        index: image.index(),
        whole: None,
        unjudged,
    };
    args.output.write(asked, record, verdict)?;
    ui.report(&tree);
    Ok(outcome(verdict))
}

impl Look<'_> {
    /// Everything attached to the image with this digest.
    async fn hanging(&mut self, digest: Sha256Digest) -> Result<Vec<Hanging>, RegistryError> {
        let repository = self.image.repository();
        let referrers = repository.referrers(digest).await?;
        let mut found = Vec::new();
        for manifest in &referrers.manifests {
            let place = manifest.digest.to_oci();
            found.push(match repository.artifact(manifest, MEDIA_TYPE_PREFIX, MAX_ATTESTATION_BYTES).await {
                Ok(None) => Hanging::new(place, "artifact"),
                Ok(Some(artifact)) => {
                    let stated = states(&artifact);
                    self.judge(place, Form::Bundle, digest, BTreeMap::new(), &artifact.content, stated)
                }
                Err(error) => self.unread(place, "bundle", &error),
            });
        }
        for kind in [LegacyKind::Signatures, LegacyKind::Attestations] {
            let (layers, _) = repository.legacy(digest, kind).await?;
            for layer in layers {
                let place = layer.descriptor.digest.to_oci();
                let (form, stated) = match kind {
                    LegacyKind::Signatures => (Form::LegacySignature, None),
                    LegacyKind::Attestations => (
                        Form::LegacyAttestation,
                        layer.annotations.get(legacy::PREDICATE_TYPE).map(|uri| shown(uri)),
                    ),
                };
                found.push(match repository.blob(&layer.descriptor, MAX_ATTESTATION_BYTES).await {
                    Err(error) => self.unread(place, "legacy", &error),
                    Ok(content) => self.judge(place, form, digest, layer.annotations, &content, stated),
                });
            }
        }
        for (place, error) in &referrers.unread {
            found.push(self.unread(place.clone(), "list", error));
        }
        if referrers.truncated {
            let mut more = Hanging::new("…".to_owned(), "more");
            more.verdict = Some(Verdict::Undetermined);
            more.detail = Some("more refers to it than was looked at".to_owned());
            found.push(more);
            self.unjudged.truncated = true;
        }
        Ok(found)
    }

    fn judge(
        &mut self,
        place: String,
        form: Form,
        subject: Sha256Digest,
        annotations: BTreeMap<String, String>,
        content: &[u8],
        stated: Option<String>,
    ) -> Hanging {
        let mut hanging = Hanging::new(place.clone(), form.name());
        hanging.states = stated;
        if self.policy.signers.is_empty() {
            return hanging;
        }
        let content_digest = Sha256Digest::of(content);
        let item = Item { place, form, subject, refers_to: None, annotations, content: content_digest };
        match item.judge(
            content,
            Asked { predicate_type: None, whole: None, expectations: None },
            self.policy,
        ) {
            Ok(accepted) => {
                hanging.verdict = Some(Verdict::Verified);
                hanging.states =
                    accepted.statement.as_ref().map(|statement| statement.predicate_type.clone());
                hanging.signer = Some(accepted.signer.name());
            }
            Err(refusal) => {
                hanging.verdict = Some(Verdict::Refused);
                hanging.detail = Some(refusal.to_string());
            }
        }
        self.record.add(item, content);
        hanging
    }

    fn unread(&mut self, place: String, form: &'static str, error: &RegistryError) -> Hanging {
        let mut hanging = Hanging::new(place.clone(), form);
        let is_open = error.kind() == Kind::Undetermined;
        hanging.verdict = Some(if is_open { Verdict::Undetermined } else { Verdict::Refused });
        let reason = chain(error);
        hanging.detail = Some(reason.clone());
        let all = if is_open { &mut self.unjudged.unread } else { &mut self.unjudged.damaged };
        all.push(Unread { place, reason });
        hanging
    }
}

/// The type that a bundle claims; nobody vouches for it. Parsing a payload can take a hundred times as long as parsing
/// a signature, so for a large bundle this uses the manifest's claim.
fn states(artifact: &Found) -> Option<String> {
    if artifact.content.len() as u64 > MAX_SIGNATURE_BYTES {
        return artifact.annotations.get(PREDICATE_TYPE).map(|uri| shown(uri));
    }
    match Bundle::parse(&artifact.content).ok()?.content {
        Content::Envelope(envelope) => {
            Some(shown(&Statement::parse(&envelope.payload()).ok()?.predicate_type))
        }
        Content::Message { .. } => None,
    }
}

fn shown(uri: &str) -> String {
    uri.chars().take(200).flat_map(char::escape_default).collect()
}
