//! Names of objects: `s3_key_format`.
//!
//! `$TAG`, `$TAG[0]` … `$TAG[9]`, `$UUID`, `$INDEX`, all else by `strftime` in UTC, of the time of the
//! object's first record. What comes from a tag is never read as a pattern. Keys have at most 1,024 bytes:
//! of a longer one the end gives way to a number made of all of it.

use std::hash::{BuildHasher as _, RandomState};

use firelane_record::{Fractions, Tag, TimeFormat, Timestamp};

/// Longest key, in bytes of UTF-8.
pub(super) const KEY_MAX: usize = 1024;
/// What `-object` and eight characters take.
const SUFFIX: usize = 15;
/// What stands for the rest of a key that is too long: `-` and 16 digits.
const DIGEST: usize = 17;

/// A key format, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyFormat {
    pieces: Vec<Piece>,
    delimiters: Box<[u8]>,
    is_static: bool,
    fingerprint: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Time(TimeFormat),
    Tag,
    /// A part of the tag, counted from 0.
    Part(u8),
    Uuid,
    Index,
}

/// What a key is made of beside the format.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ingredients<'a> {
    pub(super) tag: &'a Tag,
    /// Of the first record.
    pub(super) time: Timestamp,
    pub(super) index: u64,
}

/// The key of an object, without the slash that the format begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// Of an object that is uploaded in parts.
    pub(super) plain: String,
    /// Of one that is put whole: with `-object` and random characters, unless the format makes it unique.
    pub(super) put: String,
    /// The format asks for a part that the tag has not.
    pub(super) lacks_part: bool,
}

impl KeyFormat {
    /// Reads a format. `is_static`: nothing is added to it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str, delimiters: &str, is_static: bool) -> Result<Self, &'static str> {
        let Some(text) = text.strip_prefix('/') else {
            return Err("it must begin with `/`");
        };
        if text.is_empty() {
            return Err("there is no name behind the `/`");
        }
        if delimiters.is_empty() {
            return Err("there are no delimiters");
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let at = rest.find('$').unwrap_or(rest.len());
            let found = variable(&rest[at..]);
            // A dollar that begins nothing is text.
            let end = if found.is_some() {
                at
            } else {
                rest[at..]
                    .find(|c| c != '$')
                    .map_or(rest.len(), |more| at + more.max(1))
            };
            if end > 0 {
                pieces.push(Piece::Time(TimeFormat::new(&rest[..end], Fractions::FluentBit)));
            }
            rest = &rest[end..];
            if let Some((piece, length)) = found {
                pieces.push(piece);
                rest = &rest[length..];
            }
        }
        Ok(Self {
            pieces,
            delimiters: delimiters.as_bytes().into(),
            is_static,
            fingerprint: fnv(text),
        })
    }

    /// Whether nothing is added to keys.
    pub(super) fn is_static(&self) -> bool {
        self.is_static
    }

    /// A number that is the same for equal formats, in every version of this program (FNV-1a).
    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Whether it has `$INDEX`, which is kept over restarts.
    pub(super) fn needs_index(&self) -> bool {
        self.pieces.contains(&Piece::Index)
    }

    /// Whether every object gets a name of its own, whatever its tag and time.
    pub(super) fn is_unique(&self) -> bool {
        self.needs_index() || self.pieces.contains(&Piece::Uuid)
    }

    /// Whether all objects of a tag may get the same name for good.
    pub(super) fn is_constant(&self) -> bool {
        let constant = |piece: &Piece| match piece {
            Piece::Time(format) => format.is_constant(),
            Piece::Tag | Piece::Part(_) => true,
            Piece::Uuid | Piece::Index => false,
        };
        self.pieces.iter().all(constant)
    }

    /// The key of an object.
    pub(super) fn render(&self, from: Ingredients<'_>) -> Key {
        let (mut out, mut lacks_part) = (Vec::new(), false);
        for piece in &self.pieces {
            match piece {
                Piece::Time(format) => format.write(&mut out, from.time),
                Piece::Tag => out.extend_from_slice(from.tag.as_bytes()),
                Piece::Part(n) => match self.part(from.tag, *n) {
                    Some(part) => out.extend_from_slice(part),
                    None => {
                        lacks_part = true;
                        out.extend_from_slice(from.tag.as_bytes());
                        out.extend_from_slice(&[b'[', b'0' + n, b']']);
                    }
                },
                Piece::Uuid => out.extend_from_slice(&random()),
                Piece::Index => out.extend_from_slice(from.index.to_string().as_bytes()),
            }
        }
        let plain = shorten(String::from_utf8_lossy(&out).into_owned());
        let put = if self.is_static || self.is_unique() {
            plain.clone()
        } else {
            with_suffix(&plain)
        };
        Key {
            plain,
            put,
            lacks_part,
        }
    }

    /// Part `n` of a tag; empty parts do not count, as in Fluent Bit.
    fn part<'t>(&self, tag: &'t Tag, n: u8) -> Option<&'t [u8]> {
        let parts = tag.as_bytes().split(|byte| self.delimiters.contains(byte));
        parts.filter(|part| !part.is_empty()).nth(n.into())
    }
}

/// A key with `-object` and eight random characters at its end.
pub(super) fn with_suffix(key: &str) -> String {
    let random = random();
    format!("{key}-object{}", String::from_utf8_lossy(&random))
}

