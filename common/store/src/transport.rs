//! The HTTP client of a store: one pool of connections, and error answers turned into errors that keep the server's
//! text.
//!
//! The retries of `object_store` are off: they know neither Retry-After nor that a 501 is permanent, and would multiply
//! ours.

use std::borrow::Cow;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService, ReqwestConnector,
};

use crate::refusal::Refusal;
use crate::site::ServerClock;
use crate::{ServerAnswer, tame};

/// How much of an error's body is kept.
const MESSAGE_BYTES: usize = 4096;
const MESSAGE_CHARS: usize = 300;

#[derive(Debug, Default)]
pub(crate) struct Transport {
    connector: ReqwestConnector,
    clock: ServerClock,
}

impl Transport {
    /// Clients whose answers set `clock`.
    pub(crate) fn telling(clock: &ServerClock) -> Self {
        Self { connector: ReqwestConnector::default(), clock: clock.clone() }
    }
}

impl HttpConnector for Transport {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Watched { client: self.connector.connect(options)?, clock: self.clock.clone() }))
    }
}

#[derive(Debug)]
struct Watched {
    client: HttpClient,
    clock: ServerClock,
}

#[async_trait]
impl HttpService for Watched {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_listing = tame::is_listing(&request);
        let is_signed = request.headers().contains_key("authorization");
        let response = self.client.execute(request).await?;
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let date = header("date").and_then(|date| self.clock.hear(date));
        if is_listing && status == 200 {
            return tamed(response).await;
        }
        if !matches!(status, 301 | 307 | 400 | 401 | 403 | 404 | 408 | 429 | 500..) {
            return Ok(response);
        }
        let retry_after = header("retry-after").and_then(seconds);
        // A HEAD has no body; some servers put the code into a header.
        let code = header("x-ms-error-code").or(header("x-minio-error-code")).map(str::to_owned);
        let (head, body) = response.into_parts();
        let body = beginning(body).await;
        let (said, message) = gist(&String::from_utf8_lossy(&body));
        let answer = ServerAnswer { status, retry_after, code: said.or(code), date, message };
        let is_clear = match status {
            // The client reports a missing object itself; a missing bucket is reported here.
            404 => Refusal::of(&answer).is_some(),
            // A metadata service refuses in its own way, which the client understands.
            ..=403 => answer.code.is_some() || is_signed,
            _ => true,
        };
        if is_clear {
            return Err(HttpError::new(HttpErrorKind::Unknown, answer));
        }
        Ok(HttpResponse::from_parts(head, Bytes::from(body).into()))
    }
}

/// A list of objects. The client would also read all of it at once.
async fn tamed(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (head, body) = response.into_parts();
    let body = body.bytes().await?;
    let body = match std::str::from_utf8(&body) {
        Ok(xml) => match tame::names(xml) {
            Cow::Owned(tame) => Bytes::from(tame),
            Cow::Borrowed(_) => body,
        },
        Err(_) => body,
    };
    Ok(HttpResponse::from_parts(head, body.into()))
}

/// Retry-After as a number of seconds. Its other form, a date, would refer to the server's clock.
fn seconds(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_secs)
}

async fn beginning(body: HttpResponseBody) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut parts = body.bytes_stream();
    while let Some(Ok(part)) = parts.next().await {
        bytes.extend_from_slice(&part);
        if bytes.len() >= MESSAGE_BYTES {
            bytes.truncate(MESSAGE_BYTES);
            break;
        }
    }
    bytes
}

/// The code and message of an XML error, or else the title of a page or the start of the text, on one line.
fn gist(text: &str) -> (Option<String>, String) {
    let field = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once("</")?.0)
    };
    let on_one_line = |said: &str| -> String {
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        said.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS).collect()
    };
    let is_markup = text.trim_start().starts_with('<');
    let message = field("Message").or(field("title")).unwrap_or(if is_markup { "" } else { text });
    (field("Code").map(on_one_line), on_one_line(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gist_of_an_answer_is_its_code_and_message() {
        let xml = "<?xml version=\"1.0\"?>\n<Error><Code>SlowDown</Code><Message>Reduce your\nrequest rate.</Message></Error>";
        assert_eq!(gist(xml), (Some("SlowDown".to_owned()), "Reduce your request rate.".to_owned()));
        for (text, message) in [
            ("plain \u{1b}[31mtext\n", "plain [31mtext"),
            ("<html><head><title>403 Forbidden</title></head>", "403 Forbidden"),
            ("<html><body>no</body>", ""),
            ("", ""),
        ] {
            assert_eq!(gist(text), (None, message.to_owned()));
        }
        assert_eq!(gist(&"x".repeat(1000)).1.len(), MESSAGE_CHARS);
    }

    #[test]
    fn retry_after_is_read_in_seconds() {
        assert_eq!(seconds(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(seconds("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(seconds("-1"), None);
    }
}
