//! Registry credentials, from the files of `docker login` and `podman login`.

mod config;

use std::io::ErrorKind;
use std::path::PathBuf;

use lifeboat_core::limits::{SMALL_FILE_BYTES, read_file_capped};
use zeroize::Zeroizing;

use self::config::Config;
use crate::{AllowedRealm, Reference, RegistryError};

/// The credentials for a registry that asks for them.
#[derive(Default)]
pub enum Credentials {
    /// Nothing.
    #[default]
    Anonymous,
    /// A name and a password, or a token instead.
    Password {
        /// The name.
        user: String,
        /// The secret.
        password: Zeroizing<String>,
    },
}

/// How registries are accessed.
#[derive(Debug, Default)]
pub struct Access {
    /// Whether to speak plain HTTP to a registry that is not on loopback.
    pub allow_http: bool,
    /// Token services that may receive the credentials, in addition to those that the rules allow.
    pub allowed_realms: Vec<AllowedRealm>,
    /// Who is calling.
    pub credentials: Credentials,
}

impl Access {
    /// Access to the registry in the reference with the user's login ([`Credentials::from_login`]). `allowed_realms`
    /// are texts that [`AllowedRealm`] parses; empty ones, as from an empty variable, are ignored.
    pub fn from_login(
        reference: &Reference,
        allow_http: bool,
        allowed_realms: &[String],
    ) -> Result<Self, RegistryError> {
        let texts = allowed_realms.iter().filter(|text| !text.is_empty());
        let allowed_realms = texts.map(|text| text.parse()).collect::<Result<_, _>>()?;
        let credentials = match reference {
            Reference::Registry(registry) => Credentials::from_login(registry.registry())?,
            Reference::Layout(_) | Reference::Daemon(_) => Credentials::Anonymous,
        };
        Ok(Self { allow_http, allowed_realms, credentials })
    }
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
    /// Looks for the credentials of `registry` in the files that `docker login` and `podman login` write, and in the
    /// helpers that they name. It reads the user's environment and may start a helper, so call it only at the edge. It
    /// blocks.
    pub fn from_login(registry: &str) -> Result<Self, RegistryError> {
        let folder =
            |variable: &str, below: &str| Some(PathBuf::from(std::env::var_os(variable)?).join(below));
        let docker = folder("DOCKER_CONFIG", "config.json").or_else(|| folder("HOME", ".docker/config.json"));
        let files = match std::env::var_os("REGISTRY_AUTH_FILE") {
            Some(file) => vec![docker, Some(PathBuf::from(file))],
            None => vec![
                docker,
                folder("XDG_RUNTIME_DIR", "containers/auth.json"),
                folder("HOME", ".config/containers/auth.json"),
            ],
        };
        Self::from_files(registry, files.into_iter().flatten())
    }

    /// The same from these files; the first that knows the registry wins. Missing files are skipped.
    pub fn from_files(
        registry: &str,
        files: impl IntoIterator<Item = PathBuf>,
    ) -> Result<Self, RegistryError> {
        // Docker Hub is stored under the address of its first API.
        let hub = ["https://index.docker.io/v1/", "index.docker.io", "docker.io"];
        let names: &[&str] =
            if ["docker.io", "index.docker.io"].contains(&registry) { &hub } else { &[registry] };
        let failed = |reason: String| RegistryError::Credentials { registry: registry.to_owned(), reason };
        for file in files {
            let content = match read_file_capped(&file, SMALL_FILE_BYTES) {
                Ok(content) => content,
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    continue;
                }
                Err(error) => return Err(failed(format!("{}: {error}", file.display()))),
            };
            let shown = file.display();
            let config =
                Config::parse(&content).ok_or_else(|| failed(format!("{shown} is not Docker's JSON")))?;
            for name in names {
                if let Some(found) =
                    config.find(name).map_err(|reason| failed(format!("{shown}: {reason}")))?
                {
                    return Ok(found);
                }
            }
        }
        Ok(Self::Anonymous)
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        matches!(self, Self::Anonymous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_that_knows_the_registry_counts_and_secrets_are_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        // base64 of alice:secret
        let docker = file(
            "docker.json",
            r#"{"auths":{"registry.example":{"auth":"YWxpY2U6c2VjcmV0"},"old.example":{}}}"#,
        );
        let podman =
            file("podman.json", r#"{"auths":{"other.example:5000":{"username":"bob","password":"word"}}}"#);
        let files = || [folder.path().join("absent"), docker.clone(), podman.clone()];
        let found = Credentials::from_files("registry.example", files()).unwrap();
        assert_eq!(format!("{found:?}"), "Password(alice, …)");
        let found = Credentials::from_files("other.example:5000", files()).unwrap();
        assert_eq!(format!("{found:?}"), "Password(bob, …)");
        for unknown in ["old.example", "elsewhere.example"] {
            assert!(Credentials::from_files(unknown, files()).unwrap().is_anonymous());
        }
        let broken = file("broken.json", "{");
        let error = Credentials::from_files("registry.example", [broken]).unwrap_err().to_string();
        assert!(error.ends_with("broken.json is not Docker's JSON"), "{error}");
        // A helper that does not exist, named for one registry, and for all of them.
        let helpers = file(
            "helpers.json",
            r#"{"credHelpers":{"own.example":"absent-0"},"credsStore":"absent-1",
            "auths":{"kept.example":{"auth":"YWxpY2U6c2VjcmV0"},"registry.example":{}}}"#,
        );
        for (registry, helper) in [("own.example", "absent-0"), ("registry.example", "absent-1")] {
            let error = Credentials::from_files(registry, [helpers.clone()]).unwrap_err().to_string();
            assert!(
                error.contains(&format!("`docker-credential-{helper}` failed: it cannot be started")),
                "{error}"
            );
        }
        let found = Credentials::from_files("kept.example", [helpers]).unwrap();
        assert_eq!(format!("{found:?}"), "Password(alice, …)");
    }
}
