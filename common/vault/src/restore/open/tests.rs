//! Restores of what a compromised host can store, and of damaged objects: nothing is written outside the target, no
//! wrong bytes are restored, and what is missing is reported.

mod ends;
mod links;
mod names;
mod runs;
mod workshop;
