//! What the scripts share.
