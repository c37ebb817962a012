//! Tests of what the binary joins: all plugins at once.

mod compat;
