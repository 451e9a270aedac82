//! OCI registries and OCI layouts on disk: verified bytes out.
