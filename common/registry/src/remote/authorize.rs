//! Answers a registry's challenge (distribution specification, "Token authentication"): with a token from the token
//! service that it names, or with the password itself.
//!
//! Nothing here follows a redirect by itself: [`decide`] judges every place that a challenge or a token service names
//! before a request goes there.

use http_auth::parser::ChallengeParser;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode, Url};
use zeroize::Zeroizing;

use super::realm::{Decision, RealmRefusal, decide};
use super::{ATTEMPTS, FIRST_PAUSE, Purpose, Remote};
use crate::{Credentials, RegistryError};

/// How often a token service may redirect.
const MAX_HOPS: usize = 5;

/// How much of a token service's answer is read, in bytes.
const MAX_TOKEN_BYTES: u64 = 1 << 20;

/// A registry's challenge.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token, from the service at `realm`.
    Bearer { realm: String, service: Option<String> },
    /// Name and password.
    Basic,
}

impl Challenge {
    /// The challenge among these headers that can be answered; a token is preferred. A challenge with another scheme is
    /// never answered with a password.
    pub(super) fn among(headers: &HeaderMap) -> Option<Self> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenges = texts.flat_map(|text| ChallengeParser::new(text).map_while(Result::ok));
        let mut basic = None;
        for challenge in challenges {
            let parameter = |name: &str| {
                let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                if let Some(realm) = parameter("realm") {
                    return Some(Self::Bearer { realm, service: parameter("service") });
                }
            } else if challenge.scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Self::Basic);
            }
        }
        basic
    }
}

impl Remote {
    /// The value for the `Authorization` header; `None` if the user's credentials, or the lack of any, are not
    /// sufficient.
    pub(super) async fn authorize(
        &self,
        challenge: Challenge,
        purpose: Purpose,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let mut header = match challenge {
            Challenge::Basic => self.password(&self.base)?,
            Challenge::Bearer { realm, service } => self.token(realm, service, purpose).await?,
        };
        if let Some(value) = &mut header {
            value.set_sensitive(true);
        }
        Ok(header)
    }

    /// Name and password as a header for `url`, if the user has any.
    fn password(&self, url: &Url) -> Result<Option<HeaderValue>, RegistryError> {
        let Credentials::Password { user, password } = &self.credentials else { return Ok(None) };
        let request = self.http.get(url.clone()).basic_auth(user, Some(password.as_str()));
        let request = request.build().map_err(|error| self.unreachable(error.without_url()))?;
        Ok(request.headers().get(AUTHORIZATION).cloned())
    }

