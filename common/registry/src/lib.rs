//! OCI registries and OCI layouts on disk: verified bytes out.
//!
//! A [`Reference`] names an image, and a [`Repository`] is the place that holds it. Everything that is read is capped,
//! then compared with its digest, then returned; nothing here decides what to trust. Both kinds of repository behave
//! alike:
//!
//! * a registry (`remote`), by the OCI distribution specification 1.1, with the fallback tag for registries that do
//!   not list referrers;
//! * a layout (`layout`), by the OCI image specification's "Image Layout", where the referrers of an image are the
//!   manifests of `index.json` that have it as their `subject`; the layout may be a folder or an archive.
//!
//! [`Reference::locate`] finds the registry from which the local Docker Engine pulled an image, or to which it pushed
//! it.

mod artifact;
mod content;
mod credentials;
mod daemon;
mod docker_archive;
mod error;
mod files;
mod forms;
mod layout;
mod legacy;
mod platform;
mod reference;
mod remote;
mod repository;

pub use artifact::{Artifact, Attached, Discovery, Found, Referrers};
pub use content::{Child, Descriptor, MAX_MANIFEST_BYTES, check_manifest};
pub use credentials::{Access, Credentials};
pub use error::RegistryError;
pub use legacy::{LegacyArtifact, LegacyKind, LegacyLayer};
pub use platform::{NoChild, choose};
pub use reference::{Form, LayoutReference, Reference, RegistryReference};
pub use remote::{AllowedRealm, RealmRefusal};
pub use repository::{Index, Repository, Resolved};
