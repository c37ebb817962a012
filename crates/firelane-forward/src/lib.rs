//! The Forward protocol, both sides, without I/O.
