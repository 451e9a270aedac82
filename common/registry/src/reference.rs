//! References: the names of images on the command line.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use lifeboat_core::Sha256Digest;
use oci_spec::distribution::Reference as OciReference;

use crate::RegistryError;

/// The longest reference that is parsed, in bytes.
const MAX_LENGTH: usize = 4096;

/// An image in a registry or in a layout on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// `registry/name[:tag][@sha256:…]`
    Registry(RegistryReference),
    /// `oci:DIR[:tag][@sha256:…]`, or an archive in place of the folder
    Layout(LayoutReference),
    /// `docker:NAME`: an image of the local engine. [`Reference::locate`] finds out where it came from.
    Daemon(String),
}

/// An image in a registry. Without tag and digest it is the tag `latest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryReference {
    pub(crate) inner: OciReference,
    pub(crate) digest: Option<Sha256Digest>,
}

/// The form in which an image on disk is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `oci:`, whichever is there: a layout, or an archive of either form.
    Shown,
    /// `oci-archive:`, an archive of a layout (containers-transports(5)).
    LayoutArchive,
    /// `docker-archive:`, an archive with a `manifest.json` (containers-transports(5)).
    DockerArchive,
}

impl Form {
    const ALL: [Self; 3] = [Self::Shown, Self::LayoutArchive, Self::DockerArchive];

    /// The prefix of references in this form.
    fn prefix(self) -> &'static str {
        match self {
            Self::Shown => "oci:",
            Self::LayoutArchive => "oci-archive:",
            Self::DockerArchive => "docker-archive:",
        }
    }
}

/// An image in an OCI layout. The last `:` after the last `/` begins the tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutReference {
    pub(crate) form: Form,
    pub(crate) path: PathBuf,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<Sha256Digest>,
}

impl RegistryReference {
    /// The registry's host and port, as the user named it.
    pub fn registry(&self) -> &str {
        self.inner.registry()
    }

    /// The repository within the registry.
    pub fn repository(&self) -> &str {
        self.inner.repository()
    }
}

impl LayoutReference {
    /// The form in which it is read.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The layout's folder, or the archive.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Reference {
    /// The tag, if one is given or implied.
    pub fn tag(&self) -> Option<&str> {
        match self {
            Self::Registry(reference) => reference.inner.tag(),
            Self::Layout(reference) => reference.tag.as_deref(),
            Self::Daemon(_) => None,
        }
    }

    /// The digest, if one is given.
    pub fn digest(&self) -> Option<Sha256Digest> {
        match self {
            Self::Registry(reference) => reference.digest,
            Self::Layout(reference) => reference.digest,
            Self::Daemon(_) => None,
        }
    }

    /// The name without tag and digest, which attestations use for their subject.
    pub fn name(&self) -> String {
        match self {
            Self::Registry(reference) => format!("{}/{}", reference.registry(), reference.repository()),
            Self::Layout(reference) => {
                let name = reference.path.file_name().unwrap_or(reference.path.as_os_str());
                name.to_string_lossy().into_owned()
            }
            Self::Daemon(name) => name.clone(),
        }
    }
}

fn refused(text: &str, reason: &str, meant: Option<String>) -> RegistryError {
    let text = text.chars().take(200).flat_map(char::escape_default).collect();
    RegistryError::BadReference { text, reason: reason.to_owned(), meant }
}

/// Whether the text is a valid tag (OCI distribution specification, "Pulling manifests").
fn is_tag(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && text.len() <= 128
}

/// Splits the digest off the end of `rest`, a part of the reference `whole`.
fn split_digest<'r>(whole: &str, rest: &'r str) -> Result<(&'r str, Option<Sha256Digest>), RegistryError> {
    let Some((name, digest)) = rest.split_once('@') else {
        return Ok((rest, None));
    };
    let reason = "what follows the `@` is not `sha256:` and 64 lower-case hexadecimal digits";
    Sha256Digest::from_oci(digest)
        .map(|digest| (name, Some(digest)))
        .map_err(|_| refused(whole, reason, None))
}

