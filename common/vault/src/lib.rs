//! The repository: scan, chunk, frame, seal, pack, index, snapshot, restore.
