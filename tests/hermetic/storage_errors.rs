//! Errors of a storage that refuses or cannot be reached: one line with the cause, and one with the advice.

use lifeboat_testkit::Loopback;
use lifeboat_testkit::loopback::Response;
use lifeboat_tests::command::{Output, run};
use lifeboat_tests::repository::TestRepository;

use crate::BINARIES;

fn list(repo: &TestRepository, location: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = repo.backup_command(["list", "-r", location]);
    command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret");
    run(command.envs(variables.iter().copied()))
}

/// The cause and the advice; anything more fails the test.
fn told(said: &Output) -> (&str, &str) {
    let lines: Vec<&str> = said.stderr.lines().collect();
    let [cause, advice] = lines[..] else { panic!("two lines are told, not\n{}", said.stderr) };
    assert!(!said.stderr.contains('<') && cause.len() < 250, "{}", said.stderr);
    (cause.strip_prefix("error: ").unwrap(), advice.strip_prefix("  help: ").unwrap())
}

fn answer(status: u16, code: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>Some words.</Message>\
         <RequestId>4442587FB7D0A2F9</RequestId></Error>"
    );
    Response::new(status, body).header("date", "Wed, 21 Oct 2015 07:28:00 GMT")
}

#[test]
fn what_s3_refuses_is_told_by_its_cause() {
    let repo = TestRepository::in_folder(BINARIES);
    for (status, code, cause, advice) in [
        (403, "InvalidAccessKeyId", "does not know the access key", "set AWS_ACCESS_KEY_ID and"),
        (403, "SignatureDoesNotMatch", "it is not the one of the access key", "set AWS_SECRET_ACCESS_KEY to"),
        (400, "ExpiredToken", "they have expired", "get new credentials"),
        (400, "InvalidToken", "refuses the session token", "set AWS_SESSION_TOKEN"),
        (
            403,
            "RequestTimeTooSkewed",
            "this host's clock is wrong, at the storage it was 2015-10-21T07:28:00Z",
            "clock",
        ),
        (404, "NoSuchBucket", "has no bucket of this name", "check the bucket's name"),
        (400, "AuthorizationHeaderMalformed", "in another region", "set AWS_REGION"),
        (301, "PermanentRedirect", "in another region", "set AWS_REGION"),
    ] {
        let server = Loopback::serve(move |_| answer(status, code));
        let said = list(&repo, "s3://bucket/prefix", &[("AWS_ENDPOINT_URL", &server.url())]).expect_code(2);
        let (found, to_do) = told(&said);
        assert!(found.starts_with("s3://bucket/prefix ") && found.contains(cause), "{code}: {found}");
        assert!(found.ends_with(&format!("({code})")), "{found}");
        assert!(to_do.contains(advice) && !to_do.contains("init"), "{code}: {to_do}");
        assert_eq!(server.requests().len(), 1, "{code} is clear at once");
    }
}

#[test]
fn a_right_that_is_missing_is_told_with_the_servers_words() {
    let repo = TestRepository::in_folder(BINARIES);
    for (body, words) in [
        (answer(403, "AccessDenied"), "the server answered 403: AccessDenied, Some words."),
        (
            Response::new(403, "<html><head><title>Forbidden by a proxy</title></head></html>"),
            "Forbidden by a proxy",
        ),
    ] {
        let server = Loopback::serve(move |_| body.clone());
        let said = list(&repo, "s3://bucket/prefix", &[("AWS_ENDPOINT_URL", &server.url())]).expect_code(2);
        assert!(said.stderr.contains("refuses access to `lifeboat.json`"), "{}", said.stderr);
        assert!(said.stderr.contains(words) && !said.stderr.contains('<'), "{}", said.stderr);
    }
}

#[test]
fn init_says_what_is_wrong_as_well() {
    let repo = TestRepository::without_repository(BINARIES);
    // The answer to a HEAD has no body to contain the cause.
    let server = Loopback::serve(|request| match request.method.as_str() {
        "HEAD" => Response::new(403, ""),
        _ => answer(403, "SignatureDoesNotMatch"),
    });
    let file = |name: &str| repo.path(name).display().to_string();
    let (one, two, writer) = (file("1.key"), file("2.key"), file("w.key"));
    let args = [
        "init",
        "-r",
        "s3://bucket/p",
        "--recovery-key",
        &one,
        "--recovery-key",
        &two,
        "--writer-key",
        &writer,
    ];
    let mut command = repo.backup_command(args);
    command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "wrong");
    let said = run(command.env("AWS_ENDPOINT_URL", server.url())).expect_code(2);
    assert!(told(&said).0.contains("refuses the secret"), "{said:?}");
    assert!(!repo.path("1.key").exists());
}

#[test]
fn other_storages_are_told_in_the_same_way() {
    let repo = TestRepository::in_folder(BINARIES);
    let server = Loopback::serve(|_| answer(404, "NoSuchBucket"));
    let said = list(&repo, "gs://bucket/prefix", &[("STORAGE_EMULATOR_HOST", &server.url())]).expect_code(2);
    assert!(told(&said).0.contains("has no bucket of this name"), "{said:?}");
    let azure = |status, code: &'static str| {
        let server = Loopback::serve(move |_| answer(status, code).header("x-ms-error-code", code));
        let variables = [
            ("AZURE_STORAGE_ACCOUNT", "account"),
            ("AZURE_STORAGE_KEY", "c2VjcmV0"),
            ("AZURE_STORAGE_ENDPOINT", &server.url()),
        ];
        list(&repo, "az://container/prefix", &variables).expect_code(2)
    };
    let said = azure(404, "ContainerNotFound");
    assert!(
        told(&said).0.contains("has no bucket of this name") && !told(&said).1.contains("AWS"),
        "{said:?}"
    );
    let said = azure(403, "AuthenticationFailed");
    assert!(told(&said).0.contains("refuses the credentials"), "{said:?}");
}

#[test]
fn a_storage_that_cannot_be_reached_is_told_by_its_cause() {
    let repo = TestRepository::in_folder(BINARIES);
    let no_tls = Loopback::serve(|_| Response::new(200, ""));
    let plain_as_tls = no_tls.url().replace("http://", "https://");
    for (endpoint, cause, advice) in [
        (
            "http://127.0.0.1:1",
            "at http://127.0.0.1:1: nothing accepts connections there",
            "check that the storage runs",
        ),
        ("https://no-such-host.invalid", "no host of this name is known", "check the endpoint"),
        (plain_as_tls.as_str(), "cannot be reached at https://127.0.0.1:", "check"),
    ] {
        let said = list(&repo, "s3://bucket/prefix", &[("AWS_ENDPOINT_URL", endpoint)]).expect_code(3);
        let (found, to_do) = told(&said);
        assert!(found.contains(cause) && to_do.contains(advice), "{endpoint}: {}", said.stderr);
    }
}
