//! The signing key: a file, or a command that holds the key or has access to it.
//!
//! The protocol of a key command is documented in docs/key-plugin.md: a digest goes in, a signature comes out, and the
//! signature is verified with the key's public half before it is used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lifeboat_core::{Fault, Kind, Sha256Digest};
use lifeboat_plugin::ask;
use lifeboat_shell::{Failure, Ui};
use lifeboat_trust::key::{Sign, SignError, VerificationKey};
use lifeboat_trust::key_file::{self, KeyFileError};

use tokio_util::sync::CancellationToken;

use crate::secret;

/// Marks the name of a key that is held elsewhere.
const PREFIX: &str = "plugin:";

/// How long a command may take, including everything that it starts: somebody may have to touch a token.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Opens the key that the user names.
pub(crate) fn open_key(name: &Path, ui: &Ui) -> Result<Box<dyn Sign>, Failure> {
    match name.to_str().and_then(|name| name.strip_prefix(PREFIX)) {
        Some(command) => Ok(Box::new(KeyCommand::open(PathBuf::from(command), ui.cancellation().clone())?)),
        None => Ok(Box::new(secret::open(name, ui)?)),
    }
}

/// A command that signs.
struct KeyCommand {
    program: PathBuf,
    public: VerificationKey,
    cancellation: CancellationToken,
}

/// Why a command provides no key.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    /// It failed.
    #[error("the key command {} failed: {reason}", program.display())]
    Failed { program: PathBuf, reason: String },
    /// Its output is not a public key.
    #[error("the key command {} gave no public key", program.display())]
    NoKey { program: PathBuf, source: KeyFileError },
    /// Its key cannot sign a digest.
    #[error("the key command {} holds an {algorithm} key, which cannot sign a digest", program.display())]
    OtherAlgorithm { program: PathBuf, algorithm: &'static str },
}

impl Fault for CommandError {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::OtherAlgorithm { .. } => "use an ECDSA P-256 or RSA key".to_owned(),
            Self::Failed { program, .. } | Self::NoKey { program, .. } => {
                format!(
                    "run `{} public-key` by hand; docs/key-plugin.md says what it must print",
                    program.display()
                )
            }
        })
    }
}

impl KeyCommand {
    fn open(program: PathBuf, cancellation: CancellationToken) -> Result<Self, CommandError> {
        let answer = ask(&program, &["public-key"], b"", TIMEOUT, || cancellation.is_cancelled());
        let answer = answer
            .map_err(|error| CommandError::Failed { program: program.clone(), reason: error.reason })?;
        let public = key_file::read_public(&answer)
            .map_err(|source| CommandError::NoKey { program: program.clone(), source })?;
        if !public.verifies_digests() {
            let algorithm = public.algorithm().name();
            return Err(CommandError::OtherAlgorithm { program, algorithm });
        }
        Ok(Self { program, public, cancellation })
    }
}

impl Sign for KeyCommand {
    fn verification_key(&self) -> &VerificationKey {
        &self.public
    }

    fn sign_digest(&self, digest: Sha256Digest) -> Result<Vec<u8>, SignError> {
        use base64::Engine as _;
        let failed = |reason: String| SignError {
            reason: format!("{}: {reason}", self.program.display()),
            advice: "run the key command by hand; docs/key-plugin.md says what it must print".to_owned(),
        };
        let answer = ask(&self.program, &["sign", "sha256", &digest.to_string()], b"", TIMEOUT, || {
            self.cancellation.is_cancelled()
        })
        .map_err(|error| failed(error.reason))?;
        let text = String::from_utf8_lossy(&answer);
        let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let signature = base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|_| failed("what it printed is not base64".to_owned()))?;
        self.public
            .verify_digest(digest, &signature)
            .map_err(|_| failed("its signature does not verify with its own public key".to_owned()))?;
        Ok(signature)
    }
}
