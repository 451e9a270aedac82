//! Decides where the credentials for a registry may go.
//!
//! A registry that wants to authenticate its caller names a token service by URL, the realm of its challenge
//! (distribution specification, "Token authentication"), and the token service may redirect. Either can name any place,
//! and whatever is there would learn the user's password. [`decide`] is the only place that decides whether to contact
//! a realm; the table in its tests is the specification.

use std::str::FromStr;

use reqwest::Url;
use url::Host;

use crate::RegistryError;

/// Token services in another place than their registry, each with the source for that. The rule for one registrable
/// domain covers the first four as well; they are here so that a change of the public suffix list cannot separate them.
const KNOWN: &[(&str, &str, &str)] = &[
    // (registry, token service, source)
    ("index.docker.io", "auth.docker.io", DISTRIBUTION),
    ("registry-1.docker.io", "auth.docker.io", DISTRIBUTION),
    ("docker.io", "auth.docker.io", DISTRIBUTION),
    ("registry.gitlab.com", "gitlab.com", "https://metacpan.org/pod/Docker::Registry::Auth::Gitlab"),
    // LinuxServer's name for its images in GitHub's registry: its challenge is that of ghcr.io.
    ("lscr.io", "ghcr.io", "https://github.com/getwud/wud/issues/143"),
];

const DISTRIBUTION: &str = "https://distribution.github.io/distribution/spec/auth/token/";

/// A token service that the user allows for any registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedRealm {
    host: Host<String>,
    /// `None` for any port.
    port: Option<u16>,
}

impl FromStr for AllowedRealm {
    type Err = RegistryError;

    /// Reads `HOST` or `HOST:PORT`.
    fn from_str(text: &str) -> Result<Self, RegistryError> {
        let is_bare = !text.contains(['/', '\\', '@', '?', '#', '*']) && !text.contains(char::is_whitespace);
        // Each scheme omits its own default port.
        let parsed = ["https", "http"].map(|scheme| {
            Url::parse(&format!("{scheme}://{text}/")).ok().filter(|_| is_bare && !text.ends_with(':'))
        });
        let host = parsed[0].as_ref().and_then(host);
        let port = parsed.iter().flatten().find_map(Url::port);
        host.map(|host| Self { host, port }).ok_or_else(|| RegistryError::BadRealm {
            text: text.chars().take(200).flat_map(char::escape_default).collect(),
        })
    }
}

impl AllowedRealm {
    fn names(&self, url: &Url) -> bool {
        host(url).as_ref() == Some(&self.host)
            && self.port.is_none_or(|port| url.port_or_known_default() == Some(port))
    }
}

/// Whether to request a token from a realm with the user's credentials.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Yes, at exactly this URL.
    Send(Url),
    /// No.
    Refuse(RealmRefusal),
}

/// Why a realm may not be contacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RealmRefusal {
    /// It is not an absolute URL.
    NoUrl,
    /// Its scheme is neither `https` nor `http`.
    OtherScheme,
    /// It contains a user name or a password.
    UserInfo,
    /// It does not use TLS.
    PlainHttp,
    /// It is an IP address, or a name of the machine itself, and not the registry's own host and port.
    Address,
    /// Registry and realm are on this machine, on different ports.
    OtherPort,
    /// It is neither the registry's own host and port, nor in its registrable domain, nor known, nor allowed.
    OtherDomain,
}

impl RealmRefusal {
    /// Whether `--allow-realm` can allow such a realm.
    pub(crate) fn can_be_allowed(self) -> bool {
        matches!(self, Self::OtherPort | Self::OtherDomain)
    }

    pub(crate) fn as_clause(self) -> &'static str {
        match self {
            Self::NoUrl => "which is not a URL",
            Self::OtherScheme => "which is neither an HTTPS nor an HTTP URL",
            Self::UserInfo => "whose URL holds a name or a password",
            Self::PlainHttp => "which has no TLS",
            Self::Address => {
                "which is an IP address or a name of the machine itself, and not the registry's own host and port"
            }
            Self::OtherPort => "which is on this machine, but not the registry's own host and port",
            Self::OtherDomain => {
                "which is neither the registry's own host and port nor in the registry's domain"
            }
        }
    }
}

/// Decides whether the credentials for the registry at `registry` (with the scheme that is used to access it) may be
/// sent to the token service at `realm`.
pub(super) fn decide(registry: &Url, realm: &str, allowed: &[AllowedRealm]) -> Decision {
    let Ok(url) = Url::parse(realm) else { return Decision::Refuse(RealmRefusal::NoUrl) };
    match refusal(registry, &url, allowed) {
        Some(refusal) => Decision::Refuse(refusal),
        None => Decision::Send(url),
    }
}

