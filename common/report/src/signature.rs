//! What `lifeboat-sign` made.

use std::fmt::Write as _;

use serde::Serialize;

use crate::Report;

/// A pair of key files that was made.
#[derive(Debug, Clone, Serialize)]
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
}

/// Where a bundle was put.
#[derive(Debug, Clone, Serialize)]
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
    /// Attached to the image in its layout.
    Layout {
        /// The digest of the manifest that refers to the image.
        manifest: String,
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
        let _ = match &self.bundle {
            StoredBundle::Registry { manifest, fallback_tag: None } | StoredBundle::Layout { manifest } => {
                writeln!(text, "bundle    {manifest}")
            }
            StoredBundle::Registry { manifest, fallback_tag: Some(tag) } => {
                writeln!(
                    text,
                    "bundle    {manifest}\nlisted    under the tag {tag}:\n          this registry does not list referrers itself"
                )
            }
            StoredBundle::File { path } => writeln!(text, "bundle    {path}"),
        };
        text
    }
}
