//! Fluent Bit's text print of MessagePack (`stdout` by default, `file` in `csv` and `ltsv`):
//! `{"k"=>"v", "f"=>1.500000, "l"=>[1, true], "x"=>nil}`. Strings are not escaped; doubles have six decimals.

use crate::json::number::{write_fixed, write_i64, write_u64};
use crate::msgpack::{Reader, Token};

/// Deeper containers print as `nil`. Checked records are never as deep; this guards the stack.
const DEPTH_GUARD: usize = 64;

/// Appends a raw value.
pub fn write_value(out: &mut Vec<u8>, raw: &[u8]) {
    value(out, &mut Reader::new(raw), 0);
}

fn value(out: &mut Vec<u8>, reader: &mut Reader<'_>, depth: usize) {
    let at = *reader;
    let Some(token) = reader.token() else {
        return out.extend_from_slice(b"nil");
    };
    match token {
        Token::Nil => out.extend_from_slice(b"nil"),
        Token::Bool(true) => out.extend_from_slice(b"true"),
        Token::Bool(false) => out.extend_from_slice(b"false"),
        Token::Int(n) => write_i64(out, n),
        Token::UInt(n) => write_u64(out, n),
        Token::F32(n) => write_fixed(out, f64::from(n)),
        Token::F64(n) => write_fixed(out, n),
        Token::Str(text) => {
            out.push(b'"');
            out.extend_from_slice(text);
            out.push(b'"');
        }
        Token::Bin(bytes) => binary(out, bytes),
        Token::Ext(kind, bytes) => {
            out.extend_from_slice(b"(ext: ");
            write_i64(out, i64::from(kind));
            out.push(b')');
            binary(out, bytes);
        }
        Token::Array(_) | Token::Map(_) if depth >= DEPTH_GUARD => {
            *reader = at;
            reader.value();
            out.extend_from_slice(b"nil");
        }
        Token::Array(count) => list(out, reader, count, *b"[]", |out, reader| {
            value(out, reader, depth + 1)
        }),
        Token::Map(count) => list(out, reader, count, *b"{}", |out, reader| {
            value(out, reader, depth + 1);
            out.extend_from_slice(b"=>");
            value(out, reader, depth + 1);
        }),
    }
}

fn list<'a>(
    out: &mut Vec<u8>,
    reader: &mut Reader<'a>,
    count: u32,
    [open, close]: [u8; 2],
    mut element: impl FnMut(&mut Vec<u8>, &mut Reader<'a>),
) {
    out.push(open);
    for index in 0..count {
        if reader.is_done() {
            break;
        }
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        element(out, reader);
    }
    out.push(close);
}

/// Quoted; what is not printable ASCII as `\xNN`.
fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for &byte in bytes {
        if byte == b'"' {
            out.extend_from_slice(b"\\\"");
        } else if matches!(byte, b' '..=b'~') {
            out.push(byte);
        } else {
            out.extend_from_slice(b"\\x");
            crate::json::hex(out, &[byte]);
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::to_msgpack;

    #[track_caller]
    fn check(raw: &[u8], want: &str) {
        let mut out = Vec::new();
        write_value(&mut out, raw);
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn as_the_vectors_have_it() {
        let mut raw = Vec::new();
        let json = r#"{"a":1,"s":"q\"x\n","n":null,"l":[1,{"b":true}],"f":1.5,"neg":-7,"m":{},"e":[],"big":18446744073709551615}"#;
        to_msgpack(json.as_bytes(), &mut raw).unwrap();
        check(
            &raw,
            "{\"a\"=>1, \"s\"=>\"q\"x\n\", \"n\"=>nil, \"l\"=>[1, {\"b\"=>true}], \"f\"=>1.500000, \
             \"neg\"=>-7, \"m\"=>{}, \"e\"=>[], \"big\"=>18446744073709551615}",
        );
    }

    #[test]
    fn other_types() {
        check(&[0xc4, 3, b'a', 0, 0xff], r#""a\x00\xff""#);
        check(&[0xd4, 0xfb, 7], r#"(ext: -5)"\x07""#);
        check(&[0xca, 0x7f, 0xc0, 0, 0], "nan");
        check(&[0x81, 0xc3, 1], "{true=>1}");
    }
}
