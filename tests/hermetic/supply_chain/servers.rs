//! Registries that misbehave: the unknown is never taken for yes or no.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::fs;

use lifeboat_core::Sha256Digest;
use lifeboat_tests::http::{Answer, serve};

use super::{Desk, told};

/// The output of a verification with a registry that answers like this.
fn verdict_at(desk: &Desk, code: i32, answer: impl Fn(&str, &str) -> Answer + Send + 'static) -> String {
    let address = serve(answer);
    let reference = format!("{address}/app:1.0");
    let said = desk.verify(&["image", &reference, "--key", "release.pub"]).expect_code(code);
    told(&(said.stdout + &said.stderr)).replace(&address, "ADDRESS")
}

#[test]
fn a_registry_that_gives_no_answer_leaves_it_undetermined() {
    let desk = Desk::new();
    let said = desk.verify(&["image", "127.0.0.1:1/app:1.0", "--key", "release.pub"]).expect_code(3);
    assert!(
        said.stderr.starts_with("error: the registry 127.0.0.1:1 cannot be reached\n  because: "),
        "{}",
        said.stderr
    );
    insta::assert_snapshot!(verdict_at(&desk, 3, |_, _| Answer::new(503, "later")), @r"
    error: the registry ADDRESS answers with status 503 when asked for the tag `1.0`
      help: try again later; nothing was decided
    ");
    let challenge =
        |_: &str, _: &str| Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"registry\"");
    insta::assert_snapshot!(verdict_at(&desk, 3, challenge), @r"
    error: the registry ADDRESS refuses the tag `1.0`: it wants credentials, and there are none
      help: run `docker login ADDRESS` with an account that may do this
    ");
    // A registry without such a tag says so itself; any other 404 may come from a different server in its place.
    let unknown = |_: &str, _: &str| Answer::new(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#);
    insta::assert_snapshot!(verdict_at(&desk, 2, unknown), @r"
    error: there is no tag `1.0` in ADDRESS/app
      help: check the name, and that it was put there
    ");
    insta::assert_snapshot!(verdict_at(&desk, 3, |_, _| Answer::new(404, "")), @r"
    error: the registry ADDRESS answers with status 404 when asked for the tag `1.0`
      help: try again later; nothing was decided
    ");
}

/// An image's manifest.
const IMAGE: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]}"#;

fn image() -> Answer {
    Answer::new(200, IMAGE).header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
}

fn list(entries: &str) -> Answer {
    let list = format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#);
    Answer::new(200, list).header("Content-Type", "application/vnd.oci.image.index.v1+json")
}

#[test]
fn a_registry_that_fails_half_way_is_not_taken_for_one_without_signatures() {
    let desk = Desk::new();
    // The image exists, but its referrers cannot be listed.
    let failing = |_: &str, path: &str| match path {
        "/v2/app/manifests/1.0" => image(),
        path if path.contains("/referrers/") => Answer::new(502, ""),
        _ => Answer::new(404, ""),
    };
    insta::assert_snapshot!(verdict_at(&desk, 3, failing), @r"
    error: the registry ADDRESS answers with status 502 when asked for the list of referrers
      help: try again later; nothing was decided
    ");
    // The list exists, but the bundle cannot be read.
    let failing = |_: &str, path: &str| match path {
        "/v2/app/manifests/1.0" => image(),
        path if path.contains("/referrers/") => {
            let digest = Sha256Digest::of(b"bundle").to_oci();
            list(&format!(
                r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":1}}"#
            ))
        }
        path if path.contains("/manifests/sha256:") => Answer::new(500, ""),
        _ => Answer::new(404, ""),
    };
    insta::assert_snapshot!(verdict_at(&desk, 3, failing), @r"
    UNKNOWN   ADDRESS/app:1.0
    digest    sha256:…
    claim     an image signature by release.pub
    reason    1 of its bundles could not be read, and no other shows that
    unread    sha256:…
      the registry ADDRESS answers with status 500 when asked for the
      manifest
      sha256:…
    do        try again; until then do not use it
    ");
}

#[test]
fn a_registry_that_lies_is_refused() {
    let desk = Desk::new();
    // An endless body.
    let endless =
        |_: &str, _: &str| Answer { body: vec![b' '; 1 << 20], times: 1 << 20, ..Answer::new(200, "") };
    insta::assert_snapshot!(verdict_at(&desk, 1, endless), @r"
    error: the tag `1.0` is larger than 4194304 bytes
      help: do not use it; compare with another copy, and tell the operator of the registry
    ");
    // Something other than what was requested.
    let address = serve(|_, _| image());
    let reference = format!("{address}/app@{}", Sha256Digest::of(b"another").to_oci());
    let said = desk.verify(&["image", &reference, "--key", "release.pub"]).expect_code(1);
    insta::assert_snapshot!(told(&said.stderr), @r"
    error: the manifest sha256:… has the digest sha256:…, not sha256:…: it was damaged or exchanged
      help: do not use it; compare with another copy, and tell the operator of the registry
    ");
    // One kind in the header, another in the document.
    let two_faced = |_: &str, _: &str| {
        Answer::new(200, IMAGE).header("Content-Type", "application/vnd.oci.image.index.v1+json")
    };
    insta::assert_snapshot!(verdict_at(&desk, 1, two_faced), @r"
    error: the tag `1.0` is malformed: it was served as `application/vnd.oci.image.index.v1+json` but says that it is `application/vnd.oci.image.manifest.v1+json`
      help: do not use it; compare with another copy, and tell the operator of the registry
    ");
    // Pages that lead on for ever.
    let leading_on = |_: &str, path: &str| match path {
        "/v2/app/manifests/1.0" => image(),
        path if path.contains("/referrers/") => list("").header("Link", format!("<{path}>; rel=\"next\"")),
        _ => Answer::new(404, ""),
    };
    insta::assert_snapshot!(verdict_at(&desk, 3, leading_on), @r"
    UNKNOWN   ADDRESS/app:1.0
    digest    sha256:…
    claim     an image signature by release.pub
    reason    nothing that was looked at shows that
    note      more refers to it than was looked at
    do        try again; until then do not use it
    ");
    // Pages that lead elsewhere are not followed, and they might have contained a signature.
    let elsewhere = |_: &str, path: &str| match path {
        "/v2/app/manifests/1.0" => image(),
        path if path.contains("/referrers/") => {
            list("").header("Link", "<http://127.0.0.1:1/>; rel=\"next\"")
        }
        _ => Answer::new(404, ""),
    };
    verdict_at(&desk, 3, elsewhere);
}

#[test]
fn plain_http_is_not_spoken_beyond_loopback() {
    let desk = Desk::new();
    // A documentation address, at which nothing answers. The refusal must not depend on the state of the network, so
    // only the scheme matters: a TLS connection to a plain server fails, and nothing is sent in the clear.
    let said = desk.verify(&["image", "registry.invalid/app:1.0", "--key", "release.pub"]).expect_code(3);
    assert!(said.stderr.contains("plain HTTP is spoken on loopback only"), "{}", said.stderr);
}

#[test]
fn credentials_of_a_login_are_shown_to_the_registry_that_asks_and_to_no_other() {
    let desk = Desk::new();
    fs::create_dir(desk.path(".docker")).unwrap();
    let address = serve(|_, _| Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"registry\""));
    let config = format!(r#"{{"auths":{{"{address}":{{"auth":"YWxpY2U6c2VjcmV0"}}}}}}"#);
    fs::write(desk.path(".docker/config.json"), config).unwrap();
    let reference = format!("{address}/app:1.0");
    let said = desk.verify(&["image", &reference, "--key", "release.pub"]).expect_code(3);
    insta::assert_snapshot!(told(&said.stderr).replace(&address, "ADDRESS"), @r"
    error: the registry ADDRESS refuses the tag `1.0`: the credentials are not enough
      help: run `docker login ADDRESS` with an account that may do this
    ");
    let said = desk.sign(&["image", &reference, "--key", "release.key"]);
    assert!(!said.stderr.contains("secret"), "{}", said.stderr);
    fs::write(desk.path(".docker/config.json"), "{").unwrap();
    let said = desk.verify(&["image", &reference, "--key", "release.pub"]).expect_code(2);
    assert!(said.stderr.contains("is not Docker's JSON"), "{}", said.stderr);
}

/// The answer for a path of a registry that holds the desk's signed image.
pub(super) fn stored(desk: &Desk) -> impl Fn(&str) -> Answer + Send + Sync + use<> {
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let layout = desk.path("app");
    let blob = move |path: &str| {
        let digest = path.rsplit(':').next().unwrap_or_default();
        fs::read(layout.join("blobs/sha256").join(digest)).unwrap_or_default()
    };
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(desk.path("app/index.json")).unwrap()).unwrap();
    let (image, referrer) = (index["manifests"][0].clone(), index["manifests"][1].clone());
    move |path| {
        let good = match path {
            "/v2/app/manifests/1.0" => blob(image["digest"].as_str().unwrap()),
            path if path.contains("/referrers/") => {
                format!(r#"{{"schemaVersion":2,"manifests":[{referrer}]}}"#).into_bytes()
            }
            path if path.contains("sha256:") => blob(path),
            _ => return Answer::new(404, ""),
        };
        let kind = if path.contains("/referrers/") { INDEX } else { MANIFEST };
        Answer::new(200, good).header("Content-Type", kind)
    }
}

/// A registry with a signed image, which answers with `fault` for paths that contain `place`.
fn faulty(desk: &Desk, place: &'static str, fault: impl Fn(&[u8]) -> Answer + Send + 'static) -> String {
    let stored = stored(desk);
    serve(move |_, path| {
        let good = stored(path);
        if good.status == 200 && path.contains(place) { fault(&good.body) } else { good }
    })
}

const PLACES: [&str; 4] = ["/manifests/1.0", "/referrers/", "/manifests/sha256:", "/blobs/sha256:"];

pub(super) fn signed_desk() -> Desk {
    let desk = Desk::new();
    desk.layout().image("1.0", "an image");
    desk.sign(&["image", "oci:app:1.0", "--key", "release.key"]).expect_code(0);
    desk
}

#[test]
fn no_status_at_any_place_is_taken_for_yes_or_for_no() {
    let desk = signed_desk();
    let verify =
        |address: &str| desk.verify(&["image", &format!("{address}/app:1.0"), "--key", "release.pub"]);
    verify(&faulty(&desk, "nowhere", |_| Answer::new(500, ""))).expect_code(0);
    for place in PLACES {
        for status in [401, 403, 404, 429, 500, 503] {
            let said = verify(&faulty(&desk, place, move |_| Answer::new(status, "")));
            // A registry that does not list referrers answers 404, and then nothing refers to the image.
            let expected = if (place, status) == ("/referrers/", 404) { 1 } else { 3 };
            assert_eq!(said.code, Some(expected), "{status} at {place}: {said:?}");
        }
    }
}

#[test]
fn a_signature_that_is_listed_and_lost_leaves_it_undetermined() {
    let desk = signed_desk();
    for place in ["/manifests/sha256:", "/blobs/sha256:"] {
        let lost = |_: &[u8]| Answer::new(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#);
        let address = faulty(&desk, place, lost);
        desk.verify(&["image", &format!("{address}/app:1.0"), "--key", "release.pub"]).expect_code(3);
    }
}

#[test]
fn garbage_under_a_legacy_tag_hides_nothing() {
    let desk = signed_desk();
    let attest = [
        "attest",
        "oci:app:1.0",
        "--type",
        "https://example.com/x",
        "--predicate",
        "x",
        "--key",
        "release.key",
    ];
    fs::write(desk.path("x"), "{}").unwrap();
    desk.sign(&attest).expect_code(0);
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(desk.path("app/index.json")).unwrap()).unwrap();
    // The attestation in place of the signature, for the server below.
    let mut swapped = index.clone();
    swapped["manifests"].as_array_mut().unwrap().swap(1, 2);
    fs::write(desk.path("app/index.json"), swapped.to_string()).unwrap();
    let address = faulty(&desk, ".att", |_| Answer::new(200, "<html>"));
    let verify = ["attestation", &format!("{address}/app:1.0"), "--type", "https://example.com/x", "--key"];
    desk.verify(&[&verify[..], &["release.pub"]].concat()).expect_code(0);
    desk.verify(&[&verify[..], &["other.pub"]].concat()).expect_code(1);
}

#[test]
fn bytes_that_are_not_the_ones_in_the_name_are_never_taken_for_yes() {
    let desk = signed_desk();
    let verify =
        |address: &str| desk.verify(&["image", &format!("{address}/app:1.0"), "--key", "release.pub"]);
    for place in PLACES {
        // Half of the bytes, and the connection's end.
        let half = |good: &[u8]| {
            Answer::new(200, &good[..good.len() / 2]).header("Content-Length", good.len().to_string())
        };
        let said = verify(&faulty(&desk, place, half));
        assert_eq!(said.code, Some(3), "half at {place}: {said:?}");
        // Half of the bytes, presented as all.
        let said = verify(&faulty(&desk, place, |good: &[u8]| Answer::new(200, &good[..good.len() / 2])));
        assert!(matches!(said.code, Some(1 | 3)), "cut at {place}: {said:?}");
        // Other bytes. The list of referrers has no digest, but what it leads to has.
        if place == "/referrers/" {
            continue;
        }
        let said = verify(&faulty(&desk, place, |good: &[u8]| {
            let mut other = good.to_vec();
            let middle = other.len() / 2;
            other[middle] ^= 1;
            Answer::new(200, other)
        }));
        assert!(matches!(said.code, Some(1 | 3)), "other at {place}: {said:?}");
    }
}

#[test]
fn a_registry_that_never_answers_is_given_up() {
    let desk = signed_desk();
    let silent = faulty(&desk, "/blobs/sha256:", |_| {
        std::thread::sleep(std::time::Duration::from_mins(10));
        Answer::new(200, "")
    });
    let began = std::time::Instant::now();
    let said = desk.verify(&["image", &format!("{silent}/app:1.0"), "--key", "release.pub"]).expect_code(3);
    assert!((said.stdout + &said.stderr).contains("cannot be reached"));
    assert!(began.elapsed() < std::time::Duration::from_mins(1), "{:?}", began.elapsed());
}
