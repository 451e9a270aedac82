//! `dump`: one file of a snapshot to standard output.

use lifeboat_shell::{Failure, Outcome, Ui};
use lifeboat_vault::item::{Item, ItemKind, Segment};
use lifeboat_vault::{NamedStream, StreamKind, VaultError};

use crate::address::joined;
use crate::open::{self, Place, SnapshotFlags};

/// Write one file of a snapshot to standard output
///
/// The file is named as `find` prints it, SNAP:NAME/PATH, or by its path. Where the snapshot holds several volumes or
/// folders, the path begins with the name of the one that is meant.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lifeboat-restore dump 3f2a91c0:etc/nginx/nginx.conf -r /srv/backups --identity safe-1.key
  lifeboat-restore dump latest shop.sql -r /srv/backups --identity safe-1.key | psql shop")]
pub(crate) struct Args {
    #[command(flatten)]
    snapshot: SnapshotFlags,
    /// The file, where SNAP does not name it
    #[arg(value_name = "PATH")]
    path: Option<String>,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let Place { snapshot, streams, stream, path } = open::place(&args.snapshot).await?;
    let path = joined(path.as_deref(), args.path.as_deref());
    let wanted = match &stream {
        // What came on standard input is one file.
        Some(only) if only.kind == StreamKind::Stdin && path.is_empty() => vec![(only.index, &*only.name)],
        Some(only) => vec![(only.index, &*path)],
        None => meant(&streams, &path),
    };
    if path.is_empty() && wanted.iter().all(|(_, path)| path.is_empty()) {
        return Err(Failure::usage(
            format!("`{}` names no file", args.snapshot.snapshot),
            "write SNAP:NAME/PATH, as `lifeboat-restore find` prints it",
        ));
    }
    for (index, path) in wanted {
        if let Some(item) = find(&snapshot, index, path.as_bytes()).await? {
            write(&snapshot, &item, ui).await?;
            return Ok(Outcome::Done);
        }
    }
    let candidates = streams.iter().map(|stream| format!("{}/…", stream.name)).collect();
    Err(VaultError::NotInSnapshot { what: "file", wanted: path, candidates }.into())
}

/// The streams in which `path` may lie, and what it is there.
fn meant<'p>(streams: &[NamedStream], path: &'p str) -> Vec<(usize, &'p str)> {
    let mut wanted = Vec::new();
    for stream in streams {
        let below = path.strip_prefix(stream.name.as_str()).and_then(|rest| rest.strip_prefix('/'));
        wanted.extend(below.map(|below| (stream.index, below)));
    }
    if let [only] = streams {
        wanted.push((only.index, path));
    }
    for stream in streams {
        if stream.kind == StreamKind::Stdin && stream.name == path {
            wanted.push((stream.index, path));
        }
    }
    wanted
}

/// Finds a file, by way of its first name where it has several.
async fn find(
    snapshot: &lifeboat_vault::OpenSnapshot,
    index: usize,
    path: &[u8],
) -> Result<Option<Item>, VaultError> {
    let mut wanted = path.to_vec();
    for _ in 0..2 {
        let mut items = snapshot.items(index)?;
        while let Some(item) = items.next().await? {
            if *item.path == wanted[..] {
                match (item.kind, &item.target) {
                    (ItemKind::File, _) => return Ok(Some(item)),
                    (ItemKind::HardLink, Some(target)) => wanted = target.to_vec(),
                    _ => return Ok(None),
                }
                break;
            }
        }
    }
    Ok(None)
}

async fn write(snapshot: &lifeboat_vault::OpenSnapshot, item: &Item, ui: &Ui) -> Result<(), Failure> {
    let mut segments: std::collections::VecDeque<Segment> = item.data_segments().into();
    let mut at = 0;
    if let Some(content) = &item.content {
        let mut stream = snapshot.content(content);
        while let Some(bytes) = stream.next().await? {
            let mut rest = &bytes[..];
            while let Some(segment) = segments.front_mut().filter(|_| !rest.is_empty()) {
                zeros(ui, segment.offset.saturating_sub(at))?;
                at = at.max(segment.offset);
                let room = usize::try_from(segment.length).unwrap_or(usize::MAX).min(rest.len());
                ui.data(&rest[..room])?;
                rest = &rest[room..];
                at += room as u64;
                segment.offset += room as u64;
                segment.length -= room as u64;
                if segment.length == 0 {
                    segments.pop_front();
                }
            }
        }
    }
    zeros(ui, item.size.unwrap_or(0).saturating_sub(at))
}

/// What a hole reads as.
fn zeros(ui: &Ui, mut count: u64) -> Result<(), Failure> {
    let zeros = [0; 4 << 10];
    while count > 0 {
        let now = usize::try_from(count).unwrap_or(usize::MAX).min(zeros.len());
        ui.data(&zeros[..now])?;
        count -= now as u64;
    }
    Ok(())
}
