//! A server on loopback that answers every request as the test says, for behaviour that no real registry has.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers, besides the length and `Connection`.
    pub headers: Vec<(&'static str, String)>,
    /// The body, which is sent `times` times.
    pub body: Vec<u8>,
    /// How often the body is sent.
    pub times: usize,
}

impl Answer {
    /// An answer with a short body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), times: 1 }
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Starts a server that calls `answer` with each request's method and path, until the test's process ends. Returns the
/// address and port.
///
/// # Panics
///
/// When no port is free.
pub fn serve(answer: impl Fn(&str, &str) -> Answer + Send + 'static) -> String {
    listen(move |stream| respond(stream, |_, _| Ok(Vec::new()), |method, path, _| answer(method, path)))
}

/// The same for requests with a body, which is passed to `answer` as the third argument.
///
/// # Panics
///
/// When no port is free.
pub fn serve_bodies(answer: impl Fn(&str, &str, &[u8]) -> Answer + Send + 'static) -> String {
    listen(move |stream| respond(stream, read_body, &answer))
}

fn listen(respond: impl Fn(TcpStream) -> std::io::Result<()> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Some tests are about clients that hang up early.
            let _ = respond(stream);
        }
    });
    address
}

fn read_body(reader: &mut BufReader<TcpStream>, length: usize) -> std::io::Result<Vec<u8>> {
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

fn respond(
    mut stream: TcpStream,
    read_body: impl Fn(&mut BufReader<TcpStream>, usize) -> std::io::Result<Vec<u8>>,
    answer: impl Fn(&str, &str, &[u8]) -> Answer,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let (mut header, mut length) = (String::new(), 0);
    while reader.read_line(&mut header)? > 2 {
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
        header.clear();
    }
    let body = read_body(&mut reader, length)?;
    let mut words = request.split(' ');
    let answer = answer(words.next().unwrap_or_default(), words.next().unwrap_or_default(), &body);
    // Without a length the body ends with the connection, so a client cannot know how much will come.
    write!(stream, "HTTP/1.1 {} It\r\nConnection: close\r\n", answer.status)?;
    for (name, value) in &answer.headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    stream.write_all(b"\r\n")?;
    for _ in 0..answer.times {
        stream.write_all(&answer.body)?;
    }
    stream.flush()
}
