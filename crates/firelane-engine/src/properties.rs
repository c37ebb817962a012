//! Properties that every plugin of a kind has, and those of Fluent Bit's core that have no counterpart.

use firelane_conf::units::{ByteSize, Interval, OnOff};
use firelane_conf::{Entry, Section};
use serde::Deserialize;

use crate::shares::Overflow;

/// Properties of every input.
pub const INPUT: &[&str] = &[
    "tag",
    "alias",
    "mem_buf_limit",
    "routable",
    "storage.type",
    "ack_on",
];
/// Properties of every filter.
pub const FILTER: &[&str] = &["alias", "match", "match_regex"];
/// Properties of every output.
pub const OUTPUT: &[&str] = &[
    "alias",
    "match",
    "match_regex",
    "retry_limit",
    "workers",
    "storage.total_limit_size",
    "storage.overflow",
    "retry.max_age",
];

/// Core properties of Fluent Bit that have no counterpart here, each with the reason that the warning gives.
pub const WITHOUT_EFFECT: &[(&str, &str)] = &[
    (
        "log_level",
        "the level of one plugin cannot be set apart; use the service's `log_level`",
    ),
    (
        "log_suppress_interval",
        "repeated messages of one outage are one line already",
    ),
    (
        "storage.pause_on_chunks_overlimit",
        "an input over its limit always waits",
    ),
    ("threaded", "every connection and file is a task of its own"),
    ("thread.ring_buffer.capacity", "inputs need no ring buffer here"),
    ("thread.ring_buffer.window", "inputs need no ring buffer here"),
    ("rate_window", RATES),
    ("rate_gate", RATES),
    ("rate_gate.max_bytes", RATES),
    ("rate_gate.max_records", RATES),
    ("rate_gate.backpressure", RATES),
    ("rate_gate.resume_ratio", RATES),
];

const RATES: &str = "the rate of an input is not limited, only its memory (`mem_buf_limit`)";

/// Properties of every input; the plugin's own come beside them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct InputCore {
    pub(crate) tag: Option<String>,
    pub(crate) alias: Option<String>,
    pub(crate) mem_buf_limit: Option<ByteSize>,
    pub(crate) routable: Option<OnOff>,
    #[serde(rename = "storage.type")]
    pub(crate) storage_type: Option<StorageType>,
    pub(crate) ack_on: Option<AckWord>,
}

/// When an input acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AckWord {
    /// When its records are in the log.
    Append,
    /// When every output is done with them.
    Delivery,
}

/// Properties of every filter.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FilterCore {
    pub(crate) alias: Option<String>,
    #[serde(rename = "match")]
    pub(crate) pattern: Option<String>,
    pub(crate) match_regex: Option<String>,
}

/// Properties of every output.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OutputCore {
    pub(crate) alias: Option<String>,
    #[serde(rename = "match")]
    pub(crate) pattern: Option<String>,
    pub(crate) match_regex: Option<String>,
    pub(crate) retry_limit: Option<String>,
    pub(crate) workers: Option<usize>,
    #[serde(rename = "storage.total_limit_size")]
    pub(crate) total_limit_size: Option<ByteSize>,
    #[serde(rename = "storage.overflow")]
    pub(crate) overflow: Option<Overflow>,
    #[serde(rename = "retry.max_age")]
    pub(crate) max_age: Option<Interval>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StorageType {
    Memory,
    Filesystem,
    Memrb,
}

impl StorageType {
    pub(crate) fn named(word: &str) -> Option<Self> {
        match word {
            "memory" => Some(Self::Memory),
            "filesystem" => Some(Self::Filesystem),
            "memrb" => Some(Self::Memrb),
            _ => None,
        }
    }
}

/// A number made of what says where an output sends: its properties without those that say how, and without
/// secrets, which change. FNV-1a, which is the same in every version of this program.
pub(crate) fn destination(section: &Section) -> u64 {
    let how = |key: &str| {
        let secret = ["passw", "token", "secret", "shared_key", "api_key"];
        OUTPUT.contains(&key)
            || key == "name"
            || key == "log_level"
            || key.starts_with("storage.")
            || is_network(key)
            || secret.iter().any(|word| key.contains(word))
    };
    let mut lines: Vec<String> = section
        .entries
        .iter()
        .filter(|entry| !how(&entry.key.value))
        .map(|entry| format!("{}={}\n", entry.key.value, entry.value.value))
        .collect();
    lines.sort_unstable();
    let bytes = lines.iter().flat_map(|line| line.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Whether `key` belongs to the network (`tls`, `tls.*`, `net.*`) and not to the plugin.
pub(crate) fn is_network(key: &str) -> bool {
    key == "tls" || key.starts_with("tls.") || key.starts_with("net.")
}

/// Leaves the last of repeated core properties, as Fluent Bit does: names and addresses, and TLS. Gives those
/// that were repeated, and how often they stood there. `core`: the properties of the section's kind.
pub(crate) fn last_wins(section: &mut Section, core: &[&str], network: bool) -> Vec<(Entry, usize)> {
    let counts = |key: &str| {
        let address = network && matches!(key, "host" | "port" | "listen");
        let tls = network && is_network(key) && !key.starts_with("net.");
        key == "name" || core.contains(&key) || address || tls
    };
    let mut repeated: Vec<(Entry, usize)> = Vec::new();
    let mut left: Vec<Entry> = Vec::with_capacity(section.entries.len());
    for entry in std::mem::take(&mut section.entries) {
        let key = entry.key.value.as_str();
        let earlier = left.iter().position(|known| known.key.value == key);
        let Some(at) = earlier.filter(|_| counts(key)) else {
            left.push(entry);
            continue;
        };
        match repeated.iter_mut().find(|(known, _)| known.key.value == key) {
            Some((known, times)) => (*known, *times) = (entry.clone(), *times + 1),
            None => repeated.push((entry.clone(), 2)),
        }
        left[at] = entry;
    }
    section.entries = left;
    repeated
}
