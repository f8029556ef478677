//! Ringway's configuration: raw schema, compile, snapshot, store.
