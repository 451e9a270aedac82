//! The Docker Engine: volumes, quiescing, scratch containers.
