//! Traffic on the wire: the store's real clients against a server that answers like no real one.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lifeboat_store::{Created, Location, OpenOptions, Settings, Store, StoreError};
use lifeboat_testkit::Loopback;
use lifeboat_testkit::loopback::{Request, Response};

const BYTES: Bytes = Bytes::from_static(b"bytes");
/// SHA-256 of `bytes`, in the form that S3 requires.
const CHECKSUM: &str = "J3CJ2RwL308uaGK6fkoHYFEZQx9dE/cm3TUrBvGyBqk=";

fn settings<const N: usize>(settings: [(&str, &str); N]) -> Settings {
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

async fn open(location: &str, settings: &Settings) -> Result<Store, StoreError> {
    Store::open(&Location::parse(location).unwrap(), settings, OpenOptions::default()).await
}

async fn s3(server: &Loopback) -> Store {
    let settings = settings([
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_ENDPOINT_URL", &server.url()),
    ]);
    open("s3://bucket/prefix", &settings).await.unwrap()
}

/// Answers the n-th request with the n-th answer, and all further ones with the last.
fn in_turn(answers: Vec<Response>) -> impl Fn(&Request) -> Response + Send + Sync {
    let turn = AtomicUsize::new(0);
    move |_| answers[turn.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1)].clone()
}

fn written() -> Response {
    Response::new(200, "").header("etag", "\"1\"")
}

fn body(text: &str) -> Response {
    Response::new(200, text).header("etag", "\"1\"").header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")
}

#[tokio::test]
async fn every_upload_carries_its_checksum_and_its_condition() {
    let server = Loopback::serve(|_| written());
    assert_eq!(s3(&server).await.create("a", BYTES).await.unwrap(), Created::Now);
    let requests = server.requests();
    let [put] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(
        (put.method.as_str(), put.path.as_str(), &put.body),
        ("PUT", "/bucket/prefix/a", &BYTES.to_vec())
    );
    assert_eq!(put.header("x-amz-checksum-sha256"), Some(CHECKSUM));
    assert_eq!(put.header("if-none-match"), Some("*"));
}

