//! A store's errors, by what the caller should do next.

use std::error::Error;
use std::fmt;
use std::io;
use std::ops::Range;
use std::time::Duration;

use lifeboat_core::{Fault, Kind};

use crate::{Obstacle, Refusal, Unreached};

type Source = Box<dyn Error + Send + Sync>;

/// Why a store operation failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The location cannot be opened.
    #[error("`{location}` is not a repository location ({reason})")]
    BadLocation {
        /// The location as it was given.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The name is not valid for an object.
    #[error("`{key}` cannot be the name of an object ({reason})")]
    BadName {
        /// The name.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The object does not exist.
    #[error("{store} has no object `{key}`")]
    NotFound {
        /// The store's location.
        store: String,
        /// The object's name.
        key: String,
    },
    /// Something else has the name of an object. That one object is damaged; the store itself works.
    #[error("`{key}` in {store} cannot be used as an object: `{place}` {obstacle}")]
    NotAnObject {
        /// The store's location.
        store: String,
        /// The object's name.
        key: String,
        /// The object's name, or one of the folders in it.
        place: String,
        /// What is there.
        obstacle: Obstacle,
    },
    /// An object of that name already exists, with other bytes.
    #[error("an object `{key}` with other content already stands in {store}")]
    AlreadyExists {
        /// The store's location.
        store: String,
        /// The object's name.
        key: String,
    },
    /// An object is larger than anything that may have its name.
    #[error("the object `{key}` in {store} has {found} bytes, where at most {cap} can be right")]
    TooLarge {
        /// The store's location.
        store: String,
        /// The object's name.
        key: String,
        /// Its size in bytes.
        found: u64,
        /// The ceiling in bytes.
        cap: u64,
    },
    /// An object ends before the requested range does.
    #[error("the object `{key}` in {store} has {size} bytes, too few for the bytes {range:?}")]
    OutOfRange {
        /// The store's location.
        store: String,
        /// The object's name.
        key: String,
        /// The range that was asked for.
        range: Range<u64>,
        /// Its size in bytes.
        size: u64,
    },
    /// No credentials were found for the store.
    #[error("no credentials were found for {store}")]
    NoCredentials {
        /// The store's location.
        store: String,
        /// The settings that would provide them.
        wanted: &'static str,
        /// The error of the store's client, if any.
        #[source]
        source: Option<Source>,
    },
    /// The server refuses the request, and the answer shows what is wrong with the settings.
    #[error("{store} {refusal} ({code})")]
    Refused {
        /// The store's location.
        store: String,
        /// What is wrong.
        refusal: Refusal,
        /// The server's error code.
        code: String,
    },
    /// The connection to the server fails.
    #[error("{store} cannot be reached{}: {reason}{effort}", at(endpoint.as_deref()))]
    Unreachable {
        /// The store's location.
        store: String,
        /// The URL of the server, if one was given.
        endpoint: Option<String>,
        /// Why.
        reason: Unreached,
        /// How many attempts were made.
        effort: Effort,
    },
    /// The store refuses the access, or the system does.
    #[error("{store} refuses access to `{key}`")]
    Denied {
        /// The store's location.
        store: String,
        /// The object's name.
        key: String,
        /// The store's error.
        source: Source,
    },
    /// The store is full.
    #[error("{store} is full; `{key}` was not written")]
    Full {
        /// The store's location.
        store: String,
        /// The object's name.
        key: String,
        /// The system's error.
        source: Source,
    },
    /// The store did not answer in time.
    #[error("{store} did not finish `{operation}` of `{key}` within {deadline:?}{effort}")]
    Deadline {
        /// The store's location.
        store: String,
        /// The operation.
        operation: &'static str,
        /// The object's name.
        key: String,
        /// The deadline of the last attempt.
        deadline: Duration,
        /// How many attempts were made.
        effort: Effort,
    },
    /// The store cannot be reached, or is broken.
    #[error("{store} failed to {operation} `{key}`{effort}")]
    Failed {
        /// The store's location.
        store: String,
        /// The operation.
        operation: &'static str,
        /// The object's name.
        key: String,
        /// How many attempts were made.
        effort: Effort,
        /// The client's error.
        source: Source,
    },
    /// The store failed so often in a row that it is being left alone for a while.
    #[error(
        "{store} is left alone since {} ago, after {failures} operations in a row failed, and is tried again in {}",
        Rounded(*opened), Rounded(*retry)
    )]
    Suspended {
        /// The store's location.
        store: String,
        /// How many operations failed in a row.
        failures: u32,
        /// How long ago that began.
        opened: Duration,
        /// When the next operation may try it.
        retry: Duration,
        /// The last failure.
        source: Source,
    },
}

/// The attempts at an operation before it failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effort {
    /// How often it was tried.
    pub attempts: u32,
    /// How long all of it took.
    pub elapsed: Duration,
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attempts > 1 {
            write!(f, " (tried {} times in {})", self.attempts, Rounded(self.elapsed))?;
        }
        Ok(())
    }
}

/// A duration in whole seconds, or milliseconds below ten seconds.
struct Rounded(Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.0;
        let rounded = match exact.as_secs() {
            10.. => Duration::from_secs(exact.as_secs()),
            _ => Duration::from_millis(u64::try_from(exact.as_millis()).unwrap_or(u64::MAX)),
        };
        write!(f, "{rounded:?}")
    }
}

impl Fault for StoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::BadLocation { .. }
            | Self::NoCredentials { .. }
            | Self::Refused { .. }
            | Self::Denied { .. } => Kind::Usage,
            Self::BadName { .. }
            | Self::NotFound { .. }
            | Self::NotAnObject { .. }
            | Self::AlreadyExists { .. }
            | Self::TooLarge { .. }
            | Self::OutOfRange { .. }
            | Self::Full { .. } => Kind::Refused,
            Self::Unreachable { .. }
            | Self::Deadline { .. }
            | Self::Failed { .. }
            | Self::Suspended { .. } => Kind::Undetermined,
        }
    }

    fn advice(&self) -> Option<String> {
        let advice = match self {
            Self::BadLocation { .. } => {
                "give a folder, or a URL that begins with file://, s3://, gs:// or az://"
            }
            Self::NoCredentials { wanted, .. } => return Some(format!("set {wanted}")),
            Self::Refused { store, refusal, .. } => return Some(refusal.advice(store.starts_with("s3://"))),
            Self::Unreachable { reason, .. } => reason.advice(),
            Self::Denied { source, .. } if find::<io::Error>(source.as_ref()).is_some() => {
                "check who may write to this folder, and whether its file system is mounted read-only"
            }
            Self::Denied { .. } => {
                "check that these credentials are for this bucket, and that they have the rights which SECURITY.md lists for \
                 each role"
            }
            Self::NotAnObject { obstacle, .. } => obstacle.advice(),
            Self::Full { .. } => "nothing was lost; make room and run again",
            Self::Deadline { .. } | Self::Failed { .. } | Self::Suspended { .. } => {
                "check the network and that the store is up, then run again; what was written stays valid"
            }
            Self::BadName { .. }
            | Self::AlreadyExists { .. }
            | Self::NotFound { .. }
            | Self::TooLarge { .. }
            | Self::OutOfRange { .. } => return None,
        };
        Some(advice.to_owned())
    }
}

/// The server's address, as a part of a sentence.
fn at(endpoint: Option<&str>) -> String {
    endpoint.map(|endpoint| format!(" at {endpoint}")).unwrap_or_default()
}

/// The first error of type `E` in the chain.
pub(crate) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error's source is the source of the error that it wraps, not that error itself.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped as &(dyn Error + 'static)));
    }
    None
}
