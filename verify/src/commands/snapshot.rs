//! `lifeboat-verify snapshot`

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use lifeboat_core::Sha256Digest;
use lifeboat_report::verification::{AcceptedBundle, RefusedBundle, SnapshotVerification, Step, Verdict};
use lifeboat_shell::{Failure, Outcome, RepositoryFlags, Ui, open_public_repository};
use lifeboat_trust::judge::{Claim, judge};
use lifeboat_trust::key_file;
use lifeboat_trust::matching::Vote;
use lifeboat_trust::policy::{Policy, Signer};
use lifeboat_trust::refusal::Refusal;
use lifeboat_trust::statement::PredicateType;
use lifeboat_vault::{ManifestChain, PREDICATE_TYPE, Repository, SignedManifest};

use crate::checkpoint::Checkpoint;
use crate::findings::{self, outcome};
use crate::item::{Form, Item};
use crate::question::{OfSnapshot, Question, Unjudged};
use crate::signers::{self, EvidenceFlags, SignerFlags};
use crate::verdict::{self, ReportFlags};

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
    /// The repository's id; without it, whatever repository lies there is believed
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
    let repository = open_public_repository(&args.repository, args.root.as_deref(), ui).await?;
    let root = *repository.id();
    let chain = repository.manifest_chain().await?;
    let snapshot = chain.find(&args.snapshot)?;
    let asked = OfSnapshot { repository: root, snapshot: snapshot.id(), before };
    let mut report = judge_snapshot(&repository, &chain, snapshot, &asked, &policy).await?;
    if args.output.is_wanted() {
        let objects = repository.public_objects(snapshot).await?;
        write_verdict(&args.output, asked, &policy, (snapshot, &objects), report.verdict).await?;
    }
    report.checkpoint = args.checkpoint.as_ref().map(|path| path.display().to_string());
    if let Some(path) = args.checkpoint.as_ref().filter(|_| report.verdict == Verdict::Verified) {
        Checkpoint::of(root, &chain).write(path)?;
    }
    ui.report(&report);
    Ok(outcome(report.verdict))
}

/// Writes the verdict with the public objects of the repository, from which it is derived again.
async fn write_verdict(
    output: &ReportFlags,
    asked: OfSnapshot,
    policy: &Policy,
    (snapshot, objects): (&SignedManifest, &[(String, Bytes)]),
    reached: Verdict,
) -> Result<(), Failure> {
    let mut record = output.record();
    for (name, bytes) in objects {
        let item = Item {
            place: name.clone(),
            form: Form::RepositoryObject,
            subject: snapshot.part(),
            refers_to: None,
            annotations: BTreeMap::new(),
            content: Sha256Digest::of(bytes),
        };
        record.add(item, bytes);
    }
    let derived =
        judge_again(objects.iter().map(|(name, bytes)| (name.clone(), bytes.to_vec())), &asked, policy);
    let derived = derived.await?;
    let subject =
        verdict::Subject { name: snapshot.id().to_string(), digest: snapshot.part(), tag: None, index: None };
    let question = Question::of_snapshot(policy, asked);
    let asked = verdict::Asked { subject, question, policy, whole: None, unjudged: Unjudged::default() };
    output.write_derived(asked, record, reached, (derived.verdict, verdict::to_value(&derived)))
}

/// Judges a snapshot from the public objects of its repository alone.
pub(crate) async fn judge_again(
    objects: impl IntoIterator<Item = (String, Vec<u8>)>,
    asked: &OfSnapshot,
    policy: &Policy,
) -> Result<SnapshotVerification, Failure> {
    let objects = objects.into_iter().map(|(name, bytes)| (name, Bytes::from(bytes)));
    let repository = Repository::of_public_objects(objects, &asked.repository).await?;
    let chain = repository.manifest_chain().await?;
    let snapshot = chain.find(&asked.snapshot.to_string())?;
    judge_snapshot(&repository, &chain, snapshot, asked, policy).await
}

/// Who made a snapshot, whether none before it was exchanged, and who vouches for it.
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
        time: snapshot.time().to_string(),
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

/// What is wrong with the order of the writer's snapshots, and with any of them that cannot be read.
fn problems(chain: &ManifestChain, snapshot: &SignedManifest) -> Vec<String> {
    let broken = chain.check(snapshot.writer()).err().map(|broken| broken.to_string());
    // A damaged manifest of another writer is no matter of this snapshot, but nobody can tell whose name it bears.
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
    // The host's own signature stands in no log, and is as young as the time that it signed.
    let host = policy.signers.iter().find(is_host).filter(|_| !policy.keys_need_log());
    // A time that is dated ahead proves no youth.
    let is_ahead = snapshot.time().as_second() - policy.now.as_second() > 60;
    let too_old = policy.minimum_time.filter(|minimum| snapshot.time() < *minimum || is_ahead);
    if let (Some(_), Some(minimum)) = (host, too_old) {
        let refusal = Refusal::Stale { time: snapshot.time().to_string(), minimum: minimum.to_string() };
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
    for (object, bytes) in repository.countersignatures(snapshot).await? {
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
