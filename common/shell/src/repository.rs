//! The flags that name a repository, and opening its store with the settings of the environment.

use std::env;

use clap::Args;
use lifeboat_store::{Location, OpenOptions, Settings, Store, StoreError, is_setting};

/// Which repository.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Repository")]
pub struct RepositoryFlags {
    /// A folder, `file://PATH`, `s3://BUCKET/PREFIX`, `gs://…` or `az://…`
    #[arg(short, long, value_name = "REPO", env = "LIFEBOAT_REPOSITORY")]
    pub repository: String,
    /// Allow plain HTTP to object storage on another machine
    #[arg(long)]
    pub allow_http: bool,
}

impl RepositoryFlags {
    /// Opens the store. The stores' usual variables (`AWS_…`, `GOOGLE_…`, `AZURE_…`) give credentials and endpoints.
    pub async fn open(&self) -> Result<Store, StoreError> {
        self.open_with(false).await
    }

    /// Opens the store for a new repository; a folder that is missing is made.
    pub async fn create(&self) -> Result<Store, StoreError> {
        self.open_with(true).await
    }

    async fn open_with(&self, create_folder: bool) -> Result<Store, StoreError> {
        let options = OpenOptions { allow_http: self.allow_http, create_folder };
        Store::open(&Location::parse(&self.repository)?, &settings(), options).await
    }
}

fn settings() -> Settings {
    env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, value)| is_setting(name) && !value.is_empty())
        .collect()
}
