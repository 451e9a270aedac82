//! `dump`: one file of a snapshot to standard output.

use std::ffi::OsString;

use lifeboat_core::text::path_text;
use lifeboat_shell::{Failure, Outcome, Ui, describe};
use lifeboat_vault::item::{Item, ItemKind, Segment};
use lifeboat_vault::{NamedStream, StreamKind, VaultError};

use crate::address::GivenPath;
use crate::open::{self, SnapshotFlags};

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
    path: Option<OsString>,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let place = open::place(&args.snapshot).await?;
    let path = place.path.joined(&GivenPath::of(args.path.as_ref()));
    let meanings = path.meanings();
    let stored: Vec<&str> = place.snapshot.snapshot().streams().map(|stream| stream.name).collect();
    let wanted: Vec<(usize, &[u8])> = match &place.stream {
        // What came on standard input is one file.
        Some(only) if only.kind == StreamKind::Stdin && path.is_empty() => {
            vec![(only.index, stored[only.index].as_bytes())]
        }
        Some(only) => meanings.iter().map(|path| (only.index, &path[..])).collect(),
        None => meanings.iter().flat_map(|path| meant(&place.streams, path)).collect(),
    };
    if path.is_empty() && wanted.iter().all(|(_, path)| path.is_empty()) {
        return Err(Failure::usage(
            format!("`{}` names no file", args.snapshot.snapshot.display()),
            "write SNAP:NAME/PATH, as `lifeboat-restore find` prints it",
        ));
    }
    for (index, path) in wanted {
        match find(&place.snapshot, index, path).await? {
            Some(item) if item.kind == ItemKind::File => {
                write(&place.snapshot, &item, ui).await?;
                return Ok(Outcome::Done);
            }
            Some(item) => {
                let kind = describe::item_kind(item.kind);
                return Err(Failure::usage(
                    format!("`{}` is a {kind}, and no file", path_text(path)),
                    "restore it with `lifeboat-restore path SNAP:NAME/PATH --to DIR`",
                ));
            }
            None => {}
        }
    }
    Err(place.lacks(&path).into())
}

/// The streams that may contain `path`, and its path in each.
fn meant<'p>(streams: &[NamedStream], path: &'p [u8]) -> Vec<(usize, &'p [u8])> {
    let mut wanted = Vec::new();
    for stream in streams {
        let below = path.strip_prefix(stream.name.as_bytes()).and_then(|rest| rest.strip_prefix(b"/"));
        wanted.extend(below.map(|below| (stream.index, below)));
    }
    if let [only] = streams {
        wanted.push((only.index, path));
    }
    for stream in streams {
        if stream.kind == StreamKind::Stdin && stream.name.as_bytes() == path {
            wanted.push((stream.index, path));
        }
    }
    wanted
}

/// Finds an item. A file with several names is found by its first one.
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
                    (ItemKind::HardLink, Some(target)) => wanted = target.to_vec(),
                    _ => return Ok(Some(item)),
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

/// Writes the zeros that a hole reads as.
fn zeros(ui: &Ui, mut count: u64) -> Result<(), Failure> {
    let zeros = [0; 4 << 10];
    while count > 0 {
        let now = usize::try_from(count).unwrap_or(usize::MAX).min(zeros.len());
        ui.data(&zeros[..now])?;
        count -= now as u64;
    }
    Ok(())
}
