//! `ls`: what is in a snapshot.

use std::fmt::Write as _;

use jiff::Timestamp;
use lifeboat_report::snapshots::{ItemLine, ItemList};
use lifeboat_shell::{Failure, Outcome, Ui};
use lifeboat_vault::item::{Item, ItemKind};

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
    let letter = match item.kind {
        ItemKind::File | ItemKind::HardLink => '-',
        ItemKind::Folder => 'd',
        ItemKind::Symlink => 'l',
        ItemKind::BlockDevice => 'b',
        ItemKind::CharacterDevice => 'c',
        ItemKind::Fifo => 'p',
        ItemKind::Socket => 's',
    };
    let path = String::from_utf8_lossy(&item.path);
    ItemLine {
        stream: stream.to_owned(),
        path_hex: matches!(path, std::borrow::Cow::Owned(_)).then(|| to_hex(&item.path)),
        path: path.into_owned(),
        mode: format!("{letter}{:04o}", item.mode),
        uid: item.uid,
        gid: item.gid,
        size: item.size,
        modified: Timestamp::new(item.mtime, i32::try_from(item.mtime_ns).unwrap_or(0)).ok(),
        target: item.target.as_ref().map(|target| String::from_utf8_lossy(target).into_owned()),
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
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
