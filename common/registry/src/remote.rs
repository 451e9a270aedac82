//! Registries over HTTP (OCI distribution specification 1.1): capped reads and digest-checked bytes.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use lifeboat_core::Sha256Digest;
use oci_spec::distribution::Reference as OciReference;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::{Mutex, OnceCell};

use crate::content::{Descriptor, MANIFEST_TYPES, MAX_MANIFEST_BYTES, Manifest, check};
use crate::credentials::Access;
use crate::reference::RegistryReference;
use crate::{Credentials, RegistryError};

mod authorize;
mod fallback_index;
mod push;
mod realm;
mod referrers;
mod shared_tag;

pub use realm::{AllowedRealm, RealmRefusal};

use authorize::Challenge;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// How long one answer may take in all: a server that sends a byte now and then must not block a caller for ever.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(5);
/// How long all reads about images may take together: nor may a list of many pages, or many redirects, each of which
/// takes long.
const ALL_ANSWERS_TIMEOUT: Duration = Duration::from_mins(10);
const USER_AGENT: &str = concat!("lifeboat/", env!("CARGO_PKG_VERSION"));

/// How many redirections are followed.
const MAX_REDIRECTS: usize = 10;

/// How much of the body of an error is read, in bytes.
const MAX_ERROR_BYTES: u64 = 64 << 10;

/// How often a request that changes nothing is sent before its failure counts, and the pause after the first attempt.
const ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// One repository of a registry.
pub struct Remote {
    http: reqwest::Client,
    /// For what a registry on loopback keeps elsewhere behind TLS. Created only when needed, because reading the
    /// system's certificates costs more than the rest of a verification there.
    secure_http: OnceCell<reqwest::Client>,
    reference: OciReference,
    /// Whether plain HTTP is used.
    plain: bool,
    /// Whether the registry is on this machine.
    loopback: bool,
    /// The host and port that requests go to.
    registry: String,
    /// `scheme://host/v2/repository/`
    base: Url,
    credentials: Credentials,
    allowed_realms: Vec<AllowedRealm>,
    /// The value of the `Authorization` header that the registry has asked for, by operation.
    authorization: Mutex<[Option<HeaderValue>; 2]>,
    /// The deadline for all reads together, set by the first of them.
    deadline: OnceLock<Instant>,
}

/// The purpose of a request, which determines the rights that its token needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Read,
    Write,
}

