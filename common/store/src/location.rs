//! Locations of repositories, as the user writes them.

use std::fmt;
use std::path::{Path, PathBuf};

use lifeboat_core::text::is_deceptive;
use url::{Host, Url};

use crate::StoreError;

/// A parsed location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder on this machine.
    Folder(PathBuf),
    /// A bucket or container in object storage, with the repository's prefix.
    Bucket {
        /// The kind of storage.
        provider: Provider,
        /// The bucket's, or container's, name.
        bucket: String,
        /// The prefix, without slashes at either end; may be empty.
        prefix: String,
    },
}

/// The kinds of object storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Amazon S3, and compatible storage.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

impl Provider {
    pub(crate) const fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }
}

impl Location {
    /// Parses a location: a path, `file://PATH`, `s3://BUCKET/PREFIX`, `gs://…` or `az://…`.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let bad =
            |reason: &str| StoreError::BadLocation { location: text.to_owned(), reason: reason.to_owned() };
        let Some((scheme, _)) = text.split_once("://") else {
            return match text.split('/').next().unwrap_or_default().split_once(':') {
                _ if text.is_empty() => Err(bad("it is empty")),
                // Other tools use this form for remote locations, so a folder of that name is not what is meant.
                Some((before, _)) => Err(bad(&format!(
                    "before its first slash stands a colon: object storage is written `s3://bucket/prefix` (gs, az), and a \
                     folder `./{before}:…`"
                ))),
                None => Ok(Self::Folder(PathBuf::from(text))),
            };
        };
        let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("credentials do not belong in a location; give them in the environment"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("it has a query or a fragment"));
        }
        let provider = match scheme {
            "file" => {
                let folder = url.to_file_path().map_err(|()| bad("it names no local folder"))?;
                return Ok(Self::Folder(folder));
            }
            "s3" => Provider::S3,
            "gs" => Provider::Gcs,
            "az" => Provider::Azure,
            _ => return Err(bad("its scheme is unknown")),
        };
        let bucket = match url.host() {
            Some(host) => host.to_string(),
            None => return Err(bad("it names no bucket")),
        };
        let prefix = url.path().trim_matches('/').to_owned();
        if prefix.split('/').any(|part| part == "." || part == "..") || prefix.contains("//") {
            return Err(bad("its prefix has an empty, `.` or `..` part"));
        }
        Ok(Self::Bucket { provider, bucket, prefix })
    }

    /// The folder, if the location is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(path) => Some(path),
            Self::Bucket { .. } => None,
        }
    }
}

/// A folder whose name is not plain text, in the form `file://…` (RFC 8089).
fn address(path: &Path) -> Option<Url> {
    Url::from_file_path(std::path::absolute(path).ok()?).ok()
}

/// Text that [`Location::parse`] parses as the same location, except that a relative folder depends on the working
/// directory.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => {
                let plain = path.to_str().filter(|text| !text.chars().any(is_deceptive));
                match (plain, address(path)) {
                    (None, Some(address)) => write!(f, "{address}"),
                    _ => write!(f, "{}", path.display()),
                }
            }
            Self::Bucket { provider, bucket, prefix } if prefix.is_empty() => {
                write!(f, "{}://{bucket}", provider.scheme())
            }
            Self::Bucket { provider, bucket, prefix } => {
                write!(f, "{}://{bucket}/{prefix}", provider.scheme())
            }
        }
    }
}

/// Whether plain HTTP to this endpoint stays on this machine.
pub(crate) fn is_loopback(endpoint: &Url) -> bool {
    match endpoint.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn locations_are_read_and_shown_alike() {
        assert_eq!(Location::parse("/srv/repo").unwrap(), Location::Folder("/srv/repo".into()));
        assert_eq!(Location::parse("file:///srv/re%20po").unwrap(), Location::Folder("/srv/re po".into()));
        assert_eq!(Location::parse("s3://bucket/a/b/").unwrap().to_string(), "s3://bucket/a/b");
        assert_eq!(Location::parse("az://container").unwrap().to_string(), "az://container");
        for folder in [
            &b"/srv/re po"[..],
            b"/srv/\xff\xfe",
            b"/srv/a%20b\\c",
            b"/srv/a\nb",
            "/srv/r\u{202e}l\u{1b}".as_bytes(),
            "/srv/é".as_bytes(),
        ] {
            let location = Location::Folder(std::ffi::OsStr::from_bytes(folder).into());
            assert_eq!(Location::parse(&location.to_string()).unwrap(), location);
            assert!(!location.to_string().chars().any(is_deceptive), "{location}");
        }
    }

    #[test]
    fn what_is_no_location_is_refused() {
        for bad in [
            "s3:s3.amazonaws.com/bucket",
            "sftp:user@host:/x",
            "b2:bucket",
            "user@host:/srv",
            "c:",
            "rest:http//x",
        ] {
            let error = Location::parse(bad).unwrap_err().to_string();
            assert!(error.contains("s3://bucket/prefix") && error.contains("./"), "{bad}: {error}");
        }
        assert_eq!(Location::parse("./a:b/c").unwrap(), Location::Folder("./a:b/c".into()));
        assert_eq!(Location::parse("/a/b:c").unwrap(), Location::Folder("/a/b:c".into()));
        for bad in ["", "ftp://host/x", "s3:///x", "s3://user:secret@bucket/x", "s3://bucket/x?y", "gs://"] {
            assert!(matches!(Location::parse(bad), Err(StoreError::BadLocation { .. })), "{bad}");
        }
    }
}
