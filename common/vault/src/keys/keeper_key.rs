//! The key file of a keeper: it can check every stored byte and prune, but reads no paths and no contents.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifeboat_trust::key::SigningKey;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::ids::{KeeperId, RepositoryId};
use crate::keys::Identity;
use crate::keys::key_file::{decode, read_private};

const KEEPER_KEY_FORMAT: &str = "lifeboat.keeper-key/v0";

/// The keys of a keeper.
pub struct KeeperKey {
    /// The repository.
    pub repository: RepositoryId,
    /// The keeper's id.
    pub keeper: KeeperId,
    /// The signing key.
    pub(crate) signing_key: SigningKey,
    /// The identity that opens the index keys wrapped to the keeper.
    pub(crate) identity: Identity,
    /// The text of the identity, as in the file.
    identity_text: Zeroizing<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeeperKeyText {
    format: String,
    repository: RepositoryId,
    keeper: KeeperId,
    signing_key: Zeroizing<String>,
    identity: Zeroizing<String>,
}

impl KeeperKey {
    pub(crate) fn new(
        repository: RepositoryId,
        keeper: KeeperId,
        signing_key: SigningKey,
        identity_text: Zeroizing<String>,
    ) -> Result<Self, String> {
        let identity = Identity::parse(identity_text.as_bytes())?;
        Ok(Self { repository, keeper, signing_key, identity, identity_text })
    }

    /// The file's text.
    pub fn to_text(&self) -> Zeroizing<String> {
        let signing_key = Zeroizing::new(STANDARD.encode(&*self.signing_key.to_pkcs8_der()));
        Zeroizing::new(format!(
            "# Lifeboat keeper key. It checks every stored byte and prunes what is no longer needed.\n\
             # It cannot read contents or paths. Keep it readable by its owner only.\n\
             format = \"{KEEPER_KEY_FORMAT}\"\n\
             repository = \"{}\"\n\
             keeper = \"{}\"\n\
             signing_key = \"{}\"\n\
             identity = \"{}\"\n",
            self.repository,
            self.keeper,
            *signing_key,
            self.identity_text.trim(),
        ))
    }

    /// Parses the file's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        // The parser's message would quote the offending line, and a line may contain a key.
        let text: KeeperKeyText = toml::from_str(text)
            .map_err(|error| format!("it is not a keeper key file: {}", error.message()))?;
        if text.format != KEEPER_KEY_FORMAT {
            return Err(format!("its format is `{}`, not `{KEEPER_KEY_FORMAT}`", text.format));
        }
        let signing_key = SigningKey::from_pkcs8_der(&decode("signing_key", &text.signing_key)?)
            .map_err(|error| error.to_string())?;
        Self::new(text.repository, text.keeper, signing_key, text.identity)
    }

    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self, VaultError> {
        let bytes = read_private(path)?;
        let bad = |reason| VaultError::KeyFile { path: path.to_owned(), reason };
        let text = std::str::from_utf8(&bytes).map_err(|_| bad("it is not text".to_owned()))?;
        Self::parse(text).map_err(bad)
    }
}

impl std::fmt::Debug for KeeperKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeeperKey({} of {}, redacted)", self.keeper, self.repository)
    }
}
