//! Tests that need nothing but the file system.