impl Remote {
    pub(crate) fn new(reference: &RegistryReference, access: Access) -> Result<Self, RegistryError> {
        let registry = reference.inner.resolve_registry().to_owned();
        let loopback = is_loopback(&registry);
        let plain = loopback || access.allow_http;
        let unreachable = |error: Box<dyn std::error::Error + Send + Sync>| RegistryError::Unreachable {
            registry: registry.clone(),
            source: error,
        };
        let scheme = if plain { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{registry}/v2/{}/", reference.repository()))
            .map_err(|error| unreachable(Box::new(error)))?;
        let builder = client().https_only(!plain);
        // A proxy cannot reach this machine's own loopback, and a plain connection needs no certificates.
        let builder = if loopback { builder.no_proxy().tls_certs_only([]) } else { builder };
        let http = builder.build().map_err(|error| unreachable(Box::new(error)))?;
        Ok(Self {
            http,
            secure_http: OnceCell::new(),
            plain,
            loopback,
            reference: reference.inner.clone(),
            registry,
            base,
            credentials: access.credentials,
            allowed_realms: access.allowed_realms,
            authorization: Mutex::new([None, None]),
            deadline: OnceLock::new(),
        })
    }

    fn url(&self, path: &str) -> Url {
        self.base.join(path).expect("paths are made of digests, tags and fixed words")
    }

    fn unreachable(&self, source: impl std::error::Error + Send + Sync + 'static) -> RegistryError {
        RegistryError::Unreachable { registry: self.registry.clone(), source: Box::new(source) }
    }

    /// Whether `url` is the registry's own host and port, so that credentials may be sent there.
    fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// The client for requests to `url`.
    async fn client_for(&self, url: &Url) -> Result<&reqwest::Client, RegistryError> {
        if !(self.loopback && url.scheme() == "https") {
            return Ok(&self.http);
        }
        let make = || async { client().https_only(true).build() };
        self.secure_http.get_or_try_init(make).await.map_err(|error| self.unreachable(error))
    }

    /// Sends a request, with a token once the registry has asked for one, and follows redirects. Only the registry's
    /// own host and port receive the token, and only their challenges are answered. Returns any status, except those by
    /// which the registry asks for, or denies, authorization.
    async fn send(
        &self,
        purpose: Purpose,
        what: &str,
        method: Method,
        url: &Url,
        shape: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let mut url = url.clone();
        let mut challenged = false;
        let mut redirects = 0;
        loop {
            let client = self.client_for(&url).await?;
            let mut request = shape(client.request(method.clone(), url.clone()));
            if purpose == Purpose::Read {
                let deadline = *self.deadline.get_or_init(|| Instant::now() + ALL_ANSWERS_TIMEOUT);
                let left = deadline.saturating_duration_since(Instant::now());
                request = request.timeout(left.min(ANSWER_TIMEOUT));
            }
            let is_own = self.is_own(&url);
            let known = self.authorization.lock().await[purpose as usize].clone();
            if let Some(value) = known.filter(|_| is_own) {
                request = request.header(AUTHORIZATION, value);
            }
            let response = request.send().await.map_err(|error| self.unreachable(error.without_url()))?;
            let unauthorized = || RegistryError::Unauthorized {
                registry: self.registry.clone(),
                what: what.to_owned(),
                anonymous: self.credentials.is_anonymous(),
                writing: purpose == Purpose::Write,
            };
            match response.status() {
                StatusCode::UNAUTHORIZED if is_own && !challenged => {
                    challenged = true;
                    let challenge = Challenge::among(response.headers()).ok_or_else(unauthorized)?;
                    let value = self.authorize(challenge, purpose).await?.ok_or_else(unauthorized)?;
                    self.authorization.lock().await[purpose as usize] = Some(value);
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if is_own => return Err(unauthorized()),
                status if is_followed(status, &method, response.headers()) => {
                    redirects += 1;
                    url = self.next(what, &url, response.headers(), redirects)?;
                }
                _ => return Ok(response),
            }
        }
    }

    /// The target of the redirect in an answer from `url`.
    fn next(
        &self,
        what: &str,
        url: &Url,
        headers: &HeaderMap,
        redirects: usize,
    ) -> Result<Url, RegistryError> {
        let target = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let fault = match target.and_then(|text| url.join(text).ok()) {
            _ if redirects > MAX_REDIRECTS => "more often than is followed",
            None => "to a place that is not a URL",
            Some(next) if next.scheme() == "https" || (self.plain && next.scheme() == "http") => {
                return Ok(next);
            }
            Some(_) => "to a place without TLS",
        };
        Err(RegistryError::Redirected { registry: self.registry.clone(), what: what.to_owned(), fault })
    }

    /// Sends a request that changes nothing, and retries after a transient failure.
    async fn get(&self, what: &str, url: &Url, accept: &[&str]) -> Result<Response, RegistryError> {
        let accept = accept.join(", ");
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let shape = |request: RequestBuilder| {
                if accept.is_empty() { request } else { request.header(ACCEPT, &accept) }
            };
            let response = self.send(Purpose::Read, what, Method::GET, url, shape).await?;
            let status = response.status();
            if !(status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS) {
                return Ok(response);
            }
            if attempt >= ATTEMPTS {
                return Err(self.unavailable(what, status));
            }
            tracing::debug!(%status, what, "asked again");
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the loop returns after its last attempt")
    }

    fn unavailable(&self, what: &str, status: StatusCode) -> RegistryError {
        RegistryError::Unavailable {
            registry: self.registry.clone(),
            what: what.to_owned(),
            status: status.as_u16(),
        }
    }

    /// Reads a body, at most `cap` bytes of it.
    async fn read(&self, what: &str, mut response: Response, cap: u64) -> Result<Vec<u8>, RegistryError> {
        let too_large = || RegistryError::TooLarge { what: what.to_owned(), cap };
        if response.content_length().is_some_and(|length| length > cap) {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| self.unreachable(error.without_url()))?
        {
            if bytes.len() as u64 + chunk.len() as u64 > cap {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// Expects `200 OK`.
    ///
    /// A registry that does not have something says so in a body of its own (distribution specification, "Error
    /// Codes"). Any other `404` may come from a different server in its place, and says nothing about the image.
    async fn expect_ok(&self, what: &str, response: Response) -> Result<Response, RegistryError> {
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::NOT_FOUND => {
                let body = self.read(what, response, MAX_ERROR_BYTES).await.unwrap_or_default();
                if !says_unknown(&body) {
                    return Err(self.unavailable(what, StatusCode::NOT_FOUND));
                }
                let what = what.strip_prefix("the ").unwrap_or(what);
                Err(RegistryError::NotFound {
                    what: format!("{what} in {}/{}", self.registry, self.reference.repository()),
                })
            }
            status => Err(self.unavailable(what, status)),
        }
    }

    /// The manifest under a tag; `None` if the tag does not exist.
    pub(super) async fn optional_manifest_by_tag(
        &self,
        tag: &str,
    ) -> Result<Option<(Descriptor, Vec<u8>)>, RegistryError> {
        match self.manifest_by_tag(tag).await {
            Ok(found) => Ok(Some(found)),
            Err(RegistryError::NotFound { .. } | RegistryError::Unavailable { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The manifest under a tag, and its bytes.
    pub(crate) async fn manifest_by_tag(&self, tag: &str) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        self.manifest(&format!("the tag `{tag}`"), tag, None).await
    }

    /// The manifest of a digest, and its bytes.
    pub(crate) async fn manifest_by_digest(
        &self,
        digest: Sha256Digest,
    ) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        self.manifest(&format!("the manifest {}", digest.to_oci()), &digest.to_oci(), Some(digest)).await
    }

    async fn manifest(
        &self,
        what: &str,
        name: &str,
        expected: Option<Sha256Digest>,
    ) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        let response = self.get(what, &self.url(&format!("manifests/{name}")), &MANIFEST_TYPES).await?;
        let response = self.expect_ok(what, response).await?;
        let served_as = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let served_as =
            served_as.and_then(|value| value.split(';').next()).map(|value| value.trim().to_owned());
        let bytes = self.read(what, response, MAX_MANIFEST_BYTES).await?;
        // Verify the digest before parsing.
        let bytes = match expected {
            Some(expected) => check(what, expected, bytes)?,
            None => bytes,
        };
        let media_type = Manifest::parse(what, &bytes)?.media_type(what, served_as.as_deref())?;
        Ok((Descriptor::of(&media_type, &bytes), bytes))
    }

    /// The bytes of a blob, compared with its digest.
    pub(crate) async fn blob(&self, blob: &Descriptor, cap: u64) -> Result<Vec<u8>, RegistryError> {
        let what = format!("the blob {}", blob.digest.to_oci());
        let response = self.get(&what, &self.url(&format!("blobs/{}", blob.digest.to_oci())), &[]).await?;
        let response = self.expect_ok(&what, response).await?;
        let bytes = self.read(&what, response, cap).await?;
        check(&what, blob.digest, bytes)
    }
}

/// A client that follows no redirects and sends no `Referer`: this module decides what to follow, and with which
/// headers.
fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .timeout(ANSWER_TIMEOUT)
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .referer(false)
}

/// Whether an answer redirects the unchanged request (RFC 9110, section 15.4). The older statuses turn a write into a
/// read, which is never what was meant.
fn is_followed(status: StatusCode, method: &Method, headers: &HeaderMap) -> bool {
    let is_read = [Method::GET, Method::HEAD].contains(method);
    let is_redirect = match status.as_u16() {
        301..=303 => is_read,
        307 | 308 => true,
        _ => false,
    };
    is_redirect && headers.contains_key(LOCATION)
}

/// Whether the body of a `404` is a registry's own statement that something does not exist.
fn says_unknown(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Body {
        errors: Vec<ErrorItem>,
    }
    #[derive(serde::Deserialize)]
    struct ErrorItem {
        code: String,
    }
    let known = ["BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND"];
    serde_json::from_slice::<Body>(body)
        .is_ok_and(|body| body.errors.iter().any(|error| known.contains(&error.code.as_str())))
}

/// Whether requests to `registry` (host and port) stay on this machine.
fn is_loopback(registry: &str) -> bool {
    let host = Url::parse(&format!("http://{registry}/")).ok();
    let host = host.as_ref().and_then(Url::host_str).unwrap_or_default();
    host == "localhost"
        || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for yes in ["127.0.0.1", "127.0.0.1:5000", "127.9.9.9:5000", "localhost", "localhost:5000"] {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in
            ["registry.example", "10.0.0.1:5000", "localhost.example", "127.0.0.1.example", "0.0.0.0:5000"]
        {
            assert!(!is_loopback(no), "{no}");
        }
    }

    /// A registry on this machine that answers every request with an endless body, byte by byte.
    fn dribbling() -> String {
        use std::io::{Read as _, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut stream = stream;
                    let mut request = [0; 4096];
                    let read = stream.read(&mut request);
                    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
                    let mut is_open = read.is_ok() && stream.write_all(head).is_ok();
                    while is_open {
                        std::thread::sleep(Duration::from_millis(10));
                        is_open = stream.write_all(b" ").is_ok();
                    }
                });
            }
        });
        address.to_string()
    }

