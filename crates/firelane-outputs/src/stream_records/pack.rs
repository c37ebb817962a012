//! Entries into calls: base64 straight into the body, a new call where the next entry would cross a limit.

use base64_simd::STANDARD;
use bytes::Bytes;
use firelane_core::{ChunkView, HttpRequest};
use firelane_record::json::JsonOptions;
use firelane_record::set::RecordSet;

use super::{ENTRIES_MAX, Target};

const DATA: &[u8] = b"{\"Data\":\"";
const KEY: &[u8] = b"\",\"PartitionKey\":\"";
/// Ends an entry; the comma makes room for the end of the body.
const ENTRY_END: &[u8] = b"\"},";
const BODY_END: &[u8] = b"]}";

/// The records in an entry.
pub(super) enum Covered {
    One(u32),
    Many(RecordSet),
}

/// Makes the calls of one chunk.
pub(super) struct Pack<'a> {
    target: Target,
    head: &'a [u8],
    requests: Vec<HttpRequest>,
    body: Vec<u8>,
    entries: usize,
    covers: RecordSet,
    units: Vec<RecordSet>,
    /// The key as it stands in JSON, where it is not plain.
    escaped: Vec<u8>,
    /// Bytes that the rest of the chunk probably needs.
    left: usize,
}

impl<'a> Pack<'a> {
    /// `head`: a body up to its first entry.
    pub(super) fn new(target: Target, head: &'a [u8], chunk: ChunkView<'_>) -> Self {
        // JSON has quotes that MessagePack has not; base64 is a third longer; an entry has a frame.
        let text = chunk.bytes() + chunk.bytes() / 4;
        let left = text + text / 3 + chunk.records() as usize * 64 + head.len() + 64;
        Self {
            target,
            head,
            requests: Vec::new(),
            body: Vec::new(),
            entries: 0,
            covers: RecordSet::none(),
            units: Vec::new(),
            escaped: Vec::new(),
            left,
        }
    }

    /// Adds an entry. `key`: the partition key, empty for Firehose. The caller keeps the limit of an entry.
    pub(super) fn add(&mut self, data: &[u8], key: &[u8], covered: Covered) {
        debug_assert!(data.len() + key.len() <= self.target.entry_max());
        self.escaped.clear();
        JsonOptions::new(false).escape(key, &mut self.escaped);
        let with_key = if self.escaped.is_empty() { 0 } else { KEY.len() };
        let size = DATA.len() + STANDARD.encoded_length(data.len()) + with_key + self.escaped.len();
        let full = self.body.len() + size + ENTRY_END.len() + BODY_END.len() > self.target.body_max();
        if self.entries >= ENTRIES_MAX || (full && self.entries > 0) {
            self.close();
        }
        if self.entries == 0 {
            self.body = Vec::with_capacity(self.left.min(self.target.body_max()));
            self.body.extend_from_slice(self.head);
        }
        self.body.extend_from_slice(DATA);
        STANDARD.encode_append(data, &mut self.body);
        if !self.escaped.is_empty() {
            self.body.extend_from_slice(KEY);
            self.body.extend_from_slice(&self.escaped);
        }
        self.body.extend_from_slice(ENTRY_END);
        self.entries += 1;
        match covered {
            Covered::One(index) => self.covers.insert(index),
            Covered::Many(records) => {
                // Runs of it, so that each entry costs only what it holds.
                for (from, to, is_in) in records.runs(0, u32::MAX) {
                    if is_in {
                        self.covers.insert_range(from..to);
                    }
                }
                self.units.push(records);
            }
        }
    }

    fn close(&mut self) {
        let mut body = std::mem::take(&mut self.body);
        self.left = self.left.saturating_sub(body.len()) + self.head.len() + 64;
        body.pop();
        body.extend_from_slice(BODY_END);
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        self.entries = 0;
        self.requests.push(HttpRequest {
            method: "POST",
            target: "/".to_owned(),
            headers: vec![
                header("Content-Type", "application/x-amz-json-1.1"),
                header("X-Amz-Target", self.target.action()),
            ],
            body: Bytes::from(body),
            covers: std::mem::replace(&mut self.covers, RecordSet::none()),
            units: std::mem::take(&mut self.units),
        });
    }

    /// The calls.
    pub(super) fn finish(mut self) -> Vec<HttpRequest> {
        if self.entries > 0 {
            self.close();
        }
        self.requests
    }
}
