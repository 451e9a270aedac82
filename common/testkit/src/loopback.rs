//! An HTTP server on loopback that answers as a test says, keeps connections open, and records requests, for behaviour
//! that no real storage has.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `PUT` and so on.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The connection that it came on, from 0.
    pub connection: usize,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The HTTP status; 0 closes the connection without an answer.
    pub status: u16,
    /// The headers besides the length.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer without further headers.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    /// No answer: the connection closes.
    pub fn none() -> Self {
        Self::new(0, "")
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

type Answer = dyn Fn(&Request) -> Response + Send + Sync;

/// A server that runs until the test's process ends.
pub struct Loopback {
    address: String,
    log: Arc<Mutex<Vec<Request>>>,
}

impl Loopback {
    /// Starts a server that calls `answer` for each request.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub fn serve(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address").to_string();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (answer, all): (Arc<Answer>, _) = (Arc::new(answer), Arc::clone(&log));
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().flatten().enumerate() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&all));
                // Some tests are about clients that hang up early.
                thread::spawn(move || drop(converse(&stream, connection, &*answer, &log)));
            }
        });
        Self { address, log }
    }

    /// The server's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Loopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Loopback({})", self.address)
    }
}

fn converse(
    mut stream: &TcpStream,
    connection: usize,
    answer: &Answer,
    log: &Mutex<Vec<Request>>,
) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader, connection)? {
        let response = answer(&request);
        let is_head = request.method == "HEAD";
        log.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        if response.status == 0 {
            break;
        }
        let mut head = Vec::new();
        write!(head, "HTTP/1.1 {} As told\r\n", response.status)?;
        if !response.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            write!(head, "content-length: {}\r\n", response.body.len())?;
        }
        for (name, value) in &response.headers {
            write!(head, "{name}: {value}\r\n")?;
        }
        head.extend_from_slice(b"\r\n");
        if !is_head {
            head.extend_from_slice(&response.body);
        }
        stream.write_all(&head)?;
        if response.headers.iter().any(|(name, value)| *name == "connection" && value == "close") {
            break;
        }
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead, connection: usize) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { method, path, headers, body: Vec::new(), connection };
    let length = request.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    reader.take(length).read_to_end(&mut request.body)?;
    Ok(Some(request))
}
