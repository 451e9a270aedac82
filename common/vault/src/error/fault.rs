//! What each error means to the caller, and what to do next.

use std::io;

use lifeboat_core::{Fault, Kind};

use super::{ObjectError, VaultError};

impl Fault for VaultError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotARepository { .. }
            | Self::AlreadyARepository { .. }
            | Self::OtherFormat { .. }
            | Self::UnboundIdentity
            | Self::NotAllowed { .. }
            | Self::BadRecipient { .. }
            | Self::TooFewRecipients { .. }
            | Self::LastRecipients { .. }
            | Self::KeyFile { .. }
            | Self::NoSuchSnapshot { .. }
            | Self::NoSuchMember { .. }
            | Self::AmbiguousSnapshot { .. }
            | Self::AmbiguousMember { .. }
            | Self::MemberNameTaken { .. }
            | Self::NotInSnapshot { .. }
            | Self::TargetNotEmpty { .. }
            | Self::TargetOfAnother { .. }
            | Self::BadName { .. }
            | Self::NameTaken { .. }
            | Self::BadText { .. }
            | Self::Source { .. } => Kind::Usage,
            Self::OtherRepository { .. }
            | Self::WrongIdentity { .. }
            | Self::UnknownWriter
            | Self::RolledBack { .. }
            | Self::OlderEpoch { .. }
            | Self::Withheld { .. }
            | Self::Claimed { .. }
            | Self::Contradicted { .. }
            | Self::Disproved { .. }
            | Self::Doubtful { .. }
            | Self::NoMoreNumbers { .. }
            | Self::TooLarge { .. }
            | Self::Unsound { .. }
            | Self::Removed(_)
            | Self::PastLease { .. }
            | Self::PrunedUnderWay { .. }
            | Self::CommittedTooLate { .. }
            | Self::NotWhole { .. }
            | Self::TooMuchToList { .. }
            | Self::RosterChanged { .. }
            | Self::RosterReplaced { .. }
            | Self::PruneTooLong { .. }
            | Self::Object(_)
            | Self::Unreadable { .. }
            | Self::Target { .. }
            | Self::Local { .. } => Kind::Refused,
            Self::Store(error) => error.kind(),
            Self::Interrupted => Kind::Interrupted,
            Self::Internal(_) => Kind::Internal,
        }
    }

    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::NotARepository { .. } => {
                "check the location, or make a repository there with `lifeboat-backup init`".to_owned()
            }
            Self::AlreadyARepository { .. } => {
                "use the existing one, or choose another location; init never overwrites".to_owned()
            }
            Self::OtherFormat { .. } => "use a version of Lifeboat that reads this format".to_owned(),
            Self::OtherRepository { .. } => {
                "give the key of this repository; if the location is right, someone has put another repository in \
                 its place"
                    .to_owned()
            }
            Self::UnboundIdentity => {
                "give the key file that `lifeboat-backup init` wrote, or name the repository with --root ID".to_owned()
            }
            Self::WrongIdentity { .. } => {
                "give a recovery key that is in force, as `lifeboat-backup key list` shows them: this one is another \
                 repository's, or was removed"
                    .to_owned()
            }
            Self::UnknownWriter => "this key was never enrolled here, or was removed; use the host's current key"
                .to_owned(),
            Self::BadRecipient { .. } => {
                "give an age recipient (age1…), an SSH public key (ssh-ed25519 …, ssh-rsa …) or `passphrase`".to_owned()
            }
            Self::TooFewRecipients { .. } => {
                "give --recovery-key or --recipient once more and keep the keys apart; or accept that losing the one \
                 key loses everything, with --single-recipient"
                    .to_owned()
            }
            Self::LastRecipients { left } => advice_on_last_recipients(*left),
            Self::Object(ObjectError::OutOfReach { obstacle, .. }) => obstacle.advice().to_owned(),
            Self::Object(_) => {
                "restore the object from a mirror of the storage, or restore an older snapshot".to_owned()
            }
            Self::RolledBack { .. } | Self::Withheld { .. } => self.advice_on_older_state(),
            Self::Claimed { .. }
            | Self::Contradicted { .. }
            | Self::Disproved { .. }
            | Self::Doubtful { .. }
            | Self::NoMoreNumbers { .. } => return self.advice_on_history(),
            Self::TooLarge { .. } => "request less at a time; what is already stored stays".to_owned(),
            Self::OlderEpoch { .. } => {
                "ask who runs the storage: it was set back to an older state, or hides the newest roster".to_owned()
            }
            Self::NotAllowed { needed, .. } => format!("give {needed}"),
            Self::Removed(_) => "ask for a new key: `lifeboat-backup key add`, with a recovery key".to_owned(),
            Self::PastLease { .. } | Self::PrunedUnderWay { .. } => {
                "run again; what still exists is not stored twice".to_owned()
            }
            Self::CommittedTooLate { snapshot, .. } => format!(
                "run again, which stores the deleted data again; then `lifeboat-backup forget {}`",
                &snapshot.to_string()[..12]
            ),
            Self::NotWhole { .. } => {
                "see `lifeboat-backup check`; repair it with `lifeboat-backup repair`, then prune again".to_owned()
            }
            Self::TooMuchToList { .. } => {
                "check whether that host was compromised; `lifeboat-backup show ID` shows one snapshot completely"
                    .to_owned()
            }
            Self::AmbiguousSnapshot { .. } => {
                "give more digits of the id; with `latest`, choose the writer: --writer ID, or --host if the key shows \
                 hosts"
                    .to_owned()
            }
            Self::AmbiguousMember { .. } => "give the name, or more digits of the id".to_owned(),
            Self::MemberNameTaken { .. } => "choose another name; see `lifeboat-backup key list`".to_owned(),
            Self::NoSuchMember { .. } => "see `lifeboat-backup key list`".to_owned(),
            Self::PruneTooLong { .. } => "run it again; nothing is lost".to_owned(),
            Self::RosterChanged { .. } | Self::RosterReplaced { .. } => {
                "look at `lifeboat-backup key list`, then run again".to_owned()
            }
            Self::NoSuchSnapshot { .. } => {
                "see `list` of `lifeboat-restore` or `lifeboat-backup`; an id is given by four of its digits or more".to_owned()
            }
            Self::TargetNotEmpty { .. } => "restore into an empty or new folder".to_owned(),
            Self::TargetOfAnother { .. } => {
                "restore into a folder of your own, or run as root, which takes the folder over first".to_owned()
            }
            Self::Target { source, .. } => return advice_on_target(source.kind()).map(str::to_owned),
            Self::BadName { .. } => {
                "give a plain name of one part, without control characters, such as `shop.sql`".to_owned()
            }
            Self::NameTaken { .. } => "give each another name".to_owned(),
            Self::BadText { .. } => "give a shorter one".to_owned(),
            Self::Unreadable { .. } => {
                "divide the backup over several runs; what this run stored is not stored twice".to_owned()
            }
            Self::Store(error) => return error.advice(),
            Self::NotInSnapshot { .. } => "see `lifeboat-restore ls SNAP`, or `find` in all snapshots".to_owned(),
            Self::Unsound { .. }
            | Self::KeyFile { .. }
            | Self::Source { .. }
            | Self::Local { .. }
            | Self::Interrupted
            | Self::Internal(_) => return None,
        })
    }
}

/// What to do before the recovery keys become too few; `left` of them remain.
fn advice_on_last_recipients(left: usize) -> String {
    let instead = if left > 0 {
        "; or accept that losing the one key that is left loses everything, with --single-recipient"
    } else {
        ""
    };
    format!("make another one first, with `lifeboat-backup key add recovery FILE`{instead}")
}

/// What to do if a folder cannot be restored into.
fn advice_on_target(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(
            "make room there or restore to another file system, into an empty folder; the snapshot itself is not at fault",
        ),
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("restore into a folder on a file system that can be written to")
        }
        io::ErrorKind::PermissionDenied => {
            Some("restore into a folder that this user may write to, or run as root")
        }
        io::ErrorKind::NotADirectory => Some("give a path that leads through folders only"),
        _ => None,
    }
}