/// The variable that `text` begins with, and its length.
fn variable(text: &str) -> Option<(Piece, usize)> {
    for (name, piece) in [("$UUID", Piece::Uuid), ("$INDEX", Piece::Index)] {
        if text.starts_with(name) {
            return Some((piece, name.len()));
        }
    }
    let rest = text.strip_prefix("$TAG")?;
    Some(match rest.as_bytes() {
        [b'[', digit @ b'0'..=b'9', b']', ..] => (Piece::Part(digit - b'0'), "$TAG[0]".len()),
        _ => (Piece::Tag, "$TAG".len()),
    })
}

/// Cuts a key that is too long, with room for a suffix; a number made of all of it keeps it apart from
/// others.
fn shorten(key: String) -> String {
    const MAX: usize = KEY_MAX - SUFFIX;
    if key.len() <= MAX {
        return key;
    }
    let digest = fnv(&key);
    let mut end = MAX - DIGEST;
    while !key.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{digest:016x}", &key[..end])
}

/// A number for a text, the same in every version of this program (FNV-1a).
pub(super) fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Eight random letters and digits; not for secrets.
fn random() -> [u8; 8] {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    // Its keys come from the system and change with every call.
    let mut number = RandomState::new().hash_one(std::process::id());
    std::array::from_fn(|_| {
        let letter = LETTERS[(number % 62) as usize];
        number /= 62;
        letter
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(format: &str, delimiters: &str, tag: &str) -> Key {
        let format = KeyFormat::parse(format, delimiters, false).unwrap();
        format.render(Ingredients {
            tag: &Tag::new(tag).unwrap(),
            // 2024-03-05T06:07:08.5Z
            time: Timestamp {
                secs: 1_709_618_828,
                nanos: 500_000_000,
            },
            index: 7,
        })
    }

    #[track_caller]
    fn check(format: &str, tag: &str, want: &str) {
        assert_eq!(key(format, ".-", tag).plain, want, "{format}");
    }

    #[test]
    fn formats_are_filled_in() {
        check(
            "/fluent-bit-logs/$TAG/%Y/%m/%d/%H/%M/%S",
            "app",
            "fluent-bit-logs/app/2024/03/05/06/07/08",
        );
        check("/logs/$TAG[1]/$TAG", "app.web-1", "logs/web/app.web-1");
        check("/$TAG[2]$TAG[0]", "app.web-1", "1app");
        check("/$TAG[1]", "a..b", "b");
        check("/x-$INDEX.log", "a", "x-7.log");
        check("/%Y$TAG%d", "a%Hb", "2024a%Hb05");
        check("/$TAG[10]/$TAGS/$$/$", "t", "t[10]/tS/$$/$");
        check("/a%%b$", "t", "a%b$");
    }

    #[test]
    fn a_part_that_is_missing_is_the_tag_and_named() {
        let key = key("/$TAG[3]/x", ".", "a.b");
        assert_eq!((&*key.plain, key.lacks_part), ("a.b[3]/x", true));
    }

    #[test]
    fn only_keys_that_are_not_unique_get_a_suffix() {
        let plain = key("/a/$TAG", ".", "t");
        assert_eq!(plain.put.len(), plain.plain.len() + SUFFIX);
        assert!(plain.put.starts_with("a/t-object"), "{plain:?}");
        for format in ["/$UUID.gz", "/$INDEX"] {
            let key = key(format, ".", "t");
            assert_eq!(key.put, key.plain);
        }
        let fixed = KeyFormat::parse("/a", ".", true).unwrap();
        let tag = Tag::new("t").unwrap();
        let key = fixed.render(Ingredients {
            tag: &tag,
            time: Timestamp::default(),
            index: 0,
        });
        assert_eq!(key.put, "a");
        let (one, two) = (random(), random());
        assert_ne!(one, two);
        assert!(one.iter().chain(&two).all(u8::is_ascii_alphanumeric));
    }

    #[test]
    fn bad_formats_are_refused() {
        assert!(KeyFormat::parse("logs/$TAG", ".", false).is_err());
        assert!(KeyFormat::parse("/", ".", false).is_err());
        assert!(KeyFormat::parse("/a", "", false).is_err());
    }

    #[test]
    fn kinds_of_formats_are_told_apart() {
        let format = |text| KeyFormat::parse(text, ".", false).unwrap();
        assert!(format("/a/$TAG").is_constant() && !format("/a/%Y").is_constant());
        assert!(format("/$UUID").is_unique() && !format("/$UUID").is_constant());
        assert!(format("/$INDEX").needs_index() && !format("/$TAG%S").is_unique());
    }

    proptest! {
        #[test]
        fn keys_have_at_most_1024_bytes_and_stay_apart(
            tag in proptest::collection::vec(any::<u8>(), 0..1500),
            tail in "[a-z]{1,8}",
            format in "/[a-zA-Z$%\\[\\]0-9é/]{1,40}",
        ) {
            let tag = Tag::new(&tag).unwrap();
            let key = |format: &str| {
                let format = KeyFormat::parse(format, ".", false).unwrap();
                format.render(Ingredients { tag: &tag, time: Timestamp::default(), index: u64::MAX })
            };
            let first = key(&format!("{format}$TAG{tail}x"));
            for key in [&first.plain, &first.put] {
                prop_assert!(!key.is_empty() && key.len() <= KEY_MAX, "{}", key.len());
            }
            if !format.contains("$U") {
                let second = key(&format!("{format}$TAG{tail}y"));
                prop_assert_ne!(first.plain, second.plain);
            }
        }
    }
}
