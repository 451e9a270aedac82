//! `ls`: what is in a snapshot.

use jiff::Timestamp;
use lifeboat_report::snapshots::{ItemLine, ItemList};
use lifeboat_shell::{Failure, Outcome, Ui, describe};
use lifeboat_vault::item::Item;

use crate::open::{self, SnapshotFlags};

/// List what is in a snapshot
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lifeboat-restore ls latest -r /srv/backups --identity safe-1.key
  lifeboat-restore ls latest etc/nginx -r /srv/backups --identity safe-1.key")]
pub(crate) struct Args {
    #[command(flatten)]
    snapshot: SnapshotFlags,
    /// Only what is at or below this path
    #[arg(value_name = "PATH")]
    path: Option<String>,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let snapshot = open::snapshot(&args.snapshot).await?;
    let wanted = args.path.as_deref().map(|path| path.trim_matches('/').as_bytes().to_vec());
    let mut items = Vec::new();
    for stream in open::streams(&snapshot).await? {
        let mut found = snapshot.items(stream.index)?;
        while let Some(item) = found.next().await? {
            if wanted.as_ref().is_none_or(|wanted| is_below(&item.path, wanted)) {
                items.push(line(&stream.name, &item));
            }
        }
    }
    if let (Some(path), true) = (&args.path, items.is_empty()) {
        let (what, candidates) = ("path", Vec::new());
        return Err(
            lifeboat_vault::VaultError::NotInSnapshot { what, wanted: path.clone(), candidates }.into()
        );
    }
    ui.report(&ItemList { snapshot: snapshot.snapshot().id().to_string(), items });
    Ok(Outcome::Done)
}

fn is_below(path: &[u8], folder: &[u8]) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

fn line(stream: &str, item: &Item) -> ItemLine {
    let (path, path_hex) = describe::bytes(&item.path);
    let (target, target_hex) = item.target.as_ref().map(|target| describe::bytes(target)).unzip();
    ItemLine {
        stream: stream.to_owned(),
        path,
        path_hex,
        kind: describe::item_kind(item.kind).to_owned(),
        mode: format!("{:04o}", item.mode),
        uid: item.uid,
        gid: item.gid,
        size_bytes: item.size,
        modified_at: Timestamp::new(item.mtime, i32::try_from(item.mtime_ns).unwrap_or(0)).ok(),
        target,
        target_hex: target_hex.flatten(),
    }
}

#[cfg(test)]
mod tests {
    use super::is_below;

    #[test]
    fn a_folder_holds_itself_and_what_is_in_it_and_no_neighbour() {
        assert!(is_below(b"etc", b"etc") && is_below(b"etc/a", b"etc") && is_below(b"x", b""));
        assert!(!is_below(b"etcetera", b"etc") && !is_below(b"a/etc", b"etc"));
    }
}
