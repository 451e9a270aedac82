//! Classifies an attempt's failure: whether to retry, and which error to return in the end.

use std::error::Error;
use std::future::Future;
use std::io;
use std::time::Duration;

use object_store::client::HttpError;
use tokio::time::timeout;

use crate::error::find;
use crate::{ServerAnswer, StoreError};

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) enum AttemptError {
    /// The client's error.
    Client(object_store::Error),
    /// No answer within this time.
    Late(Duration),
    /// The store sent a different number of bytes than it had announced.
    Uneven { announced: u64, came: u64 },
    /// The answer is definite.
    Settled(StoreError),
}

/// How to handle a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// A retry does not help.
    Settled,
    /// It may be transient; the server may have said when to retry.
    Passing(Option<Duration>),
    /// It may be transient, but if it persists for a few attempts, the store is at fault and not the connection.
    Doubtful,
}

impl AttemptError {
    pub(crate) fn retry(&self) -> Retry {
        match self {
            Self::Settled(_) => Retry::Settled,
            Self::Late(_) => Retry::Passing(None),
            Self::Uneven { .. } => Retry::Doubtful,
            Self::Client(error) => match find::<ServerAnswer>(error) {
                Some(ServerAnswer { status: 501 | 505 | 507, .. }) => Retry::Settled,
                Some(ServerAnswer { status: 408 | 429 | 500.., retry_after, .. }) => {
                    Retry::Passing(*retry_after)
                }
                None if find::<HttpError>(error).is_some() => Retry::Passing(None),
                Some(_) | None => Retry::Settled,
            },
        }
    }

    /// Whether this came from the server, which is therefore reachable.
    pub(crate) fn is_an_answer(&self) -> bool {
        match self {
            Self::Late(_) => false,
            Self::Uneven { .. } | Self::Settled(_) => true,
            Self::Client(error) => {
                find::<ServerAnswer>(error).is_some() || find::<HttpError>(error).is_none()
            }
        }
    }
}

/// Waits for a request, at most until `deadline`. It uses monotonic time, which no change of the clock affects.
pub(crate) async fn within<T>(
    deadline: Duration,
    request: impl Future<Output = object_store::Result<T>>,
) -> Result<T, AttemptError> {
    match timeout(deadline, request).await {
        Ok(answer) => answer.map_err(AttemptError::Client),
        Err(_) => Err(AttemptError::Late(deadline)),
    }
}

/// Whether the store cannot write conditionally: HTTP's 501, a client that was told not to try, or a file system
/// without hard links.
pub(crate) fn lacks_conditions(error: &object_store::Error) -> bool {
    // Linux's EPERM (which `link` returns on a file system without links; missing rights are EACCES), ENOSYS,
    // EOPNOTSUPP.
    const NO_LINKS: [i32; 3] = [1, 38, 95];
    let is_local = find::<HttpError>(error).is_none();
    let system = find::<io::Error>(error).and_then(io::Error::raw_os_error);
    matches!(error, object_store::Error::NotImplemented { .. })
        || find::<ServerAnswer>(error).is_some_and(|answer| answer.status == 501)
        || is_local && system.is_some_and(|code| NO_LINKS.contains(&code))
}

pub(crate) fn is_full(error: &(dyn Error + 'static)) -> bool {
    let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    find::<io::Error>(error).is_some_and(|e| kinds.contains(&e.kind()))
        || find::<ServerAnswer>(error).is_some_and(|answer| answer.status == 507)
}

pub(crate) fn is_denied(error: &(dyn Error + 'static)) -> bool {
    let kinds = [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem];
    find::<io::Error>(error).is_some_and(|e| kinds.contains(&e.kind()))
}
