//! The recipients that can open the repository, each named by a public key or a passphrase.

use std::fmt;
use std::io::Write as _;
use std::iter;
use std::str::FromStr;

use age_core::format::FileKey;
use lifeboat_core::Sha256Digest;
use lifeboat_core::random::Entropy;

use super::{Passphrase, hybrid, passphrase, plugin};
use crate::error::VaultError;

/// The longest recipient that is read, in bytes. An RSA key of 16,384 bits and a long comment stay below it.
const MAX_TEXT: usize = 8 << 10;
/// The prefix of the text of a passphrase recipient; an id that reveals nothing of the passphrase follows.
const PASSPHRASE_START: &str = "passphrase-";

/// An age recipient that can open the repository.
pub struct Recipient {
    text: String,
    id: String,
    kind: RecipientKind,
    protection: Protection,
    /// Missing for a passphrase recipient from a roster: the roster does not contain the passphrase.
    wraps: Option<Box<dyn age::Recipient + Send + Sync>>,
}

/// The kinds of recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecipientKind {
    /// age's post-quantum hybrid of ML-KEM-768 and X25519, `age1pq1…`.
    Hybrid,
    /// age's classical key, `age1…`.
    X25519,
    /// An SSH public key.
    Ssh,
    /// A key in hardware, `age1tag1…`.
    Tag,
    /// A post-quantum hybrid key in hardware, `age1tagpq1…`.
    HybridTag,
    /// A plugin's, `age1NAME1…`.
    Plugin,
    /// A passphrase.
    Passphrase,
}

/// Whether what is wrapped to a recipient today stays closed to someone who copies it and later has a quantum computer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protection {
    /// It stays closed, as far as is known.
    PostQuantum,
    /// It does not.
    Classical,
    /// A plugin decides, and has not been asked.
    Unknown,
}

impl fmt::Display for RecipientKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hybrid => "mlkem768x25519",
            Self::X25519 => "x25519",
            Self::Ssh => "ssh",
            Self::Tag => "p256tag",
            Self::HybridTag => "mlkem768p256tag",
            Self::Plugin => "plugin",
            Self::Passphrase => "passphrase",
        })
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PostQuantum => "post-quantum",
            Self::Classical => "classical",
            Self::Unknown => "unknown",
        })
    }
}

impl FromStr for Recipient {
    type Err = VaultError;

    /// Parses an age recipient of any kind (`age1…`), an SSH public key (`ssh-ed25519 …`, `ssh-rsa …`), or the name of
    /// a passphrase in a roster (`passphrase-…`).
    ///
    /// The word `passphrase` alone is not a recipient: [`Recipient::of_passphrase`] takes the passphrase itself.
    fn from_str(text: &str) -> Result<Self, VaultError> {
        let text = text.trim();
        let bad = |reason: &str| bad(text, reason);
        if text.len() > MAX_TEXT || text.contains(char::is_control) {
            return Err(bad("it is not a single line of a recipient's length"));
        }
        if let Some(id) = text.strip_prefix(PASSPHRASE_START) {
            let is_id = id.len() == 16 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            return if is_id { Ok(Self::locked(id)) } else { Err(bad("its id is malformed")) };
        }
        if text.starts_with("ssh-") {
            let key: age::ssh::Recipient = text.parse().map_err(|error| bad(&ssh_refusal(&error)))?;
            // The comment after the key is not part of its identity.
            let id = id_of(&key.to_string());
            return Ok(Self { id, ..Self::new(text, RecipientKind::Ssh, Protection::Classical, key) });
        }
        match text.strip_prefix("age1") {
            Some(_) if text.starts_with(hybrid::RECIPIENT_START) => {
                text.parse().map(Self::hybrid).map_err(bad)
            }
            Some(_) if text.starts_with("age1tag1") => {
                let key: age::tag::Recipient = text.parse().map_err(bad)?;
                Ok(Self::new(text, RecipientKind::Tag, Protection::Classical, key))
            }
            Some(_) if text.starts_with("age1tagpq1") => {
                let key: age::tagpq::Recipient = text.parse().map_err(bad)?;
                Ok(Self::new(text, RecipientKind::HybridTag, Protection::PostQuantum, key))
            }
            // Bech32 data contains no 1: another one ends the name of a plugin.
            Some(rest) if rest.contains('1') => {
                let key: age::plugin::Recipient = text.parse().map_err(bad)?;
                Ok(Self::new(text, RecipientKind::Plugin, Protection::Unknown, plugin::Recipient(key)))
            }
            Some(_) => {
                let key: age::x25519::Recipient = text.parse().map_err(bad)?;
                Ok(Self::new(text, RecipientKind::X25519, Protection::Classical, key))
            }
            None if text == "passphrase" => Err(bad("the passphrase itself is missing")),
            None => Err(bad("it is of an unknown kind")),
        }
    }
}

impl Recipient {
    fn new(
        text: &str,
        kind: RecipientKind,
        protection: Protection,
        wraps: impl age::Recipient + Send + Sync + 'static,
    ) -> Self {
        Self { text: text.to_owned(), id: id_of(text), kind, protection, wraps: Some(Box::new(wraps)) }
    }

