//! The tag of an event: routing text, kept as bytes because no byte is refused on the wire.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// A routing tag, for example `web-firelens-0123`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<[u8]>);

/// A text that cannot be a tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TagError {
    /// Longer than [`Tag::LEN_MAX`].
    #[error("tag is {len} bytes, the limit is {}", Tag::LEN_MAX)]
    TooLong {
        /// Length of what was given, in bytes.
        len: usize,
    },
}

impl Tag {
    /// Longest tag that is taken, in bytes.
    pub const LEN_MAX: usize = 64 * 1024;

    /// Makes a tag of raw bytes. An empty tag is legal and matches only `*`.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, TagError> {
        let bytes = bytes.as_ref();
        match bytes.len() {
            0..=Self::LEN_MAX => Ok(Self(bytes.into())),
            len => Err(TagError::TooLong { len }),
        }
    }

    /// The bytes as they came.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As text, for messages; bytes that are not UTF-8 become U+FFFD.
    pub fn to_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// The dot-separated part `n`, counted from 0; none when out of range. A tag without a dot is its own
    /// part 0 (`$TAG[0]` of Fluent Bit).
    pub fn part(&self, n: usize) -> Option<&[u8]> {
        self.0.split(|&b| b == b'.').nth(n)
    }
}

impl AsRef<[u8]> for Tag {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({:?})", self.to_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_split_at_dots() {
        let tag = Tag::new("a.b..c").unwrap();
        assert_eq!(tag.part(0), Some(&b"a"[..]));
        assert_eq!(tag.part(2), Some(&b""[..]));
        assert_eq!(tag.part(4), None);
        assert_eq!(Tag::new("whole").unwrap().part(0), Some(&b"whole"[..]));
    }

    #[test]
    fn a_tag_over_the_limit_is_refused() {
        let error = Tag::new(vec![b'a'; Tag::LEN_MAX + 1]).unwrap_err();
        assert_eq!(error.to_string(), "tag is 65537 bytes, the limit is 65536");
    }
}
