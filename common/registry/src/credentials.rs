//! Registry credentials, from where `docker login` and `podman login` put them.

use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::secrets::RegistryAuth;
use zeroize::Zeroizing;

use crate::RegistryError;

/// What to show a registry that asks who is calling.
#[derive(Default)]
pub enum Credentials {
    /// Nothing.
    #[default]
    Anonymous,
    /// A name and a password, or a token in its place.
    Password {
        /// The name.
        user: String,
        /// The secret.
        password: Zeroizing<String>,
    },
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Password { user, .. } => write!(f, "Password({user}, …)"),
        }
    }
}

impl Credentials {
    /// Looks for the credentials of `registry` in Docker's configuration and its helpers, then in Podman's. It reads
    /// the user's environment and may start a helper, so it belongs at the edge, and blocks.
    pub fn from_login(registry: &str) -> Result<Self, RegistryError> {
        // Docker Hub is filed under the address of its first API.
        let hub = ["https://index.docker.io/v1/", "index.docker.io", "docker.io"];
        let names: &[&str] =
            if ["docker.io", "index.docker.io"].contains(&registry) { &hub } else { &[registry] };
        for name in names {
            for lookup in [docker_credential::get_credential, docker_credential::get_podman_credential] {
                match lookup(name) {
                    Ok(DockerCredential::UsernamePassword(user, password)) => {
                        return Ok(Self::Password { user, password: Zeroizing::new(password) });
                    }
                    Ok(DockerCredential::IdentityToken(_)) => {
                        let reason = "they are an identity token, which cannot be exchanged; log in with a password \
                                      or an access token";
                        return Err(RegistryError::Credentials {
                            registry: registry.to_owned(),
                            reason: reason.to_owned(),
                        });
                    }
                    Err(error) if is_absence(&error) => {}
                    Err(error) => {
                        let reason = match error {
                            // What a helper prints on its standard output may be the secret itself.
                            CredentialRetrievalError::HelperFailure { helper, stderr, .. } => {
                                format!("the helper `{helper}` failed: {}", stderr.trim().escape_debug())
                            }
                            other => other.to_string(),
                        };
                        return Err(RegistryError::Credentials { registry: registry.to_owned(), reason });
                    }
                }
            }
        }
        Ok(Self::Anonymous)
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        matches!(self, Self::Anonymous)
    }

    pub(crate) fn to_auth(&self) -> RegistryAuth {
        match self {
            Self::Anonymous => RegistryAuth::Anonymous,
            Self::Password { user, password } => RegistryAuth::Basic(user.clone(), password.to_string()),
        }
    }
}

fn is_absence(error: &CredentialRetrievalError) -> bool {
    match error {
        CredentialRetrievalError::NoCredentialConfigured | CredentialRetrievalError::ConfigNotFound => true,
        // The text that every helper prints, by the helpers' protocol, when it knows no such registry.
        CredentialRetrievalError::HelperFailure { stdout, stderr, .. } => {
            [stdout, stderr].iter().any(|text| text.contains("credentials not found"))
        }
        _ => false,
    }
}
