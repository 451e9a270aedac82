//! Opening a store: one client for each location, with the settings that the caller read from the environment.

mod azure;
mod gcs;
mod s3;

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use crate::location::{Provider, is_loopback};
use crate::site::{ServerClock, Site};
use crate::{Location, Store, StoreError, folder};

/// The cloud settings that stores understand: names such as `AWS_ACCESS_KEY_ID` and their values.
///
/// In addition to what `object_store` reads: `STORAGE_EMULATOR_HOST` for Google's, `AZURE_STORAGE_CONNECTION_STRING`,
/// `AZURE_STORAGE_ACCOUNT` and `AZURE_STORAGE_KEY` for Azure's.
pub type Settings = HashMap<String, String>;

/// Whether an environment variable with this name may be one of them.
pub fn is_setting(name: &str) -> bool {
    name == "STORAGE_EMULATOR_HOST"
        || ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix))
}

/// Options for opening a store.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenOptions {
    /// Allow plain HTTP to endpoints that are not on this machine.
    pub allow_http: bool,
    /// Create the folder if it is missing. Buckets are never created.
    pub create_folder: bool,
}

/// How long to look for credentials in a cloud's metadata service before reporting that there are none.
const CREDENTIAL_DEADLINE: Duration = Duration::from_secs(6);

/// A client that cannot connect within this time never will.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

impl Store {
    /// Opens the store at `location`.
    pub async fn open(
        location: &Location,
        settings: &Settings,
        options: OpenOptions,
    ) -> Result<Self, StoreError> {
        let name = location.to_string();
        let (provider, bucket, prefix) = match location {
            Location::Folder(path) => return folder::open(path, &name, options.create_folder),
            Location::Bucket { provider, bucket, prefix } => (provider, bucket, prefix),
        };
        let clock = ServerClock::default();
        let opening = Opening { name: &name, bucket, settings, options, clock };
        let (store, site): Opened = match provider {
            Provider::S3 => s3::open(&opening).await?,
            Provider::Gcs => gcs::open(&opening).await?,
            Provider::Azure => azure::open(&opening).await?,
        };
        if prefix.is_empty() {
            return Ok(Self::new(store, name, None, site));
        }
        let prefix = Path::parse(prefix).map_err(|error| opening.bad(error.to_string()))?;
        Ok(Self::new(Arc::new(PrefixStore::new(store, prefix)), name, None, site))
    }

    /// An empty store that lives as long as this value.
    pub fn memory() -> Self {
        Self::over(Arc::new(InMemory::new()), "memory".to_owned())
    }
}

/// A client, and what is known about its server.
type Opened = (Arc<dyn ObjectStore>, Site);

/// A bucket that is being opened.
struct Opening<'a> {
    name: &'a str,
    bucket: &'a str,
    settings: &'a Settings,
    options: OpenOptions,
    clock: ServerClock,
}

impl<'a> Opening<'a> {
    /// The first of these settings that is given.
    fn setting(&self, names: &[&str]) -> Option<&'a str> {
        names.iter().find_map(|name| self.settings.get(*name)).map(String::as_str)
    }

    fn is_on(&self, names: &[&str]) -> bool {
        self.setting(names).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    }

    /// What is known about the storage: its server, and the variables that select it. An address should not contain
    /// credentials; one that does is not shown.
    fn site(
        &self,
        endpoint: Option<(&'static str, &str)>,
        settings: impl IntoIterator<Item = (&'static str, Option<String>)>,
        credentials: &'static [&'static str],
    ) -> Site {
        let is_public = |url: &&str| Url::parse(url).is_ok_and(|url| url.password().is_none());
        let endpoint = endpoint.filter(|(_, url)| is_public(url)).map(|(name, url)| (name, url.to_owned()));
        let others = settings.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Site {
            endpoint: endpoint.as_ref().map(|(_, url)| url.clone()),
            settings: endpoint.into_iter().chain(others).collect(),
            credentials,
            clock: self.clock.clone(),
        }
    }

    /// The settings that the client's builder knows, except those about the connection, which would bypass the rule on
    /// plain HTTP.
    fn known<K: FromStr>(&self) -> impl Iterator<Item = (K, &'a str)> {
        self.settings.iter().filter_map(|(name, value)| {
            let key = name.to_ascii_lowercase().parse().ok()?;
            Some((key, value.as_str()))
        })
    }

    /// How a client connects. Plain HTTP is for this machine only, unless the caller allows more.
    fn client(&self, endpoint: Option<&str>) -> Result<ClientOptions, StoreError> {
        let plain = match endpoint {
            Some(endpoint) => {
                let url = Url::parse(endpoint)
                    .map_err(|error| self.bad(format!("the endpoint `{endpoint}`: {error}")))?;
                if url.scheme() == "http" && !self.options.allow_http && !is_loopback(&url) {
                    return Err(self.bad(format!(
                        "the endpoint `{endpoint}` is plain HTTP to another machine; use https, or --allow-http"
                    )));
                }
                url.scheme() == "http"
            }
            None => false,
        };
        // `Store` sets the deadline for the whole request, which grows with its size.
        Ok(ClientOptions::new()
            .with_allow_http(plain)
            .with_timeout_disabled()
            .with_connect_timeout(CONNECT_DEADLINE))
    }

    fn bad(&self, reason: String) -> StoreError {
        StoreError::BadLocation { location: self.name.to_owned(), reason }
    }

    fn no_credentials(&self, wanted: &'static str, source: Option<object_store::Error>) -> StoreError {
        let source = source.map(|error| -> Box<dyn Error + Send + Sync> { error.into() });
        StoreError::NoCredentials { store: self.name.to_owned(), wanted, source }
    }

    /// Finds out now whether credentials exist, and not after minutes in the middle of the work. A metadata service may
    /// fail once.
    async fn credentials<T, F>(
        &self,
        wanted: &'static str,
        mut credential: impl FnMut() -> F,
    ) -> Result<(), StoreError>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let tries = async {
            match credential().await {
                Ok(_) => Ok(()),
                Err(_) => credential().await.map(drop),
            }
        };
        match tokio::time::timeout(CREDENTIAL_DEADLINE, tries).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.no_credentials(wanted, Some(error))),
            Err(_) => Err(self.no_credentials(wanted, None)),
        }
    }
}

/// The client tries once; `Store` does the retries, because it knows what the request is for.
fn once() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, retry_timeout: Duration::ZERO }
}
