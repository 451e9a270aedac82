//! The connection to one engine.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::EventsOptions;
use bollard::{API_DEFAULT_VERSION, Docker};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};

use crate::EngineError;
use crate::means::EngineMeans;
use crate::reach::KnownPlaces;

/// The engine's default socket.
pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// The oldest API version whose answers Lifeboat understands (engine 20.10).
const OLDEST_API: (u32, u32) = (1, 41);

/// How long the engine has for a first answer: short, so that a missing engine is reported quickly.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// How long an ordinary call may take until its answer starts.
const CALL_TIMEOUT: Duration = Duration::from_mins(2);

/// The largest answer that is read, in bytes.
const ANSWER_BYTES: usize = 64 << 20;

/// A connection to one Docker Engine. Clones share it.
#[derive(Clone)]
pub struct Engine {
    address: Address,
    client: Docker,
    facts: Arc<EngineFacts>,
    means: Arc<EngineMeans>,
    /// Folders of containers that were examined before.
    pub(crate) places: KnownPlaces,
}

/// An engine's facts about itself, as stored with captured definitions and in reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineFacts {
    /// The engine's own id.
    pub id: String,
    /// The engine's version, such as `20.10.24`.
    pub version: String,
    /// The newest API version that it speaks.
    pub api_version: String,
    /// The kernel that containers run on.
    pub kernel: String,
    /// Operating system and architecture, such as `linux/x86_64`.
    pub platform: String,
    /// The engine's data folder, on the engine's host.
    pub root: PathBuf,
    /// The host's memory, in bytes.
    pub memory_bytes: u64,
    /// The host's processors.
    pub processors: u64,
    /// Whether container user ids are shifted on disk (a rootless engine, or user namespaces).
    pub shifted_ids: bool,
}

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("address", &self.address)
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

impl Address {
    /// Parses the value of `DOCKER_HOST`; without one, or if it is empty, the default socket is used.
    fn parse(host: Option<&str>) -> Result<Self, EngineError> {
        let refuse = |address: &str, reason: &str| {
            Err(EngineError::Address { address: address.to_owned(), reason: reason.to_owned() })
        };
        match host.filter(|host| !host.is_empty()) {
            None => Ok(Self::Unix(PathBuf::from(DEFAULT_SOCKET))),
            Some(host) => match host.split_once("://") {
                Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(PathBuf::from(path))),
                Some(("unix", _)) => refuse(host, "the path of the socket must be absolute"),
                Some(("tcp" | "http", rest)) => {
                    let authority = rest.trim_end_matches('/');
                    if authority.is_empty() || authority.contains('/') {
                        return refuse(host, "a host and a port are expected after `tcp://`");
                    }
                    let has_port =
                        authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
                    Ok(Self::Tcp(if has_port { authority.to_owned() } else { format!("{authority}:2375") }))
                }
                Some(("ssh" | "https", _)) => refuse(
                    host,
                    "volumes are read on the engine's own host, so a remote engine is of no use here",
                ),
                _ => refuse(host, "it is neither `unix://` nor `tcp://`"),
            },
        }
    }
}

impl Engine {
    /// Connects to the engine at `host` (the value of `DOCKER_HOST`, which the caller reads), or at the default socket,
    /// and asks for its facts.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unreachable`] if nothing answers within some seconds, and [`EngineError::Denied`],
    /// [`EngineError::Address`] or [`EngineError::TooOld`] if no answer is possible.
    pub async fn connect(host: Option<&str>) -> Result<Self, EngineError> {
        let address = Address::parse(host)?;
        let unreachable = |source| EngineError::Unreachable { address: address.to_string(), source };
        let client = match &address {
            Address::Unix(path) => {
                if let Err(source) = UnixStream::connect(path).await {
                    return Err(if source.kind() == std::io::ErrorKind::PermissionDenied {
                        EngineError::Denied { address: address.to_string() }
                    } else {
                        unreachable(Box::new(source))
                    });
                }
                let path = path.to_string_lossy();
                Docker::connect_with_unix(&path, CALL_TIMEOUT.as_secs(), API_DEFAULT_VERSION)
            }
            Address::Tcp(host) => Docker::connect_with_http(
                &format!("tcp://{host}"),
                CALL_TIMEOUT.as_secs(),
                API_DEFAULT_VERSION,
            ),
        }
        .map_err(|error| unreachable(Box::new(error)))?;
        let ask = async {
            let version = get(&address, "/version", "tell its version").await?;
            let info = get(&address, "/info", "describe itself").await?;
            Ok::<_, EngineError>((version, info))
        };
        let (version, info) = match tokio::time::timeout(CONNECT_TIMEOUT, ask).await {
            Err(elapsed) => return Err(unreachable(Box::new(elapsed))),
            Ok(Err(EngineError::Lost { source, .. })) => return Err(unreachable(source)),
            Ok(answers) => answers?,
        };
        let facts = Arc::new(facts_from(&version, &info));
        let means = Arc::new(EngineMeans::from_documents(&version, &info));
        let places = KnownPlaces::default();
        let engine = Self { address, client, facts, means, places };
        if !engine.speaks(OLDEST_API.0, OLDEST_API.1) {
            return Err(EngineError::TooOld {
                address: engine.address.to_string(),
                found: engine.facts.api_version.clone(),
                needed: "1.41",
            });
        }
        Ok(engine)
    }

