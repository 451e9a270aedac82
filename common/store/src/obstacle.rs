//! Things that may be found in a store where only objects, and folders of objects, belong.

use std::fmt;

/// Why something in a store is neither an object nor a folder of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Obstacle {
    /// Its name is not valid for an object.
    Name,
    /// A symbolic link: a folder store follows none below its root.
    Link,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A device.
    Device,
    /// A file in place of a folder in an object's name.
    File,
    /// A folder in place of the object itself.
    Folder,
    /// This user may not open it.
    Denied,
    /// The file system does not support such long names.
    TooLong,
    /// Another program holds it so that nobody else can open it now.
    Held,
}

impl Obstacle {
    /// Whether it may hide objects that this host does not see but another one may.
    pub fn may_hide_objects(self) -> bool {
        match self {
            Self::Link | Self::Denied | Self::TooLong | Self::Held => true,
            Self::Name | Self::Pipe | Self::Socket | Self::Device | Self::File | Self::Folder => false,
        }
    }

    /// What to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Link => {
                "no link inside of a repository is followed: mount the other place there (`mount --bind`), or move the \
                 whole repository and link to that"
            }
            Self::Denied => "let this user read all that is in the repository, or run as a user who may",
            Self::TooLong => "keep the repository on a file system that has names of 255 bytes",
            Self::Held => "run again when the other program is done with it",
            Self::Name | Self::Pipe | Self::Socket | Self::Device | Self::File | Self::Folder => {
                "it does not belong into the repository: find out who put it there, and move it away"
            }
        }
    }
}

/// The end of a sentence that starts with the place.
impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "has a name that no object can have",
            Self::Link => "is a symbolic link",
            Self::Pipe => "is a named pipe",
            Self::Socket => "is a socket",
            Self::Device => "is a device",
            Self::File => "is a file, where a folder must be",
            Self::Folder => "is a folder, where a file must be",
            Self::Denied => "may not be opened by this user",
            Self::TooLong => "has a name that is too long for this file system",
            Self::Held => "is held by another program",
        })
    }
}

/// An obstacle on the way to one object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{place}` {obstacle}")]
pub(crate) struct InTheWay {
    /// The object's own name, or one of the folders in it.
    pub(crate) place: String,
    pub(crate) obstacle: Obstacle,
}
