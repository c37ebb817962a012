//! The inputs: one file or folder each, all in one table.

mod json_stream;
mod serve;

pub mod dummy;
pub mod forward;
pub mod http;
pub mod random;
pub mod stdin;
pub mod tail;
pub mod tcp;

use firelane_core::InputPlugin;

/// All inputs, in alphabetical order.
pub static INPUTS: &[&InputPlugin] = &[
    &dummy::PLUGIN,
    &forward::PLUGIN,
    &http::PLUGIN,
    &random::PLUGIN,
    &stdin::PLUGIN,
    &tail::PLUGIN,
    &tcp::PLUGIN,
];
