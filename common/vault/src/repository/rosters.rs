//! Decides which roster is in force: the newest one that the root signed.
//!
//! Every roster contains the whole state, so the newest one is enough. Earlier ones are read as far as this machine has
//! not seen them: to check that the chain leads to the pinned one, that no member on it changed or vanished, and to
//! report damaged or missing ones. A hole in the chain is reported and stops nothing. A damaged newest object is
//! reported as well; nothing may be deleted then, since it may be the one that removes a member.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use lifeboat_core::Sha256Digest;
use lifeboat_store::{Listing, Store, StoreError};

use crate::error::{ObjectError, Read, VaultError};
use crate::format::layout::{self, cap};
use crate::format::roster::Roster;
use crate::ids::{RepositoryId, Signer};
use crate::repository::listing;
use crate::repository::open::Repository;
use crate::repository::pins::PinnedRoster;

/// How many rosters are read at once.
const READS: usize = 4;

/// The roster in force, and the faults of others.
#[derive(Debug)]
pub(crate) struct Rosters {
    pub(crate) roster: Roster,
    pub(crate) pin: PinnedRoster,
    pub(crate) holes: Holes,
    /// The number of the newest roster that this machine has seen, if that does not exist any more.
    pub(crate) seen: Option<u64>,
}

/// The faults of rosters that are not in force.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holes {
    /// Objects with higher numbers than the roster in force that do not count as rosters, or are out of reach.
    pub(crate) above: Vec<Hole>,
    /// Rosters before it that are damaged, missing, out of reach or not those that the chain names.
    pub(crate) below: Vec<Hole>,
}

/// One roster that cannot be trusted, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) number: u64,
    pub(crate) error: ObjectError,
}

/// A roster that the root signed, and the hash of its stored bytes.
type Signed = (Roster, Sha256Digest);

impl Hole {
    fn missing(number: u64) -> Self {
        Self { number, error: ObjectError::Missing { key: layout::roster(number) } }
    }

    fn damaged(number: u64, reason: impl ToString) -> Self {
        Self { number, error: ObjectError::damaged(layout::roster(number), reason) }
    }
}

impl Holes {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Hole> {
        self.above.iter().chain(&self.below)
    }
}

impl Repository {
    /// Fails if a newer roster has removed the signer of a prune or changed the floor, or cannot be read.
    pub(crate) async fn see_that_a_prune_may_go_on(&self, signer: Signer) -> Result<(), VaultError> {
        let listing = listing::listing(&self.store, layout::ROSTERS).await?;
        let newest = numbers(&listing).last().copied();
        let Some(number) = newest.filter(|number| *number > self.roster.number()) else { return Ok(()) };
        let may_go_on = match read_one(&self.store, &self.id, number).await? {
            Ok(Ok((newest, _))) => {
                let is_in_force = match signer {
                    Signer::Keeper(id) => newest.keeper(id).is_some_and(|keeper| keeper.removed.is_none()),
                    Signer::Root => true,
                    Signer::Writer(_) => false,
                };
                is_in_force && newest.floor == self.roster.floor
            }
            Ok(Err(_)) | Err(_) => false,
        };
        if may_go_on { Ok(()) } else { Err(VaultError::RosterReplaced { number }) }
    }

    /// The faults in the whole chain of rosters, whatever this machine has seen of it.
    pub(crate) async fn all_holes(&self) -> Result<Holes, StoreError> {
        match read(&self.store, &self.id, None).await? {
            Ok(rosters) => Ok(rosters.holes),
            // The repository was opened already; the next one to open it reports what is new since then.
            Err(error) => {
                tracing::warn!("{error}");
                Ok(self.holes.clone())
            }
        }
    }
}

/// The numbers of the rosters, including those that are out of this user's reach: one of them may be the newest.
fn numbers(listing: &Listing) -> BTreeSet<u64> {
    let hidden = listing.passed_over.iter().filter(|passed| passed.obstacle.may_hide_objects());
    let keys = listing.entries.iter().map(|entry| &entry.key).chain(hidden.map(|passed| &passed.place));
    keys.filter_map(|key| layout::number(key.rsplit('/').next()?)).collect()
}