fn refusal(registry: &Url, realm: &Url, allowed: &[AllowedRealm]) -> Option<RealmRefusal> {
    if !["https", "http"].contains(&realm.scheme()) {
        return Some(RealmRefusal::OtherScheme);
    }
    if !realm.username().is_empty() || realm.password().is_some() {
        return Some(RealmRefusal::UserInfo);
    }
    let is_own =
        host(registry) == host(realm) && registry.port_or_known_default() == realm.port_or_known_default();
    let is_allowed = allowed.iter().any(|entry| entry.names(realm));
    let both_are_local = is_local(registry) && is_local(realm);
    if realm.scheme() == "http" {
        // Plain HTTP is used for a registry on loopback, or with `--allow-http`: the credentials go in the clear to
        // that host and port, and no further than this machine's other ports.
        return match registry.scheme() == "http" {
            true if is_own || (both_are_local && is_allowed) => None,
            true if both_are_local => Some(RealmRefusal::OtherPort),
            _ => Some(RealmRefusal::PlainHttp),
        };
    }
    if is_own || (both_are_local && is_allowed) {
        return None;
    }
    if both_are_local {
        return Some(RealmRefusal::OtherPort);
    }
    if is_local(realm) || !matches!(realm.host(), Some(Host::Domain(_))) {
        return Some(RealmRefusal::Address);
    }
    let is_related = registrable(registry).is_some_and(|domain| registrable(realm) == Some(domain));
    if is_allowed || is_related || is_known(registry, realm) {
        return None;
    }
    Some(RealmRefusal::OtherDomain)
}

/// The host as it is compared: a trailing dot changes nothing.
fn host(url: &Url) -> Option<Host<String>> {
    Some(match url.host()? {
        Host::Domain(name) => Host::Domain(name.strip_suffix('.').unwrap_or(name).to_owned()),
        address => address.to_owned(),
    })
}

/// Whether the host is this machine itself, by address or by name (RFC 6761, section 6.3).
fn is_local(url: &Url) -> bool {
    match host(url) {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.to_canonical().is_loopback(),
        None => false,
    }
}

/// The part of the host that its owner registered, by the public suffix list. Addresses have none, and neither have
/// names under a suffix that is not on the list: we don't know who may register below `.internal`.
fn registrable(url: &Url) -> Option<String> {
    let Some(Host::Domain(name)) = host(url) else { return None };
    let domain = psl::domain(name.as_bytes()).filter(|domain| domain.suffix().is_known())?;
    String::from_utf8(domain.as_bytes().to_vec()).ok()
}

