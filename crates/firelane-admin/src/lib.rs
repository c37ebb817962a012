//! The monitoring server.
