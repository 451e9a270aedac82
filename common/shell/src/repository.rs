//! The flags that name a repository, and opening its store with the settings of the environment.

use std::env;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use lifeboat_store::{Location, OpenOptions, Settings, Store, is_setting};

use crate::{Failure, NewFolders};

/// Which repository.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Repository")]
pub struct RepositoryFlags {
    /// A folder, `file://PATH`, `s3://BUCKET/PREFIX`, `gs://…` or `az://…` [default: where the recovery key says]
    #[arg(short, long, value_name = "REPO", env = "LIFEBOAT_REPOSITORY", value_parser = location())]
    pub repository: Option<String>,
    /// Allow plain HTTP to object storage on another machine
    #[arg(long)]
    pub allow_http: bool,
}

/// Parses a location. A folder whose name is not UTF-8 is accepted too, and becomes a `file://` address.
fn location() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().map(|given| match given.into_string() {
        Ok(text) => text,
        Err(path) => Location::Folder(path.into()).to_string(),
    })
}

impl RepositoryFlags {
    /// Opens the store. The stores' usual variables (`AWS_…`, `GOOGLE_…`, `AZURE_…`) give credentials and endpoints.
    pub async fn open(&self) -> Result<Store, Failure> {
        self.open_or(None).await
    }

    /// The same. If no repository is named, opens the one at `known`, which comes from a key file.
    pub(crate) async fn open_or(&self, known: Option<&str>) -> Result<Store, Failure> {
        self.open_with(&Location::parse(self.named_or(known)?)?, false).await
    }

    /// Opens the store for a new repository, and creates a missing folder. Its location is valid in any working
    /// directory. Also returns the folders that were created, in case creating the repository fails.
    pub async fn create(&self) -> Result<(Store, NewFolders), Failure> {
        let (location, new) = match Location::parse(self.named_or(None)?)? {
            Location::Folder(path) => {
                let path = std::path::absolute(&path).unwrap_or(path);
                let new = NewFolders::on_the_way_to(&path);
                (Location::Folder(path), new)
            }
            bucket @ Location::Bucket { .. } => (bucket, NewFolders::none()),
        };
        match self.open_with(&location, true).await {
            Ok(store) => Ok((store, new)),
            Err(failure) => {
                new.take_away();
                Err(failure)
            }
        }
    }

    fn named_or<'s>(&'s self, known: Option<&'s str>) -> Result<&'s str, Failure> {
        self.repository.as_deref().or(known).ok_or_else(|| {
            Failure::usage(
                "no repository was named",
                "give -r REPO (or LIFEBOAT_REPOSITORY): a folder, or an address such as s3://bucket/prefix",
            )
        })
    }

    async fn open_with(&self, location: &Location, create_folder: bool) -> Result<Store, Failure> {
        let options = OpenOptions { allow_http: self.allow_http, create_folder };
        Ok(Store::open(location, &settings(), options).await?)
    }
}

fn settings() -> Settings {
    env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, value)| is_setting(name) && !value.is_empty())
        .collect()
}
