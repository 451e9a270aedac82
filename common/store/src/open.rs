//! Opening a store: one client for each location, with the settings that the caller read from the environment.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use crate::location::{Provider, is_loopback};
use crate::{Location, Store, StoreError};

/// The cloud settings that stores know: names such as `AWS_ACCESS_KEY_ID` and their values.
pub type Settings = HashMap<String, String>;

/// How a store is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenOptions {
    /// Allow plain HTTP to endpoints that are not on this machine.
    pub allow_http: bool,
    /// Make the folder if it is missing. Buckets are never made.
    pub create_folder: bool,
}

/// How long to look for credentials that a cloud's metadata service may hold before saying that there are none.
const CREDENTIAL_DEADLINE: Duration = Duration::from_secs(6);

/// A client that cannot connect within this time will not.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

impl Store {
    /// Opens the store at `location`.
    pub async fn open(
        location: &Location,
        settings: &Settings,
        options: OpenOptions,
    ) -> Result<Self, StoreError> {
        let name = location.to_string();
        let store: Arc<dyn ObjectStore> = match location {
            Location::Folder(folder) => {
                if options.create_folder {
                    fs::create_dir_all(folder).map_err(|error| StoreError::BadLocation {
                        location: name.clone(),
                        reason: format!("the folder cannot be made: {error}"),
                    })?;
                }
                let local =
                    LocalFileSystem::new_with_prefix(folder).map_err(|_| StoreError::BadLocation {
                        location: name.clone(),
                        reason: "there is no such folder".to_owned(),
                    })?;
                Arc::new(local.with_fsync(true).with_automatic_cleanup(false))
            }
            Location::Bucket { provider, bucket, prefix } => {
                let store: Arc<dyn ObjectStore> = match provider {
                    Provider::S3 => s3(&name, bucket, settings, options).await?,
                    Provider::Gcs => gcs(&name, bucket, settings, options)?,
                    Provider::Azure => azure(&name, bucket, settings, options)?,
                };
                if prefix.is_empty() {
                    store
                } else {
                    let prefix = Path::parse(prefix).map_err(|error| StoreError::BadLocation {
                        location: name.clone(),
                        reason: error.to_string(),
                    })?;
                    Arc::new(PrefixStore::new(store, prefix))
                }
            }
        };
        Ok(Self::over(store, name))
    }

    /// An empty store that lives as long as this value.
    pub fn memory() -> Self {
        Self::over(Arc::new(InMemory::new()), "memory".to_owned())
    }
}

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: 5,
        retry_timeout: Duration::from_secs(120),
    }
}

/// Plain HTTP is for this machine only, unless the caller asks for more.
fn client(name: &str, endpoint: Option<&str>, options: OpenOptions) -> Result<ClientOptions, StoreError> {
    let plain = match endpoint {
        Some(endpoint) => {
            let bad = |reason: String| StoreError::BadLocation { location: name.to_owned(), reason };
            let url =
                Url::parse(endpoint).map_err(|error| bad(format!("the endpoint `{endpoint}`: {error}")))?;
            if url.scheme() == "http" && !options.allow_http && !is_loopback(&url) {
                return Err(bad(format!(
                    "the endpoint `{endpoint}` is plain HTTP to another machine; use https, or --allow-http"
                )));
            }
            url.scheme() == "http"
        }
        None => false,
    };
    // The whole-request deadline stands in `Store`, where it grows with the size of the request.
    Ok(ClientOptions::new()
        .with_allow_http(plain)
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_DEADLINE))
}

fn failed(name: &str, error: object_store::Error) -> StoreError {
    StoreError::BadLocation { location: name.to_owned(), reason: error.to_string() }
}

async fn s3(
    name: &str,
    bucket: &str,
    settings: &Settings,
    options: OpenOptions,
) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let endpoint =
        ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].iter().find_map(|n| settings.get(*n));
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region("us-east-1")
        .with_retry(retries())
        .with_checksum_algorithm(Checksum::SHA256);
    for (key, value) in settings {
        if let Ok(key) = key.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    builder = builder.with_client_options(client(name, endpoint.map(String::as_str), options)?);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let store = builder.build().map_err(|error| failed(name, error))?;
    let missing = |source| StoreError::NoCredentials {
        store: name.to_owned(),
        wanted: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_ENDPOINT_URL for a server of your own)",
        source,
    };
    let static_key = settings.contains_key("AWS_ACCESS_KEY_ID");
    if !static_key
        && settings.get("AWS_EC2_METADATA_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"))
    {
        // The AWS tools' own switch for machines that have no instance role to ask for.
        let others = ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"];
        let others = others.iter().chain(&["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_SKIP_SIGNATURE"]);
        if !others.into_iter().any(|name| settings.contains_key(*name)) {
            return Err(missing(None));
        }
    }
    match tokio::time::timeout(CREDENTIAL_DEADLINE, store.credentials().get_credential()).await {
        Ok(Ok(_)) => Ok(Arc::new(store)),
        Ok(Err(error)) => Err(missing(Some(error.into()))),
        Err(_) => Err(missing(None)),
    }
}

fn gcs(
    name: &str,
    bucket: &str,
    settings: &Settings,
    options: OpenOptions,
) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let mut builder = GoogleCloudStorageBuilder::new().with_bucket_name(bucket).with_retry(retries());
    for (key, value) in settings {
        if let Ok(key) = key.to_ascii_lowercase().parse::<GoogleConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    builder = builder.with_client_options(client(name, None, options)?);
    Ok(Arc::new(builder.build().map_err(|error| failed(name, error))?))
}

fn azure(
    name: &str,
    container: &str,
    settings: &Settings,
    options: OpenOptions,
) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let endpoint = settings.get("AZURE_STORAGE_ENDPOINT").or_else(|| settings.get("AZURE_ENDPOINT"));
    let mut builder = MicrosoftAzureBuilder::new().with_container_name(container).with_retry(retries());
    for (key, value) in settings {
        if let Ok(key) = key.to_ascii_lowercase().parse::<AzureConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    builder = builder.with_client_options(client(name, endpoint.map(String::as_str), options)?);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    Ok(Arc::new(builder.build().map_err(|error| failed(name, error))?))
}
