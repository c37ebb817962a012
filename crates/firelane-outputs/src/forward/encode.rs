//! A chunk as Forward messages. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use firelane_core::Chunk;
use firelane_record::accessor::Template;
use firelane_record::msgpack::{self, Token};
use firelane_record::set::RecordSet;
use firelane_record::{Event, Tag};
use sha2::{Digest, Sha512};

use crate::payload::logs;
use crate::squeeze::Squeeze;

/// What the messages of an output look like.
pub(super) struct Encoder {
    /// In place of the records' tag.
    pub(super) tag: Option<Template>,
    /// Integer seconds in place of EventTime.
    pub(super) time_as_integer: bool,
    /// Entries keep metadata, where they have any.
    pub(super) keep_metadata: bool,
    /// Packed and compressed entries.
    pub(super) squeeze: Option<Squeeze>,
    /// Write an options map into messages that need none.
    pub(super) send_options: bool,
    /// Ask for acknowledgements.
    pub(super) ack: bool,
    /// `add_option`
    pub(super) extra: Vec<(String, String)>,
}

/// Messages of a chunk, behind each other.
#[derive(Debug, Default)]
pub(super) struct Messages {
    pub(super) bytes: Vec<u8>,
    /// For each message the id that its acknowledgement must carry (none where none is asked for), and its records.
    pub(super) acks: Vec<(Option<String>, RecordSet)>,
}

impl Encoder {
    /// Whether the tag is made per record: then each record is a message.
    pub(super) fn is_per_record(&self) -> bool {
        self.tag.as_ref().is_some_and(|tag| !tag.is_constant())
    }

    pub(super) fn encode(&self, chunk: &Chunk) -> Messages {
        let mut messages = Messages::default();
        if self.is_per_record() {
            self.messages(chunk, &mut messages);
        } else if let Some(tag) = chunk.tag() {
            self.one_message(tag, chunk, &mut messages);
        }
        messages
    }

    /// `[tag, [entry…], options?]`, or `[tag, compressed entries, options]`.
    fn one_message(&self, tag: &Tag, chunk: &Chunk, messages: &mut Messages) {
        let mut entries = Vec::with_capacity(chunk.bytes() + 32);
        let mut count = 0;
        for log in logs(chunk) {
            self.entry(&log.event, &mut entries);
            count += 1;
        }
        if count == 0 {
            return;
        }
        let packed = self
            .squeeze
            .as_ref()
            .map(|squeeze| squeeze.body(|out| out.append(&mut entries)));
        let payload = packed.as_ref().map_or(&entries[..], |(packed, _)| packed);
        let id = self.ack.then(|| chunk_id(payload));
        let compressed = packed
            .as_ref()
            .and_then(|(_, encoding)| encoding.map(|encoding| encoding.name()));
        let with_options = self.send_options || id.is_some() || packed.is_some() || !self.extra.is_empty();

        let out = &mut messages.bytes;
        out.reserve(payload.len() + 256);
        msgpack::write_array_head(out, if with_options { 3 } else { 2 });
        self.write_tag(tag, None, out);
        match &packed {
            Some((packed, _)) => msgpack::write_bin(out, packed),
            None => {
                msgpack::write_array_head(out, count);
                out.extend_from_slice(payload);
            }
        }
        if with_options {
            self.options(id.as_deref(), Some(count), compressed, None, out);
        }
        messages.acks.push((id, RecordSet::all()));
    }

    /// `[tag, time, record, options]` per record.
    fn messages(&self, chunk: &Chunk, messages: &mut Messages) {
        messages
            .bytes
            .reserve(chunk.bytes() + chunk.records() as usize * 64);
        for (index, (tag, event)) in (0..).zip(chunk.events()) {
            if event.time.is_group_marker() {
                continue;
            }
            let id = self.ack.then(|| chunk_id(event.raw));
            let out = &mut messages.bytes;
            msgpack::write_array_head(out, 4);
            self.write_tag(tag, Some(&event), out);
            self.time(&event, out);
            out.extend_from_slice(event.body);
            let metadata = event.metadata_filled().filter(|_| self.keep_metadata);
            self.options(id.as_deref(), None, None, metadata, out);
            messages.acks.push((id, RecordSet::range(index, index + 1)));
        }
    }

