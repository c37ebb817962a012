//! Percent-encoding and query strings, as AWS defines them.

/// Decodes `%XX`; what is no escape stays.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = hex
            .filter(|_| byte == b'%')
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escaped {
            Some(escaped) => {
                out.push(escaped);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// Encodes all but unreserved characters; `/` stays in paths.
pub(crate) fn encode(bytes: &[u8], path: bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (path && byte == b'/');
        if plain {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Names and values of a query, decoded; a name without `=` has an empty value. `+` is a plus.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// The value of a parameter, if it is there and is text.
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    let (_, value) = pairs(query).find(|(known, _)| known == name.as_bytes())?;
    String::from_utf8(value).ok()
}

/// A form's body or a query: `+` is a blank.
pub(crate) fn form(text: &str) -> Vec<(String, String)> {
    let text = text.replace('+', " ");
    let owned = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    pairs(&text)
        .map(|(name, value)| (owned(name), owned(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_encoded_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..60), path: bool) {
            prop_assert_eq!(decode(&encode(&bytes, path)), bytes);
        }

        #[test]
        fn junk_never_panics(text in "[%a-f0-9=&é+]{0,30}") {
            let _ = form(&text);
            let _ = parameter(&text, "a");
        }
    }

    #[test]
    fn queries() {
        assert_eq!(parameter("a=1&b=x%20y&c", "b").unwrap(), "x y");
        assert_eq!(parameter("a=1&c", "c").unwrap(), "");
        assert_eq!(parameter("a=1", "z"), None);
        assert_eq!(form("Name=a+b&x=%2B")[0].1, "a b");
    }
}
