//! Tests that need nothing but the file system.

mod supply_chain;
