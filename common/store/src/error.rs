//! What can go wrong with a store, by what the caller does next.

use std::error::Error;
use std::time::Duration;

use lifeboat_core::{Fault, Kind};

type Source = Box<dyn Error + Send + Sync>;

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The location is not one that can be opened.
    #[error("`{location}` is not a repository location ({reason})")]
    BadLocation {
        /// The location as it was given.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store has no object of that name.
    #[error("there is no object `{key}` in {store}")]
    NotFound {
        /// The store's location.
        store: String,
        /// The object's name.
        key: String,
    },
    /// An object of that name stands there already, with other bytes.
    #[error("an object `{key}` with other content already stands in {store}")]
    AlreadyExists {
        /// The store's location.
        store: String,
        /// The object's name.
        key: String,
    },
    /// An object is larger than anything that can stand under its name.
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
    /// No credentials were found for the store.
    #[error("no credentials were found for {store}")]
    NoCredentials {
        /// The store's location.
        store: String,
        /// Which settings would give them.
        wanted: &'static str,
        /// What the store's client said, if anything.
        #[source]
        source: Option<Source>,
    },
    /// The store refuses the credentials.
    #[error("{store} refuses access to `{key}`")]
    Denied {
        /// The store's location.
        store: String,
        /// The object's name.
        key: String,
        /// What the store said.
        source: Source,
    },
    /// The store has no room left.
    #[error("{store} is full; `{key}` was not written")]
    Full {
        /// The store's location.
        store: String,
        /// The object's name.
        key: String,
        /// What the system said.
        source: Source,
    },
    /// The store did not answer in time.
    #[error("{store} did not finish `{operation}` of `{key}` within {deadline:?}")]
    Deadline {
        /// The store's location.
        store: String,
        /// What was asked.
        operation: &'static str,
        /// The object's name.
        key: String,
        /// How long was waited.
        deadline: Duration,
    },
    /// The store cannot be reached or does not work.
    #[error("{store} failed to {operation} `{key}`")]
    Failed {
        /// The store's location.
        store: String,
        /// What was asked.
        operation: &'static str,
        /// The object's name.
        key: String,
        /// What the client said.
        source: Source,
    },
}

impl Fault for StoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::BadLocation { .. } | Self::NoCredentials { .. } | Self::Denied { .. } => Kind::Usage,
            Self::NotFound { .. }
            | Self::AlreadyExists { .. }
            | Self::TooLarge { .. }
            | Self::Full { .. } => Kind::Refused,
            Self::Deadline { .. } | Self::Failed { .. } => Kind::Undetermined,
        }
    }

    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::BadLocation { .. } => {
                "give a folder, or a URL that begins with file://, s3://, gs:// or az://".to_owned()
            }
            Self::NoCredentials { wanted, .. } => format!("set {wanted}"),
            Self::Denied { .. } => "check that the credentials are the right ones for this bucket".to_owned(),
            Self::Full { .. } => "nothing was lost; make room and run again".to_owned(),
            Self::Deadline { .. } | Self::Failed { .. } => {
                "check the network and that the store is up, then run again; what was written stays valid"
                    .to_owned()
            }
            Self::AlreadyExists { .. } | Self::NotFound { .. } | Self::TooLarge { .. } => return None,
        })
    }
}