/// Reads the newest roster, and those before it down to the pinned one.
pub(crate) async fn read(store: &Store, id: &RepositoryId, pinned: Option<PinnedRoster>) -> Read<Rosters> {
    let listing = listing::listing(store, layout::ROSTERS).await?;
    let listed = numbers(&listing);
    let mut above = Vec::new();
    let mut newest = None;
    for number in listed.iter().rev().copied() {
        match read_one(store, id, number).await? {
            Ok(Ok(signed)) => {
                newest = Some(signed);
                break;
            }
            Ok(Err(hole)) => above.push(hole),
            Err(refused) => return Ok(Err(refused)),
        }
    }
    let Some(newest) = newest else {
        let gap = || listing.gap_in(layout::ROSTERS).map(ObjectError::out_of_reach);
        let lowest = above.pop().map(|hole| hole.error).or_else(gap);
        return Ok(Err(lowest.unwrap_or_else(|| Hole::missing(0).error)));
    };
    let number = newest.0.number();
    let from = pinned.map_or(0, |pinned| pinned.number).min(number);
    let read = |number: u64| {
        let is_listed = listed.contains(&number);
        async move {
            if is_listed {
                return (number, read_one(store, id, number).await);
            }
            (number, Ok(Ok(Err(Hole::missing(number)))))
        }
    };
    let mut older = BTreeMap::new();
    let mut reads = std::pin::pin!(futures::stream::iter(from..number).map(read).buffered(READS));
    while let Some((number, read)) = reads.next().await {
        match read? {
            Ok(read) => older.insert(number, read),
            Err(refused) => return Ok(Err(refused)),
        };
    }
    let below = match follow(&newest, older, pinned) {
        Ok(below) => below,
        Err(refused) => return Ok(Err(refused)),
    };
    let (roster, hash) = newest;
    let seen = pinned.map(|pinned| pinned.number).filter(|seen| *seen > roster.number());
    if let Some(hole) = above.iter().find(|hole| Some(hole.number) == seen) {
        return Ok(Err(hole.error.clone()));
    }
    let pin = PinnedRoster { number: roster.number(), hash };
    Ok(Ok(Rosters { roster, pin, holes: Holes { above, below }, seen }))
}

/// Reads a roster. One that the root signed and this version refuses is not a hole: no older roster may be used
/// instead.
async fn read_one(store: &Store, id: &RepositoryId, number: u64) -> Read<Result<Signed, Hole>> {
    let key = layout::roster(number);
    let bytes = match ObjectError::split(store.read(&key, cap::ROSTER).await)? {
        Ok(bytes) => bytes,
        Err(error) => return Ok(Ok(Err(Hole { number, error }))),
    };
    Ok(match Roster::verify(&bytes, id, number) {
        Ok(roster) => Ok(Ok((roster, Sha256Digest::of(&bytes)))),
        Err(reason) if reason.is_of_the_root() => Err(ObjectError::damaged(key, reason)),
        Err(reason) => Ok(Err(Hole::damaged(number, reason))),
    })
}

/// Follows the chain from the newest roster down through the older ones; returns the holes in it. Fails for a newest
/// one that does not continue what this machine has seen, or that changes members.
fn follow(
    newest: &Signed,
    older: BTreeMap<u64, Result<Signed, Hole>>,
    pinned: Option<PinnedRoster>,
) -> Result<Vec<Hole>, ObjectError> {
    let other = |number: u64, found: &Sha256Digest, seen: &Sha256Digest| {
        let reason = format!("its SHA-256 is {found}, but this machine has seen {seen} in its place");
        ObjectError::damaged(layout::roster(number), reason)
    };
    if let Some(pinned) = pinned.filter(|pin| pin.number == newest.0.number() && pin.hash != newest.1) {
        return Err(other(pinned.number, &newest.1, &pinned.hash));
    }
    let mut holes = Vec::new();
    let mut after = newest.0.clone();
    // The hash of the roster before, if it is known that the one after it names it.
    let mut named = after.previous;
    for (number, read) in older.into_iter().rev() {
        let pin = pinned.filter(|pinned| pinned.number == number);
        if let (Some(pin), Some(named)) = (pin, named)
            && pin.hash != named
        {
            return Err(other(number, &named, &pin.hash));
        }
        let expected = named.or(pin.map(|pin| pin.hash));
        named = None;
        match read {
            Err(hole) => holes.push(hole),
            Ok((_, hash)) if expected.is_some_and(|expected| expected != hash) => {
                let reason = format!("its SHA-256 is {hash}, which is not the one that the chain names");
                holes.push(Hole::damaged(number, reason));
            }
            Ok((roster, _)) => {
                after
                    .follows(&roster)
                    .map_err(|reason| ObjectError::damaged(layout::roster(after.number()), reason))?;
                named = roster.previous;
                after = roster;
            }
        }
    }
    holes.reverse();
    Ok(holes)
}
