//! The retention floor: the minimum that requests to forget must leave.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::format::condemnation::DAY;

/// The minimum that requests to forget must leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// A snapshot is kept for this many days after it was stored, by the storage's clock.
    pub days: u32,
    /// This many of a writer's newest snapshots are kept.
    pub snapshots: u32,
}

impl Default for Floor {
    /// The newest snapshot of every writer is kept, and none for a number of days.
    fn default() -> Self {
        Self { days: 0, snapshots: 1 }
    }
}

impl Floor {
    /// The days of a new repository's floor, unless specified otherwise: a thief of a host's or keeper's key cannot
    /// have younger snapshots forgotten.
    pub const USUAL_DAYS: u32 = 14;

    /// For how long a snapshot is kept after it was stored.
    pub(crate) fn span(self) -> SignedDuration {
        DAY * i32::try_from(self.days).unwrap_or(i32::MAX)
    }

    /// Why a readable snapshot is kept from writers and keepers. `newer` counts the newer snapshots of its writer, and
    /// both times are the storage's.
    pub(crate) fn keeps(self, newer: usize, stored: Timestamp, now: Timestamp) -> Option<Floored> {
        if self.days > 0 && now.duration_since(stored) < self.span() {
            Some(Floored::Young)
        } else {
            (newer < self.snapshots as usize).then_some(Floored::Newest)
        }
    }
}

/// Why the retention floor keeps a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Floored {
    /// It was stored too recently.
    Young,
    /// It is one of its writer's newest.
    Newest,
}

impl Floored {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Young => "it is younger than the retention floor allows",
            Self::Newest => "the newest one of every host is kept",
        }
    }
}