    /// `[time, record]`, or `[[time, metadata], record]` where there are metadata to keep: Fluentd up to 1.19 refuses
    /// the longer form, so it is written only where it says more.
    fn entry(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        out.push(0x92);
        match event.metadata_filled().filter(|_| self.keep_metadata) {
            Some(metadata) => {
                out.push(0x92);
                self.time(event, out);
                out.extend_from_slice(metadata);
            }
            None => self.time(event, out),
        }
        out.extend_from_slice(event.body);
    }

    fn time(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.time_as_integer {
            msgpack::write_int(out, event.time.secs);
        } else {
            event.time.write(out);
        }
    }

    fn write_tag(&self, tag: &Tag, event: Option<&Event<'_>>, out: &mut Vec<u8>) {
        let mut text = Vec::new();
        if let Some(template) = &self.tag {
            match event {
                Some(event) => template.render(tag, event, &[], &mut text),
                None => template.render(tag, &[0x80][..], &[], &mut text),
            };
        }
        // A record without the field keeps its own tag: an empty one would go nowhere.
        let text = if text.is_empty() { tag.as_bytes() } else { &text };
        msgpack::write_str(out, text);
    }

    /// The options in Fluent Bit's order.
    fn options(
        &self,
        id: Option<&str>,
        size: Option<u32>,
        compressed: Option<&str>,
        metadata: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) {
        let optional = [
            id.is_some(),
            size.is_some(),
            compressed.is_some(),
            metadata.is_some(),
        ];
        let count = 1 + optional.iter().filter(|is_set| **is_set).count() + self.extra.len();
        msgpack::write_map_head(out, u32::try_from(count).unwrap_or(u32::MAX));
        if let Some(id) = id {
            msgpack::write_str(out, b"chunk");
            msgpack::write_str(out, id.as_bytes());
        }
        if let Some(size) = size {
            msgpack::write_str(out, b"size");
            msgpack::write_uint(out, size.into());
        }
        if let Some(compressed) = compressed {
            msgpack::write_str(out, b"compressed");
            msgpack::write_str(out, compressed.as_bytes());
        }
        msgpack::write_str(out, b"fluent_signal");
        msgpack::write_uint(out, 0);
        for (key, value) in &self.extra {
            msgpack::write_str(out, key.as_bytes());
            msgpack::write_str(out, value.as_bytes());
        }
        if let Some(metadata) = metadata {
            msgpack::write_str(out, b"metadata");
            out.extend_from_slice(metadata);
        }
    }
}

/// Base64 of the first 16 bytes of the payload's SHA-512: a repeated chunk has the same id.
fn chunk_id(payload: &[u8]) -> String {
    STANDARD.encode(&Sha512::digest(payload)[..16])
}

/// The id in an acknowledgement `{"ack": id}` at the head of `buffer`, and its length; `None` while it is not whole.
pub(super) fn read_ack(buffer: &[u8]) -> Result<Option<(&[u8], usize)>, &'static str> {
    let end = match msgpack::skip(buffer, 0) {
        Ok(end) => end,
        Err(msgpack::Fault::Incomplete { .. }) => return Ok(None),
        Err(_) => return Err("its answer is no MessagePack"),
    };
    let ack = msgpack::pairs(&buffer[..end])
        .find(|(key, _)| msgpack::text(key) == Some(b"ack"))
        .and_then(|(_, value)| match msgpack::read(value) {
            Some((Token::Str(id) | Token::Bin(id), _)) => Some(id),
            _ => None,
        });
    match ack {
        Some(id) => Ok(Some((id, end))),
        None => Err("its answer is no acknowledgement"),
    }
}
