//! Docker's configuration file, and the helpers that it names (Docker CLI, "docker login", "Credential stores" and
//! "Credential helpers").

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential};
use serde::Deserialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::Credentials;

/// How long a helper may take.
const HELPER_TIMEOUT: Duration = Duration::from_secs(8);

/// What a helper prints for an unknown registry, by the helpers' protocol.
const NOT_FOUND: &str = "credentials not found";

/// The user name that helpers return for a token instead of a password.
const TOKEN_USER: &str = "<token>";

/// The file without the helpers, and the helpers.
pub(super) struct Config {
    /// The file's own credentials.
    own: Vec<u8>,
    /// Helpers of single registries.
    helpers: BTreeMap<String, String>,
    /// The helper of all others.
    store: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: Zeroizing<String>,
}

impl Config {
    /// Parses the file's content; `None` if it is not Docker's JSON.
    pub(super) fn parse(content: &[u8]) -> Option<Self> {
        let mut file: Map<String, Value> = serde_json::from_slice(content).ok()?;
        let mut taken = |name: &str| file.remove(name).filter(|value| !value.is_null());
        let helpers = taken("credHelpers").map(serde_json::from_value).transpose().ok()?.unwrap_or_default();
        let store: Option<String> = taken("credsStore").map(serde_json::from_value).transpose().ok()?;
        let own = serde_json::to_vec(&file).ok()?;
        Some(Self { own, helpers, store: store.filter(|store| !store.is_empty()) })
    }

    /// The credentials of the registry that the file calls `name`: from its own helper, the file itself, or the helper
    /// of all registries, in this order. The error is the reason in words.
    pub(super) fn find(&self, name: &str) -> Result<Option<Credentials>, String> {
        if let Some(helper) = self.helpers.get(name) {
            return ask(helper, name);
        }
        match docker_credential::get_credential_from_reader(&self.own[..], name) {
            // `docker logout` leaves empty entries behind.
            Ok(DockerCredential::UsernamePassword(user, _)) if user.is_empty() => {}
            Ok(DockerCredential::UsernamePassword(user, password)) => {
                return Ok(Some(Credentials::Password { user, password: Zeroizing::new(password) }));
            }
            Ok(DockerCredential::IdentityToken(_)) => return Err(identity_token()),
            Err(CredentialRetrievalError::NoCredentialConfigured) => {}
            Err(error) => return Err(error.to_string()),
        }
        self.store.as_ref().map_or(Ok(None), |store| ask(store, name))
    }
}

fn identity_token() -> String {
    "they are an identity token, which cannot be exchanged; log in with a password or an access token"
        .to_owned()
}

/// Calls a helper. Its output may be the secret itself, and is never shown.
fn ask(helper: &str, name: &str) -> Result<Option<Credentials>, String> {
    let program = format!("docker-credential-{helper}");
    let failed = |reason: &str| format!("the helper `{program}` failed: {reason}");
    let printed = match lifeboat_plugin::ask(
        Path::new(&program),
        &["get"],
        name.as_bytes(),
        HELPER_TIMEOUT,
        || false,
    ) {
        Ok(printed) => Zeroizing::new(printed),
        Err(error) if String::from_utf8_lossy(&error.printed).contains(NOT_FOUND) => return Ok(None),
        Err(error) if error.reason.contains(NOT_FOUND) => return Ok(None),
        Err(error) => return Err(failed(&error.reason)),
    };
    let answer: Answer =
        serde_json::from_slice(&printed).map_err(|_| failed("its answer is not a credential"))?;
    match &answer.username[..] {
        TOKEN_USER => Err(identity_token()),
        "" => Ok(None),
        _ => Ok(Some(Credentials::Password { user: answer.username, password: answer.secret })),
    }
}
