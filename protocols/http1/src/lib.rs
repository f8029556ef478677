//! HTTP/1.1 for Ringway (RFC 9110, RFC 9112).
