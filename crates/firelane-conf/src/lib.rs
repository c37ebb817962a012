//! Configuration text to a tree with places to typed values.
