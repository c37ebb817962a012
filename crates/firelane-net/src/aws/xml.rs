//! The few texts that are needed from answers in XML: elements without attributes, found by their names.

/// The text of the first element `name`, with its entities resolved. `None` where it is not there or not
/// closed.
pub fn element(xml: &str, name: &str) -> Option<String> {
    raw(xml, name).map(unescaped)
}

/// The same, as it stands in the document.
pub(super) fn raw<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = xml;
    loop {
        let (_, after) = rest.split_once('<')?;
        rest = after;
        let Some(behind) = after.strip_prefix(name).and_then(|text| text.strip_prefix('>')) else {
            continue;
        };
        let end = format!("</{name}>");
        return behind.split_once(end.as_str()).map(|(text, _)| text);
    }
}

/// Name of the outermost element; `None` where the text is no XML.
pub(super) fn root(text: &str) -> Option<&str> {
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    while let Some(inner) = rest.strip_prefix("<?").or_else(|| rest.strip_prefix("<!")) {
        let (_, after) = inner.split_once('>')?;
        rest = after.trim_start();
    }
    let name = rest.strip_prefix('<')?;
    let end = name.find(|c: char| c == '>' || c == '/' || c.is_whitespace())?;
    Some(&name[..end]).filter(|name| !name.is_empty())
}

/// A text with its entities resolved; what is no entity stays.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        match after
            .split_once(';')
            .and_then(|(name, behind)| Some((entity(name)?, behind)))
        {
            Some((c, behind)) => {
                out.push(c);
                rest = behind;
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn elements_are_found_by_their_whole_name() {
        let xml =
            "<?xml version=\"1.0\"?>\n<Error><CodeX>no</CodeX><Code>A&amp;B</Code><Empty></Empty></Error>";
        assert_eq!(element(xml, "Code").as_deref(), Some("A&B"));
        assert_eq!(element(xml, "Empty").as_deref(), Some(""));
        assert_eq!(element(xml, "Message"), None);
        assert_eq!(element("<Code>cut", "Code"), None);
        assert_eq!(root(xml), Some("Error"));
        assert_eq!(root("\u{feff} <!-- x --><A b='1'/>"), Some("A"));
        assert_eq!(root("{\"a\":1}"), None);
        assert_eq!(root("<?xml"), None);
        assert_eq!(root("<"), None);
    }

    #[test]
    fn entities_are_resolved_and_other_text_stays() {
        assert_eq!(
            unescaped("&lt;a&gt; &quot;&apos;&#10;&#x41;&#X42;"),
            "<a> \"'\nAB"
        );
        assert_eq!(unescaped("a & b &nope; &#xD800; &"), "a & b &nope; &#xD800; &");
        assert_eq!(unescaped("&amp;lt;"), "&lt;");
    }

    proptest! {
        /// Guarantees: what was escaped comes back, and nothing panics.
        #[test]
        fn escaped_texts_come_back(text in ".{0,40}") {
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            prop_assert_eq!(element(&format!("<T><V>{escaped}</V></T>"), "V"), Some(text.clone()));
            let _ = (root(&text), element(&text, "V"));
        }
    }
}
