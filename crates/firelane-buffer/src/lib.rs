//! The log: one append, one cursor per route.
