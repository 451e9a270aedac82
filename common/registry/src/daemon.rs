//! Asks the local Docker Engine where an image was pulled from or pushed to, by digest.

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

use crate::{Reference, RegistryError};

/// Where the engine listens, unless the user says otherwise.
const SOCKET: &str = "unix:///var/run/docker.sock";

/// How long the engine may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The largest answer that is read, in bytes.
const MAX_BYTES: usize = 4 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
}

impl Reference {
    /// The same reference; for an image of the local engine, the reference, by digest, from which the engine pulled it
    /// or to which it pushed it. `engine` is the engine's address in the form that Docker's own client takes.
    pub async fn locate(self, engine: Option<&str>) -> Result<Self, RegistryError> {
        match self {
            Self::Daemon(name) => locate(&name, engine).await,
            other => Ok(other),
        }
    }
}

/// The digest of the image `name` in the registry that the engine pulled it from or pushed it to. `engine` is the
/// engine's address in the form that Docker's own client takes.
async fn locate(name: &str, engine: Option<&str>) -> Result<Reference, RegistryError> {
    let address = engine.unwrap_or(SOCKET);
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| RegistryError::Unreachable {
        registry: format!("of the Docker Engine at {address}"),
        source,
    };
    let socket = address
        .strip_prefix("unix://")
        .map(PathBuf::from)
        .ok_or_else(|| failed("only engines behind a local socket can be asked".into()))?;
    let (status, body) = tokio::time::timeout(TIMEOUT, inspect(socket, name))
        .await
        .map_err(|_| failed("it gives no answer".into()))?
        .map_err(failed)?;
    let what = format!("image `{name}` in the Docker Engine");
    match status {
        200 => choose(name, &body, &what),
        404 => Err(RegistryError::NotFound { what }),
        status => Err(RegistryError::Unavailable {
            registry: format!("of the Docker Engine at {address}"),
            what,
            status,
        }),
    }
}

async fn inspect(
    socket: PathBuf,
    name: &str,
) -> Result<(u16, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = hyper::Request::get(format!("/images/{name}/json"))
        .header("Host", "docker")
        .body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await?.to_bytes();
    Ok((status, body))
}

fn choose(name: &str, body: &[u8], what: &str) -> Result<Reference, RegistryError> {
    let inspected: Inspected = serde_json::from_slice(body)
        .map_err(|error| RegistryError::Malformed { what: what.to_owned(), reason: error.to_string() })?;
    let known = inspected.repo_digests.unwrap_or_default();
    let parsed: Vec<Reference> = known.iter().filter_map(|text| text.parse().ok()).collect();
    let repository = name.split('@').next().unwrap_or_default();
    let named = parsed.iter().find(|reference| {
        repository == reference.name()
            || repository.strip_prefix(&reference.name()).is_some_and(|rest| rest.starts_with(':'))
    });
    match (named, parsed.as_slice()) {
        (Some(reference), _) | (None, [reference]) => Ok(reference.clone()),
        (None, []) => Err(RegistryError::NeverPushed { name: name.to_owned() }),
        (None, _) => Err(RegistryError::WhichRegistry { name: name.to_owned(), known }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_the_named_registry_is_taken_and_none_is_guessed() {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let body = |names: &[&str]| {
            let digests: Vec<_> = names.iter().map(|name| format!("\"{name}@{digest}\"")).collect();
            format!(r#"{{"RepoDigests":[{}]}}"#, digests.join(","))
        };
        let chosen = |name: &str, names: &[&str]| choose(name, body(names).as_bytes(), "it");
        let two = ["127.0.0.1:5000/app", "registry.example/app"];
        assert_eq!(
            chosen("registry.example/app:1.0", &two).unwrap().to_string(),
            format!("registry.example/app@{digest}")
        );
        assert_eq!(chosen("app", &two[..1]).unwrap().name(), "127.0.0.1:5000/app");
        assert!(matches!(chosen("app", &two), Err(RegistryError::WhichRegistry { .. })));
        assert!(matches!(chosen("app", &[]), Err(RegistryError::NeverPushed { .. })));
    }
}
