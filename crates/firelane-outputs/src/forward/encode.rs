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
use crate::squeeze::{Coding, Squeeze};

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
    /// For each message the id that its acknowledgement must carry (none where none is asked for), and its
    /// records.
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
        let compressed = packed.as_ref().and_then(|(_, coding)| coding.map(Coding::name));
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

    /// `[time, record]`, or `[[time, metadata], record]` where there are metadata to keep: Fluentd up to 1.19
    /// refuses the longer form, so it is written only where it says more.
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

/// The id in an acknowledgement `{"ack": id}` at the head of `buffer`, and its length; `None` while it is not
/// whole.
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

#[cfg(test)]
mod tests {
    use super::*;
    use firelane_core::Part;
    use firelane_net::Encoding;
    use firelane_record::msgpack::Reader;
    use firelane_record::{RecordsBuf, Timestamp};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn encoder() -> Encoder {
        Encoder {
            tag: None,
            time_as_integer: false,
            keep_metadata: true,
            squeeze: None,
            send_options: false,
            ack: false,
            extra: Vec::new(),
        }
    }

    /// `{"a": 1}` without, with empty and with filled metadata.
    fn chunk() -> Chunk {
        let mut buf = RecordsBuf::default();
        for metadata in [None, Some(&[0x80][..]), Some(&[0x81, 0xa1, b'm', 0xc3])] {
            buf.push(Timestamp { secs: 1, nanos: 2 }, metadata, &[0x81, 0xa1, b'a', 1]);
        }
        Chunk::new(vec![Part {
            tag: Tag::new("t").unwrap(),
            records: buf.take(),
        }])
    }

    const TIME: &[u8] = &[0xd7, 0, 0, 0, 0, 1, 0, 0, 0, 2];
    const BODY: &[u8] = &[0x81, 0xa1, b'a', 1];

    fn entries() -> Vec<u8> {
        let plain = [&[0x92], TIME, BODY].concat();
        let filled = [&[0x92, 0x92], TIME, &[0x81, 0xa1, b'm', 0xc3], BODY].concat();
        [&plain[..], &plain, &filled].concat()
    }

    #[track_caller]
    fn check(encoder: &Encoder, want: &[&[u8]]) {
        assert_eq!(encoder.encode(&chunk()).bytes, want.concat());
    }

    #[test]
    fn only_filled_metadata_are_written() {
        check(&encoder(), &[b"\x92\xa1t\x93", &entries()]);
        let without = Encoder {
            keep_metadata: false,
            ..encoder()
        };
        let plain = [&[0x92], TIME, BODY].concat();
        check(&without, &[b"\x92\xa1t\x93", &plain, &plain, &plain]);
        let integer = Encoder {
            time_as_integer: true,
            ..without
        };
        let plain = [&[0x92, 1], BODY].concat();
        check(&integer, &[b"\x92\xa1t\x93", &plain, &plain, &plain]);
    }

    #[test]
    fn options_stand_in_order_and_the_id_repeats() {
        let options = Encoder {
            ack: true,
            extra: vec![("k".to_owned(), "v".to_owned())],
            ..encoder()
        };
        let id = chunk_id(&entries());
        assert_eq!(id.len(), 24);
        let tail = [
            b"\x84\xa5chunk\xb8",
            id.as_bytes(),
            b"\xa4size\x03\xadfluent_signal\x00\xa1k\xa1v",
        ];
        check(&options, &[b"\x93\xa1t\x93", &entries(), &tail.concat()]);
        assert_eq!(options.encode(&chunk()).acks, options.encode(&chunk()).acks);
        let plain = Encoder {
            send_options: true,
            ..encoder()
        };
        check(
            &plain,
            &[
                b"\x93\xa1t\x93",
                &entries(),
                b"\x82\xa4size\x03\xadfluent_signal\x00",
            ],
        );
    }

