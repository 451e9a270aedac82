//! `dump`: one file of a snapshot to standard output.

use lifeboat_shell::{Failure, Outcome, Ui};
use lifeboat_vault::VaultError;
use lifeboat_vault::item::{Item, ItemKind, Segment};

use crate::open::{self, SnapshotFlags};

/// Write one file of a snapshot to standard output
///
/// Where the snapshot holds several volumes or folders, PATH begins with the name of the one that is meant.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lifeboat-restore dump latest shop.sql -r /srv/backups --identity safe-1.key | psql shop")]
pub(crate) struct Args {
    #[command(flatten)]
    snapshot: SnapshotFlags,
    /// The file
    #[arg(value_name = "PATH")]
    path: String,
}

pub(crate) async fn run(args: Args, ui: &Ui) -> Result<Outcome, Failure> {
    let snapshot = open::snapshot(&args.snapshot).await?;
    let streams = open::streams(&snapshot).await?;
    let path = args.path.trim_matches('/');
    let mut wanted: Vec<(usize, &str)> = Vec::new();
    for stream in &streams {
        let below = path.strip_prefix(stream.name.as_str()).and_then(|rest| rest.strip_prefix('/'));
        wanted.extend(below.map(|below| (stream.index, below)));
    }
    if let [only] = &streams[..] {
        wanted.push((only.index, path));
    }
    for stream in &streams {
        if stream.kind == lifeboat_vault::StreamKind::Stdin && stream.name == path {
            wanted.push((stream.index, path));
        }
    }
    for (index, path) in wanted {
        if let Some(item) = find(&snapshot, index, path.as_bytes()).await? {
            write(&snapshot, &item, ui).await?;
            return Ok(Outcome::Done);
        }
    }
    let candidates = streams.into_iter().map(|stream| format!("{}/…", stream.name)).collect();
    Err(VaultError::NotInSnapshot { what: "file", wanted: args.path, candidates }.into())
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