    #[tokio::test]
    async fn all_answers_together_have_one_deadline_that_the_first_request_sets() {
        let access = Access::default();
        let reference: crate::Reference = format!("{}/app:1", dribbling()).parse().unwrap();
        let crate::Reference::Registry(reference) = reference else { panic!("{reference}") };
        let remote = Remote::new(&reference, access).unwrap();
        let url = remote.url("manifests/1");
        let began = Instant::now();
        let first = remote.get("a manifest", &url, &[]).await.unwrap();
        let deadline = *remote.deadline.get().unwrap();
        assert!(deadline >= began + ALL_ANSWERS_TIMEOUT && deadline <= Instant::now() + ALL_ANSWERS_TIMEOUT);
        drop(first);

        // The ten minutes are nearly over.
        let remote = Remote { deadline: OnceLock::new(), ..remote };
        remote.deadline.set(began + Duration::from_millis(500)).unwrap();
        for _ in 0..3 {
            let answer = remote.get("a manifest", &url, &[]).await;
            let read = match answer {
                Ok(answer) => remote.read("a manifest", answer, MAX_MANIFEST_BYTES).await,
                Err(error) => Err(error),
            };
            assert!(matches!(read, Err(RegistryError::Unreachable { .. })), "{read:?}");
        }
        // Each byte arrives in time, but the whole body would take hours.
        assert!(began.elapsed() < READ_TIMEOUT, "{:?}", began.elapsed());
    }
}
