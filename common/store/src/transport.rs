//! The HTTP client of a store: one pool of connections, and answers that say that the server is in trouble turned into
//! errors that keep what it said.
//!
//! The retries of `object_store` are off: they know neither Retry-After nor that a 501 stays one, and would multiply
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

use crate::{ServerAnswer, tame};

/// How much of an error's body is kept.
const MESSAGE_BYTES: usize = 4096;
const MESSAGE_CHARS: usize = 300;

#[derive(Debug, Default)]
pub(crate) struct Transport(ReqwestConnector);

impl HttpConnector for Transport {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Watched(self.0.connect(options)?)))
    }
}

#[derive(Debug)]
struct Watched(HttpClient);

#[async_trait]
impl HttpService for Watched {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_listing = tame::is_listing(&request);
        let response = self.0.execute(request).await?;
        let status = response.status().as_u16();
        if is_listing && status == 200 {
            return tamed(response).await;
        }
        if !matches!(status, 408 | 429 | 500..) {
            return Ok(response);
        }
        let retry_after =
            response.headers().get("retry-after").and_then(|value| seconds(value.to_str().ok()?));
        let message = beginning(response.into_body()).await;
        Err(HttpError::new(HttpErrorKind::Unknown, ServerAnswer { status, retry_after, message }))
    }
}

/// A list of objects. The client would read the whole of it at once as well.
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

/// Retry-After as a number of seconds. Its other form, a date, would be by a clock that is not ours.
fn seconds(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_secs)
}

async fn beginning(body: HttpResponseBody) -> String {
    let mut bytes = Vec::new();
    let mut parts = body.bytes_stream();
    while let Some(Ok(part)) = parts.next().await {
        bytes.extend_from_slice(&part);
        if bytes.len() >= MESSAGE_BYTES {
            bytes.truncate(MESSAGE_BYTES);
            break;
        }
    }
    gist(&String::from_utf8_lossy(&bytes))
}

/// The code and message of an XML error, or else the beginning of the text, on one line.
fn gist(text: &str) -> String {
    let field = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once("</")?.0)
    };
    let said = match (field("Code"), field("Message")) {
        (Some(code), Some(message)) => format!("{code}, {message}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => text.to_owned(),
    };
    said.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(MESSAGE_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gist_of_an_answer_is_its_code_and_message() {
        let xml = "<?xml version=\"1.0\"?>\n<Error><Code>SlowDown</Code><Message>Reduce your\nrequest rate.</Message></Error>";
        assert_eq!(gist(xml), "SlowDown, Reduce your request rate.");
        assert_eq!(gist("plain \u{1b}[31mtext\n"), "plain [31mtext");
        assert_eq!(gist(&"x".repeat(1000)).len(), MESSAGE_CHARS);
        assert_eq!(gist(""), "");
    }

    #[test]
    fn retry_after_is_read_in_seconds() {
        assert_eq!(seconds(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(seconds("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(seconds("-1"), None);
    }
}
