//! The little XML that S3 and STS need: writing escaped elements, and reading small request bodies.

/// What a document begins with.
pub(crate) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// Text for the inside of an element. Controls that XML 1.0 has not are written as references, as S3 does.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' | '\u{0}'..='\u{8}' | '\u{b}'..='\u{c}' | '\u{e}'..='\u{1f}' => {
                out.push_str(&format!("&#x{:x};", u32::from(char)));
            }
            char => out.push(char),
        }
    }
    out
}

/// Appends `<name>value</name>`.
pub(crate) fn element(out: &mut String, name: &str, value: &str) {
    out.push_str(&format!("<{name}>{}</{name}>", escape(value)));
}

/// The insides of all elements `name` in `text`, in order, however deep; prefixes and attributes are passed
/// over. `None` where the text is no XML of this simple kind: an element that does not end.
pub(crate) fn all<'t>(text: &'t str, name: &str) -> Option<Vec<&'t str>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((inside, after)) = next(rest, name)? {
        found.push(inside);
        rest = after;
    }
    Some(found)
}

/// The inside of the first element `name`, its references resolved.
pub(crate) fn text(within: &str, name: &str) -> Option<String> {
    let (inside, _) = next(within, name)??;
    unescape(inside.trim())
}

/// The next element's inside, and what follows it. Outer `None`: malformed.
fn next<'t>(text: &'t str, name: &str) -> Option<Option<(&'t str, &'t str)>> {
    let mut rest = text;
    loop {
        let Some(at) = rest.find('<') else {
            return Some(None);
        };
        let tag = rest.get(at + 1..)?;
        let end = tag.find('>')?;
        let (head, after) = (tag.get(..end)?, tag.get(end + 1..)?);
        if is(head.trim_end_matches('/'), name) {
            if head.ends_with('/') {
                return Some(Some(("", after)));
            }
            return close(after, name).map(Some);
        }
        rest = after;
    }
}

/// Splits at the closing tag.
fn close<'t>(text: &'t str, name: &str) -> Option<(&'t str, &'t str)> {
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find("</")?;
        let tag = text.get(at + 2..)?;
        let end = tag.find('>')?;
        if is(tag.get(..end)?, name) {
            return Some((text.get(..at)?, tag.get(end + 1..)?));
        }
        from = at + 2 + end;
    }
}

/// Whether the inside of a tag has this name.
fn is(head: &str, name: &str) -> bool {
    let own = head.split_whitespace().next().unwrap_or_default();
    own.rsplit(':').next() == Some(name)
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(rest.get(..at)?);
        let end = at + rest.get(at..)?.find(';')?;
        let name = rest.get(at + 1..end)?;
        let char = match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = name.strip_prefix('#')?;
                let code = match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)?
            }
        };
        out.push(char);
        rest = rest.get(end + 1..)?;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BODY: &str = r#"<?xml version="1.0"?><CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
        <Part><ETag>&quot;a1&quot;</ETag><PartNumber>1</PartNumber></Part>
        <s:Part><PartNumber> 2 </PartNumber><ETag>b</ETag></s:Part><Part/></CompleteMultipartUpload>"#;

    #[test]
    fn elements_are_found() {
        let parts = all(BODY, "Part").unwrap();
        assert_eq!(parts.len(), 3);
        assert_eq!(text(parts[0], "ETag").unwrap(), "\"a1\"");
        assert_eq!(text(parts[1], "PartNumber").unwrap(), "2");
        assert_eq!(text(parts[2], "ETag"), None);
        assert_eq!(all("<Part><ETag>", "Part"), None, "it does not end");
    }

    proptest! {
        #[test]
        fn what_was_escaped_comes_back(value in "\\PC{0,20}[<>&\"\r]{0,3}\\PC{0,5}") {
            let mut out = String::new();
            element(&mut out, "K", &value);
            let inside = all(&out, "K").unwrap();
            prop_assert_eq!(unescape(inside[0]).unwrap(), value);
        }

        #[test]
        fn junk_never_panics(junk in "[<>/a&;#x ]{0,40}") {
            let _ = all(&junk, "a");
            let _ = text(&junk, "a");
        }
    }
}
