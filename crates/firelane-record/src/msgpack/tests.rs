//! The walk, the reader and the writer against another implementation.

use proptest::prelude::*;
use rmpv::{Utf8String, Value};

use super::*;

/// The next value as another implementation has it.
fn value(reader: &mut Reader<'_>) -> Value {
    let text = |bytes: &[u8]| match String::from_utf8(bytes.to_vec()) {
        Ok(text) => Value::String(Utf8String::from(text)),
        // Made as rmpv makes it: by decoding.
        Err(_) => {
            let mut raw = Vec::new();
            write_str(&mut raw, bytes);
            rmpv::decode::read_value(&mut &raw[..]).unwrap()
        }
    };
    match reader.token().unwrap() {
        Token::Nil => Value::Nil,
        Token::Bool(value) => Value::Boolean(value),
        Token::Int(n) => Value::from(n),
        Token::UInt(n) => Value::from(n),
        Token::F32(n) => Value::F32(n),
        Token::F64(n) => Value::F64(n),
        Token::Str(bytes) => text(bytes),
        Token::Bin(bytes) => Value::Binary(bytes.to_vec()),
        Token::Ext(kind, bytes) => Value::Ext(kind, bytes.to_vec()),
        Token::Array(count) => Value::Array((0..count).map(|_| value(reader)).collect()),
        Token::Map(count) => Value::Map((0..count).map(|_| (value(reader), value(reader))).collect()),
    }
}

/// Bytes that are often MessagePack: heads with small lengths among any bytes.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => any::<u8>(),
        4 => prop::sample::select(vec![0x81, 0x82, 0x91, 0x92, 0xa1, 0xa2, 0xc0, 0xc3, 0xd4, 0xcc, 0xca]),
        2 => prop::sample::select(vec![0xc4, 0xc7, 0xd9, 0xda, 0xdc, 0xde, 0xc8, 0xdb, 0xdd, 0xdf, 0xc9]),
        3 => 0u8..4,
    ];
    prop::collection::vec(byte, 0..40)
}

proptest! {
    #[test]
    fn takes_what_rmpv_takes(data in bytes()) {
        let mut rest = &data[..];
        let theirs = rmpv::decode::read_value(&mut rest);
        match skip(&data, 0) {
            Ok(end) => {
                prop_assert_eq!(end, data.len() - rest.len());
                let (ours, theirs) = (value(&mut Reader::new(&data)), theirs.unwrap());
                // By their text, because NaN is not NaN.
                prop_assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
            }
            Err(Fault::Incomplete { need }) => {
                prop_assert!(theirs.is_err());
                prop_assert!(need > 0);
            }
            // rmpv reads 0xc1 as nil.
            Err(Fault::Reserved { at }) => prop_assert_eq!(data[at], 0xc1),
            Err(Fault::TooDeep { .. }) => {}
            }
    }

    /// Scenario: a value arrives in any pieces. Guarantees: the same end or fault as in one piece.
    #[test]
    fn a_walk_resumes_anywhere(data in bytes(), cuts in prop::collection::vec(0usize..41, 0..8)) {
        let whole = skip(&data, 0);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(data.len())).collect();
        cuts.sort_unstable();
        cuts.push(data.len());
        let mut walker = Walker::new(0);
        for cut in cuts {
            let walked = walker.walk(&data[..cut]);
            if cut == data.len() || !matches!(walked, Err(Fault::Incomplete { .. })) {
                prop_assert_eq!(walked, whole);
                break;
            }
        }
    }

    #[test]
    fn what_is_written(n in any::<i64>(), m in any::<u64>(), len in 0usize..300, count in 0u32..70_000) {
        let text = vec![b'x'; len];
        let mut out = Vec::new();
        write_int(&mut out, n);
        write_uint(&mut out, m);
        write_str(&mut out, &text);
        write_bin(&mut out, &text);
        write_map_head(&mut out, count);
        write_array_head(&mut out, count);
        let mut reader = Reader::new(&out);
        prop_assert_eq!(reader.token(), Some(Token::Int(n)));
        let want = i64::try_from(m).map_or(Token::UInt(m), Token::Int);
        prop_assert_eq!(reader.token(), Some(want));
        let mut short = reader;
        prop_assert_eq!(short.short_str(), Some(&text[..]));
        prop_assert_eq!(reader.token(), Some(Token::Str(&text)));
        prop_assert_eq!(reader.at(), short.at());
        prop_assert_eq!(reader.short_str(), None);
        prop_assert_eq!(reader.token(), Some(Token::Bin(&text)));
        prop_assert_eq!(reader.token(), Some(Token::Map(count)));
        prop_assert_eq!(reader.token(), Some(Token::Array(count)));
        prop_assert!(reader.is_done());
    }
}

#[track_caller]
fn check(data: &[u8], want: Result<usize, Fault>) {
    assert_eq!(skip(data, 0), want);
    assert_eq!(Walker::new(0).walk(data), want);
}

#[test]
fn announced_lengths_are_only_counted() {
    let need = |need| Err(Fault::Incomplete { need });
    check(&[0xdb, 0xff, 0xff, 0xff, 0xff], need(0xffff_ffff));
    check(&[0xc9, 0xff, 0xff, 0xff, 0xff], need(0x1_0000_0000));
    check(&[0xdf, 0xff, 0xff, 0xff, 0xff, 1, 2], need(1));
    check(&[0xdd, 0xff], need(3));
    check(&[], need(1));
    assert_eq!(
        read(&[0xdf, 0xff, 0xff, 0xff, 0xff]),
        Some((Token::Map(u32::MAX), 5))
    );
    assert_eq!(pairs(&[0xdf, 0xff, 0xff, 0xff, 0xff, 1]).count(), 0);
}

#[test]
fn nesting_is_limited() {
    let nested = |depth: usize| [vec![0x91; depth], vec![1]].concat();
    check(&nested(DEPTH_MAX), Ok(DEPTH_MAX + 1));
    check(&nested(DEPTH_MAX + 1), Err(Fault::TooDeep { at: DEPTH_MAX }));
    check(&[0xc1], Err(Fault::Reserved { at: 0 }));
}
