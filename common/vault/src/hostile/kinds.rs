//! For each kind of object: what a member can make of it, and that nothing is deleted, nothing wrong is restored, and the
//! other group goes on.
