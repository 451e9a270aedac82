//! Who is believed about what.
//!
//! Every reader of a signed object states what it will do based on the object ([`Word`]) and asks here whose signature
//! counts for that ([`Roster::believes`]). The table in `SECURITY.md` has one row for each kind of object; a test
//! compares the two.

use lifeboat_trust::key::VerificationKey;

use crate::format::roster::Roster;
use crate::format::seal::Purpose;
use crate::ids::{GroupId, Signer, WriterId};

/// The actions that are based on a signed object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// A registration: a restore unwraps the run's key from it. The key's commitment decides whether it is the true
    /// one.
    RunKey,
    /// A registration: a prune keeps all frames of the run until its lease ends.
    RunUnderWay,
    /// The mark that a run is over: a prune keeps nothing for it.
    RunEnded {
        /// The signer of the run's registration.
        registrant: Signer,
    },
    /// A part: everything in the snapshot of `writer`.
    Part {
        /// The signer of the manifest that names the part.
        writer: WriterId,
    },
    /// A part that no manifest names yet: a prune keeps the frames that it needs until a lease after it was stored.
    PartUnderWay,
    /// A contents object: a run refers to the frames that it lists instead of storing their chunks again. A list that a
    /// repair made from unsigned trailers does not suffice.
    ChunksToReference,
    /// A contents object: a prune keeps it while a frame that it lists is needed.
    ChunksToKeep,
    /// A contents object: a restore or check looks for the chunks of a lost frame in other frames. The chunks' ids
    /// decide.
    ChunksToRecover,
    /// A locations object: where a frame is stored. The hash of the bytes decides.
    Places,
    /// A condemnation: runs do not refer to what it names. A prune that began before its keeper was removed may still
    /// delete that.
    CondemnedToRuns,
    /// A condemnation: a later prune may delete what it names.
    CondemnedToPrune,
    /// A loss: runs do not refer to the frames that it names, and store their chunks again.
    LostToRuns,
    /// A loss: a prune continues although a needed frame has no place, and a check reports the frame as known to be
    /// lost.
    LostToPrune,
    /// A loss: a restore of a snapshot of `writer` looks for the frame's chunks in other frames first.
    LostToRestore {
        /// The writer that took the snapshot.
        writer: WriterId,
    },
}

impl Word {
    /// The purpose with which an object of this kind is sealed and signed.
    pub(crate) fn purpose(self) -> Purpose {
        match self {
            Self::RunKey | Self::RunUnderWay => Purpose::Registration,
            Self::RunEnded { .. } => Purpose::RunEnd,
            Self::Part { .. } | Self::PartUnderWay => Purpose::Part,
            Self::ChunksToReference | Self::ChunksToKeep | Self::ChunksToRecover => Purpose::Contents,
            Self::Places => Purpose::Locations,
            Self::CondemnedToRuns | Self::CondemnedToPrune => Purpose::Condemnation,
            Self::LostToRuns | Self::LostToPrune | Self::LostToRestore { .. } => Purpose::Loss,
        }
    }
}

/// The relation of a signer to a group, by the roster in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A writer of the group.
    Writer,
    /// A writer of the group that was removed.
    RemovedWriter,
    /// A keeper.
    Keeper,
    /// A keeper that was removed.
    RemovedKeeper,
    /// The root key.
    Root,
    /// A writer of another group, or a signer that the roster does not list.
    Stranger,
}

/// Whether a signer is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Belief {
    /// The object is believed.
    Yes,
    /// Only if the object was signed before its signer was removed: a manifest that counts names it (a writer's), or
    /// the roster does (a keeper's), or it was stored before the roster in force (a keeper's condemnation).
    IfFromBefore,
    /// The object does not count.
    No,
}

/// Whether `signer`, whose relation to the group is `standing`, is believed for `word`. `SECURITY.md` has this as a
/// table.
pub(crate) fn belief(word: Word, signer: Signer, standing: Standing) -> Belief {
    use Standing::{Keeper, RemovedKeeper, RemovedWriter, Root, Stranger, Writer};
    let is = |writer: WriterId| signer == Signer::Writer(writer);
    let yes = |believed: bool| if believed { Belief::Yes } else { Belief::No };
    match (word, standing) {
        (_, Stranger) | (Word::ChunksToReference, Keeper | RemovedKeeper | Root) => Belief::No,
        (Word::RunKey | Word::ChunksToRecover | Word::Places, _)
        | (Word::ChunksToReference, Writer)
        | (Word::ChunksToKeep, Writer | Keeper | Root) => Belief::Yes,
        (Word::RunUnderWay | Word::LostToRuns, _) => yes(matches!(standing, Writer | Keeper | Root)),
        (Word::RunEnded { registrant }, _) => yes(signer == registrant),
        (Word::PartUnderWay, _) => yes(standing == Writer),
        (Word::Part { writer }, _) => yes(matches!(standing, Writer | RemovedWriter) && is(writer)),
        (Word::ChunksToReference, RemovedWriter) | (Word::ChunksToKeep, RemovedWriter | RemovedKeeper) => {
            Belief::IfFromBefore
        }
        (Word::CondemnedToRuns, RemovedKeeper) => Belief::IfFromBefore,
        (Word::CondemnedToRuns, _) => yes(matches!(standing, Keeper | Root)),
        (Word::CondemnedToPrune | Word::LostToPrune, _) => yes(matches!(standing, Keeper | Root)),
        (Word::LostToRestore { writer }, Writer | RemovedWriter) => yes(is(writer)),
        (Word::LostToRestore { .. }, _) => yes(matches!(standing, Keeper | Root)),
    }
}

