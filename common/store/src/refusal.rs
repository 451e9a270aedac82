//! Why a server refuses a request, if its answer shows what is wrong with the user's settings.

use std::fmt;

use jiff::Timestamp;

use crate::ServerAnswer;

/// What is wrong with the settings or the clock of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The storage does not know the access key.
    UnknownKey,
    /// The secret is not that of the access key.
    WrongSecret,
    /// The credentials have expired.
    Expired,
    /// The session token does not belong to this key.
    BadToken,
    /// The clocks differ by too much. Contains the storage's time, if it gave one.
    Skewed(Option<Timestamp>),
    /// The bucket or container does not exist.
    NoBucket,
    /// The bucket is in another region than the one that was named.
    OtherRegion,
    /// The storage does not accept the credentials.
    BadCredentials,
}

impl Refusal {
    /// The refusal in an answer, if it is one of these. A missing right is not.
    pub(crate) fn of(answer: &ServerAnswer) -> Option<Self> {
        Some(match answer.code.as_deref()? {
            "InvalidAccessKeyId" | "InvalidAccessKey" => Self::UnknownKey,
            "SignatureDoesNotMatch" => Self::WrongSecret,
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => Self::Expired,
            "InvalidToken" | "InvalidTokenId" => Self::BadToken,
            "RequestTimeTooSkewed" | "RequestExpired" => Self::Skewed(answer.date),
            "NoSuchBucket" | "ContainerNotFound" | "InvalidBucketName" => Self::NoBucket,
            "AuthorizationHeaderMalformed"
            | "PermanentRedirect"
            | "TemporaryRedirect"
            | "IllegalLocationConstraintException" => Self::OtherRegion,
            "AuthenticationFailed" | "InvalidAuthenticationInfo" | "AuthenticationRequired" => {
                Self::BadCredentials
            }
            _ => return None,
        })
    }

    /// What to do about it. `is_s3` says whose settings are concerned.
    pub(crate) fn advice(self, is_s3: bool) -> String {
        let s3 = match self {
            Self::UnknownKey => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key of this storage, and AWS_ENDPOINT_URL to its address"
            }
            Self::WrongSecret => {
                "set AWS_SECRET_ACCESS_KEY to the secret of the key in AWS_ACCESS_KEY_ID, without spaces around it"
            }
            Self::Expired => {
                "get new credentials, and set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
            }
            Self::BadToken => {
                "set AWS_SESSION_TOKEN to the token that came with AWS_ACCESS_KEY_ID, or unset it where none did"
            }
            Self::Skewed(_) => "set this host's clock (`timedatectl` shows whether it is kept right)",
            Self::NoBucket => {
                "check the bucket's name in the repository's address, and AWS_ENDPOINT_URL; a new bucket is made with the \
                 storage's own tools"
            }
            Self::OtherRegion => "set AWS_REGION to the region of the bucket",
            Self::BadCredentials => "set the credentials of this storage, and its endpoint",
        };
        match self {
            Self::Skewed(_) => s3,
            _ if is_s3 => s3,
            Self::NoBucket => {
                "check the name in the repository's address, and the account; a new bucket or container is made with the \
                 storage's own tools"
            }
            Self::OtherRegion => "set the region of the bucket",
            Self::Expired => "get new credentials, and set them in the environment",
            _ => "set the credentials of this storage in the environment, and check the account's name",
        }
        .to_owned()
    }
}

/// The end of a sentence that starts with the store.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownKey => "does not know the access key",
            Self::WrongSecret => "refuses the secret: it is not the one of the access key",
            Self::Expired => "refuses the credentials: they have expired",
            Self::BadToken => "refuses the session token: it does not belong to the access key",
            Self::Skewed(None) => "refuses the request: this host's clock is wrong",
            Self::Skewed(Some(there)) => {
                return write!(
                    f,
                    "refuses the request: this host's clock is wrong, at the storage it was {there:.0}"
                );
            }
            Self::NoBucket => "does not exist: the storage has no bucket of this name",
            Self::OtherRegion => "lies in another region than the one that was named",
            Self::BadCredentials => "refuses the credentials",
        })
    }
}

/// Why a storage cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unreached {
    /// The name of its host is unknown.
    NoHost,
    /// The host refuses the connection.
    Refused,
    /// The connection timed out.
    Late,
    /// The server cannot prove its identity.
    Certificate(String),
    /// The system's own error text.
    Other(String),
}

impl Unreached {
    /// Derives it from the client's error texts, the outermost first.
    pub(crate) fn of(chain: &[String], is_refused: bool, is_late: bool) -> Self {
        let says = |words: &[&str]| {
            chain.iter().find(|said| words.iter().any(|word| said.to_lowercase().contains(word)))
        };
        if is_refused {
            Self::Refused
        } else if says(&["dns error", "failed to lookup address"]).is_some() {
            Self::NoHost
        } else if let Some(said) = says(&["certificate"]) {
            Self::Certificate(said.clone())
        } else if is_late {
            Self::Late
        } else {
            Self::Other(chain.last().cloned().unwrap_or_default())
        }
    }

    /// What to do about it.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::NoHost => {
                "check the endpoint (AWS_ENDPOINT_URL or its like), and that this host can look up names (DNS)"
            }
            Self::Refused => {
                "check that the storage runs, and the address and port of the endpoint (AWS_ENDPOINT_URL or its like)"
            }
            Self::Late => {
                "check the network and the endpoint (AWS_ENDPOINT_URL or its like), then run again; what was written stays \
                 valid"
            }
            Self::Certificate(_) => {
                "check the endpoint's name, this host's clock, and that this host trusts who signed the certificate"
            }
            Self::Other(_) => {
                "check the network, and that the endpoint speaks the protocol that its address says, then run again"
            }
        }
    }
}

/// The end of a sentence that starts with the address.
impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHost => f.write_str("no host of this name is known"),
            Self::Refused => f.write_str("nothing accepts connections there"),
            Self::Late => f.write_str("no connection came about in time"),
            Self::Certificate(said) => write!(f, "its certificate is not accepted ({said})"),
            Self::Other(said) => f.write_str(said),
        }
    }
}
