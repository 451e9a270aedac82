//! For tests only: fault store, builders, service gates.
