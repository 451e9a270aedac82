//! `lifeboat-sign snapshot`

use std::path::PathBuf;

use lifeboat_report::signature::{Signature, StoredBundle};
use lifeboat_shell::{Failure, Outcome, RepositoryFlags, Ui, open_public_repository};
use lifeboat_trust::bundle::Bundle;
use lifeboat_vault::{ManifestChain, PREDICATE_TYPE};

use crate::key::open_key;

/// Countersign a snapshot: a second signature beside that of the host that wrote it
///
/// The host's own signature and the order of its snapshots are checked first. No key of the repository is needed: what
/// is signed is the snapshot's public manifest, byte for byte, which names the sealed data by its hash.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lifeboat-sign snapshot latest -r s3://bucket/backups --root ID --key auditor.key
  lifeboat-verify snapshot latest -r s3://bucket/backups --root ID --key auditor.pub

The repository's id stands in every key file, and on the printed sheet.")]
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
    /// Private key to sign with, as `keygen` or cosign makes it, or plugin:COMMAND for one that is held elsewhere
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

pub(crate) async fn run(args: &Args, ui: &Ui) -> Result<Outcome, Failure> {
    let key = open_key(&args.key, ui)?;
    let repository = open_public_repository(&args.repository, args.root.as_deref(), ui).await?;
    let chain = ManifestChain::read(&repository).await?;
    let snapshot = chain.find(&args.snapshot, args.writer.as_deref())?;
    chain.check(snapshot.writer()).map_err(|broken| {
        Failure::refused(broken.to_string(), "do not vouch for it; find out who changed the repository")
    })?;
    let bundle = Bundle::sign_statement(snapshot.payload().to_vec(), &*key)?;
    let object = snapshot.add_countersignature(&repository, bundle.to_json()).await?;
    ui.report(&Signature {
        subject: format!("snapshot {}", snapshot.id()),
        digest: format!("sha256:{}", snapshot.id()),
        tag: None,
        predicate_type: Some(PREDICATE_TYPE.to_owned()),
        key_id: key.verification_key().id().to_string(),
        bundle: StoredBundle::Repository { object },
        also: None,
        children: Vec::new(),
    });
    Ok(Outcome::Done)
}
