//! S3, and compatible storage.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, Checksum};

use super::{Opened, Opening, once};
use crate::StoreError;
use crate::transport::Transport;

const WANTED: &str =
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_ENDPOINT_URL for a server of your own)";

/// The default region.
const REGION: &str = "us-east-1";

pub(super) async fn open(opening: &Opening<'_>) -> Result<Opened, StoreError> {
    let endpoint = opening.setting(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]);
    // One request per delete: objects are removed one by one, and a bulk request hides refusals in its body. Every
    // upload carries its SHA-256: the server then refuses data that was damaged in transit, and buckets with Object
    // Lock require it.
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(opening.bucket)
        .with_region(REGION)
        .with_disable_bulk_delete(true)
        .with_checksum_algorithm(Checksum::SHA256);
    for (key, value) in opening.known() {
        builder = builder.with_config(key, value);
    }
    builder = builder
        .with_client_options(opening.client(endpoint)?)
        .with_retry(once())
        .with_http_connector(Transport::telling(&opening.clock));
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let store = builder.build().map_err(|error| opening.bad(error.to_string()))?;
    let is_unsigned = opening.is_on(&["AWS_SKIP_SIGNATURE"]);
    let region = opening.setting(&["AWS_REGION", "AWS_DEFAULT_REGION"]).unwrap_or(REGION);
    let is_virtual = opening.setting(&["AWS_VIRTUAL_HOSTED_STYLE_REQUEST"]);
    let settings = [
        ("AWS_REGION", Some(region.to_owned())),
        ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", is_virtual.map(str::to_owned)),
        ("AWS_SKIP_SIGNATURE", is_unsigned.then(|| "true".to_owned())),
    ];
    let credentials = if is_unsigned { &[][..] } else { &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] };
    let site = opening.site(endpoint.map(|url| ("AWS_ENDPOINT_URL", url)), settings, credentials);
    if is_unsigned {
        return Ok((Arc::new(store), site));
    }
    // The AWS tools' own switch for machines without an instance role.
    if opening.is_on(&["AWS_EC2_METADATA_DISABLED"]) {
        let others = ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"];
        let tasks = ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
        if opening.setting(&others).or(opening.setting(&tasks)).is_none() {
            return Err(opening.no_credentials(WANTED, None));
        }
    }
    opening.credentials(WANTED, || store.credentials().get_credential()).await?;
    Ok((Arc::new(store), site))
}
