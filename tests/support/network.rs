//! A separate network for a program under test: a proxy on loopback that plays every host, behind TLS or not, and
//! records every request with all of its headers.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::http::Answer;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    /// Scheme, host and port of the intended server.
    pub origin: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Every header, the names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

type Answering = dyn Fn(&Request) -> Answer + Send + Sync;

/// The network: its hosts exist as soon as they are contacted.
pub struct Network {
    /// The address and port of the network. A request that is sent there without a proxy is answered like one for a
    /// host with that name.
    pub address: String,
    folder: TempDir,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Network {
    /// Starts a network whose hosts answer with `answer`, until the test's process ends.
    ///
    /// # Panics
    ///
    /// When no port is free, or no certificate can be made.
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&authority_key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let pem = pem::encode(&pem::Pem::new("CERTIFICATE", certificate.der().to_vec()));
        std::fs::write(folder.path().join("authority.pem"), pem).unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let host = Arc::new(Host {
            address: address.clone(),
            issuer: Issuer::new(authority, authority_key),
            key: KeyPair::generate().unwrap(),
            answer: Box::new(answer),
            requests: Arc::clone(&requests),
        });
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let host = Arc::clone(&host);
                // Some tests are about clients that hang up early.
                std::thread::spawn(move || host.accept(stream));
            }
        });
        Self { address, folder, requests }
    }

    /// Makes the program reach every host through this network, and trust the certificates of its hosts.
    pub fn lead<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let proxy = format!("http://{}", self.address);
        for variable in
            ["ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "all_proxy", "no_proxy", "REQUEST_METHOD"]
        {
            command.env_remove(variable);
        }
        command.env("http_proxy", &proxy).env("https_proxy", &proxy).env("SSL_CERT_FILE", self.authority())
    }

    /// The file with the certificate of the network's authority.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// The requests since the last call.
    ///
    /// # Panics
    /// When a server's thread has panicked.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

struct Host {
    address: String,
    issuer: Issuer<'static, KeyPair>,
    key: KeyPair,
    answer: Box<Answering>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Host {
    fn accept(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let Some((method, target, headers)) = read_head(&mut reader)? else { return Ok(()) };
        if method != "CONNECT" {
            let plain = target
                .strip_prefix("http://")
                .map(|rest| rest.split_at(rest.find('/').unwrap_or(rest.len())));
            let (place, path) = plain.unwrap_or((&self.address, &target));
            let place = if place.contains(':') { place.to_owned() } else { format!("{place}:80") };
            return self.respond(&mut reader, format!("http://{place}"), method, path.to_owned(), headers);
        }
        reader.get_mut().write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
        let (name, _) = target.rsplit_once(':').unwrap();
        let connection = ServerConnection::new(self.tls(name.trim_matches(['[', ']']))).unwrap();
        let mut reader = BufReader::new(StreamOwned::new(connection, reader.into_inner()));
        let Some((method, path, headers)) = read_head(&mut reader)? else { return Ok(()) };
        self.respond(&mut reader, format!("https://{target}"), method, path, headers)
    }

    /// The TLS settings of a host with this name.
    fn tls(&self, name: &str) -> Arc<ServerConfig> {
        let certificate =
            CertificateParams::new([name.to_owned()]).unwrap().signed_by(&self.key, &self.issuer).unwrap();
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(
            config
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key.into())
                .unwrap(),
        )
    }

    fn respond<S: Read + Write>(
        &self,
        reader: &mut BufReader<S>,
        origin: String,
        method: String,
        path: String,
        headers: Vec<(String, String)>,
    ) -> std::io::Result<()> {
        let request = Request { origin, method, path, headers };
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        self.requests.lock().unwrap().push(request.clone());
        let answer = (self.answer)(&request);
        let stream = reader.get_mut();
        write!(stream, "HTTP/1.1 {} It\r\nConnection: close\r\n", answer.status)?;
        for (name, value) in &answer.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        write!(stream, "Content-Length: {}\r\n\r\n", answer.body.len())?;
        if request.method != "HEAD" {
            stream.write_all(&answer.body)?;
        }
        stream.flush()
    }
}

type Head = (String, String, Vec<(String, String)>);

/// Method, target and headers; `None` if the connection ends before them.
fn read_head(reader: &mut impl BufRead) -> std::io::Result<Option<Head>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let mut headers = Vec::new();
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        line.clear();
    }
    Ok(Some((method, target, headers)))
}
