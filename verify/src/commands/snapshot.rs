//! `lifeboat-verify snapshot`

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use lifeboat_core::Sha256Digest;
use lifeboat_report::verification::{
    AcceptedBundle, RefusedBundle, SeenBefore, SnapshotVerification, Step, Verdict,
};
use lifeboat_shell::{Failure, Outcome, RepositoryFlags, Ui, open_public_repository};
use lifeboat_trust::judge::{Claim, judge};
use lifeboat_trust::key_file;
use lifeboat_trust::matching::Vote;
use lifeboat_trust::policy::{Policy, Signer};
use lifeboat_trust::statement::PredicateType;
use lifeboat_vault::{ManifestChain, PREDICATE_TYPE, Repository, SignedManifest};

use crate::checkpoint::Checkpoint;
use crate::findings::{self, outcome};
use crate::item::{Form, Item};
use crate::question::{OfSnapshot, Question, Unjudged};
use crate::signers::{self, EvidenceFlags, SignerFlags};
use crate::verdict::{self, MAX_EVIDENCE_BYTES, ReportFlags};

/// Verify who made a snapshot, that none before it was exchanged, and who vouches for it
///
/// The host's signature is checked with its key on the roster, the roster with the key that the repository is named
/// after, and the host's snapshots must follow each other without a gap. With --key, the host or those who countersigned
/// must hold as many of the keys as the threshold says. No key of the repository is needed, and nothing is decrypted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat-verify snapshot latest -r s3://bucket/backups --root ID
  lifeboat-verify snapshot latest -r s3://bucket/backups --root ID --key auditor.pub --checkpoint seen.json
  lifeboat-verify snapshot latest -r s3://bucket/backups --root ID --report verdict.json

Exit codes: 0 verified; 1 damaged, exchanged, taken back, or signed by others; 3 could not be determined")]
pub(crate) struct Args {
    /// Snapshot id, a unique prefix of one, or latest
    #[arg(value_name = "SNAP")]
    snapshot: String,
    #[command(flatten)]
    repository: RepositoryFlags,
    /// Whose latest snapshot is meant: the first digits of the writer's id, where several hosts write
    #[arg(long, value_name = "ID")]
    writer: Option<String>,
    /// The repository's id; without it, the repository at the location is believed to be the right one
    #[arg(long, value_name = "ID")]
    root: Option<String>,
    /// Refuse a repository that lost what this file remembers, and remember what is there now; made if it is missing
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    signers: SignerFlags,
    #[command(flatten)]
    evidence: EvidenceFlags,
    #[command(flatten)]
    output: ReportFlags,
}

pub(crate) async fn run(args: &Args, ui: &Ui) -> Result<Outcome, Failure> {
    args.evidence.refuse_annotations("what a snapshot signs bears no annotations")?;
    let policy = signers::policy_or_none(&args.signers, &args.evidence)?;
    let before = args.checkpoint.as_deref().map(Checkpoint::read).transpose()?.flatten();
    let is_new_checkpoint = before.is_none();
    let repository = open_public_repository(&args.repository, args.root.as_deref(), ui).await?;
    let root = *repository.id();
    let chain = ManifestChain::read(&repository).await?;
    let snapshot = chain.find(&args.snapshot, args.writer.as_deref())?;
    let asked = OfSnapshot { repository: root, snapshot: snapshot.id(), before };
    let mut report = judge_snapshot(&repository, &chain, snapshot, &asked, &policy).await?;
    if args.output.is_wanted() {
        let objects = snapshot.public_objects(&repository, MAX_EVIDENCE_BYTES).await?.ok_or_else(|| {
            let most = MAX_EVIDENCE_BYTES >> 20;
            let said =
                format!("what decides about the snapshot has more than {most} MiB, and no verdict holds it");
            Failure::refused(said, "verify without `--report`")
        })?;
        let derived = judge_again(objects, &asked, &policy).await?;
        write_verdict(&args.output, asked, &policy, derived, report.verdict)?;
    }
    report.checkpoint = args
        .checkpoint
        .as_ref()
        .map(|path| SeenBefore { file: path.display().to_string(), is_new: is_new_checkpoint });
    if let Some(path) = args.checkpoint.as_ref().filter(|_| report.verdict == Verdict::Verified) {
        Checkpoint::of(root, &chain).write(path)?;
    }
    ui.report(&report);
    Ok(outcome(report.verdict))
}

/// A snapshot as seen through the repository's public objects alone.
pub(crate) struct Derived {
    pub(crate) subject: verdict::Subject,
    pub(crate) report: SnapshotVerification,
    /// The objects that decide, with their bytes.
    pub(crate) evidence: Vec<(Item, Bytes)>,
}

/// Writes the verdict together with the repository's public objects, so that it can be derived again.
fn write_verdict(
    output: &ReportFlags,
    asked: OfSnapshot,
    policy: &Policy,
    derived: Derived,
    reached: Verdict,
) -> Result<(), Failure> {
    let Derived { subject, report, evidence } = derived;
    let mut record = output.record();
    for (item, bytes) in evidence {
        record.add(item, &bytes);
    }
    let (question, unjudged) = (Question::of_snapshot(policy, asked), Unjudged::default());
    let asked = verdict::Asked { subject, question, policy, index: None, whole: None, unjudged };
    output.write_derived(asked, record, reached, (report.verdict, verdict::to_value(&report)))
}

