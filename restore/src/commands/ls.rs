//! `ls`: what is in a snapshot.

use jiff::Timestamp;
use lifeboat_report::snapshots::{ItemLine, ItemList};
use lifeboat_shell::{Failure, Outcome, Ui, describe};
use lifeboat_vault::item::Item;

use crate::address::joined;
use crate::open::{self, Place, SnapshotFlags};

/// List what is in a snapshot
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lifeboat-restore ls latest -r /srv/backups --identity safe-1.key
  lifeboat-restore ls latest:shop_db -r /srv/backups --identity safe-1.key
  lifeboat-restore ls latest etc/nginx -r /srv/backups --identity safe-1.key")]
pub(crate) struct Args {
    #[command(flatten)]
    snapshot: SnapshotFlags,
    /// Only what is at or below this path, which may begin with the name of a volume or folder
    #[arg(value_name = "PATH")]
    path: Option<String>,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let Place { snapshot, streams, stream: only, path } = open::place(&args.snapshot).await?;
    let mut items = Vec::new();
    for stream in streams {
        let wanted: Vec<String> = match &only {
            Some(only) if only.index == stream.index => {
                vec![joined(path.as_deref(), args.path.as_deref())]
            }
            Some(_) => continue,
            None => in_stream(&stream.name, args.path.as_deref()),
        };
        let mut found = snapshot.items(stream.index)?;
        while let Some(item) = found.next().await? {
            if wanted.iter().any(|wanted| is_below(&item.path, wanted.as_bytes())) {
                items.push(line(&stream.name, &item));
            }
        }
    }
    if let (Some(path), true) = (args.path.or(path), items.is_empty()) {
        let (what, candidates) = ("path", Vec::new());
        return Err(lifeboat_vault::VaultError::NotInSnapshot { what, wanted: path, candidates }.into());
    }
    ui.report(&ItemList { snapshot: snapshot.snapshot().id().to_string(), items });
    Ok(Outcome::Done)
}

/// What `path` may mean in a stream: a path there, or one that begins with the stream's name.
fn in_stream(name: &str, path: Option<&str>) -> Vec<String> {
    let path = joined(None, path);
    let below = path.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let below = below.map(|below| below.trim_matches('/').to_owned());
    below.into_iter().chain([path]).collect()
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
    use super::{in_stream, is_below};

    #[test]
    fn a_path_may_begin_with_the_name_of_what_was_captured() {
        assert_eq!(in_stream("db", Some("/db/base/")), ["base", "db/base"]);
        assert_eq!(in_stream("db", Some("db")), ["", "db"]);
        assert_eq!(in_stream("db", Some("dbase")), ["dbase"]);
        assert_eq!(in_stream("db", None), [""]);
    }

    #[test]
    fn a_folder_holds_itself_and_what_is_in_it_and_no_neighbour() {
        assert!(is_below(b"etc", b"etc") && is_below(b"etc/a", b"etc") && is_below(b"x", b""));
        assert!(!is_below(b"etcetera", b"etc") && !is_below(b"a/etc", b"etc"));
    }
}
