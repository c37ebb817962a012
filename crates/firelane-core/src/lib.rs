//! The plugin API: contracts of inputs, filters, stages and outputs.
