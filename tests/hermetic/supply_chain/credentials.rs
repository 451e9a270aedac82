//! Registries that try to get other registries' credentials: the hosts of a network record every header, and no
//! credential arrives at the wrong place.

#![expect(clippy::unwrap_used, reason = "a test whose input cannot be built has failed")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lifeboat_tests::command::{Output, lifeboat, run};
use lifeboat_tests::http::Answer;
use lifeboat_tests::network::{Network, Request};

use super::servers::{signed_desk, stored};
use super::{Desk, SIGN, VERIFY, told};

const REGISTRY: &str = "https://registry.example.com:443";
const AUTH: &str = "https://auth.example.com:443";

/// base64 of alice:secret
const LOGIN: &str = "YWxpY2U6c2VjcmV0";
const BASIC: &str = "Basic YWxpY2U6c2VjcmV0";
const TOKEN: &str = "Bearer issued-token";

fn bearer(realm: &str) -> Answer {
    Answer::new(401, "").header("WWW-Authenticate", format!(r#"Bearer realm="{realm}",service="registry""#))
}

fn moved(target: &str) -> Answer {
    Answer::new(307, "").header("Location", target)
}

fn token() -> Answer {
    Answer::new(200, r#"{"token":"issued-token"}"#)
}

/// A registry that demands a token from `realm`, and otherwise answers with `answer`.
fn guarded<F: Fn(&Request) -> Answer>(realm: &str, answer: F) -> impl Fn(&Request) -> Answer + use<F> {
    let realm = realm.to_owned();
    move |request| {
        if request.header("authorization") == Some(TOKEN) { answer(request) } else { bearer(&realm) }
    }
}

/// A token service that gives a token to Alice.
fn issuing(request: &Request) -> Answer {
    if request.header("authorization") == Some(BASIC) { token() } else { Answer::new(401, "") }
}

/// Logs Alice in at a registry.
fn log_in(desk: &Desk, registry: &str) {
    fs::create_dir_all(desk.path(".docker")).unwrap();
    let config = format!(r#"{{"auths":{{"{registry}":{{"auth":"{LOGIN}"}}}}}}"#);
    fs::write(desk.path(".docker/config.json"), config).unwrap();
}

fn verify_at(desk: &Desk, network: &Network, reference: &str, more: &[&str]) -> Output {
    let args = [&["image", reference, "--key", "release.pub"], more].concat();
    run(network.lead(&mut lifeboat(VERIFY, desk.folder.path(), args)).current_dir(&desk.folder))
}

fn sign_at(desk: &Desk, network: &Network, reference: &str) -> Output {
    let mut command = lifeboat(SIGN, desk.folder.path(), ["image", reference, "--key", "release.key"]);
    run(network.lead(&mut command).current_dir(&desk.folder).env("COSIGN_PASSWORD", "correct horse"))
}

/// The origins that received the password or the token, in any header or query, each once.
fn shown(requests: &[Request]) -> Vec<String> {
    let is_shown = |request: &&Request| {
        let texts = request.headers.iter().map(|(_, value)| value).chain([&request.path]);
        texts
            .into_iter()
            .any(|text| [LOGIN, "secret", "issued-token"].iter().any(|secret| text.contains(secret)))
    };
    let mut origins: Vec<_> =
        requests.iter().filter(is_shown).map(|request| request.origin.clone()).collect();
    origins.sort();
    origins.dedup();
    origins
}

/// The origins that were contacted at all, each once.
fn asked(requests: &[Request]) -> Vec<String> {
    let mut origins: Vec<_> = requests.iter().map(|request| request.origin.clone()).collect();
    origins.sort();
    origins.dedup();
    origins
}

#[test]
fn a_token_service_in_the_registrys_domain_is_asked_and_the_image_verified() {
    let desk = signed_desk();
    log_in(&desk, "registry.example.com");
    let registry = guarded("https://auth.example.com/token", {
        let stored = stored(&desk);
        move |request: &Request| stored(&request.path)
    });
    let network = Network::start(move |request| match request.origin.as_str() {
        REGISTRY => registry(request),
        AUTH => issuing(request),
        _ => Answer::new(500, ""),
    });
    verify_at(&desk, &network, "registry.example.com/app:1.0", &[]).expect_code(0);
    let requests = network.take_requests();
    assert_eq!(asked(&requests), [AUTH, REGISTRY]);
    for request in &requests {
        let expected = if request.origin == AUTH { BASIC } else { TOKEN };
        let said = request.header("authorization");
        assert!(said.is_none_or(|said| said == expected), "{request:?}");
    }
    let asked = requests.iter().find(|request| request.origin == AUTH).unwrap();
    assert_eq!(asked.path, "/token?service=registry&scope=repository%3Aapp%3Apull");
}

#[test]
fn a_challenge_that_leads_elsewhere_gets_nothing() {
    let desk = signed_desk();
    log_in(&desk, "registry.example.com");
    for (realm, why) in [
        ("http://registry.example.com/token", "which has no TLS"),
        ("http://registry.example.com:443/token", "which has no TLS"),
        ("http://auth.example.com/token", "which has no TLS"),
        ("http://127.0.0.1/token", "which has no TLS"),
        ("https://auth.example.net/token", "nor in the registry's domain"),
        ("https://registry.example.com.example.net/token", "nor in the registry's domain"),
        ("https://192.0.2.1/token", "which is an IP address"),
        ("https://3221225985/token", "which is an IP address"),
        ("https://[2001:db8::1]/token", "which is an IP address"),
        ("https://127.0.0.1/token", "which is an IP address or a name of the machine itself"),
        ("https://localhost/token", "which is an IP address or a name of the machine itself"),
        ("https://registry.example.com@auth.example.net/token", "whose URL holds a name or a password"),
        ("/token", "which is not a URL"),
    ] {
        let network = Network::start(move |request| match request.origin.as_str() {
            REGISTRY => bearer(realm),
            _ => token(),
        });
        let mut said = vec![verify_at(&desk, &network, "registry.example.com/app:1.0", &[])];
        // Signing behaves the same; opening the key is deliberately slow, so only one realm of each kind is tried.
        if ["http://auth.example.com/token", "https://auth.example.net/token", "https://192.0.2.1/token"]
            .contains(&realm)
        {
            said.push(sign_at(&desk, &network, "registry.example.com/app:1.0"));
        }
        for said in said {
            let said = said.expect_code(3);
            assert!(said.stderr.contains(why), "{realm}: {}", said.stderr);
            assert!(said.stderr.contains("--allow-realm"), "{realm}: {}", said.stderr);
        }
        let requests = network.take_requests();
        assert_eq!(asked(&requests), [REGISTRY], "{realm}");
        assert_eq!(shown(&requests), [""; 0], "{realm}");
    }
}

#[test]
fn the_error_says_why_and_what_to_do() {
    let desk = signed_desk();
    log_in(&desk, "registry.example.com");
    let said = |realm: &'static str| {
        let network = Network::start(move |_| bearer(realm));
        told(&verify_at(&desk, &network, "registry.example.com/app:1.0", &[]).expect_code(3).stderr)
    };
    insta::assert_snapshot!(said("https://auth.example.net:8443/token?x=y"), @r"
    error: the registry registry.example.com names https://auth.example.net:8443 as the token service, which is neither the registry's own host and port nor in the registry's domain: nothing was sent there
      help: if the registry's operator confirms that this is its token service, give `--allow-realm auth.example.net:8443`
    ");
    insta::assert_snapshot!(said("http://registry.example.com/token"), @r"
    error: the registry registry.example.com names http://registry.example.com as the token service, which has no TLS: nothing was sent there
      help: report it to the registry's operator: a token service needs TLS and a host name of its own, and `--allow-realm` cannot replace them
    ");
    insta::assert_snapshot!(said("https://169.254.169.254/latest"), @r"
    error: the registry registry.example.com names https://169.254.169.254 as the token service, which is an IP address or a name of the machine itself, and not the registry's own host and port: nothing was sent there
      help: report it to the registry's operator: a token service needs TLS and a host name of its own, and `--allow-realm` cannot replace them
    ");
    insta::assert_snapshot!(said("auth example com"), @r"
    error: the registry registry.example.com names `auth example com` as the token service, which is not a URL: nothing was sent there
      help: report it to the registry's operator: a token service needs TLS and a host name of its own, and `--allow-realm` cannot replace them
    ");
}

#[test]
fn another_domain_is_asked_where_the_user_allows_it() {
    let desk = signed_desk();
    log_in(&desk, "registry.example.com");
    let registry = guarded("https://auth.example.net/token", {
        let stored = stored(&desk);
        move |request: &Request| stored(&request.path)
    });
    let network = Network::start(move |request| match request.origin.as_str() {
        REGISTRY => registry(request),
        "https://auth.example.net:443" => issuing(request),
        _ => Answer::new(500, ""),
    });
    let verify = |more: &[&str]| verify_at(&desk, &network, "registry.example.com/app:1.0", more);
    verify(&["--allow-realm", "elsewhere.example.org"]).expect_code(3);
    assert_eq!(shown(&network.take_requests()), [""; 0]);
    verify(&["--allow-realm", "elsewhere.example.org", "--allow-realm", "auth.example.net"]).expect_code(0);
    assert_eq!(shown(&network.take_requests()), ["https://auth.example.net:443", REGISTRY]);
    // The same through the environment.
    let args = ["image", "registry.example.com/app:1.0", "--key", "release.pub"];
    let mut command = lifeboat(VERIFY, desk.folder.path(), args);
    network.lead(&mut command).current_dir(&desk.folder);
    run(command.env("LIFEBOAT_ALLOW_REALM", "elsewhere.example.org,auth.example.net")).expect_code(0);
    run(command.env("LIFEBOAT_ALLOW_REALM", "")).expect_code(3);
    let said = verify(&["--allow-realm", "https://auth.example.net/token"]).expect_code(2);
    insta::assert_snapshot!(told(&said.stderr), @r"
    error: `https://auth.example.net/token` is not a host for `--allow-realm`
      help: write the token service's `HOST` or `HOST:PORT`, such as `auth.example.com`
    ");
}

#[test]
fn a_token_service_that_redirects_takes_nothing_along() {
    let desk = signed_desk();
    log_in(&desk, "registry.example.com");
    let at = |target: &'static str| {
        let registry = guarded("https://auth.example.com/token", {
            let stored = stored(&desk);
            move |request: &Request| stored(&request.path)
        });
        Network::start(move |request| match request.origin.as_str() {
            REGISTRY => registry(request),
            AUTH => moved(target),
            "https://tokens.example.com:443" => issuing(request),
            _ => token(),
        })
    };
    for target in [
        "https://auth.example.net/token",
        "http://auth.example.com/token",
        "http://registry.example.com/token",
        "https://192.0.2.1/token",
        "https://localhost/token",
        "//auth.example.net/token",
    ] {
        let network = at(target);
        let said = verify_at(&desk, &network, "registry.example.com/app:1.0", &[]).expect_code(3);
        assert!(
            said.stderr.contains("the token service auth.example.com of the registry"),
            "{}",
            said.stderr
        );
        let requests = network.take_requests();
        assert_eq!(asked(&requests), [AUTH, REGISTRY], "{target}");
        assert_eq!(shown(&requests), [AUTH], "{target}");
    }
    // Redirects within the domain are followed, but not for ever.
    let network = at("https://tokens.example.com/token");
    verify_at(&desk, &network, "registry.example.com/app:1.0", &[]).expect_code(0);
    let network = at("/token");
    let said = verify_at(&desk, &network, "registry.example.com/app:1.0", &[]).expect_code(3);
    assert!(said.stderr.contains("more than 5 redirects"), "{}", said.stderr);
}

#[test]
fn a_redirect_of_content_takes_nothing_along() {
    let desk = signed_desk();
    log_in(&desk, "registry.example.com");
    for place in ["/manifests/1.0", "/referrers/", "/blobs/sha256:"] {
        for target in ["https://storage.example.net", "https://storage.example.com", "https://192.0.2.1"] {
            let (stored, elsewhere) = (stored(&desk), stored(&desk));
            let registry = guarded("https://auth.example.com/token", move |request: &Request| {
                if request.path.contains(place) {
                    moved(&format!("{target}{}", request.path))
                } else {
                    stored(&request.path)
                }
            });
            let network = Network::start(move |request| match request.origin.as_str() {
                REGISTRY => registry(request),
                AUTH => issuing(request),
                _ => elsewhere(&request.path),
            });
            verify_at(&desk, &network, "registry.example.com/app:1.0", &[]).expect_code(0);
            let requests = network.take_requests();
            assert_eq!(asked(&requests).len(), 3, "{place} {target}");
            assert_eq!(shown(&requests), [AUTH, REGISTRY], "{place} {target}");
            assert!(requests.iter().all(|request| request.header("referer").is_none()), "{requests:?}");
        }
    }
}

#[test]
fn a_challenge_of_another_host_is_not_answered() {
    let desk = signed_desk();
    log_in(&desk, "registry.example.com");
    for challenge in ["Basic realm=\"storage\"", "Bearer realm=\"https://auth.example.com/token\""] {
        let stored = stored(&desk);
        let registry =
            guarded("https://auth.example.com/token", move |request: &Request| match request.path.as_str() {
                path if path.contains("/blobs/sha256:") => moved("https://storage.example.net/blob"),
                path => stored(path),
            });
        let network = Network::start(move |request| match request.origin.as_str() {
            REGISTRY => registry(request),
            AUTH => issuing(request),
            _ => Answer::new(401, "").header("WWW-Authenticate", challenge),
        });
        verify_at(&desk, &network, "registry.example.com/app:1.0", &[]).expect_code(3);
        let requests = network.take_requests();
        assert_eq!(shown(&requests), [AUTH, REGISTRY]);
        assert!(asked(&requests).contains(&"https://storage.example.net:443".to_owned()));
    }
}

#[test]
fn a_redirect_to_a_place_without_tls_is_not_followed() {
    let desk = signed_desk();
    log_in(&desk, "registry.example.com");
    let network = Network::start(move |request| match request.origin.as_str() {
        REGISTRY => moved("http://registry.example.com/v2/app/manifests/1.0"),
        _ => Answer::new(200, ""),
    });
    let said = verify_at(&desk, &network, "registry.example.com/app:1.0", &[]).expect_code(3);
    assert_eq!(asked(&network.take_requests()), [REGISTRY]);
    insta::assert_snapshot!(told(&said.stderr), @r"
    error: the registry registry.example.com redirects, when asked for the tag `1.0`, to a place without TLS
      help: report it to the registry's operator; nothing was decided
    ");
}

#[test]
fn a_place_for_an_upload_on_another_host_is_shown_nothing() {
    let desk = signed_desk();
    log_in(&desk, "registry.example.com");
    for challenged in [false, true] {
        for place in
            ["https://uploads.example.net/u", "https://192.0.2.1/u", "https://registry.example.com:8443/u"]
        {
            let stored = stored(&desk);
            let registry = guarded("https://auth.example.com/token", move |request: &Request| {
                match (request.method.as_str(), request.path.as_str()) {
                    ("GET", path) => stored(path),
                    ("POST", _) => Answer::new(202, "").header("Location", place),
                    ("PUT", _) => Answer::new(201, "").header("OCI-Subject", "sha256:0"),
                    _ => Answer::new(404, ""),
                }
            });
            let network = Network::start(move |request| match request.origin.as_str() {
                REGISTRY => registry(request),
                AUTH => issuing(request),
                _ if challenged => bearer("https://auth.example.com/token"),
                _ => Answer::new(201, ""),
            });
            let said = sign_at(&desk, &network, "registry.example.com/app:1.0");
            said.expect_code(if challenged { 3 } else { 0 });
            let requests = network.take_requests();
            assert_eq!(shown(&requests), [AUTH, REGISTRY], "{place}");
            assert_eq!(asked(&requests).len(), 3, "{place}");
        }
    }
}

#[test]
fn a_page_of_referrers_on_another_host_is_not_read() {
    let desk = signed_desk();
    log_in(&desk, "registry.example.com");
    let stored = stored(&desk);
    let registry = guarded("https://auth.example.com/token", move |request: &Request| {
        if request.path.contains("/referrers/") {
            Answer::new(200, r#"{"schemaVersion":2,"manifests":[]}"#)
                .header("Content-Type", "application/vnd.oci.image.index.v1+json")
                .header("Link", "<https://pages.example.com/next>; rel=\"next\"")
        } else {
            stored(&request.path)
        }
    });
    let network = Network::start(move |request| match request.origin.as_str() {
        REGISTRY => registry(request),
        AUTH => issuing(request),
        _ => Answer::new(500, ""),
    });
    verify_at(&desk, &network, "registry.example.com/app:1.0", &[]).expect_code(3);
    let requests = network.take_requests();
    assert_eq!(asked(&requests), [AUTH, REGISTRY]);
}

#[test]
fn a_password_goes_to_the_registry_that_asks_for_it_and_to_no_other_scheme() {
    let desk = signed_desk();
    log_in(&desk, "registry.example.com");
    let (content, elsewhere) = (stored(&desk), stored(&desk));
    let network =
        Network::start(move |request| match (request.origin.as_str(), request.header("authorization")) {
            (REGISTRY, Some(BASIC)) if request.path.contains("/blobs/") => {
                moved(&format!("https://storage.example.net{}", request.path))
            }
            (REGISTRY, Some(BASIC)) => content(&request.path),
            (REGISTRY, _) => Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"registry\""),
            _ => elsewhere(&request.path),
        });
    verify_at(&desk, &network, "registry.example.com/app:1.0", &[]).expect_code(0);
    assert_eq!(shown(&network.take_requests()), [REGISTRY]);
    for challenge in ["Negotiate", "Digest realm=\"registry\", nonce=\"n\"", "Unknown"] {
        let network = Network::start(move |_| Answer::new(401, "").header("WWW-Authenticate", challenge));
        verify_at(&desk, &network, "registry.example.com/app:1.0", &[]).expect_code(3);
        assert_eq!(shown(&network.take_requests()), [""; 0], "{challenge}");
    }
}

#[test]
fn a_registry_on_this_machine_has_its_token_service_on_its_own_port_or_on_an_allowed_one() {
    let desk = signed_desk();
    let tokens = Network::start(issuing);
    let registry = guarded(&format!("http://{}/token", tokens.address), {
        let stored = stored(&desk);
        move |request: &Request| stored(&request.path)
    });
    let network = Network::start(registry);
    let reference = format!("{}/app:1.0", network.address);
    log_in(&desk, &network.address);
    for more in
        [&[][..], &["--allow-realm", &network.address], &["--allow-realm", "localhost"], &["--allow-http"]]
    {
        let said = verify_at(&desk, &network, &reference, more).expect_code(3);
        assert!(said.stderr.contains(&format!("give `--allow-realm {}`", tokens.address)), "{}", said.stderr);
        assert_eq!(shown(&network.take_requests()), [""; 0]);
        assert!(tokens.take_requests().is_empty());
    }
    for allowed in [&tokens.address, "127.0.0.1"] {
        verify_at(&desk, &network, &reference, &["--allow-realm", allowed]).expect_code(0);
        assert_eq!(shown(&tokens.take_requests()), [format!("http://{}", tokens.address)]);
    }

    // Its own port needs no permission.
    let stored = stored(&desk);
    let own = Network::start(move |request| match request.header("authorization") {
        Some(TOKEN) => stored(&request.path),
        _ if request.path.starts_with("/token") => issuing(request),
        _ => bearer(&format!("http://{}/token", request.header("host").unwrap())),
    });
    log_in(&desk, &own.address);
    verify_at(&desk, &own, &format!("{}/app:1.0", own.address), &[]).expect_code(0);
}

#[test]
fn plain_http_by_option_goes_to_the_registrys_own_host_and_port_only() {
    const PLAIN: &str = "http://registry.example.com:5000";
    let desk = signed_desk();
    log_in(&desk, "registry.example.com:5000");
    for (realm, origin, code) in [
        ("http://registry.example.com:5000/token", PLAIN, 0),
        ("https://auth.example.com/token", AUTH, 0),
        ("http://registry.example.com:5001/token", "http://registry.example.com:5001", 3),
        ("http://auth.example.com/token", "http://auth.example.com:80", 3),
        ("http://127.0.0.1:5000/token", "http://127.0.0.1:5000", 3),
    ] {
        let registry = guarded(realm, {
            let stored = stored(&desk);
            move |request: &Request| stored(&request.path)
        });
        let network = Network::start(move |request| match request.origin.as_str() {
            _ if request.path.starts_with("/token") => issuing(request),
            PLAIN => registry(request),
            _ => Answer::new(500, ""),
        });
        let verify = |more: &[&str]| verify_at(&desk, &network, "registry.example.com:5000/app:1.0", more);
        verify(&["--allow-http"]).expect_code(code);
        let requests = network.take_requests();
        let mut expected = if code == 0 { vec![PLAIN, origin] } else { vec![] };
        expected.sort_unstable();
        expected.dedup();
        assert_eq!(shown(&requests), expected, "{realm}");
        assert!(code == 0 || asked(&requests) == [PLAIN], "{realm}");
    }
}

#[test]
fn without_credentials_another_domain_may_be_asked_and_an_address_may_not() {
    let desk = signed_desk();
    let at = |realm: &str| {
        let registry = guarded(realm, {
            let stored = stored(&desk);
            move |request: &Request| stored(&request.path)
        });
        Network::start(move |request| match request.origin.as_str() {
            REGISTRY => registry(request),
            _ => token(),
        })
    };
    let network = at("https://auth.example.net/token");
    verify_at(&desk, &network, "registry.example.com/app:1.0", &[]).expect_code(0);
    for request in network.take_requests() {
        assert!(request.origin == REGISTRY || request.header("authorization").is_none(), "{request:?}");
    }
    for realm in ["https://169.254.169.254/token", "http://169.254.169.254/token", "https://localhost/token"]
    {
        let network = at(realm);
        verify_at(&desk, &network, "registry.example.com/app:1.0", &[]).expect_code(3);
        assert_eq!(asked(&network.take_requests()), [REGISTRY], "{realm}");
    }
}

#[test]
fn a_token_service_that_fails_is_asked_again_and_then_nothing_is_decided() {
    let desk = signed_desk();
    log_in(&desk, "registry.example.com");
    // The token service fails `failures` times before it returns a token.
    let at = |failures: usize, failure: Answer| {
        let asked = Arc::new(AtomicUsize::new(0));
        let registry = guarded("https://auth.example.com/token", {
            let stored = stored(&desk);
            move |request: &Request| stored(&request.path)
        });
        Network::start(move |request| match request.origin.as_str() {
            REGISTRY => registry(request),
            _ if asked.fetch_add(1, Ordering::Relaxed) < failures => failure.clone(),
            _ => issuing(request),
        })
    };
    let verify = |network: &Network| verify_at(&desk, network, "registry.example.com/app:1.0", &[]);
    verify(&at(2, Answer::new(503, "later"))).expect_code(0);
    verify(&at(1, Answer::new(429, "later"))).expect_code(0);

    let network = at(usize::MAX, Answer::new(503, "later"));
    insta::assert_snapshot!(told(&verify(&network).expect_code(3).stderr), @r"
    error: the token service auth.example.com of the registry registry.example.com answers with status 503
      help: try again later; nothing was decided
    ");
    assert_eq!(network.take_requests().iter().filter(|request| request.origin == AUTH).count(), 3);
    sign_at(&desk, &network, "registry.example.com/app:1.0").expect_code(3);

    for (failure, said) in [
        (Answer::new(404, ""), "answers with status 404"),
        (Answer::new(200, "<html>"), "gives no token in its answer"),
        (Answer::new(200, "{}"), "gives no token in its answer"),
        (Answer::new(200, r#"{"token":"a\nb"}"#), "gives no token in its answer"),
        (Answer::new(200, vec![b' '; 2 << 20]), "gives no answer that can be read"),
    ] {
        let stderr = verify(&at(usize::MAX, failure)).expect_code(3).stderr;
        assert!(stderr.contains(said), "{stderr}");
    }
    // A password that is not sufficient is different.
    for status in [401, 403] {
        let stderr = verify(&at(usize::MAX, Answer::new(status, "secret"))).expect_code(3).stderr;
        assert!(stderr.contains("the credentials are not enough"), "{stderr}");
        assert!(!stderr.contains("secret"), "{stderr}");
    }
}

/// A `docker login` helper that runs `script`, and the login that names it for a registry that does not exist.
fn with_helper(desk: &Desk, script: &str) -> Output {
    use std::os::unix::fs::PermissionsExt as _;
    let program = desk.path("bin/docker-credential-spy");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(desk.path(".docker")).unwrap();
    let config = r#"{"credHelpers":{"127.0.0.1:1":"spy"}}"#;
    fs::write(desk.path(".docker/config.json"), config).unwrap();
    let args = ["image", "127.0.0.1:1/app:1", "--key", "release.key"];
    let mut command = lifeboat(SIGN, desk.folder.path(), args);
    let path = format!("{}:{}", desk.path("bin").display(), std::env::var("PATH").unwrap());
    run(command.current_dir(&desk.folder).env("PATH", path).env("COSIGN_PASSWORD", "correct horse"))
}

#[test]
fn a_credential_helper_gets_no_passphrase_and_has_not_for_ever() {
    let desk = signed_desk();
    let seen = desk.path("seen");
    let answer = r#"echo '{"Username":"alice","Secret":"secret"}'"#;
    let said = with_helper(&desk, &format!("env > {0}; cat >> {0}; {answer}", seen.display()));
    let seen = fs::read_to_string(seen).unwrap();
    assert!(seen.ends_with("127.0.0.1:1"), "it is asked for the registry: {seen}");
    assert!(!seen.contains("correct horse") && !seen.contains("COSIGN_PASSWORD"), "{seen}");
    assert_eq!(said.code, Some(3), "the registry is not there: {said:?}");

    let before = std::time::Instant::now();
    let said = with_helper(&desk, "sleep 300");
    assert!(before.elapsed() < std::time::Duration::from_mins(1), "it is waited for");
    assert!(said.stderr.contains("gave no answer within"), "{said:?}");
}