    /// The engine's facts about itself.
    pub fn facts(&self) -> &EngineFacts {
        &self.facts
    }

    /// What the engine can do for scratch containers.
    pub fn means(&self) -> &EngineMeans {
        &self.means
    }

    /// Where the engine was reached.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The engine's socket, if it is one of this host.
    pub(crate) fn socket(&self) -> Option<&Path> {
        match &self.address {
            Address::Unix(path) => Some(path),
            Address::Tcp(_) => None,
        }
    }

    /// Whether the engine supports at least this API version.
    pub fn speaks(&self, major: u32, minor: u32) -> bool {
        let mut parts = self.facts.api_version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (major, minor)
    }

    /// The client library's connection, for ordinary calls.
    pub(crate) fn client(&self) -> &Docker {
        &self.client
    }

    /// A connection whose calls may take `longer` than ordinary ones: for stops, which are answered when the container
    /// has stopped.
    pub(crate) fn patient_client(&self, longer: Duration) -> Docker {
        self.client.clone().with_timeout(CALL_TIMEOUT + longer)
    }

    /// The answer to a GET of `path`, verbatim as JSON. `operation` completes the sentence "the engine refused to …".
    pub(crate) async fn get(&self, path: &str, operation: &str) -> Result<Value, EngineError> {
        match tokio::time::timeout(CALL_TIMEOUT, get(&self.address, path, operation)).await {
            Ok(answer) => answer,
            Err(elapsed) => {
                Err(EngineError::Lost { operation: operation.to_owned(), source: Box::new(elapsed) })
            }
        }
    }
}

impl Engine {
    /// A header of the answer to a HEAD of `path`; `None` if the engine answers that it does not exist.
    pub(crate) async fn head(
        &self,
        path: &str,
        header: &str,
        operation: &str,
    ) -> Result<Option<String>, EngineError> {
        let lost = |source| EngineError::Lost { operation: operation.to_owned(), source };
        let exchange = call(&self.address, hyper::Method::HEAD, path);
        let answer = tokio::time::timeout(CALL_TIMEOUT, exchange).await;
        let answer = answer.map_err(|elapsed| lost(Box::new(elapsed)))?.map_err(lost)?;
        match answer.status {
            200..300 => {
                Ok(answer.headers.get(header).and_then(|value| value.to_str().ok()).map(str::to_owned))
            }
            404 => Ok(None),
            status => {
                let message = "it gave no reason".to_owned();
                Err(EngineError::Answer { operation: operation.to_owned(), status, message })
            }
        }
    }

    /// The engine's description of an image, by id, digest or tag.
    pub(crate) async fn image_document(&self, name: &str) -> Result<Value, EngineError> {
        self.get(&format!("/images/{}/json", segment(name)), "describe an image").await
    }
}