    pub(super) fn hybrid(key: hybrid::Recipient) -> Self {
        Self::new(&key.to_string(), RecipientKind::Hybrid, Protection::PostQuantum, key)
    }

    /// The recipient of `passphrase`. The id is random, so it reveals nothing of the passphrase.
    pub fn of_passphrase(passphrase: &Passphrase, entropy: &dyn Entropy) -> Self {
        Self::locked(&hex::encode(entropy.array::<8>())).unlock(passphrase)
    }

    fn locked(id: &str) -> Self {
        Self {
            text: format!("{PASSPHRASE_START}{id}"),
            id: id.to_owned(),
            kind: RecipientKind::Passphrase,
            // scrypt and ChaCha20-Poly1305 are symmetric; the passphrase itself is the weak point.
            protection: Protection::PostQuantum,
            wraps: None,
        }
    }

    /// Sets the passphrase of a recipient that was read from a roster. Nothing can tell whether it is the original one;
    /// other kinds are returned unchanged.
    #[must_use]
    pub fn unlock(self, passphrase: &Passphrase) -> Self {
        if self.kind == RecipientKind::Passphrase {
            let wraps = passphrase::Recipient::new(passphrase.clone());
            return Self { wraps: Some(Box::new(wraps)), ..self };
        }
        self
    }

    /// Whether nothing can be wrapped to it before [`Recipient::unlock`].
    pub fn needs_passphrase(&self) -> bool {
        self.wraps.is_none()
    }

    /// The recipient in age's form; for a passphrase, its name in rosters.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A short name for object names and listings.
    pub fn id(&self) -> String {
        self.id.clone()
    }

    /// Its kind.
    pub fn kind(&self) -> RecipientKind {
        self.kind
    }

    /// Its resistance, as far as is known. A plugin's becomes known by [`Recipient::prepare`].
    pub fn protection(&self) -> Protection {
        self.protection
    }

    /// Whether what is wrapped to it is known to withstand a quantum computer.
    pub fn is_post_quantum(&self) -> bool {
        self.protection == Protection::PostQuantum
    }

    /// Checks early whether it can be wrapped to: a plugin must exist and answer.
    pub fn prepare(&mut self) -> Result<(), VaultError> {
        let Some(wraps) = &self.wraps else {
            return Err(bad(&self.text, "its passphrase is missing"));
        };
        if self.kind == RecipientKind::Plugin {
            let (_, labels) = wraps
                .wrap_file_key(&FileKey::new(Box::default()))
                .map_err(|error| bad(&self.text, &plugin::refusal(&error)))?;
            let is_post_quantum = labels.contains(hybrid::LABEL);
            self.protection = if is_post_quantum { Protection::PostQuantum } else { Protection::Classical };
        }
        Ok(())
    }

    /// Encrypts `secret` to only this recipient, as an age file.
    pub(crate) fn wrap(&self, secret: &[u8]) -> Result<Vec<u8>, VaultError> {
        let Some(recipient) = &self.wraps else {
            return Err(bad(&self.text, "its passphrase is missing"));
        };
        let recipient: &dyn age::Recipient = recipient.as_ref();
        let encryptor = age::Encryptor::with_recipients(iter::once(recipient))
            .map_err(|error| bad(&self.text, &plugin::refusal(&error)))?;
        let mut wrapped = Vec::new();
        let write = || -> std::io::Result<()> {
            let mut writer = encryptor.wrap_output(&mut wrapped)?;
            writer.write_all(secret)?;
            writer.finish()?;
            Ok(())
        };
        write().map_err(|error| bad(&self.text, &error.to_string()))?;
        Ok(wrapped)
    }

    /// The same passphrase at almost no cost, for tests that wrap often.
    #[cfg(test)]
    pub(super) fn cheap_passphrase(passphrase: &Passphrase) -> Self {
        let wraps = passphrase::Recipient::cheap(passphrase.clone());
        Self { wraps: Some(Box::new(wraps)), ..Self::locked("0123456789abcdef") }
    }
}

fn id_of(text: &str) -> String {
    Sha256Digest::of(text.as_bytes()).to_string()[..16].to_owned()
}

/// Recipients can be two thousand letters long, and someone may pass a private key by mistake: neither is displayed.
fn bad(text: &str, reason: &str) -> VaultError {
    let upper = text.to_ascii_uppercase();
    if upper.starts_with("AGE-SECRET-KEY-") || upper.starts_with("AGE-PLUGIN-") {
        let reason = "this is a private key; give the public key that belongs to it".to_owned();
        return VaultError::BadRecipient { text: "AGE-…".to_owned(), reason };
    }
    let start: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
    let rest = if start.len() < text.len() { "…" } else { "" };
    VaultError::BadRecipient { text: format!("{start}{rest}"), reason: reason.to_owned() }
}

fn ssh_refusal(error: &age::ssh::ParseRecipientKeyError) -> String {
    use age::ssh::ParseRecipientKeyError as E;
    match error {
        E::RsaModulusTooSmall => "its RSA key has fewer than 2048 bits".to_owned(),
        E::RsaModulusTooLarge => "its RSA key is larger than age supports".to_owned(),
        E::Unsupported(kind) => format!("age does not support SSH keys of type {kind}"),
        _ => "it is not an SSH key that age supports".to_owned(),
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({}, {})", self.id, self.kind)
    }
}
