//! Google Cloud Storage.

use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};

use super::{Opened, Opening, once};
use crate::StoreError;
use crate::transport::Transport;

const WANTED: &str = "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT to a file of credentials";

pub(super) async fn open(opening: &Opening<'_>) -> Result<Opened, StoreError> {
    // Google's own clients take the emulator's host with or without a scheme, and need no credentials there.
    let emulator = opening
        .setting(&["STORAGE_EMULATOR_HOST"])
        .map(|host| if host.contains("://") { host.to_owned() } else { format!("http://{host}") });
    let endpoint = emulator.as_deref().or(opening.setting(&["GOOGLE_BASE_URL"]));
    let endpoint = endpoint.map(|endpoint| endpoint.trim_end_matches('/'));
    let is_unsigned = emulator.is_some() || opening.is_on(&["GOOGLE_SKIP_SIGNATURE"]);
    let mut builder = GoogleCloudStorageBuilder::new().with_bucket_name(opening.bucket);
    for (key, value) in opening.known() {
        builder = builder.with_config(key, value);
    }
    builder = builder
        .with_client_options(opening.client(endpoint)?)
        .with_retry(once())
        .with_http_connector(Transport::telling(&opening.clock))
        .with_skip_signature(is_unsigned);
    if is_unsigned {
        // Some of the client's requests would look for credentials anyway.
        let nobody = GcpCredential { bearer: String::new() };
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(nobody)));
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_base_url(endpoint);
    }
    let store = builder.build().map_err(|error| opening.bad(error.to_string()))?;
    if !is_unsigned {
        opening.credentials(WANTED, || store.credentials().get_credential()).await?;
    }
    let name = if emulator.is_some() { "STORAGE_EMULATOR_HOST" } else { "GOOGLE_BASE_URL" };
    let skips = is_unsigned && emulator.is_none();
    let settings = [("GOOGLE_SKIP_SIGNATURE", skips.then(|| "true".to_owned()))];
    let credentials = if is_unsigned { &[][..] } else { &["GOOGLE_APPLICATION_CREDENTIALS"] };
    let site = opening.site(endpoint.map(|url| (name, url)), settings, credentials);
    Ok((Arc::new(store), site))
}