#[tokio::test]
async fn a_server_without_conditional_writes_costs_one_request_and_keeps_checksums() {
    let refusal = "<Error><Code>NotImplemented</Code><Message>A header is not implemented</Message></Error>";
    let server = Loopback::serve(move |request| match request.method.as_str() {
        "PUT" if request.header("if-none-match").is_some() => Response::new(501, refusal),
        "PUT" => written(),
        _ => Response::new(404, ""),
    });
    let store = s3(&server).await;
    for key in ["a", "b"] {
        assert_eq!(store.create(key, BYTES).await.unwrap(), Created::Now);
    }
    let requests = server.requests();
    let said: Vec<_> = requests.iter().map(|r| (r.method.as_str(), r.path.as_str())).collect();
    let (a, b) = ("/bucket/prefix/a", "/bucket/prefix/b");
    assert_eq!(said, [("PUT", a), ("HEAD", a), ("PUT", a), ("HEAD", b), ("PUT", b)]);
    for put in requests.iter().filter(|request| request.method == "PUT") {
        assert_eq!(put.header("x-amz-checksum-sha256"), Some(CHECKSUM), "{put:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_when_it_says() {
    for status in [503, 429] {
        let busy = Response::new(status, "<Error><Code>SlowDown</Code></Error>").header("retry-after", "1");
        let server = Loopback::serve(in_turn(vec![busy, written()]));
        let started = Instant::now();
        assert_eq!(s3(&server).await.create("a", BYTES).await.unwrap(), Created::Now);
        assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn broken_connections_and_cut_bodies_are_asked_for_again() {
    let cut = body("byt").header("content-length", "5");
    // The body ends with the connection: the server closes it instead of answering the next request.
    let server = Loopback::serve(in_turn(vec![Response::none(), Response::new(500, "oh"), body("bytes")]));
    assert_eq!(s3(&server).await.read("a", 10).await.unwrap(), BYTES);
    assert_eq!(server.requests().len(), 3);
    let server = Loopback::serve(in_turn(vec![cut.header("connection", "close"), body("bytes")]));
    assert_eq!(s3(&server).await.read("a", 10).await.unwrap(), BYTES);
}

#[tokio::test]
async fn one_pool_of_connections_serves_a_store_and_its_clones() {
    let server = Loopback::serve(|_| body("bytes"));
    let store = s3(&server).await;
    for _ in 0..20 {
        assert_eq!(store.clone().read("a", 10).await.unwrap(), BYTES);
    }
    let requests = server.requests();
    assert_eq!((requests.len(), requests.last().unwrap().connection), (20, 0));
}

#[tokio::test]
async fn refusals_are_told_at_once_with_what_the_server_said() {
    let told = async |status| {
        let text = "<Error><Code>TheCode</Code><Message>the message</Message></Error>";
        let server = Loopback::serve(move |_| Response::new(status, text));
        let error = s3(&server).await.create("a", BYTES).await.unwrap_err();
        assert_eq!(server.requests().len(), 1, "{error:?}");
        let mut all = error.to_string();
        let mut next = std::error::Error::source(&error);
        while let Some(error) = next {
            all = format!("{all}\n{error}");
            next = error.source();
        }
        (error, all)
    };
    let (error, all) = told(403).await;
    assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
    assert!(all.contains("the message"), "{all}");
    let (error, all) = told(507).await;
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(all.contains("the server answered 507: TheCode, the message"), "{all}");
}

#[tokio::test]
async fn googles_emulator_is_found_by_its_variable_and_asked_without_credentials() {
    let server = Loopback::serve(|_| body("bytes"));
    let host = server.url().trim_start_matches("http://").to_owned();
    for setting in [
        settings([("STORAGE_EMULATOR_HOST", &host)]),
        settings([("STORAGE_EMULATOR_HOST", &server.url())]),
        settings([("GOOGLE_BASE_URL", &server.url()), ("GOOGLE_SKIP_SIGNATURE", "true")]),
    ] {
        assert_eq!(open("gs://bucket/prefix", &setting).await.unwrap().read("a", 10).await.unwrap(), BYTES);
    }
    for request in server.requests() {
        assert_eq!((request.path.as_str(), request.header("authorization")), ("/bucket/prefix%2Fa", None));
    }
}

#[tokio::test]
async fn azures_settings_come_by_all_their_names() {
    let server = Loopback::serve(|_| body("bytes"));
    let (url, key) = (format!("{}/account", server.url()), "c2VjcmV0");
    let connection = format!("AccountName=account;AccountKey={key};BlobEndpoint={url}");
    for setting in [
        settings([("AZURE_STORAGE_CONNECTION_STRING", &connection)]),
        settings([
            ("AZURE_STORAGE_ACCOUNT", "account"),
            ("AZURE_STORAGE_KEY", key),
            ("AZURE_STORAGE_ENDPOINT", &url),
        ]),
        settings([
            ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
            ("AZURE_STORAGE_ACCOUNT_KEY", key),
            ("AZURE_STORAGE_ENDPOINT", &url),
        ]),
    ] {
        assert_eq!(
            open("az://container/prefix", &setting).await.unwrap().read("a", 10).await.unwrap(),
            BYTES
        );
    }
    for request in server.requests() {
        assert_eq!(request.path, "/account/container/prefix/a");
        assert!(request.header("authorization").unwrap().starts_with("SharedKey account:"));
    }
}

#[tokio::test]
async fn plain_http_to_another_machine_is_refused_in_every_setting() {
    let far = "http://storage.example";
    let azure = [("AZURE_STORAGE_ACCOUNT", "account"), ("AZURE_STORAGE_KEY", "c2VjcmV0")];
    let with = |name: &str, value: &str| {
        let mut all = settings(azure);
        all.insert(name.to_owned(), value.to_owned());
        all.insert("AZURE_ALLOW_HTTP".to_owned(), "true".to_owned());
        all
    };
    let cases = [
        ("s3://bucket", settings([("AWS_ENDPOINT_URL", far), ("AWS_ALLOW_HTTP", "true")])),
        ("gs://bucket", settings([("STORAGE_EMULATOR_HOST", "storage.example:4443")])),
        ("gs://bucket", settings([("GOOGLE_BASE_URL", far), ("GOOGLE_ALLOW_HTTP", "true")])),
        ("az://container", with("AZURE_STORAGE_ENDPOINT", far)),
        ("az://container", with("AZURE_STORAGE_CONNECTION_STRING", "BlobEndpoint=http://storage.example/a")),
    ];
    for (location, settings) in cases {
        let error = open(location, &settings).await.unwrap_err();
        assert!(error.to_string().contains("plain HTTP to another machine"), "{location}: {error}");
    }
}

#[tokio::test]
async fn missing_credentials_are_told_when_a_store_is_opened() {
    let none = settings([("AWS_EC2_METADATA_DISABLED", "true")]);
    for location in ["s3://bucket", "az://container"] {
        let error = open(location, &none).await.unwrap_err();
        assert!(matches!(error, StoreError::NoCredentials { .. }), "{location}: {error:?}");
    }
}

#[tokio::test]
async fn a_store_says_which_settings_lead_to_it_and_what_time_it_is_there() {
    let server = Loopback::serve(|_| body("bytes").header("date", "Wed, 21 Oct 2015 07:28:00 GMT"));
    let store = s3(&server).await;
    assert_eq!(store.server_time(), None);
    store.read("a", 10).await.unwrap();
    let there = store.server_time().unwrap().to_string();
    assert!(there.starts_with("2015-10-21T07:28:0"), "{there}");
    let url = server.url();
    let expected = [("AWS_ENDPOINT_URL", url), ("AWS_REGION", "us-east-1".to_owned())];
    assert_eq!(store.settings(), expected);
    assert_eq!(store.credential_variables(), ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]);
    assert!(!format!("{:?}", store.settings()).contains("secret"));

    let azure = [("AZURE_STORAGE_ACCOUNT", "account"), ("AZURE_STORAGE_KEY", "c2VjcmV0")];
    let store = open("az://container/prefix", &settings(azure)).await.unwrap();
    assert_eq!(store.settings(), [("AZURE_STORAGE_ACCOUNT_NAME", "account".to_owned())]);
    let store = Store::memory();
    assert!(store.settings().is_empty() && store.credential_variables().is_empty());
}