impl FromStr for Reference {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        if text.len() > MAX_LENGTH {
            return Err(refused(text, "it is too long", None));
        }
        for form in Form::ALL {
            if let Some(rest) = text.strip_prefix(form.prefix()) {
                return parse_layout(form, text, rest).map(Self::Layout);
            }
        }
        if let Some(name) = text.strip_prefix("docker:") {
            let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b));
            if name.is_empty() || name.starts_with('/') || name.contains("..") || !is_name {
                return Err(refused(text, "what follows `docker:` is not the name of an image", None));
            }
            return Ok(Self::Daemon(name.to_owned()));
        }
        parse_registry(text).map(Self::Registry)
    }
}

fn parse_layout(form: Form, whole: &str, rest: &str) -> Result<LayoutReference, RegistryError> {
    let (rest, digest) = split_digest(whole, rest)?;
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (rest, None),
    };
    if path.is_empty() {
        return Err(refused(whole, "it names no folder", None));
    }
    if let Some(tag) = tag
        && !is_tag(tag)
    {
        return Err(refused(whole, "what follows the last `:` is not a tag", None));
    }
    Ok(LayoutReference { form, path: PathBuf::from(path), tag: tag.map(str::to_owned), digest })
}

fn parse_registry(whole: &str) -> Result<RegistryReference, RegistryError> {
    if !whole.is_ascii() {
        let reason = "it is not written in ASCII, and letters that look alike are not the same";
        return Err(refused(whole, reason, None));
    }
    if whole.contains("://") {
        let (_, rest) = whole.split_once("://").unwrap_or_default();
        return Err(refused(whole, "it is a URL", Some(rest.to_owned())));
    }
    let (rest, digest) = split_digest(whole, whole)?;
    // Without a registry, some tools mean Docker Hub and others the local machine, so the user must say which.
    let registry = rest.split_once('/').map(|(registry, _)| registry);
    if !registry.is_some_and(|host| host.contains(['.', ':']) || host == "localhost") {
        let library = if registry.is_some() { "" } else { "library/" };
        let meant = format!("docker.io/{library}{whole}");
        let is_one = meant.len() <= MAX_LENGTH && parse_registry(&meant).is_ok();
        return Err(refused(whole, "it names no registry", is_one.then_some(meant)));
    }
    let (registry, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let (repository, tag) = match rest.rsplit_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (rest, None),
    };
    if !is_registry(registry) {
        return Err(refused(whole, "what stands before the first `/` is not a host and port", None));
    }
    if !is_repository(repository) {
        let reason = if repository.bytes().any(|b| b.is_ascii_uppercase()) {
            "repository names are lower-case"
        } else {
            "what stands after the first `/` is not a repository's name"
        };
        return Err(refused(whole, reason, None));
    }
    if let Some(tag) = tag
        && !is_tag(tag)
    {
        return Err(refused(whole, "what follows the `:` is not a tag", None));
    }
    // Docker Hub has two names, and a namespace of its own for images without one.
    let is_hub = HUB.contains(&registry);
    let registry = if is_hub { HUB[0] } else { registry }.to_owned();
    let repository = if is_hub && !repository.contains('/') {
        format!("library/{repository}")
    } else {
        repository.to_owned()
    };
    let tag = tag.map(str::to_owned);
    let inner = match (tag, digest) {
        (Some(tag), None) => OciReference::with_tag(registry, repository, tag),
        (None, None) => OciReference::with_tag(registry, repository, "latest".to_owned()),
        (None, Some(digest)) => OciReference::with_digest(registry, repository, digest.to_oci()),
        (Some(tag), Some(digest)) => {
            OciReference::with_tag_and_digest(registry, repository, tag, digest.to_oci())
        }
    };
    Ok(RegistryReference { inner, digest })
}

/// Docker Hub's names; the first is the one that people use.
const HUB: [&str; 2] = ["docker.io", "index.docker.io"];

