//! OCI registries and OCI layouts on disk: verified bytes out.
//!
//! A [`Reference`] names an image, a [`Repository`] is where it lies. What is read is capped, then compared with its
//! digest, then handed out; nothing here decides what to trust. The two kinds of repository answer alike:
//!
//! * a registry (`remote`), by the OCI distribution specification 1.1, with the fallback tag for registries that do
//!   not list referrers;
//! * a layout (`layout`), by the OCI image specification's "Image Layout", where the referrers of an image are the
//!   manifests of `index.json` that have it as their `subject`.

mod artifact;
mod content;
mod credentials;
mod error;
mod layout;
mod reference;
mod remote;
mod repository;

pub use artifact::{Artifact, Attached, Discovery};
pub use content::{Descriptor, MAX_MANIFEST_BYTES};
pub use credentials::Credentials;
pub use error::RegistryError;
pub use reference::{LayoutReference, Reference, RegistryReference};
pub use repository::{Access, Referrers, Repository, Resolved};