/// Judges a snapshot from the repository's public objects alone.
pub(crate) async fn judge_again(
    objects: impl IntoIterator<Item = (String, Bytes)>,
    asked: &OfSnapshot,
    policy: &Policy,
) -> Result<Derived, Failure> {
    let repository = Repository::of_public_objects(objects, &asked.repository).await?;
    let chain = ManifestChain::read(&repository).await?;
    let snapshot = chain.find(&asked.snapshot.to_string(), None)?;
    let report = judge_snapshot(&repository, &chain, snapshot, asked, policy).await?;
    let objects = snapshot.public_objects(&repository, u64::MAX).await?.unwrap_or_default();
    let item = |(name, bytes): (String, Bytes)| {
        let item = Item {
            place: name,
            form: Form::RepositoryObject,
            subject: snapshot.part(),
            refers_to: None,
            annotations: BTreeMap::new(),
            content: Sha256Digest::of(&bytes),
        };
        (item, bytes)
    };
    let evidence = objects.into_iter().map(item).collect();
    let subject =
        verdict::Subject { name: snapshot.id().to_string(), digest: snapshot.part(), tag: None, index: None };
    Ok(Derived { subject, report, evidence })
}

/// Who made a snapshot, whether an earlier one was exchanged, and who vouches for it.
async fn judge_snapshot(
    repository: &Repository,
    chain: &ManifestChain,
    snapshot: &SignedManifest,
    asked: &OfSnapshot,
    policy: &Policy,
) -> Result<SnapshotVerification, Failure> {
    let root = asked.repository;
    let mut report = SnapshotVerification {
        verdict: Verdict::Verified,
        repository: root.to_string(),
        snapshot: snapshot.id().to_string(),
        writer: snapshot.writer().to_string(),
        writer_key_id: snapshot.key().id().to_string(),
        writer_key: key_file::write_public(snapshot.key()),
        sequence: snapshot.sequence(),
        time: snapshot.time(),
        incomplete: snapshot.is_incomplete(),
        part: snapshot.part().to_oci(),
        signers: policy.names(),
        threshold: if policy.signers.is_empty() { 0 } else { policy.threshold },
        distinct_signers: 0,
        slots: Vec::new(),
        accepted: Vec::new(),
        refused: Vec::new(),
        problems: problems(chain, snapshot),
        checkpoint: None,
    };
    if let Some(before) = &asked.before {
        report.problems.extend(before.check(root, chain).err());
    }
    if !policy.signers.is_empty() {
        judge_signers(repository, snapshot, policy, &mut report).await?;
    }
    if !report.problems.is_empty() || report.distinct_signers < report.threshold {
        report.verdict = Verdict::Refused;
    }
    Ok(report)
}

/// Problems in the order of the writer's snapshots, and snapshots that cannot be read.
fn problems(chain: &ManifestChain, snapshot: &SignedManifest) -> Vec<String> {
    let broken = chain.check(snapshot.writer()).err().map(|broken| broken.to_string());
    // A damaged manifest of another writer does not concern this snapshot, but its name cannot be trusted.
    broken.into_iter().chain(chain.unreadable.iter().map(ToString::to_string)).collect()
}

/// Counts which of the policy's keys the host and the countersigners hold.
async fn judge_signers(
    repository: &Repository,
    snapshot: &SignedManifest,
    policy: &Policy,
    report: &mut SnapshotVerification,
) -> Result<(), Failure> {
    let mut votes = Vec::new();
    let is_host = |signer: &&Signer| matches!(signer, Signer::Key { key, .. } if key == snapshot.key());
    let slots = policy.signers.iter().enumerate().filter(|(_, signer)| is_host(signer)).map(|(slot, _)| slot);
    let slots: Vec<usize> = slots.collect();
    // The host's own signature is in no log, and is as recent as the time in it.
    let host = policy.signers.iter().find(is_host).filter(|_| !policy.keys_need_log());
    if let (Some(_), Err(refusal)) = (host, policy.check_signed_time(snapshot.time())) {
        report.refused.push(findings::refused_bundle("the host's own signature".to_owned(), &refusal));
    } else if let Some(signer) = host {
        let signature = Sha256Digest::of(snapshot.payload());
        votes.push(Vote { slots, key: snapshot.key().id(), signature, identity: None });
        let step = lifeboat_trust::step::ENVELOPE;
        report.accepted.push(AcceptedBundle {
            bundle: "the host's own signature".to_owned(),
            format: "manifest",
            signer: signer.name(),
            key_id: Some(snapshot.key().id().to_string()),
            identity: None,
            issuer: None,
            states: Some(PREDICATE_TYPE.to_owned()),
            witnessed_at: Vec::new(),
            fills: None,
            log_entries: 0,
            log_promises: 0,
            unchecked_log_entries: 0,
            cosignatures: Vec::new(),
            unchecked_cosignatures: 0,
            timestamps: 0,
            written_to: None,
            steps: vec![Step { name: step.name, specification: step.specification }],
        });
    }
    let claim = Claim { subject: snapshot.part(), predicate_type: PredicateType::of_uri(PREDICATE_TYPE) };
    for (object, read) in snapshot.countersignatures(repository).await? {
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => {
                let (bundle, reason) = (object, error.to_string());
                report.refused.push(RefusedBundle { bundle, reason, step: None });
                continue;
            }
        };
        match judge(&bytes, &claim, policy) {
            Ok(found) if found.payload != snapshot.payload() => report.refused.push(RefusedBundle {
                bundle: object,
                reason: "it signs another statement than this snapshot's".to_owned(),
                step: None,
            }),
            Ok(found) => {
                report.accepted.push(findings::accepted_bundle(object, "bundle", &found));
                votes.push(found.vote);
            }
            Err(refusal) => report.refused.push(findings::refused_bundle(object, &refusal)),
        }
    }
    (report.slots, report.distinct_signers) = findings::fill_slots(policy, &votes, &mut report.accepted);
    Ok(())
}
