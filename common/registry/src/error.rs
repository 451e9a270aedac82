//! Errors of registries and layouts.

use std::path::{Path, PathBuf};

use lifeboat_core::{Fault, Kind, Sha256Digest};
use lifeboat_strict::Refusal;

use crate::RealmRefusal;

/// Why a registry or layout failed to read or write something.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The text is not an image reference.
    #[error("`{text}` is not an image reference: {reason}")]
    BadReference {
        /// The text, cut to a printable length.
        text: String,
        /// What is wrong with it.
        reason: String,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// No answer came.
    #[error("the registry {registry} cannot be reached")]
    Unreachable {
        /// The registry's host and port.
        registry: String,
        /// The error of the connection.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry answered that it cannot serve the request.
    #[error("the registry {registry} answers with status {status} when asked for {what}")]
    Unavailable {
        /// The registry's host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// The HTTP status.
        status: u16,
    },
    /// The registry redirects to a place that is not followed.
    #[error("the registry {registry} redirects, when asked for {what}, {fault}")]
    Redirected {
        /// The registry's host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// Why the redirect is not followed: its target, or the number of redirects.
        fault: &'static str,
    },
    /// A challenge or a redirect names a token service that must not be contacted.
    #[error("{asker} names {realm} as the token service, {}: nothing was sent there", refusal.as_clause())]
    RealmRefused {
        /// The server that names it.
        asker: String,
        /// Scheme, host and port of the token service.
        realm: String,
        /// Its host and port only.
        host: String,
        /// Why it must not be contacted.
        refusal: RealmRefusal,
    },
    /// A token service that may be contacted returned no token.
    #[error("the token service {service} of the registry {registry} {said}")]
    TokenService {
        /// The registry's host and port.
        registry: String,
        /// The token service's host and port.
        service: String,
        /// What it did.
        said: String,
        /// The error of the connection.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The text is not the host of a token service.
    #[error("`{text}` is not a host for `--allow-realm`")]
    BadRealm {
        /// The text, cut to a printable length.
        text: String,
    },
    /// The registry refused the credentials, or demands some.
    #[error("the registry {registry} refuses {what}: {}", if *.anonymous { "it wants credentials, and there are none" } else { "the credentials are not enough" })]
    Unauthorized {
        /// The registry's host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// Whether no credentials were given.
        anonymous: bool,
        /// Whether it was a write.
        writing: bool,
    },
    /// The credentials that the user configured cannot be read.
    #[error("the credentials for {registry} cannot be read: {reason}")]
    Credentials {
        /// The registry's host and port.
        registry: String,
        /// The error of the helper or the file.
        reason: String,
    },
    /// It does not exist.
    #[error("there is no {what}")]
    NotFound {
        /// What was asked for, and where.
        what: String,
    },
    /// The answer is larger than anything of this kind needs to be.
    #[error("{what} is larger than {cap} bytes")]
    TooLarge {
        /// What was read.
        what: String,
        /// The ceiling.
        cap: u64,
    },
    /// The bytes do not match the digest in their name.
    #[error("{what} has the digest {}, not {}: it was damaged or exchanged", found.to_oci(), expected.to_oci())]
    DigestMismatch {
        /// What was read.
        what: String,
        /// The digest in its name.
        expected: Sha256Digest,
        /// The digest of the bytes.
        found: Sha256Digest,
    },
    /// The bytes are complete but do not follow the specification.
    #[error("{what} is malformed: {reason}")]
    Malformed {
        /// What was read.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Programs interpret the bytes differently.
    #[error("{what} is ambiguous: {reason}")]
    Ambiguous {
        /// What was read.
        what: String,
        /// What is interpreted in two ways.
        reason: String,
    },
    /// A reference gives a tag and a digest, and the tag points to something else.
    #[error("the tag `{tag}` points to {} now, not to {}", found.to_oci(), expected.to_oci())]
    TagMoved {
        /// The tag.
        tag: String,
        /// The digest in the reference.
        expected: Sha256Digest,
        /// The digest that the tag names.
        found: Sha256Digest,
    },
    /// Others keep overwriting the list of referrers.
    #[error("{registry} lost the entry for {} under the tag `{tag}` {attempts} times: others write there too", entry.to_oci())]
    Contended {
        /// The registry's host and port.
        registry: String,
        /// The fallback tag.
        tag: String,
        /// The manifest that is pushed but not listed.
        entry: Sha256Digest,
        /// How often it was tried.
        attempts: u32,
    },
    /// The folder is not an OCI layout.
    #[error("{} is not an OCI image layout: {reason}", path.display())]
    NotALayout {
        /// The folder.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// The layout does not say which image is meant.
    #[error("{} holds {}, and the reference names none of them", path.display(), listed(known))]
    WhichImage {
        /// The folder.
        path: PathBuf,
        /// The images that it holds.
        known: Vec<String>,
    },
    /// The local engine never pulled the image from a registry, nor pushed it to one.
    #[error("the image `{name}` of the Docker Engine was never pushed or pulled, so that it has no digest")]
    NeverPushed {
        /// The image's name.
        name: String,
    },
    /// The local engine pulled the image from, or pushed it to, several registries.
    #[error("the image `{name}` of the Docker Engine lies in several registries: {}", known.join(", "))]
    WhichRegistry {
        /// The image's name.
        name: String,
        /// The image's names there.
        known: Vec<String>,
    },
    /// A file of a layout cannot be read or written.
    #[error("{} cannot be {action}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// The operating system's error.
        source: std::io::Error,
    },
}

impl RegistryError {
    /// The error for something on disk that programs interpret differently.
    pub(crate) fn ambiguous(path: &Path, reason: impl Into<String>) -> Self {
        Self::Ambiguous { what: path.display().to_string(), reason: reason.into() }
    }

    /// The error for something that the strict reader refused.
    pub(crate) fn refused(what: &str, refusal: Refusal) -> Self {
        let (what, reason) = (what.to_owned(), refusal.reason);
        match refusal.fault {
            lifeboat_strict::Fault::Ambiguous => Self::Ambiguous { what, reason },
            lifeboat_strict::Fault::Malformed | lifeboat_strict::Fault::TooLarge => {
                Self::Malformed { what, reason }
            }
        }
    }
}

fn listed(known: &[String]) -> String {
    match known {
        [] => "no image".to_owned(),
        [one] => format!("the image {one}"),
        several => format!("{} images ({})", several.len(), several.join(", ")),
    }
}

impl Fault for RegistryError {
    fn kind(&self) -> Kind {
        match self {
            Self::BadReference { .. }
            | Self::BadRealm { .. }
            | Self::Credentials { .. }
            | Self::NotFound { .. }
            | Self::NotALayout { .. }
            | Self::WhichImage { .. }
            | Self::NeverPushed { .. }
            | Self::WhichRegistry { .. }
            | Self::Unauthorized { writing: true, .. } => Kind::Usage,
            Self::Unreachable { .. }
            | Self::Unavailable { .. }
            | Self::Redirected { .. }
            | Self::RealmRefused { .. }
            | Self::TokenService { .. }
            | Self::Unauthorized { .. }
            | Self::Io { .. } => Kind::Undetermined,
            Self::TooLarge { .. }
            | Self::DigestMismatch { .. }
            | Self::Malformed { .. }
            | Self::Ambiguous { .. }
            | Self::TagMoved { .. }
            | Self::Contended { .. } => Kind::Refused,
        }
    }

    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::BadReference { meant: Some(meant), .. } => format!("write `{meant}`"),
            Self::BadReference { .. } => {
                "write `registry/name[:tag][@sha256:…]`, `oci:DIR[:tag]` for a layout or archive on disk, or `docker:NAME`".to_owned()
            }
            Self::Unreachable { .. } => {
                "check the address and the network, then try again; plain HTTP is spoken on loopback only, unless \
                 `--allow-http` is given"
                    .to_owned()
            }
            Self::Unavailable { .. } | Self::TokenService { .. } => {
                "try again later; nothing was decided".to_owned()
            }
            Self::Redirected { .. } => "report it to the registry's operator; nothing was decided".to_owned(),
            Self::RealmRefused { host, refusal, .. } if refusal.can_be_allowed() => format!(
                "if the registry's operator confirms that this is its token service, give `--allow-realm {host}`"
            ),
            Self::RealmRefused { .. } => {
                "report it to the registry's operator: a token service needs TLS and a host name of its own, and \
                 `--allow-realm` cannot replace them"
                    .to_owned()
            }
            Self::BadRealm { .. } => {
                "write the token service's `HOST` or `HOST:PORT`, such as `auth.example.com`".to_owned()
            }
            Self::Unauthorized { registry, .. } => {
                format!("run `docker login {registry}` with an account that may do this")
            }
            Self::Credentials { registry, .. } => {
                format!("run `docker login {registry}` again, or fix the helper named in Docker's config.json")
            }
            Self::NotFound { .. } => "check the name, and that it was put there".to_owned(),
            Self::TooLarge { .. } | Self::DigestMismatch { .. } | Self::Malformed { .. } => {
                "do not use it; compare with another copy, and tell the operator of the registry".to_owned()
            }
            Self::Ambiguous { .. } => {
                "do not use it: another program may take another image for this one; make it again, with one program"
                    .to_owned()
            }
            Self::TagMoved { .. } => {
                "find out who moved the tag; to go on with the digest alone, leave the tag out of the reference"
                    .to_owned()
            }
            Self::Contended { .. } => "run the same command again when the others are done".to_owned(),
            Self::NotALayout { .. } => {
                "give the folder that holds `oci-layout` and `index.json`, or an archive as `docker save` writes it"
                    .to_owned()
            }
            Self::NeverPushed { name } => {
                format!("push it first, or save it: `docker save {name} -o image.tar`, then `oci:image.tar`")
            }
            Self::WhichRegistry { .. } => "give one of these names, after `docker:` or alone".to_owned(),
            Self::WhichImage { .. } => "add `:tag` or `@sha256:…` to the reference".to_owned(),
            Self::Io { .. } => "check the folder's permissions and the disk, then try again".to_owned(),
        })
    }
}
