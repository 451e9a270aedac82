//! Azure Blob Storage.

use std::collections::HashMap;
use std::sync::Arc;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::{Opened, Opening, once};
use crate::StoreError;
use crate::transport::Transport;

const WANTED: &str =
    "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY";

/// The account of every emulator, and the key that Microsoft published for it.
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
const EMULATOR_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const EMULATOR_ENDPOINT: &str = "http://127.0.0.1:10000/devstoreaccount1";

/// Other names of the settings: from Azure's own command line, and in connection strings.
const ALIASES: &[(&str, AzureConfigKey)] = &[
    ("AZURE_STORAGE_ACCOUNT", AzureConfigKey::AccountName),
    ("AZURE_STORAGE_KEY", AzureConfigKey::AccessKey),
    ("AccountName", AzureConfigKey::AccountName),
    ("AccountKey", AzureConfigKey::AccessKey),
    ("SharedAccessSignature", AzureConfigKey::SasKey),
];

pub(super) async fn open(opening: &Opening<'_>) -> Result<Opened, StoreError> {
    let text = opening.setting(&["AZURE_STORAGE_CONNECTION_STRING"]).unwrap_or_default();
    let connection: HashMap<&str, &str> = text.split(';').filter_map(|part| part.split_once('=')).collect();
    let is_emulator = opening.is_on(&["AZURE_STORAGE_USE_EMULATOR"])
        || connection.get("UseDevelopmentStorage").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let mut builder = MicrosoftAzureBuilder::new().with_container_name(opening.bucket);
    if is_emulator {
        builder = builder.with_account(EMULATOR_ACCOUNT).with_access_key(EMULATOR_KEY);
    }
    for (name, key) in ALIASES {
        if let Some(value) = connection.get(name).copied().or(opening.setting(&[name])) {
            builder = builder.with_config(*key, value);
        }
    }
    // The client's own emulator mode would bypass our rules for its address and plain HTTP, so it is not passed on.
    for (key, value) in opening.known().filter(|(key, _)| *key != AzureConfigKey::UseEmulator) {
        builder = builder.with_config(key, value);
    }
    let account = builder.get_config_value(&AzureConfigKey::AccountName);
    if account.is_none() {
        return Err(opening.no_credentials(WANTED, None));
    }
    let named = opening.setting(&["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"]);
    let endpoint = named.or(connection.get("BlobEndpoint").copied());
    let endpoint = endpoint.or(is_emulator.then_some(EMULATOR_ENDPOINT));
    builder = builder
        .with_client_options(opening.client(endpoint)?)
        .with_retry(once())
        .with_http_connector(Transport::telling(&opening.clock));
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    let store = builder.build().map_err(|error| opening.bad(error.to_string()))?;
    if !opening.is_on(&["AZURE_SKIP_SIGNATURE"]) {
        opening.credentials(WANTED, || store.credentials().get_credential()).await?;
    }
    let settings = [("AZURE_STORAGE_ACCOUNT_NAME", account)];
    let site = opening.site(
        endpoint.map(|url| ("AZURE_STORAGE_ENDPOINT", url)),
        settings,
        &["AZURE_STORAGE_ACCOUNT_KEY"],
    );
    Ok((Arc::new(store), site))
}