    #[test]
    fn gzip_packs_the_entries() {
        let gzip = Encoder {
            squeeze: Some(Squeeze::new(Coding::Stream(Encoding::Gzip), None).unwrap()),
            ..encoder()
        };
        let bytes = gzip.encode(&chunk()).bytes;
        let mut reader = msgpack::Reader::new(&bytes);
        assert_eq!(reader.token(), Some(Token::Array(3)));
        assert_eq!(reader.token(), Some(Token::Str(b"t")));
        let Some(Token::Bin(packed)) = reader.token() else {
            panic!("the entries are a binary");
        };
        let unpacked = firelane_net::compress::decompress(Encoding::Gzip, packed, 1000).unwrap();
        assert_eq!(unpacked, entries());
        assert_eq!(
            bytes[reader.at()..],
            *b"\x83\xa4size\x03\xaacompressed\xa4gzip\xadfluent_signal\x00"
        );
    }

    #[test]
    fn a_tag_of_the_record_makes_a_message_of_each() {
        let dynamic = Encoder {
            tag: Some(Template::parse("$a").unwrap()),
            ..encoder()
        };
        let bare = [b"\x94\xa11", TIME, BODY, b"\x81\xadfluent_signal\x00"].concat();
        let filled = [
            b"\x94\xa11",
            TIME,
            BODY,
            b"\x82\xadfluent_signal\x00\xa8metadata\x81\xa1m\xc3",
        ]
        .concat();
        check(&dynamic, &[&bare, &bare, &filled]);
        let missing = Encoder {
            tag: Some(Template::parse("$nope").unwrap()),
            ..encoder()
        };
        assert!(
            missing.encode(&chunk()).bytes.starts_with(b"\x94\xa1t"),
            "its own tag"
        );
        let fixed = Encoder {
            tag: Some(Template::parse("other").unwrap()),
            ..encoder()
        };
        check(&fixed, &[b"\x92\xa5other\x93", &entries()]);
    }

    #[test]
    fn acknowledgements_are_read_whole_or_not_at_all() {
        let whole = b"\x81\xa3ack\xa4abcd";
        for cut in 0..whole.len() {
            assert_eq!(read_ack(&whole[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(read_ack(whole), Ok(Some((&b"abcd"[..], whole.len()))));
        assert!(read_ack(b"\x81\xa3nak\xa4abcd").is_err());
        assert!(read_ack(b"\xc1").is_err());
    }

    proptest! {
        #[test]
        fn every_record_is_in_one_message_once(
            records in vec((0u8..0x80, any::<bool>(), any::<bool>()), 1..60),
            dynamic: bool,
        ) {
            let mut buf = RecordsBuf::default();
            for (n, v2, filled) in &records {
                let filled: &[u8] = if *filled { &[0x81, 0xa1, b'm', 1] } else { &[0x80] };
                buf.push(Timestamp::default(), v2.then_some(filled), &[0x81, 0xa1, b'a', *n]);
            }
            let tag = Tag::new("t").unwrap();
            let chunk = Chunk::new(vec![Part { tag, records: buf.take() }]);
            let template = Some(Template::parse("$a").unwrap()).filter(|_| dynamic);
            let messages = Encoder { tag: template, ack: true, ..encoder() }.encode(&chunk);
            let mut covered = RecordSet::none();
            let mut bodies = Vec::new();
            let mut all = Reader::new(&messages.bytes);
            for (id, covers) in &messages.acks {
                prop_assert!(id.is_some());
                prop_assert_eq!(covered.count(60) + covers.count(60), covered.union(covers).count(60));
                covered = covered.union(covers);
                let mut message = Reader::new(all.value().unwrap());
                let _head_and_tag = (message.token(), message.token());
                if dynamic {
                    let _time = message.value();
                    bodies.push(message.value().unwrap());
                } else if let Some(Token::Array(count)) = message.token() {
                    for _ in 0..count {
                        let mut entry = Reader::new(message.value().unwrap());
                        let _head_and_time = (entry.token(), entry.value());
                        bodies.push(entry.value().unwrap());
                    }
                }
            }
            let want: Vec<[u8; 4]> = records.iter().map(|(n, ..)| [0x81, 0xa1, b'a', *n]).collect();
            prop_assert_eq!(bodies, want);
            prop_assert!(covered.is_all(chunk.records()));
        }
    }
}
