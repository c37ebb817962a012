//! The inputs: one file or folder each, all in one table.

mod serve;

pub mod dummy;
pub mod forward;
pub mod random;
pub mod tail;

use firelane_core::InputPlugin;

/// All inputs, in alphabetical order.
pub static INPUTS: &[&InputPlugin] = &[&dummy::PLUGIN, &forward::PLUGIN, &random::PLUGIN, &tail::PLUGIN];
