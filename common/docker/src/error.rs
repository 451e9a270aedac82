//! Errors of calls to the Docker Engine.

use std::io;
use std::path::PathBuf;

use lifeboat_core::{Fault, Kind};

/// A failure of a call to the engine, or of something around it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The engine's address cannot be used.
    #[error("the Docker Engine's address `{address}` cannot be used: {reason}")]
    Address {
        /// The address as it was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing answers at the engine's address.
    #[error("the Docker Engine does not answer at {address}")]
    Unreachable {
        /// The address that was tried.
        address: String,
        /// The error of the attempt.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The engine's socket exists, but this user may not use it.
    #[error("this user may not use the Docker Engine's socket {address}")]
    Denied {
        /// The address that was tried.
        address: String,
    },
    /// The engine is too old for Lifeboat's calls.
    #[error("the Docker Engine at {address} speaks API {found}; {needed} or newer is needed")]
    TooOld {
        /// The engine's address.
        address: String,
        /// The newest API version that the engine speaks.
        found: String,
        /// The oldest version that is sufficient.
        needed: &'static str,
    },
    /// Something that was named does not exist.
    #[error("there is no {thing} `{name}`")]
    NotFound {
        /// What kind of thing: volume, container, project.
        thing: &'static str,
        /// The name as it was given.
        name: String,
        /// Similar names that exist, best first.
        near: Vec<String>,
    },
    /// A name that is not valid.
    #[error("`{name}` cannot be the name of a {thing}")]
    BadName {
        /// What kind of thing: volume, container, project.
        thing: &'static str,
        /// The name as it was given.
        name: String,
    },
    /// The engine refused.
    #[error("the Docker Engine refused to {operation} (status {status}): {message}")]
    Answer {
        /// The operation.
        operation: String,
        /// The HTTP status.
        status: u16,
        /// The engine's own error text.
        message: String,
    },
    /// The connection broke, or no answer came in time.
    #[error("the connection to the Docker Engine was lost while it should {operation}")]
    Lost {
        /// The operation.
        operation: String,
        /// The error of the connection.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A malformed answer.
    #[error("the Docker Engine's answer to `{operation}` is not understood")]
    Malformed {
        /// The operation.
        operation: String,
        /// The parser's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A volume whose bytes cannot be reached from here.
    #[error("the bytes of volume `{volume}` cannot be reached from here: {reason}")]
    VolumeOutOfReach {
        /// The volume's name.
        volume: String,
        /// Why.
        reason: String,
        /// What to do about it.
        advice: String,
    },
    /// A volume that should be new exists and is in use or not empty.
    #[error("volume `{volume}` already exists and {reason}")]
    VolumeTaken {
        /// The volume's name.
        volume: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// A container that cannot be stopped or paused without harm.
    #[error("container `{container}` cannot be stopped: {reason}")]
    CannotQuiesce {
        /// The container's name.
        container: String,
        /// Why.
        reason: String,
        /// What to do about it.
        advice: String,
    },
    /// A container did not start again after it had been stopped or paused.
    #[error("{} of the containers that were stopped did not come back: {}", containers.len(), containers.join(", "))]
    NotReleased {
        /// The containers' names, each with the reason.
        containers: Vec<String>,
        /// The journal that the next run replays.
        journal: PathBuf,
    },
    /// A file of ours cannot be read or written.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// The operation that failed.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// Captured definitions that this version cannot read.
    #[error("the captured definitions cannot be used: {reason}")]
    Definitions {
        /// What is wrong with them.
        reason: String,
    },
    /// An image that the drill needs is not here, and cannot be found by its digest.
    #[error("image `{reference}` ({id}) is not on this host")]
    ImageMissing {
        /// The name under which it was used.
        reference: String,
        /// Its id when it was captured.
        id: String,
    },
    /// The sandbox could not be proved to be isolated from this host and its networks.
    #[error("the scratch network could not be shown to be isolated: {reason}")]
    IsolationUnproven {
        /// What is missing for the proof.
        reason: String,
    },
    /// Something in the sandbox reached the host.
    #[error("the scratch network is not isolated: a process inside reached {}", reached.join(", "))]
    NotIsolated {
        /// The addresses of this host that were reached from inside.
        reached: Vec<String>,
    },
    /// A barrier around a sandbox cannot be set up, so nothing is started.
    #[error("the sandbox cannot be cut off from this host: the wall `{wall}` cannot be set ({reason})")]
    WallMissing {
        /// Which barrier.
        wall: &'static str,
        /// Why.
        reason: String,
        /// What to do about it.
        advice: String,
    },
    /// The volumes of a drill cannot get a file system of their own, so nothing is started.
    #[error("the volumes of the drill cannot have a disk of their own ({reason})")]
    NoDisk {
        /// Why.
        reason: String,
    },
    /// A barrier around a sandbox that was set up has been removed.
    #[error("a wall around the sandbox is gone: {}", faults.join(", "))]
    WallFell {
        /// What is missing.
        faults: Vec<String>,
    },
    /// This machine's key cannot be used.
    #[error("this machine's key {} cannot be used: {reason}", path.display())]
    MachineKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The work was asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Fault for EngineError {
    fn kind(&self) -> Kind {
        match self {
            Self::Address { .. }
            | Self::Denied { .. }
            | Self::TooOld { .. }
            | Self::NotFound { .. }
            | Self::BadName { .. }
            | Self::VolumeOutOfReach { .. }
            | Self::VolumeTaken { .. }
            | Self::CannotQuiesce { .. }
            | Self::WallMissing { .. }
            | Self::NoDisk { .. }
            | Self::MachineKey { .. }
            | Self::Definitions { .. } => Kind::Usage,
            Self::Unreachable { .. }
            | Self::Lost { .. }
            | Self::Malformed { .. }
            | Self::ImageMissing { .. }
            | Self::IsolationUnproven { .. }
            | Self::WallFell { .. }
            | Self::NotIsolated { .. } => Kind::Undetermined,
            Self::Answer { .. } | Self::NotReleased { .. } | Self::Io { .. } => Kind::Refused,
            Self::Interrupted => Kind::Interrupted,
        }
    }

    fn advice(&self) -> Option<String> {
        let advice = match self {
            Self::Address { .. } => "set DOCKER_HOST to `unix:///path/to/docker.sock` or `tcp://127.0.0.1:PORT`, \
                 or unset it to use /var/run/docker.sock"
                .to_owned(),
            Self::Unreachable { .. } => "start the engine (`systemctl start docker`), or point DOCKER_HOST at the \
                 socket where it listens; to back up a folder without Docker, use --path"
                .to_owned(),
            Self::Denied { .. } => "run as root, or as a member of the socket's group".to_owned(),
            Self::TooOld { .. } => "update the Docker Engine to 20.10 or newer".to_owned(),
            Self::NotFound { thing, near, .. } if near.is_empty() => match *thing {
                "volume" => "list what is there with `docker volume ls`".to_owned(),
                "container" => "list what is there with `docker ps --all`".to_owned(),
                _ => "list what is there with `docker compose ls --all`".to_owned(),
            },
            Self::NotFound { near, .. } => format!("did you mean `{}`?", near.join("`, `")),
            Self::Lost { .. } => "look at the engine's log, and try again when it answers".to_owned(),
            Self::VolumeOutOfReach { advice, .. }
            | Self::CannotQuiesce { advice, .. }
            | Self::WallMissing { advice, .. } => advice.clone(),
            Self::NoDisk { .. } => "install `mkfs.ext4` (Debian: the package e2fsprogs) and run as root where loop devices can \
                 be mounted, or leave `volumes_mib` out of the plan; nothing was restored"
                .to_owned(),
            Self::WallFell { .. } => "look for a program that changes the packet filter or network settings while drills \
                 run, keep it from doing so, and run the drill again"
                .to_owned(),
            Self::MachineKey { path, .. } => format!(
                "give it back to this user (`chown`, `chmod 600`), or move {} away: then another one is made, and what \
                 earlier drills left must be removed by hand",
                path.display()
            ),
            Self::VolumeTaken { .. } => "give another name with --to; nothing in the existing volume was touched".to_owned(),
            Self::NotReleased { journal, .. } => format!(
                "start them by hand, or run `lifeboat-backup doctor`, which replays {}",
                journal.display()
            ),
            Self::ImageMissing { reference, id } => format!(
                "pull it by digest or load it from an archive (`docker load`), so that `docker image inspect {id}` \
                 finds it; the tag in `{reference}` is never followed, because it may mean another image by now"
            ),
            Self::IsolationUnproven { .. } => {
                "run the drill as root on the host where the engine runs; nothing of the application was started".to_owned()
            }
            Self::NotIsolated { .. } => {
                "nothing of the application was started; look at the engine's bridge and firewall settings, or run \
                 the drill on another host"
                    .to_owned()
            }
            Self::Io { path, source, .. } if is_full_or_closed(source.kind()) => format!(
                "make room, or see who may write to {}; `--state-dir` names another folder for what this machine remembers",
                path.display()
            ),
            Self::BadName { .. }
            | Self::Answer { .. }
            | Self::Malformed { .. }
            | Self::Io { .. }
            | Self::Definitions { .. }
            | Self::Interrupted => return None,
        };
        Some(advice)
    }
}

fn is_full_or_closed(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};
    matches!(kind, PermissionDenied | ReadOnlyFilesystem | StorageFull)
}

impl EngineError {
    /// Converts the client library's error during `operation` into one of ours.
    pub(crate) fn call(operation: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Self {
        use bollard::errors::Error;
        let operation = operation.into();
        move |error| match error {
            Error::DockerResponseServerError { status_code, message } => {
                Self::Answer { operation, status: status_code, message }
            }
            Error::DockerStreamError { error } => Self::Answer { operation, status: 200, message: error },
            Error::JsonDataError { .. } | Error::JsonSerdeError { .. } | Error::StrParseError { .. } => {
                Self::Malformed { operation, source: Box::new(error) }
            }
            other => Self::Lost { operation, source: Box::new(other) },
        }
    }

    /// Whether the engine answered that something does not exist.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Answer { status: 404, .. } | Self::NotFound { .. })
    }
}
