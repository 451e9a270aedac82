//! `ls`: what is in a snapshot.

use std::ffi::OsString;

use jiff::Timestamp;
use lifeboat_report::snapshots::{ItemLine, ItemList, ListedStream};
use lifeboat_shell::{Failure, Outcome, Ui, describe};
use lifeboat_vault::NamedStream;
use lifeboat_vault::item::{Item, is_at_or_below};

use crate::address::GivenPath;
use crate::open::{self, SnapshotFlags};

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
    path: Option<OsString>,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let place = open::place(&args.snapshot).await?;
    let path = place.path.joined(&GivenPath::of(args.path.as_ref()));
    let mut items = Vec::new();
    for stream in &place.streams {
        let wanted: Vec<Vec<u8>> = match &place.stream {
            Some(only) if only.index == stream.index => path.meanings(),
            Some(_) => continue,
            None => path.meanings().iter().flat_map(|path| in_stream(&stream.name, path)).collect(),
        };
        let mut found = place.snapshot.items(stream.index)?;
        while let Some(item) = found.next().await? {
            if wanted.iter().any(|wanted| is_at_or_below(&item.path, wanted)) {
                items.push(line(&stream.name, &item));
            }
        }
    }
    if !path.is_empty() && items.is_empty() {
        return Err(place.lacks(&path).into());
    }
    let is_listed =
        |stream: &&NamedStream| place.stream.as_ref().is_none_or(|only| only.index == stream.index);
    let listed = place.streams.iter().filter(is_listed).map(|stream| ListedStream {
        kind: stream.kind.to_string(),
        name: stream.name.clone(),
        source: describe::source(stream),
    });
    let snapshot = place.snapshot.snapshot().id().to_string();
    ui.report(&ItemList { snapshot, streams: listed.collect(), items });
    Ok(Outcome::Done)
}

/// What `path` may mean in a stream: a path in it, or one that starts with the stream's name.
fn in_stream(name: &str, path: &[u8]) -> Vec<Vec<u8>> {
    let below = path.strip_prefix(name.as_bytes()).filter(|rest| rest.is_empty() || rest[0] == b'/');
    let below = below.map(|rest| rest.strip_prefix(b"/").unwrap_or(rest).to_vec());
    below.into_iter().chain([path.to_vec()]).collect()
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
    use super::in_stream;

    #[test]
    fn a_path_may_begin_with_the_name_of_what_was_captured() {
        assert_eq!(in_stream("db", b"db/base"), [&b"base"[..], b"db/base"]);
        assert_eq!(in_stream("db", b"db"), [&b""[..], b"db"]);
        assert_eq!(in_stream("db", b"dbase"), [b"dbase"]);
        assert_eq!(in_stream("db", b""), [b""]);
    }
}