/// Whether the text is a host, with a port if it has one.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
            ("localhost", rest.strip_prefix(':'))
        }
        Some(_) => return false,
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.len() <= 253 && host.split('.').all(is_label) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Whether the text is a valid name of a repository (OCI distribution specification, "Pulling manifests"). Written by
/// hand, because the usual regular expression takes longer to compile than everything else in a verification.
fn is_repository(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_component = |component: &str| {
        let separators =
            component.split(|c: char| c.is_ascii() && is_word(c as u8)).filter(|run| !run.is_empty());
        component.bytes().next().is_some_and(is_word)
            && component.bytes().next_back().is_some_and(is_word)
            && separators
                .into_iter()
                .all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|b| b == b'-'))
    };
    text.len() <= 255 && text.split('/').all(is_component)
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => write!(f, "{}/{}", reference.registry(), reference.repository())?,
            Self::Layout(reference) => {
                write!(f, "{}{}", reference.form.prefix(), reference.path.display())?;
            }
            Self::Daemon(name) => write!(f, "docker:{name}")?,
        }
        if let Some(tag) = self.tag() {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = self.digest() {
            write!(f, "@{}", digest.to_oci())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn refusal(text: &str) -> String {
        text.parse::<Reference>().unwrap_err().to_string()
    }

    #[test]
    fn references_survive_their_text() {
        for text in [
            "127.0.0.1:5000/app:1.0",
            "registry.example/team/app:1.0",
            "localhost/app:latest",
            "docker.io/library/alpine:3.20",
            "[::1]:5000/app:1",
            "registry.example/a.b/c_d/e__f/g--h:1",
            "oci:/srv/images/app",
            "oci:images:1.0",
            "oci-archive:image.tar:1.0",
            "docker-archive:image.tar:1.0",
            "docker:app:1.0",
            "oci:./a:b/images:1.0",
            &format!("registry.example/app:1.0@{DIGEST}"),
            &format!("registry.example/app@{DIGEST}"),
            &format!("oci:images@{DIGEST}"),
            &format!("oci:images:1.0@{DIGEST}"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        let unnamed: Reference = "registry.example/app".parse().unwrap();
        assert_eq!(unnamed.tag(), Some("latest"));
        let by_digest: Reference = format!("registry.example/app@{DIGEST}").parse().unwrap();
        assert_eq!(by_digest.tag(), None);
        assert_eq!(by_digest.name(), "registry.example/app");
        let Reference::Layout(layout) = "oci:./a:b/images".parse::<Reference>().unwrap() else {
            panic!("a layout")
        };
        assert_eq!(layout.path(), Path::new("./a:b/images"));
    }

    #[test]
    fn what_is_no_reference_is_refused_with_what_was_meant() {
        insta::assert_snapshot!(refusal("alpine:3.20"), @"`alpine:3.20` is not an image reference: it names no registry");
        insta::assert_snapshot!(refusal("https://registry.example/app"), @"`https://registry.example/app` is not an image reference: it is a URL");
        insta::assert_snapshot!(refusal("registry.example/App"), @"`registry.example/App` is not an image reference: repository names are lower-case");
        insta::assert_snapshot!(refusal("registry.example/app@sha256:12"), @"`registry.example/app@sha256:12` is not an image reference: what follows the `@` is not `sha256:` and 64 lower-case hexadecimal digits");
        insta::assert_snapshot!(refusal(&format!("registry.example/app@{}", DIGEST.to_uppercase())), @"`registry.example/app@SHA256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855` is not an image reference: what follows the `@` is not `sha256:` and 64 lower-case hexadecimal digits");
        insta::assert_snapshot!(refusal("oci:"), @"`oci:` is not an image reference: it names no folder");
        insta::assert_snapshot!(refusal("oci:images:a b"), @"`oci:images:a b` is not an image reference: what follows the last `:` is not a tag");
        insta::assert_snapshot!(refusal("docker:../app"), @"`docker:../app` is not an image reference: what follows `docker:` is not the name of an image");
        insta::assert_snapshot!(refusal("registry.example/\u{430}pp:1.0"), @r"`registry.example/\u{430}pp:1.0` is not an image reference: it is not written in ASCII, and letters that look alike are not the same");
        insta::assert_snapshot!(refusal(""), @"`` is not an image reference: it names no registry");
        for hostile in [
            "registry.example/../../x",
            "registry.example/a\nb",
            "registry.example/app:",
            "registry.example/app:a b",
            "registry.example/a..b",
            "registry.example/a___b",
            "registry.example/-a",
            "registry.example/a//b",
            "registry.example:99999/a",
            "registry.example:/a",
            "user@registry.example/a",
            "-registry.example/a",
            "[::1/a",
            "a b/c",
            "x.y/",
        ] {
            assert!(hostile.parse::<Reference>().is_err(), "{hostile}");
        }
        assert!("x".repeat(10_000).parse::<Reference>().is_err());
    }
}
