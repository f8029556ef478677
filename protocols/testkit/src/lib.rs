//! Fake clock, in-memory sockets and conformance runs for Ringway codecs.