    /// A token for this repository from the service at `realm`, or from where that service redirects.
    async fn token(
        &self,
        realm: String,
        service: Option<String>,
        purpose: Purpose,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let actions = match purpose {
            Purpose::Read => "pull",
            Purpose::Write => "pull,push",
        };
        let scope = format!("repository:{}:{actions}", self.reference.repository());
        let mut asker = format!("the registry {}", self.registry);
        let mut url = self.permitted(&asker, &realm)?;
        if let Some(service) = &service {
            url.query_pairs_mut().append_pair("service", service);
        }
        url.query_pairs_mut().append_pair("scope", &scope);
        for _ in 0..=MAX_HOPS {
            let answer = self.ask_for_token(&url).await?;
            let status = answer.status();
            let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            match (status, location) {
                (StatusCode::OK, _) => return self.read_token(&url, answer).await.map(Some),
                // Its error text about a failed login is not repeated: it may echo what was sent.
                (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => return Ok(None),
                (status, Some(location)) if status.is_redirection() => {
                    let next = url.join(location).map_or_else(|_| location.to_owned(), String::from);
                    asker = format!("the token service {} of the registry {}", place(&url), self.registry);
                    url = self.permitted(&asker, &next)?;
                }
                (status, _) => {
                    let said = format!("answers with status {}", status.as_u16());
                    return Err(self.no_token(&url, &said, None));
                }
            }
        }
        Err(self.no_token(&url, &format!("was reached by more than {MAX_HOPS} redirects"), None))
    }

    /// The realm as a URL, if it may be contacted.
    fn permitted(&self, asker: &str, realm: &str) -> Result<Url, RegistryError> {
        let refusal = match decide(&self.base, realm, &self.allowed_realms) {
            Decision::Send(url) => return Ok(url),
            Decision::Refuse(refusal) => refusal,
        };
        let url = Url::parse(realm).ok();
        match url {
            // Without credentials there is nothing to leak to another domain, and registries with public images use all
            // kinds of token services. Addresses are still not contacted on a registry's behalf: a service there may be
            // meant for this machine only, and the registry would receive its answer as a token.
            Some(url) if refusal == RealmRefusal::OtherDomain && self.credentials.is_anonymous() => Ok(url),
            url => Err(RegistryError::RealmRefused {
                asker: asker.to_owned(),
                realm: url.as_ref().map_or_else(|| shortened(realm), origin),
                host: url.as_ref().map(place).unwrap_or_default(),
                refusal,
            }),
        }
    }

    /// Contacts a permitted token service, and retries after a transient failure.
    async fn ask_for_token(&self, url: &Url) -> Result<Response, RegistryError> {
        let client = self.client_for(url).await?;
        let password = self.password(url)?;
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let mut request = client.get(url.clone());
            if let Some(password) = &password {
                request = request.header(AUTHORIZATION, password);
            }
            let answer = request.send().await.map_err(|error| {
                self.no_token(url, "cannot be reached", Some(Box::new(error.without_url())))
            })?;
            let status = answer.status();
            let may_pass = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            if !may_pass || attempt >= ATTEMPTS {
                return Ok(answer);
            }
            tracing::debug!(%status, "the token service is asked again");
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the loop returns after its last attempt")
    }

    async fn read_token(&self, url: &Url, answer: Response) -> Result<HeaderValue, RegistryError> {
        #[derive(serde::Deserialize)]
        struct Answer {
            token: Option<Zeroizing<String>>,
            access_token: Option<Zeroizing<String>>,
        }
        let body = self
            .read("the token", answer, MAX_TOKEN_BYTES)
            .await
            .map_err(|error| self.no_token(url, "gives no answer that can be read", Some(Box::new(error))))?;
        let answer: Option<Answer> = serde_json::from_slice(&body).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        let header = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {}", *token)).ok());
        header.ok_or_else(|| self.no_token(url, "gives no token in its answer", None))
    }

    fn no_token(
        &self,
        url: &Url,
        said: &str,
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    ) -> RegistryError {
        RegistryError::TokenService {
            registry: self.registry.clone(),
            service: place(url),
            said: said.to_owned(),
            source,
        }
    }
}

/// Host and port in the form that `--allow-realm` takes.
fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The URL without parts that may be secret or long.
fn origin(url: &Url) -> String {
    format!("{}://{}", url.scheme(), place(url))
}

fn shortened(text: &str) -> String {
    let shown = text.chars().take(200).flat_map(char::escape_default).collect::<String>();
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(values: &[&'static str]) -> Option<Challenge> {
        let headers = values.iter().map(|value| (WWW_AUTHENTICATE, HeaderValue::from_static(value)));
        Challenge::among(&headers.collect())
    }

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) }
    }

    #[test]
    fn a_token_is_preferred_and_a_password_goes_to_basic_only() {
        let hub =
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a:b:pull""#;
        assert_eq!(among(&[hub]), Some(bearer("https://auth.docker.io/token", Some("registry.docker.io"))));
        assert_eq!(among(&[r#"bearer REALM="https://a.b/c\"d""#]), Some(bearer("https://a.b/c\"d", None)));
        assert_eq!(among(&["Basic realm=\"registry\""]), Some(Challenge::Basic));
        assert_eq!(
            among(&["Basic realm=\"a\", Bearer realm=\"https://a.b/c\""]),
            Some(bearer("https://a.b/c", None))
        );
        assert_eq!(
            among(&["Basic realm=\"a\"", "Bearer realm=\"https://a.b/c\""]),
            Some(bearer("https://a.b/c", None))
        );
        for unanswerable in ["Negotiate", "Digest realm=\"a\", nonce=\"b\"", "Bearer service=\"a\"", ""] {
            assert_eq!(among(&[unanswerable]), None, "{unanswerable}");
        }
        assert_eq!(among(&[]), None);
    }

    #[test]
    fn of_a_realm_only_the_place_is_shown() {
        let url = Url::parse("https://alice:secret@auth.example.com:8443/token?password=secret").unwrap();
        assert_eq!(origin(&url), "https://auth.example.com:8443");
        assert_eq!(shortened("\u{1b}[2Jx"), "`\\u{1b}[2Jx`");
    }
}
