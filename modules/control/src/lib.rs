//! Configuration sources and name resolution of Ringway's control plane.