/// `text` as one segment of a request's path: whatever it contains, it affects nothing else in the request.
pub(crate) fn segment(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// The request for the engine's events from one moment on, until another one or without an end.
pub(crate) fn events(
    since: Timestamp,
    until: Option<Timestamp>,
    filters: &[(&str, &[&str])],
) -> EventsOptions {
    let time = |time: Timestamp| format!("{}.{:09}", time.as_second(), time.subsec_nanosecond());
    let filter = |(key, values): &(&str, &[&str])| {
        ((*key).to_owned(), values.iter().map(|value| (*value).to_owned()).collect())
    };
    EventsOptions {
        since: Some(time(since)),
        until: until.map(time),
        filters: Some(filters.iter().map(filter).collect()),
    }
}

/// `path?filters=…` with the engine's filter syntax.
pub(crate) fn filtered(path: &str, filters: &[(&str, &str)]) -> String {
    let mut by_key = serde_json::Map::new();
    for (key, value) in filters {
        let values = by_key.entry((*key).to_owned()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(Value::from(*value));
        }
    }
    let separator = if path.contains('?') { '&' } else { '?' };
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("filters", &Value::Object(by_key).to_string())
        .finish();
    format!("{path}{separator}{query}")
}

async fn get(address: &Address, path: &str, operation: &str) -> Result<Value, EngineError> {
    let lost = |source| EngineError::Lost { operation: operation.to_owned(), source };
    let Answer { status, body, .. } = call(address, hyper::Method::GET, path).await.map_err(lost)?;
    if !(200..300).contains(&status) {
        #[derive(Deserialize)]
        struct Message {
            message: String,
        }
        let message = serde_json::from_slice(&body).map_or_else(
            |_| String::from_utf8_lossy(&body).chars().take(500).collect(),
            |Message { message }| message,
        );
        return Err(EngineError::Answer { operation: operation.to_owned(), status, message });
    }
    serde_json::from_slice(&body).map_err(|source| EngineError::Malformed {
        operation: operation.to_owned(),
        source: Box::new(source),
    })
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// The engine's answer.
struct Answer {
    status: u16,
    headers: hyper::HeaderMap,
    body: Bytes,
}

async fn call(address: &Address, method: hyper::Method, path: &str) -> Result<Answer, AnyError> {
    match address {
        Address::Unix(socket) => {
            exchange(TokioIo::new(UnixStream::connect(socket).await?), method, path).await
        }
        Address::Tcp(host) => exchange(TokioIo::new(TcpStream::connect(host).await?), method, path).await,
    }
}

async fn exchange<S>(stream: S, method: hyper::Method, path: &str) -> Result<Answer, AnyError>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header(hyper::header::HOST, "docker")
        .body(Empty::<Bytes>::new())?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES).collect().await?.to_bytes();
    connection.abort();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}

fn facts_from(version: &Value, info: &Value) -> EngineFacts {
    let text = |document: &Value, key: &str| document[key].as_str().unwrap_or_default().to_owned();
    let shifted_ids = info["SecurityOptions"].as_array().is_some_and(|options| {
        options
            .iter()
            .filter_map(Value::as_str)
            .any(|o| o.contains("name=userns") || o.contains("name=rootless"))
    });
    EngineFacts {
        id: text(info, "ID"),
        version: text(version, "Version"),
        api_version: text(version, "ApiVersion"),
        kernel: text(info, "KernelVersion"),
        platform: format!("{}/{}", text(info, "OSType"), text(info, "Architecture")),
        root: Path::new(info["DockerRootDir"].as_str().unwrap_or("/var/lib/docker")).to_owned(),
        memory_bytes: info["MemTotal"].as_u64().unwrap_or(0),
        processors: info["NCPU"].as_u64().unwrap_or(1),
        shifted_ids,
    }
}

#[cfg(test)]
mod tests {
    use lifeboat_core::{Fault, Kind};

    use super::*;

    #[test]
    fn the_address_is_read_as_the_docker_client_reads_it() {
        assert_eq!(Address::parse(None).unwrap(), Address::Unix(DEFAULT_SOCKET.into()));
        assert_eq!(Address::parse(Some("")).unwrap(), Address::Unix(DEFAULT_SOCKET.into()));
        assert_eq!(Address::parse(Some("unix:///run/x.sock")).unwrap(), Address::Unix("/run/x.sock".into()));
        assert_eq!(Address::parse(Some("tcp://127.0.0.1")).unwrap(), Address::Tcp("127.0.0.1:2375".into()));
        assert_eq!(Address::parse(Some("tcp://127.0.0.1:99/")).unwrap(), Address::Tcp("127.0.0.1:99".into()));
        for bad in ["unix://relative", "ssh://host", "npipe:////./pipe", "docker.sock", "tcp://"] {
            assert_eq!(Address::parse(Some(bad)).unwrap_err().kind(), Kind::Usage, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_socket_without_an_engine_is_named_and_undetermined() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("nobody.sock");
        let error = Engine::connect(Some(&format!("unix://{}", socket.display()))).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Undetermined);
        assert!(error.to_string().contains("nobody.sock"), "{error}");
        assert!(error.advice().unwrap().contains("DOCKER_HOST"));
    }

    #[test]
    fn a_segment_of_a_path_stays_one() {
        assert_eq!(segment("a/b@sha256:1?x=1&y#z w%"), "a%2Fb%40sha256%3A1%3Fx%3D1%26y%23z%20w%25");
    }

    #[test]
    fn filters_are_encoded_for_a_query() {
        let path = filtered("/volumes", &[("label", "a=b"), ("label", "c")]);
        assert_eq!(path, "/volumes?filters=%7B%22label%22%3A%5B%22a%3Db%22%2C%22c%22%5D%7D");
    }
}
