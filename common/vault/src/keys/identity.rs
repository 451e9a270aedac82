//! Private keys and their files: age identities of every kind and SSH keys, in the clear or locked by a passphrase.

use std::fmt;
use std::io::Read as _;
use std::sync::Arc;

use age::armor::ArmoredReader;
use lifeboat_core::limits::{SMALL_FILE_BYTES, read_capped};
use zeroize::Zeroizing;

use super::{NoDialog, Passphrase, PluginDialog, hybrid, passphrase, plugin};

/// The largest secret that is unwrapped, in bytes.
const MAX_SECRET: u64 = 16 << 10;

const PLUGIN_START: &str = "AGE-PLUGIN-";
const AGE_FILE_START: &[u8] = b"age-encryption.org/";
const ARMOURED_AGE_FILE_START: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
const PEM_START: &[u8] = b"-----BEGIN";

/// A private age key, or several of one file.
pub struct Identity {
    inner: Vec<Box<dyn age::Identity + Send + Sync>>,
}

/// A parsed identity file, possibly still locked.
pub struct IdentityFile(Form);

enum Form {
    /// Lines of age identities.
    Lines(Zeroizing<Vec<u8>>),
    /// An SSH private key in the clear.
    Ssh(age::ssh::Identity),
    /// An SSH private key under a passphrase.
    LockedSsh(age::ssh::Identity),
    /// An age file under a passphrase.
    LockedLines(Vec<u8>),
}

impl IdentityFile {
    /// Parses the file's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.starts_with(AGE_FILE_START) || bytes.starts_with(ARMOURED_AGE_FILE_START) {
            let decryptor =
                age::Decryptor::new(ArmoredReader::new(bytes)).map_err(|error| error.to_string())?;
            return if decryptor.is_scrypt() {
                Ok(Self(Form::LockedLines(bytes.to_owned())))
            } else {
                Err("it is encrypted to other keys; decrypt it with them first".to_owned())
            };
        }
        if !bytes.starts_with(PEM_START) {
            return Ok(Self(Form::Lines(Zeroizing::new(bytes.to_owned()))));
        }
        let identity = age::ssh::Identity::from_buffer(bytes, None).map_err(|error| error.to_string())?;
        match identity {
            age::ssh::Identity::Unencrypted(_) => Ok(Self(Form::Ssh(identity))),
            age::ssh::Identity::Encrypted(_) => Ok(Self(Form::LockedSsh(identity))),
            age::ssh::Identity::Unsupported(_) => Err("age does not support this kind of SSH key".to_owned()),
        }
    }

    /// Whether a passphrase is needed to open it.
    pub fn is_locked(&self) -> bool {
        matches!(self.0, Form::LockedSsh(_) | Form::LockedLines(_))
    }

    /// Opens it with its passphrase. An unlocked file is returned unchanged.
    pub fn unlock(self, passphrase: &Passphrase) -> Result<Self, String> {
        Ok(Self(match self.0 {
            Form::LockedLines(bytes) => {
                let identity = passphrase.identity_for_local_file();
                let identity: &dyn age::Identity = &identity;
                let reader = age::Decryptor::new(ArmoredReader::new(&bytes[..]))
                    .and_then(|decryptor| decryptor.decrypt(std::iter::once(identity)))
                    .map_err(|error| passphrase::refusal(&error))?;
                let text = read_capped(reader, SMALL_FILE_BYTES).map_err(|error| error.to_string())?;
                Form::Lines(Zeroizing::new(text))
            }
            Form::LockedSsh(age::ssh::Identity::Encrypted(key)) => {
                let key = key.decrypt(passphrase.secret()).map_err(|error| passphrase::refusal(&error))?;
                Form::Ssh(key.into())
            }
            form => form,
        }))
    }

    /// The lines of an open identity file.
    pub(crate) fn lines(&self) -> Option<&[u8]> {
        if let Form::Lines(bytes) = &self.0 { Some(bytes) } else { None }
    }

    /// The private keys in it. Plugins reach the user through `dialog`.
    pub fn identity(&self, dialog: &Arc<dyn PluginDialog>) -> Result<Identity, String> {
        match &self.0 {
            Form::Lines(bytes) => Identity::from_lines(bytes, dialog),
            Form::Ssh(identity) => Ok(Identity { inner: vec![Box::new(identity.clone())] }),
            Form::LockedSsh(_) | Form::LockedLines(_) => {
                Err("it is locked by a passphrase, which is missing".to_owned())
            }
        }
    }
}

impl fmt::Debug for IdentityFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityFile(redacted)")
    }
}

impl Identity {
    /// Parses an age identity file or an SSH private key that is not locked by a passphrase.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let nobody: Arc<dyn PluginDialog> = Arc::new(NoDialog);
        IdentityFile::parse(bytes)?.identity(&nobody)
    }

    /// The identity of a passphrase.
    pub fn of_passphrase(passphrase: &Passphrase) -> Self {
        Self { inner: vec![Box::new(passphrase.identity())] }
    }

    fn from_lines(bytes: &[u8], dialog: &Arc<dyn PluginDialog>) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
        let mut inner = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // The line is never quoted: it may be a key with a typo.
            inner.push(
                read_line(line, dialog)
                    .map_err(|reason| format!("line {number} is not a usable age identity: {reason}"))?,
            );
        }
        if inner.is_empty() { Err("it contains no age identity".to_owned()) } else { Ok(Self { inner }) }
    }

    /// Decrypts an age file, or `None` if it is not for this identity or is damaged.
    pub(crate) fn unwrap(&self, wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let decryptor = age::Decryptor::new(wrapped).ok()?;
        let identities = self.inner.iter().map(|identity| -> &dyn age::Identity { &**identity });
        let reader = decryptor
            .decrypt(identities)
            .inspect_err(|error| {
                if let Some(complaint) = plugin::complaint(error) {
                    tracing::warn!("a key could not be opened: {complaint}");
                }
            })
            .ok()?;
        let mut secret = Zeroizing::new(Vec::with_capacity(1024));
        // One byte more than allowed, so that a longer secret is refused and not truncated.
        reader.take(MAX_SECRET + 1).read_to_end(&mut secret).ok()?;
        (secret.len() as u64 <= MAX_SECRET).then_some(secret)
    }
}

fn read_line(
    line: &str,
    dialog: &Arc<dyn PluginDialog>,
) -> Result<Box<dyn age::Identity + Send + Sync>, String> {
    if line.starts_with(hybrid::IDENTITY_START) {
        return Ok(Box::new(line.parse::<hybrid::Identity>()?));
    }
    if line.starts_with(PLUGIN_START) {
        return plugin::identity(&line.parse()?, dialog);
    }
    Ok(Box::new(line.parse::<age::x25519::Identity>()?))
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(redacted)")
    }
}
