//! Passphrases: as recipients and identities themselves, and as locks on the files of other identities.

use std::collections::HashSet;
use std::fmt;

use age::secrecy::SecretString;
use age::{DecryptError, EncryptError};
use age_core::format::{FileKey, Stanza};

/// scrypt's cost as a power of two: 256 MiB and about a second. It is fixed, as in the reference program, so that a
/// slow machine opens what a fast one wrapped.
const COST: u8 = 18;
/// The highest cost for a file that the user named. Files from the storage are limited to [`COST`]: a provider must not
/// be able to demand gigabytes of memory.
const HIGHEST_COST_OF_A_LOCAL_FILE: u8 = 22;

/// A passphrase. It is wiped from memory on drop, and never displayed.
#[derive(Clone)]
pub struct Passphrase(SecretString);

impl Passphrase {
    /// Wraps a passphrase; `None` if it is empty.
    pub fn new(text: &str) -> Option<Self> {
        if text.is_empty() { None } else { Some(Self(SecretString::from(text))) }
    }

    pub(super) fn secret(&self) -> SecretString {
        self.0.clone()
    }

    /// The identity that opens what was wrapped to this passphrase in a repository.
    pub(super) fn identity(&self) -> age::scrypt::Identity {
        let mut identity = age::scrypt::Identity::new(self.secret());
        identity.set_max_work_factor(COST);
        identity
    }

    /// The identity that opens a file on this machine.
    pub(super) fn identity_for_local_file(&self) -> age::scrypt::Identity {
        let mut identity = age::scrypt::Identity::new(self.secret());
        identity.set_max_work_factor(HIGHEST_COST_OF_A_LOCAL_FILE);
        identity
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(redacted)")
    }
}

/// age's scrypt recipient at our cost.
pub(super) struct Recipient {
    passphrase: Passphrase,
    cost: u8,
}

impl Recipient {
    pub(super) fn new(passphrase: Passphrase) -> Self {
        Self { passphrase, cost: COST }
    }

    /// The same, fast enough for tests that wrap often.
    #[cfg(test)]
    pub(super) fn cheap(passphrase: Passphrase) -> Self {
        Self { passphrase, cost: 2 }
    }
}

impl age::Recipient for Recipient {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let mut recipient = age::scrypt::Recipient::new(self.passphrase.secret());
        recipient.set_work_factor(self.cost);
        recipient.wrap_file_key(file_key)
    }
}

/// Why a file that is locked by a passphrase cannot be opened.
pub(super) fn refusal(error: &DecryptError) -> String {
    match error {
        DecryptError::ExcessiveWork { required, .. } => format!(
            "opening it costs scrypt work of 2^{required}, more than the maximum of 2^{HIGHEST_COST_OF_A_LOCAL_FILE}"
        ),
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => {
            "the passphrase does not open it".to_owned()
        }
        error => error.to_string(),
    }
}
