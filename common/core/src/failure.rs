//! Kinds of failure, by what the caller should do next, and the trait that every Lifeboat error implements.

/// What a failure means to the caller. Each kind has one exit code, the same in all four binaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The answer is no, or the operation failed: damage, a wrong key, a signature that does not verify. Exit code 1.
    Refused,
    /// The call, the configuration or a named input must be fixed first. Exit code 2.
    Usage,
    /// Nothing was found wrong, but not everything could be examined: try again when the evidence can be reached. Exit
    /// code 3.
    Undetermined,
    /// A bug in Lifeboat: report it. Exit code 4.
    Internal,
    /// Someone asked the process to stop. Exit code 130.
    Interrupted,
}

impl Kind {
    /// The process exit code of this kind.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Undetermined => 3,
            Self::Internal => 4,
            Self::Interrupted => 130,
        }
    }
}

/// A Lifeboat error. Its `Display` says what happened, with the evidence and without repeating its source;
/// [`Fault::kind`] says what it means to the caller, and [`Fault::advice`] what to do next.
pub trait Fault: std::error::Error + Send + Sync + 'static {
    /// What this failure means to the caller.
    fn kind(&self) -> Kind;

    /// What to do next, as one or two sentences to the user; `None` if the message is enough.
    fn advice(&self) -> Option<String> {
        None
    }
}
