//! The outputs, one module each, and the one loop that sends over HTTP.
//!
//! An output over HTTP is two pure functions ([`firelane_core::HttpOutput`]) that [`driver::Http`] drives;
//! the others implement [`firelane_core::Output`] themselves. A new one is a module with a `PLUGIN`, entered
//! into [`OUTPUTS`].

mod aws;
pub mod driver;
pub mod fuzz;
mod go_json;
mod payload;
mod settings;
mod squeeze;
pub mod stream_records;
mod wire;

pub mod cloudwatch_logs;
pub mod elasticsearch;
pub mod file;
pub mod firehose;
pub mod forward;
pub mod http;
pub mod kinesis;
pub mod kinesis_firehose;
pub mod kinesis_streams;
pub mod null;
pub mod s3;
pub mod stdout;
pub mod tcp;

use firelane_core::OutputPlugin;

/// Every output, by name.
pub static OUTPUTS: &[&OutputPlugin] = &[
    &cloudwatch_logs::GO_PLUGIN,
    &cloudwatch_logs::PLUGIN,
    &elasticsearch::ES,
    &file::PLUGIN,
    &firehose::PLUGIN,
    &forward::PLUGIN,
    &http::PLUGIN,
    &kinesis::PLUGIN,
    &kinesis_firehose::PLUGIN,
    &kinesis_streams::PLUGIN,
    &null::PLUGIN,
    &elasticsearch::OPENSEARCH,
    &s3::PLUGIN,
    &stdout::PLUGIN,
    &tcp::PLUGIN,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_name_is_one_plugin() {
        let names: Vec<_> = OUTPUTS.iter().map(|plugin| plugin.name).collect();
        assert!(names.is_sorted(), "{names:?}");
        for name in &names {
            let answering = OUTPUTS.iter().filter(|plugin| plugin.answers_to(name)).count();
            assert_eq!(answering, 1, "{name}");
        }
    }
}