impl Roster {
    /// The relation of `signer` to `group`.
    pub(crate) fn standing(&self, signer: Signer, group: GroupId) -> Standing {
        match signer {
            Signer::Writer(id) => match self.writer(id).filter(|writer| writer.group == group) {
                Some(writer) if writer.revoked.is_none() => Standing::Writer,
                Some(_) => Standing::RemovedWriter,
                None => Standing::Stranger,
            },
            Signer::Keeper(id) => match self.keeper(id) {
                Some(keeper) if keeper.removed.is_none() => Standing::Keeper,
                Some(_) => Standing::RemovedKeeper,
                None => Standing::Stranger,
            },
            Signer::Root => Standing::Root,
        }
    }

    /// The key of a signer known to `group`, including removed ones: whether it is believed is a separate question.
    pub(crate) fn knows(&self, group: GroupId, signer: Signer) -> Option<VerificationKey> {
        (self.standing(signer, group) != Standing::Stranger).then(|| self.key_of(signer)).flatten()
    }

    /// The key to verify an object of `group` with, if `signer` may be believed for `word`. If belief depends on when
    /// the object was signed ([`Belief::IfFromBefore`]), the caller must check that for the object.
    pub(crate) fn believes(&self, word: Word, group: GroupId, signer: Signer) -> Option<VerificationKey> {
        match belief(word, signer, self.standing(signer, group)) {
            Belief::Yes | Belief::IfFromBefore => self.key_of(signer),
            Belief::No => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::KeeperId;

    const OWN: WriterId = WriterId::from_bytes([1; 16]);
    const OTHER: WriterId = WriterId::from_bytes([2; 16]);

    const STANDINGS: [Standing; 6] = [
        Standing::Writer,
        Standing::RemovedWriter,
        Standing::Keeper,
        Standing::RemovedKeeper,
        Standing::Root,
        Standing::Stranger,
    ];

    /// The columns of the table in `SECURITY.md`, in the order of [`STANDINGS`].
    fn row(word: Word) -> String {
        let cell = |standing: Standing| {
            let of = |writer| match standing {
                Standing::Keeper | Standing::RemovedKeeper => Signer::Keeper(KeeperId::from_bytes([3; 16])),
                Standing::Root => Signer::Root,
                _ => Signer::Writer(writer),
            };
            match (belief(word, of(OWN), standing), belief(word, of(OTHER), standing)) {
                (Belief::Yes, Belief::Yes) => "yes",
                (Belief::Yes, Belief::No) => "own",
                (Belief::IfFromBefore, Belief::IfFromBefore) => "if from before",
                (Belief::No, Belief::No) => "no",
                other => panic!("{word:?} for {standing:?}: {other:?}"),
            }
        };
        STANDINGS.map(cell).join(" | ")
    }

    fn words() -> [(&'static str, Word); 14] {
        [
            ("registration: the run's key", Word::RunKey),
            ("registration: the run is under way", Word::RunUnderWay),
            ("mark: the run is over", Word::RunEnded { registrant: Signer::Writer(OWN) }),
            ("part: what a snapshot holds", Word::Part { writer: OWN }),
            ("part: a snapshot is about to be committed", Word::PartUnderWay),
            ("contents: what runs reference", Word::ChunksToReference),
            ("contents: what prunes keep", Word::ChunksToKeep),
            ("contents: where lost chunks may be", Word::ChunksToRecover),
            ("locations: where frames may lie", Word::Places),
            ("condemnation: what runs do not refer to", Word::CondemnedToRuns),
            ("condemnation: what may be deleted", Word::CondemnedToPrune),
            ("loss: what runs store again", Word::LostToRuns),
            ("loss: what prunes do not wait for", Word::LostToPrune),
            ("loss: what restores look for elsewhere", Word::LostToRestore { writer: OWN }),
        ]
    }

    #[test]
    fn beliefs_match_the_security_page() {
        let page = include_str!("../../../../SECURITY.md");
        for (what, word) in words() {
            // A new variant of `Word` needs a row here and on the page.
            match word {
                Word::RunKey
                | Word::RunUnderWay
                | Word::RunEnded { .. }
                | Word::Part { .. }
                | Word::PartUnderWay
                | Word::ChunksToReference
                | Word::ChunksToKeep
                | Word::ChunksToRecover
                | Word::Places
                | Word::CondemnedToRuns
                | Word::CondemnedToPrune
                | Word::LostToRuns
                | Word::LostToPrune
                | Word::LostToRestore { .. } => {}
            }
            let row = format!("| {what} | {} |", row(word));
            assert!(page.contains(&row), "SECURITY.md lacks the row\n{row}");
        }
    }

    /// Every kind of object of the format has a section on who is believed about it.
    #[test]
    fn every_kind_of_object_is_on_the_security_page() {
        use crate::format::object_name::Name;
        let kind = |name: &Name| match name {
            Name::Marker => "marker",
            Name::Roster(_) => "roster",
            Name::Key { .. } => "sealed key",
            Name::Run { .. } => "registration",
            Name::RunEnd { .. } => "mark",
            Name::Pack { .. } => "pack",
            Name::Contents { .. } => "contents",
            Name::Locations { .. } => "locations",
            Name::Part { .. } => "part",
            Name::Snapshot { .. } => "manifest",
            Name::Countersignature { .. } => "countersignature",
            Name::Forget { .. } => "request",
            Name::Condemnation { .. } => "condemnation",
            Name::Loss { .. } => "loss",
        };
        let page = include_str!("../../../../SECURITY.md");
        let (_, section) = page.split_once("## Who is believed about what").expect("the section exists");
        let section = section.split("\n## ").next().unwrap_or_default();
        for name in crate::format::object_name::one_of_each_kind() {
            let kind = kind(&name);
            assert!(section.contains(&format!("| {kind}")), "`{kind}` is missing");
        }
    }
}
