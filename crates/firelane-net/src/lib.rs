//! The outside world: HTTP, TLS, DNS, listeners, compression.
