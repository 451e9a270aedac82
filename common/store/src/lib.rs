//! Object storage: folder, S3, GCS, Azure, memory.
