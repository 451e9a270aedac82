//! `diff`: how two snapshots differ.

use lifeboat_report::comparison::{ChangeLine, SnapshotDiffReport, StreamChange};
use lifeboat_shell::{Failure, Outcome, RecoveryFlags, RepositoryFlags, Ui, WhichFlags, describe};
use lifeboat_vault::{
    Change, ChangeCounts, Changed, Listing, NamedStream, OpenSnapshot, VaultError, same_sources,
};

/// Tell what changed from one snapshot to another
///
/// This takes a recovery key: paths are not for the hosts that back up. Folders of the same path, and volumes of the same
/// name, are compared with each other, contents by their hashes. The exit code is 0 whether or not there are differences;
/// to compare a folder or a volume with a snapshot, see `lifeboat-restore diff`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  lifeboat-backup diff 3f2a91c0 latest -r /srv/backups --identity safe-1.key"
)]
pub(crate) struct Args {
    /// The earlier snapshot: an id, the first digits of one, `latest` or `latest:VOLUME`
    #[arg(value_name = "A")]
    earlier: String,
    /// The later snapshot
    #[arg(value_name = "B")]
    later: String,
    #[command(flatten)]
    repository: RepositoryFlags,
    #[command(flatten)]
    keys: RecoveryFlags,
    #[command(flatten)]
    which: WhichFlags,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let restorer = args.keys.open_to_read(&args.repository).await?;
    let listing = Listing::read(restorer.session()).await?;
    let listing = args.which.narrow(listing, Some(&restorer), None).await?;
    let mut snapshots =
        listing.select(args.which.host.as_deref(), &[], &[args.earlier, args.later])?.snapshots.into_iter();
    let (Some(before), Some(after)) = (snapshots.next(), snapshots.next()) else {
        return Err(VaultError::Internal("two names are two snapshots").into());
    };
    let (before, after) =
        (OpenSnapshot::open(&restorer, before).await?, OpenSnapshot::open(&restorer, after).await?);
    let mut comparison =
        Comparison { ui, counts: ChangeCounts::default(), streams: Vec::new(), changes: Vec::new() };
    comparison.compare(&before, &after).await?;
    let Comparison { counts, streams, changes, .. } = comparison;
    ui.report(&SnapshotDiffReport {
        before: before.snapshot().id().to_string(),
        after: after.snapshot().id().to_string(),
        added: counts.added,
        added_bytes: counts.added_bytes,
        removed: counts.removed,
        removed_bytes: counts.removed_bytes,
        changed: counts.changed,
        changed_bytes: counts.changed_bytes,
        unchanged: counts.unchanged,
        streams,
        changes,
    });
    Ok(Outcome::Done)
}

/// The differences found so far.
struct Comparison<'u> {
    ui: &'u Ui,
    counts: ChangeCounts,
    streams: Vec<StreamChange>,
    changes: Vec<ChangeLine>,
}

impl Comparison<'_> {
    async fn compare(&mut self, before: &OpenSnapshot, after: &OpenSnapshot) -> Result<(), VaultError> {
        let (streams, later) = (before.named_streams().await?, after.named_streams().await?);
        let same = same_sources(&streams, &later);
        for (stream, place) in streams.iter().zip(&same) {
            let Some(other) = place.map(|place| &later[place]) else {
                self.only_in(before, stream, "removed");
                continue;
            };
            let (ui, changes) = (self.ui, &mut self.changes);
            let each = |change: Change| {
                let line = line(&stream.name, change);
                ui.line(&line.text());
                if ui.is_json() {
                    changes.push(line);
                }
            };
            self.counts += before.changes(stream.index, after, other.index, &self.ui.context(), each).await?;
        }
        let is_new = |place: &usize| !same.contains(&Some(*place));
        for stream in (0..later.len()).filter(is_new).map(|place| &later[place]) {
            self.only_in(after, stream, "added");
        }
        Ok(())
    }

    fn only_in(&mut self, snapshot: &OpenSnapshot, stream: &NamedStream, what: &str) {
        let Some(view) = snapshot.snapshot().streams().nth(stream.index) else { return };
        let (items, bytes) = match what {
            "added" => (&mut self.counts.added, &mut self.counts.added_bytes),
            _ => (&mut self.counts.removed, &mut self.counts.removed_bytes),
        };
        *items += view.items;
        *bytes += view.data_bytes;
        let change = StreamChange {
            kind: stream.kind.to_string(),
            name: stream.name.clone(),
            what: what.to_owned(),
            items: view.items,
            data_bytes: view.data_bytes,
        };
        self.ui.line(&change.text());
        self.streams.push(change);
    }
}

fn line(stream: &str, change: Change) -> ChangeLine {
    let (path, path_hex) = describe::bytes(&change.path);
    let (what, aspects) = match change.what {
        Changed::Added => ("added", Vec::new()),
        Changed::Removed => ("removed", Vec::new()),
        Changed::Aspects(aspects) => ("changed", aspects.into_iter().map(str::to_owned).collect()),
    };
    ChangeLine {
        stream: stream.to_owned(),
        path,
        path_hex,
        what: what.to_owned(),
        aspects,
        size_before_bytes: change.size_before,
        size_after_bytes: change.size_after,
    }
}
