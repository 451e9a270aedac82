//! Reports of `lifeboat-sign`.

use std::fmt::Write as _;

use serde::Serialize;

use crate::Report;

/// A pair of key files that was made.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KeyPair {
    /// The file of the private key.
    pub private_key: String,
    /// The file of the public key.
    pub public_key: String,
    /// The key's id: SHA-256 of its `SubjectPublicKeyInfo`.
    pub key_id: String,
}

impl Report for KeyPair {
    const SCHEMA: &'static str = "lifeboat.key-pair/v1";

    fn text(&self) -> String {
        format!(
            "private key  {}  (sign with it; keep it and its passphrase secret)\n\
             public key   {}  (verify with it; give it to everyone)\n\
             key id       {}\n\
             Keep a copy of both: without the private key nothing can be signed under this name again.",
            self.private_key, self.public_key, self.key_id
        )
    }
}

/// A signature or attestation that was made.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Signature {
    /// What was signed: a reference or a file.
    pub subject: String,
    /// The digest that was signed.
    pub digest: String,
    /// The tag that was resolved to the digest, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// What the statement says of the subject; none for a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicate_type: Option<String>,
    /// The signing key's id.
    pub key_id: String,
    /// Where the bundle lies.
    pub bundle: StoredBundle,
    /// Where else it lies: in cosign's older form, if both were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub also: Option<StoredBundle>,
    /// What was signed along with it: the images of the index.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Signature>,
}

/// Where a bundle was put.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "place", rename_all = "kebab-case")]
pub enum StoredBundle {
    /// Attached to the image in its registry.
    Registry {
        /// The digest of the manifest that refers to the image.
        manifest: String,
        /// The tag that lists it, where the registry itself does not list referrers.
        #[serde(skip_serializing_if = "Option::is_none")]
        fallback_tag: Option<String>,
    },
    /// In cosign's older form, under a tag of its own.
    Legacy {
        /// The digest of the manifest under the tag.
        manifest: String,
        /// The tag.
        tag: String,
    },
    /// Attached to the image in its layout.
    Layout {
        /// The digest of the manifest that refers to the image.
        manifest: String,
    },
    /// Beside the snapshot in its repository.
    Repository {
        /// The object's name.
        object: String,
    },
    /// In a file of its own.
    File {
        /// The file.
        path: String,
    },
}

impl Report for Signature {
    const SCHEMA: &'static str = "lifeboat.signature/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        let verb = if self.predicate_type.is_some() { "attested" } else { "signed" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{verb:<10}{}", self.subject);
        let _ = writeln!(text, "digest    {}", self.digest);
        if let Some(predicate_type) = &self.predicate_type {
            let _ = writeln!(text, "states    {predicate_type}");
        }
        let _ = writeln!(text, "key       {}", self.key_id);
        for place in std::iter::once(&self.bundle).chain(&self.also) {
            text += &place.text();
        }
        for child in &self.children {
            let _ = writeln!(text, "image     {}", child.digest);
            for place in std::iter::once(&child.bundle).chain(&child.also) {
                text += &place.text();
            }
        }
        text
    }
}

impl StoredBundle {
    fn text(&self) -> String {
        match self {
            Self::Registry { manifest, fallback_tag: None } | Self::Layout { manifest } => {
                format!("bundle    {manifest}\n")
            }
            Self::Registry { manifest, fallback_tag: Some(tag) } => format!(
                "bundle    {manifest}\nlisted    under the tag {tag}:\n          this registry does not list referrers itself\n"
            ),
            Self::Legacy { tag, .. } => format!("legacy    {tag}\n"),
            Self::Repository { object } => format!("stored    {object}\n"),
            Self::File { path } => format!("bundle    {path}\n"),
        }
    }
}
