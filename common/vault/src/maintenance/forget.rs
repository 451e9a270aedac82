//! Requests that snapshots be forgotten, down to the retention floor.
//!
//! A request is read back before its snapshot is reported as forgotten: the object finally stored there decides. If a
//! request without effect occupies the place (of someone who was removed, or for another snapshot), a signer who may
//! delete replaces it. That is safe: a request without effect is ignored, and the snapshot exists, so the request
//! explains no gap.

use jiff::Timestamp;
use lifeboat_core::Context;
use lifeboat_core::Sha256Digest;
use lifeboat_store::StoreError;

use crate::error::VaultError;
use crate::format::floor::Floored;
use crate::format::layout::{self, cap};
use crate::format::request::{By, Request};
use crate::format::roster::Writer;
use crate::format::signed::Pen;
use crate::ids::Signer;
use crate::repository::access::Session;
use crate::snapshots::history::{History, why_void};
use crate::snapshots::snapshot::Snapshot;

/// The result of requesting to forget one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The request is stored and has effect; a keeper's prune deletes what no other snapshot needs.
    Forgotten,
    /// The retention floor keeps it, for this reason.
    Kept(&'static str),
    /// Something else without effect occupies the request's place: what it is, and what to do.
    Occupied(String),
}

/// Requests to forget snapshots; returns the result of each, in order. A writer may request this only for its own
/// snapshots. Snapshots that the retention floor keeps today are skipped: the request would wait and take effect later.
pub async fn forget(
    session: &Session,
    snapshots: &[&Snapshot],
    dry_run: bool,
    context: &Context,
) -> Result<Vec<Asked>, VaultError> {
    let (repository, pen) = (session.repository(), session.pen()?);
    let is_others =
        |snapshot: &&Snapshot| matches!(pen.signer, Signer::Writer(id) if id != snapshot.writer());
    if snapshots.iter().any(is_others) {
        return Err(VaultError::NotAllowed {
            who: "a writer key",
            what: "forget another host's snapshots",
            needed: "--keeper-key FILE or --identity FILE",
        });
    }
    let now = match pen.signer {
        Signer::Keeper(_) if !dry_run => storage_time_by(session, context).await?,
        _ => None,
    };
    let history = History::read_until(repository, now).await?;
    let now = now.or(history.latest).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut asked = Vec::with_capacity(snapshots.len());
    let mut below_floor = 0;
    for snapshot in snapshots {
        let floored = floored(session, snapshot, &history, now);
        below_floor += usize::from(floored.is_some() && pen.signer == Signer::Root);
        asked.push(match floored {
            Some(floored) if pen.signer != Signer::Root => Asked::Kept(floored.reason()),
            _ if dry_run => foreseen(session, snapshot, &history),
            floored => ask(session, snapshot, pen, context.clock.now(), floored).await?,
        });
    }
    if below_floor > 0 {
        tracing::warn!(
            "the retention floor keeps {below_floor} of these snapshots from everyone without a recovery key"
        );
    }
    Ok(asked)
}

/// Why the retention floor keeps a snapshot, by the storage's time.
fn floored(session: &Session, snapshot: &Snapshot, history: &History, now: Timestamp) -> Option<Floored> {
    let newer = history.snapshots.iter().filter(|recorded| {
        recorded.writer == snapshot.writer()
            && recorded.sequence > snapshot.sequence()
            && recorded.is_live()
            && recorded.manifest.is_ok()
    });
    session.repository().roster.floor.keeps(newer.count(), snapshot.stored().min(now), now)
}

/// The expected result of a request, according to the history.
fn foreseen(session: &Session, snapshot: &Snapshot, history: &History) -> Asked {
    let (writer, sequence) = (snapshot.writer(), snapshot.sequence());
    match history.void.get(&(writer, sequence)) {
        Some(why) if !may_replace(session) => {
            Asked::Occupied(occupied(&layout::forget(writer, sequence), why))
        }
        _ => Asked::Forgotten,
    }
}

fn may_replace(session: &Session) -> bool {
    session.pruning_pen().is_ok()
}

async fn ask(
    session: &Session,
    snapshot: &Snapshot,
    pen: Pen<'_>,
    time: Timestamp,
    floored: Option<Floored>,
) -> Result<Asked, VaultError> {
    let repository = session.repository();
    let (writer, sequence) = (snapshot.writer(), snapshot.sequence());
    let listed = repository.roster.writer(writer).ok_or(VaultError::UnknownWriter)?;
    let request = Request::new(repository.id(), writer, sequence, Some(*snapshot.id()), pen.signer, time);
    let key = layout::forget(writer, sequence);
    let mut may_replace = may_replace(session);
    loop {
        match repository.create_within(&key, request.sign(pen.key), cap::FORGET).await {
            Ok(()) | Err(VaultError::Store(StoreError::AlreadyExists { .. })) => {}
            Err(error) => return Err(error),
        }
        let Some(why) = why_without_effect(session, listed, sequence, snapshot.id(), floored).await? else {
            return Ok(Asked::Forgotten);
        };
        if !may_replace {
            return Ok(Asked::Occupied(occupied(&key, &why)));
        }
        match repository.store.delete(&key).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => {}
            Err(error) => {
                let why = format!("{why}; it could not be removed: {error}");
                return Ok(Asked::Occupied(occupied(&key, &why)));
            }
        }
        tracing::info!("`{key}` was replaced: {why}");
        may_replace = false;
    }
}

/// Reads what occupies a request's place; returns why it does not have the snapshot forgotten.
async fn why_without_effect(
    session: &Session,
    writer: &Writer,
    sequence: u64,
    snapshot: &Sha256Digest,
    floored: Option<Floored>,
) -> Result<Option<String>, StoreError> {
    let repository = session.repository();
    Ok(match repository.request(writer, sequence).await? {
        Ok(request) if floored.is_some() && request.by != By::Root => {
            let signer = Signer::from(request.by);
            Some(format!(
                "it is signed by {signer}, and the retention floor keeps the snapshot from that signer"
            ))
        }
        Ok(request) => why_void(&request, Some(snapshot), &repository.roster),
        Err(error) => Some(error.to_string()),
    })
}

/// The storage's time, or nothing if this key may not store the object that is needed to learn it.
async fn storage_time_by(session: &Session, context: &Context) -> Result<Option<Timestamp>, VaultError> {
    let time = session.repository().storage_time(context.entropy.array()).await?;
    Ok(time
        .inspect_err(|error| tracing::info!("the storage's time is taken from what is listed: {error}"))
        .ok())
}

fn occupied(key: &str, why: &str) -> String {
    format!(
        "`{key}` is occupied: {why}. Ask again with --keeper-key or --identity and a right to delete there, or have that \
         object deleted"
    )
}

#[cfg(test)]
mod tests;
