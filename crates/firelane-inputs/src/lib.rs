//! The inputs.

pub mod tail;

use firelane_core::InputPlugin;

/// All inputs, in alphabetical order.
pub static INPUTS: &[&InputPlugin] = &[&tail::PLUGIN];
