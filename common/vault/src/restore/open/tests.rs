//! Restores of what a host that was taken over can store, and of what is damaged: nothing lands outside the target,
//! nothing wrong comes back, and what is missing is said.

mod ends;
mod links;
mod names;
mod runs;
mod workshop;
