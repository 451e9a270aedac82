//! How a drill ends early: with a report that says why, or without one.

use lifeboat_core::{Fault, Kind};
use lifeboat_docker::EngineError;
use tokio_util::sync::CancellationToken;

use super::grounds::FolderError;
use super::verdict::Stopped;

/// A drill that ends without a report.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// It was asked to stop.
    #[error("the drill was interrupted{}", left(leftovers))]
    Interrupted {
        /// What could not be cleaned up.
        leftovers: Vec<String>,
    },
    /// A folder of the drill's cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The sandbox cannot be isolated from this host, or its volumes cannot get a disk of their own, so nothing was
    /// restored.
    #[error(transparent)]
    NoWall(EngineError),
    /// The plan asks for a runtime that the engine does not have, so nothing was restored.
    #[error("the plan asks for the runtime `{runtime}`, and the engine has {known}")]
    NoRuntime {
        /// The runtime.
        runtime: String,
        /// The runtimes that the engine has.
        known: String,
    },
    /// The plan names services that the snapshot does not have, so nothing was restored.
    #[error("the plan speaks of {unknown}, and the snapshot starts only {known}")]
    UnknownService {
        /// The services.
        unknown: String,
        /// The services that the snapshot has.
        known: String,
    },
}

fn left(leftovers: &[String]) -> String {
    if leftovers.is_empty() { String::new() } else { format!(" and left behind: {}", leftovers.join(", ")) }
}

impl Fault for DrillError {
    fn kind(&self) -> Kind {
        match self {
            Self::Interrupted { .. } => Kind::Interrupted,
            Self::Folder(_) | Self::NoRuntime { .. } | Self::UnknownService { .. } => Kind::Usage,
            Self::NoWall(error) => error.kind(),
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            Self::Interrupted { leftovers } if leftovers.is_empty() => None,
            Self::Interrupted { .. } => Some("run `lifeboat-restore gc`".to_owned()),
            Self::NoWall(error) => error.advice(),
            Self::UnknownService { .. } => Some(
                "fix the plan: services are called as in Compose, other containers by their names".to_owned(),
            ),
            Self::NoRuntime { .. } => {
                Some("set it up in the engine (gVisor: `runsc install`), or name another one".to_owned())
            }
            Self::Folder(_) => {
                Some("give a folder on a disk with enough space that this user may write to".to_owned())
            }
        }
    }
}

/// Waits for `work` unless the drill is asked to stop first.
pub(super) async fn cancellable<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = T>,
) -> Result<T, EngineError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(EngineError::Interrupted),
        done = work => Ok(done),
    }
}

/// Why a drill did not run to its end.
pub(super) enum Stop {
    Stopped(Stopped),
    Interrupted,
    NoReport(DrillError),
}

pub(super) fn open(reason: impl Into<String>) -> Stop {
    Stop::Stopped(Stopped::Open(reason.into()))
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        if matches!(error, EngineError::Interrupted) {
            return Self::Interrupted;
        }
        if matches!(error, EngineError::WallMissing { .. } | EngineError::NoDisk { .. }) {
            return Self::NoReport(DrillError::NoWall(error));
        }
        let mut reason = error.to_string();
        let mut next = std::error::Error::source(&error);
        while let Some(cause) = next {
            reason = format!("{reason}: {cause}");
            next = cause.source();
        }
        open(format!("{}.", upper_first(&reason)))
    }
}

pub(super) fn upper_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