fn is_known(registry: &Url, realm: &Url) -> bool {
    let is = |url: &Url, name: &str| host(url) == Some(Host::Domain(name.to_owned())) && url.port().is_none();
    KNOWN.iter().any(|(from, to, _)| is(registry, from) && is(realm, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expectation of a line of the table.
    const SEND: Option<RealmRefusal> = None;
    const NO_URL: Option<RealmRefusal> = Some(RealmRefusal::NoUrl);
    const SCHEME: Option<RealmRefusal> = Some(RealmRefusal::OtherScheme);
    const USERINFO: Option<RealmRefusal> = Some(RealmRefusal::UserInfo);
    const PLAIN: Option<RealmRefusal> = Some(RealmRefusal::PlainHttp);
    const ADDRESS: Option<RealmRefusal> = Some(RealmRefusal::Address);
    const PORT: Option<RealmRefusal> = Some(RealmRefusal::OtherPort);
    const DOMAIN: Option<RealmRefusal> = Some(RealmRefusal::OtherDomain);

    /// (registry, realm, hosts allowed by the user, decision)
    type Line = (&'static str, &'static str, &'static [&'static str], Option<RealmRefusal>);

    /// The specification.
    #[rustfmt::skip]
    const TABLE: &[Line] = &[
        // The registry itself.
        ("https://registry.example.com", "https://registry.example.com/token", &[], SEND),
        ("https://registry.example.com", "https://registry.example.com:443/token?a=b", &[], SEND),
        ("https://registry.example.com:5000", "https://registry.example.com:5000/token", &[], SEND),
        // The same host written differently: case, trailing dot, punycode.
        ("https://registry.example.com", "HTTPS://REGISTRY.EXAMPLE.COM/token", &[], SEND),
        ("https://registry.example.com", "https://registry.example.com./token", &[], SEND),
        ("https://registry.example.com.", "https://registry.example.com/token", &[], SEND),
        ("https://registry.b\u{fc}cher.example.com", "https://registry.xn--bcher-kva.example.com/token", &[], SEND),
        // Another host or port of the same registrable domain, such as a self-managed GitLab.
        ("https://registry.example.com", "https://auth.example.com/token", &[], SEND),
        ("https://registry.example.com", "https://example.com/token", &[], SEND),
        ("https://registry.example.com", "https://auth.example.com:8443/token", &[], SEND),
        ("https://registry.gitlab.acme.de", "https://gitlab.acme.de/jwt/auth", &[], SEND),
        ("https://gitlab.acme.de:5050", "https://gitlab.acme.de/jwt/auth", &[], SEND),
        ("https://registry.b\u{fc}cher.de", "https://auth.xn--bcher-kva.de/token", &[], SEND),
        ("https://registry.acme.co.uk", "https://auth.acme.co.uk/token", &[], SEND),
        ("https://registry.acme.xn--55qx5d.cn", "https://auth.acme.\u{516c}\u{53f8}.cn/token", &[], SEND),
        // Another registrable domain, even if the names look alike.
        ("https://registry.example.com", "https://auth.example.net/token", &[], DOMAIN),
        ("https://registry.example.com", "https://registry.example.com.evil.net/token", &[], DOMAIN),
        ("https://registry.example.com", "https://evilexample.com/token", &[], DOMAIN),
        ("https://registry.example.com", "https://registry.ex\u{e4}mple.com/token", &[], DOMAIN),
        ("https://registry.example.com", "https://registry.example.com../token", &[], DOMAIN),
        ("https://registry.example.com", "https://com/token", &[], DOMAIN),
        // Labels in front of a public suffix belong to different owners.
        ("https://registry.acme.co.uk", "https://auth.evil.co.uk/token", &[], DOMAIN),
        ("https://registry.acme.co.uk", "https://co.uk/token", &[], DOMAIN),
        ("https://registry.acme.xn--55qx5d.cn", "https://auth.evil.xn--55qx5d.cn/token", &[], DOMAIN),
        ("https://acme.github.io", "https://evil.github.io/token", &[], DOMAIN),
        ("https://acme.github.io", "https://github.io/token", &[], DOMAIN),
        ("https://registry.acme.github.io", "https://auth.acme.github.io/token", &[], SEND),
        // Names without a known public suffix: their own host and port.
        ("https://registry", "https://registry/token", &[], SEND),
        ("https://registry", "https://registry:8443/token", &[], DOMAIN),
        ("https://registry.corp.internal", "https://registry.corp.internal/token", &[], SEND),
        ("https://registry.corp.internal", "https://auth.corp.internal/token", &[], DOMAIN),
        ("https://registry.corp.internal", "https://auth.corp.internal/token", &["auth.corp.internal"], SEND),
        // A public suffix itself has no registrable domain either.
        ("https://github.io", "https://github.io/token", &[], SEND),
        ("https://github.io", "https://github.io:8443/token", &[], DOMAIN),
        // Known pairs.
        ("https://index.docker.io", "https://auth.docker.io/token", &[], SEND),
        ("https://registry-1.docker.io", "https://auth.docker.io/token", &[], SEND),
        ("https://docker.io", "https://auth.docker.io/token", &[], SEND),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", &[], SEND),
        ("https://lscr.io", "https://ghcr.io/token", &[], SEND),
        ("https://ghcr.io", "https://lscr.io/token", &[], DOMAIN),
        ("https://lscr.io", "https://ghcr.io:8443/token", &[], DOMAIN),
        ("https://lscr.io:5000", "https://ghcr.io/token", &[], DOMAIN),
        ("https://lscr.io", "http://ghcr.io/token", &[], PLAIN),
        ("https://index.docker.io", "https://auth.docker.com/token", &[], DOMAIN),
        // Allowed by the user: that host, on any port unless one is given.
        ("https://registry.example.com", "https://auth.example.net/token", &["auth.example.net"], SEND),
        ("https://registry.example.com", "https://auth.example.net:8443/token", &["auth.example.net"], SEND),
        ("https://registry.example.com", "https://auth.example.net/token", &["AUTH.example.net."], SEND),
        ("https://registry.example.com", "https://auth.example.net/token", &["auth.example.net:443"], SEND),
        ("https://registry.example.com", "https://auth.example.net:8443/token", &["auth.example.net:443"], DOMAIN),
        ("https://registry.example.com", "https://b.auth.example.net/token", &["auth.example.net"], DOMAIN),
        ("https://registry.example.com", "https://evil.org/token", &["auth.example.net"], DOMAIN),
        // Plain HTTP, whatever else is right or allowed.
        ("https://registry.example.com", "http://registry.example.com/token", &[], PLAIN),
        ("https://registry.example.com", "http://registry.example.com:443/token", &[], PLAIN),
        ("https://registry.example.com", "http://auth.example.com/token", &["auth.example.com"], PLAIN),
        ("https://registry.example.com", "http://127.0.0.1/token", &["127.0.0.1"], PLAIN),
        // With `--allow-http`, only the registry's own host and port receive it in the clear.
        ("http://registry.example.com:5000", "http://registry.example.com:5000/token", &[], SEND),
        ("http://registry.example.com:5000", "http://registry.example.com:5001/token", &[], PLAIN),
        ("http://registry.example.com:5000", "http://registry.example.com:5001/token", &["registry.example.com"], PLAIN),
        ("http://registry.example.com:5000", "http://auth.example.com/token", &[], PLAIN),
        ("http://registry.example.com:5000", "https://auth.example.com/token", &[], SEND),
        ("http://registry.example.com:5000", "http://127.0.0.1:5000/token", &["127.0.0.1"], PLAIN),
        ("http://10.0.0.5:5000", "http://10.0.0.5:5000/token", &[], SEND),
        ("http://10.0.0.5:5000", "http://10.0.0.5:5001/token", &["10.0.0.5"], PLAIN),
        // Addresses, in every notation, and names of the machine itself.
        ("https://registry.example.com", "https://192.0.2.1/token", &[], ADDRESS),
        ("https://registry.example.com", "https://192.0.2.1/token", &["192.0.2.1"], ADDRESS),
        ("https://registry.example.com", "https://[2001:db8::1]/token", &[], ADDRESS),
        ("https://registry.example.com", "https://[::1]/token", &["[::1]"], ADDRESS),
        ("https://registry.example.com", "https://[::ffff:127.0.0.1]/token", &[], ADDRESS),
        ("https://registry.example.com", "https://127.0.0.1/token", &["127.0.0.1"], ADDRESS),
        ("https://registry.example.com", "https://127.1/token", &[], ADDRESS),
        ("https://registry.example.com", "https://2130706433/token", &[], ADDRESS),
        ("https://registry.example.com", "https://0x7f000001/token", &[], ADDRESS),
        ("https://registry.example.com", "https://0177.0.0.1/token", &[], ADDRESS),
        ("https://registry.example.com", "https://169.254.169.254/token", &[], ADDRESS),
        ("https://registry.example.com", "https://0.0.0.0/token", &[], ADDRESS),
        ("https://registry.example.com", "https://127.0.0.1./token", &[], ADDRESS),
        ("https://registry.example.com", "https://\u{ff11}27.0.0.1/token", &[], ADDRESS),
        ("https://registry.example.com", "https://localhost/token", &["localhost"], ADDRESS),
        ("https://registry.example.com", "https://LOCALHOST./token", &[], ADDRESS),
        ("https://registry.example.com", "https://registry.localhost/token", &[], ADDRESS),
        ("https://registry.example.com", "https://auth.example.com.localhost/token", &[], ADDRESS),
        // A registry at an address: its own host and port.
        ("https://10.0.0.5:5000", "https://10.0.0.5:5000/token", &[], SEND),
        ("https://10.0.0.5:5000", "https://0x0a000005:5000/token", &[], SEND),
        ("https://10.0.0.5:5000", "https://10.0.0.5:5001/token", &["10.0.0.5:5001"], ADDRESS),
        ("https://10.0.0.5:5000", "https://10.0.0.6:5000/token", &[], ADDRESS),
        ("https://[2001:db8::5]:5000", "https://[2001:db8:0::5]:5000/token", &[], SEND),
        ("https://10.0.0.5:5000", "https://auth.example.com/token", &[], DOMAIN),
        ("https://10.0.0.5:5000", "https://auth.example.com/token", &["auth.example.com"], SEND),
        // A registry on this machine: its own port, and others of this machine that the user allows.
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/token", &[], SEND),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", &[], PORT),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", &["127.0.0.1:5001"], SEND),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", &["127.0.0.1"], SEND),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", &["127.0.0.1:5002"], PORT),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", &["localhost:5001"], PORT),
        ("http://127.0.0.1:5000", "http://localhost:5000/token", &[], PORT),
        ("http://localhost:5000", "http://localhost:5001/token", &["localhost:5001"], SEND),
        ("http://[::1]:5000", "http://[::1]:5001/token", &["[::1]:5001"], SEND),
        ("http://127.0.0.1:5000", "https://127.0.0.1:5001/token", &[], PORT),
        ("http://127.0.0.1:5000", "https://127.0.0.1:5001/token", &["127.0.0.1:5001"], SEND),
        ("http://127.0.0.1:5000", "http://10.0.0.5:5001/token", &["10.0.0.5"], PLAIN),
        ("http://127.0.0.1:5000", "https://10.0.0.5:5001/token", &["10.0.0.5"], ADDRESS),
        ("http://127.0.0.1:5000", "http://auth.example.com/token", &["auth.example.com"], PLAIN),
        ("http://127.0.0.1:5000", "https://auth.example.com/token", &[], DOMAIN),
        ("http://127.0.0.1:5000", "https://auth.example.com/token", &["auth.example.com"], SEND),
        // A name or password in the realm, which parsers may confuse with the host.
        ("https://registry.example.com", "https://alice@registry.example.com/token", &[], USERINFO),
        ("https://registry.example.com", "https://:secret@registry.example.com/token", &[], USERINFO),
        ("https://registry.example.com", "https://registry.example.com@evil.net/token", &[], USERINFO),
        ("https://registry.example.com", "https://registry.example.com\\@evil.net/token", &[], SEND),
        ("https://registry.example.com", "https://evil.net#@registry.example.com/token", &[], DOMAIN),
        ("https://registry.example.com", "https://evil.net?@registry.example.com/token", &[], DOMAIN),
        // Not a URL, or not one of the web.
        ("https://registry.example.com", "", &[], NO_URL),
        ("https://registry.example.com", "registry", &[], NO_URL),
        ("https://registry.example.com", "/token", &[], NO_URL),
        ("https://registry.example.com", "//registry.example.com/token", &[], NO_URL),
        ("https://registry.example.com", "https://", &[], NO_URL),
        ("https://registry.example.com", "ftp://registry.example.com/token", &[], SCHEME),
        ("https://registry.example.com", "file:///etc/passwd", &[], SCHEME),
        ("https://registry.example.com", "registry.example.com:443/token", &[], SCHEME),
    ];

    #[test]
    fn credentials_go_where_the_table_says_and_nowhere_else() {
        for (registry, realm, allowed, expected) in TABLE {
            let allowed: Vec<AllowedRealm> = allowed.iter().map(|text| text.parse().unwrap()).collect();
            let registry = Url::parse(registry).unwrap();
            let said = match decide(&registry, realm, &allowed) {
                Decision::Send(url) => {
                    assert_eq!(url, Url::parse(realm).unwrap());
                    None
                }
                Decision::Refuse(refusal) => Some(refusal),
            };
            assert_eq!(said, *expected, "registry {registry}, realm {realm:?}, allowed {allowed:?}");
        }
    }

    #[test]
    fn what_is_allowed_is_one_host() {
        let read =
            |text: &str| text.parse::<AllowedRealm>().map(|realm| (realm.host.to_string(), realm.port)).ok();
        let named = |name: &str, port| Some((name.to_owned(), port));
        assert_eq!(read("Auth.Example.com."), named("auth.example.com", None));
        assert_eq!(read("auth.example.com:443"), named("auth.example.com", Some(443)));
        assert_eq!(read("auth.example.com:80"), named("auth.example.com", Some(80)));
        assert_eq!(read("[::1]:5001"), named("[::1]", Some(5001)));
        assert_eq!(read("0x7f000001:5001"), named("127.0.0.1", Some(5001)));
        for bad in [
            "",
            ":5000",
            "host:",
            "https://auth.example.com",
            "auth.example.com/token",
            "*.example.com",
            "a@b",
            "a b",
            "host:99999",
            "::1",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_known_pair_has_a_source_and_is_needed_once() {
        for (place, (registry, realm, source)) in KNOWN.iter().enumerate() {
            assert!(source.starts_with("https://"), "{registry}");
            let is_twice = KNOWN[..place].iter().any(|(from, to, _)| (from, to) == (registry, realm));
            assert!(!is_twice, "{registry} and {realm} stand there twice");
        }
    }
}
