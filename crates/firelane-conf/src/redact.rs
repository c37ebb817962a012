//! Secrets in texts that people read: a configuration's line in an error, a value in a warning.
//!
//! A value counts as a secret by its key's name (`http_passwd`, `shared_key`, `…token` …), by the header that
//! it is of (`Authorization` …), or as the user information of an address (`http://user:password@host`). What
//! is a secret by nothing but its meaning is not found; values of type [`Secret`](crate::units::Secret) are
//! never shown anyway.

use crate::suggest::nearest;

/// What stands in the place of a secret, of whatever length.
pub const MASK: &str = "***";

/// Ends of the names of keys whose values are secrets.
const SECRETS: &[&str] = &[
    "pwd",
    "secret",
    "shared_key",
    "token",
    "api_key",
    "apikey",
    "api-key",
    "license_key",
    "licensekey",
    "secret_key",
    "secretkey",
    "private_key",
    "access_key",
    "authorization",
    "security.users",
];
/// The same in full, for keys that are misspelt.
const NAMES: &[&str] = &[
    "shared_key",
    "http_passwd",
    "password",
    "tls.key_passwd",
    "security.users",
];
/// Parts of the names of headers whose values are secrets.
const HEADERS: &[&str] = &["auth", "cookie", "token", "key", "secret", "passw", "signature"];

/// Whether the value of a key is a secret, as far as its name tells.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let known =
        key.contains("passw") || SECRETS.iter().any(|end| key.ends_with(end)) && key != "empty_shared_key";
    known || (!key.ends_with("_key") && nearest(&key, NAMES.iter().copied()).is_some())
}

/// Whether the value of a header is a secret, as far as its name tells.
pub fn is_secret_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    HEADERS.iter().any(|part| name.contains(part))
}

/// A text without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What may be read.
    pub text: String,
    /// Where, in characters of the original, the secret began and ended.
    hidden: Option<(usize, usize)>,
}

impl Shown {
    /// Where a part of the original stands: its first character and length, in characters.
    pub fn place(&self, at: usize, len: usize) -> (usize, usize) {
        let width = MASK.len();
        match self.hidden {
            Some((start, end)) if at >= end => (at - (end - start) + width, len),
            Some((start, _)) if at >= start => (start, width),
            Some((start, end)) if at + len > start => {
                let rest = (at + len).saturating_sub(end);
                (at, start - at + width + rest)
            }
            _ => (at, len),
        }
    }
}

/// A line of a configuration, without its first secret.
pub fn line(text: &str) -> Shown {
    let Some((start, end)) = secret_of(text, true) else {
        return Shown {
            text: text.to_string(),
            hidden: None,
        };
    };
    let count = |until: usize| text[..until].chars().count();
    Shown {
        text: format!("{}{MASK}{}", &text[..start], &text[end..]),
        hidden: Some((count(start), count(end))),
    }
}

/// A property's value, for a message.
pub fn value(key: &str, value: &str) -> String {
    let prefix = format!("{key} ");
    let shown = line(&format!("{prefix}{value}")).text;
    shown.get(prefix.len()..).unwrap_or(MASK).to_string()
}

/// Any text, such as the path and query of a request, without its first secret.
pub fn text(text: &str) -> String {
    match secret_of(text, false) {
        Some((start, end)) => format!("{}{MASK}{}", &text[..start], &text[end..]),
        None => text.to_string(),
    }
}

/// The bytes of the first secret. In a line of a configuration the first word is a key even where only blanks
/// follow it.
fn secret_of(text: &str, is_line: bool) -> Option<(usize, usize)> {
    let mut at = 0;
    let mut named = false;
    let mut first = is_line;
    while let Some(begin) = text[at..].find(is_word).map(|found| at + found) {
        let end = text[begin..]
            .find(|c| !is_word(c))
            .map_or(text.len(), |found| begin + found);
        let word = &text[begin..end];
        let secret = is_secret(word) || (named && word.eq_ignore_ascii_case("value"));
        if let Some(from) = value_start(text, end, first) {
            if secret && !is_reference(&text[from..]) {
                return value_of(text, from);
            }
            if first && word.eq_ignore_ascii_case("header") {
                return header_of(text, from).or_else(|| userinfo_of(text));
            }
        }
        // `"name": "DB_PASSWORD", "value": …`
        named |= secret;
        first = false;
        at = end;
    }
    userinfo_of(text)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// Where the value of the key that ends at `end` begins: behind `:` or `=`, or behind blanks. A colon between
/// two words, as in an ARN, is none.
fn value_start(text: &str, end: usize, blanks_will_do: bool) -> Option<usize> {
    let mut rest = text[end..].trim_start_matches(['"', '\'']);
    let quoted = rest.len() < text.len() - end;
    let blank = rest.starts_with([' ', '\t']);
    rest = rest.trim_start_matches([' ', '\t']);
    let colon = rest
        .strip_prefix(':')
        .is_some_and(|behind| quoted || blank || behind.starts_with([' ', '\t', '"', '\'']));
    let separator = colon || rest.starts_with('=');
    if separator {
        rest = rest[1..].trim_start_matches([' ', '\t']);
    }
    let found = (separator || (blank && blanks_will_do)) && !rest.is_empty();
    found.then(|| text.len() - rest.len())
}

/// Whether a value only names where the secret is.
fn is_reference(value: &str) -> bool {
    let value = value.trim().trim_start_matches(['"', '\'']);
    let variable = value.strip_prefix("${").and_then(|rest| rest.split_once('}'));
    let alone = |rest: &str| rest.is_empty() || rest.starts_with(['"', '\'', ',', '}']);
    value.starts_with("{{resolve:")
        || value.starts_with("arn:aws")
        || variable.is_some_and(|(_, rest)| alone(rest.trim_start()))
}

/// A value from its beginning: what stands in quotes, else the rest; in a query up to the next parameter, in
/// braces up to the next key.
fn value_of(text: &str, from: usize) -> Option<(usize, usize)> {
    let rest = &text[from..];
    let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let before = text[..from].trim_end();
        let braces = before.matches('{').count() > before.matches('}').count();
        let end = match before.chars().next_back() {
            Some('=') => rest.find(['&', ' ']),
            Some(':') if braces => rest.find([',', '}']),
            _ => None,
        };
        return Some((from, end.map_or(text.trim_end().len(), |end| from + end)));
    };
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some((from + 1, from + at)),
            _ => {}
        }
    }
    Some((from, text.trim_end().len()))
}

/// The value of a secret header in `header NAME VALUE`.
fn header_of(text: &str, from: usize) -> Option<(usize, usize)> {
    let rest = text[from..].trim_start_matches(['"', '\'']);
    let name_end = rest.find([' ', '\t']).unwrap_or(rest.len());
    let value = rest[name_end..].trim_start();
    let secret = is_secret_header(&rest[..name_end]) && !value.is_empty();
    secret.then(|| (text.len() - value.len(), text.trim_end().len()))
}

/// `user:password` of an address.
fn userinfo_of(text: &str) -> Option<(usize, usize)> {
    let begin = text.find("://")? + 3;
    let authority = text[begin..]
        .find(['/', '?', '#', ' ', '"', '\''])
        .map_or(text.len(), |end| begin + end);
    let at = text[begin..authority].rfind('@')?;
    Some((begin, begin + at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, want: &str) {
        assert_eq!(line(given).text, want);
    }

    #[test]
    fn values_of_secret_keys_are_hidden() {
        check("    http_Passwd hunter2 and more  ", "    http_Passwd ***  ");
        check("    Shared_Kye hunter2", "    Shared_Kye ***");
        check("    Tls_Passwort hunter2", "    Tls_Passwort ***");
        check("  - shared_key: hunter2", "  - shared_key: ***");
        check(
            "    password: \"hun\\\"ter2\" # why",
            "    password: \"***\" # why",
        );
        check(
            r#"{"splunk_token": "x y", "a": "b"}"#,
            r#"{"splunk_token": "***", "a": "b"}"#,
        );
        check(
            r#"  { "name": "DB_PASSWORD", "value": "hunter2" },"#,
            r#"  { "name": "DB_PASSWORD", "value": "***" },"#,
        );
        check(
            "  options: {apikey: hunter2, a: b}",
            "  options: {apikey: ***, a: b}",
        );
        check(r#"{"password":"hunter2"}"#, r#"{"password":"***"}"#);
        check("    shared_key ${KEY}hunter2", "    shared_key ***");
        check("    security.users bob hunter2", "    security.users ***");
        check("    uri /in?api_key=hunter2&x=1", "    uri /in?api_key=***&x=1");
    }

    #[test]
    fn secret_headers_and_addresses_are_hidden() {
        check(
            "    Header Authorization Bearer hunter2",
            "    Header Authorization ***",
        );
        check("    header: X-Api-Key hunter2", "    header: X-Api-Key ***");
        check(
            "    proxy http://bob:hunter2@proxy:3128/",
            "    proxy http://***@proxy:3128/",
        );
        assert_eq!(value("proxy", "http://b:p@h"), "http://***@h");
        assert_eq!(value("header", "Cookie a=b"), "Cookie ***");
        assert_eq!(text("/in?token=hunter2"), "/in?token=***");
    }

    #[test]
    fn other_lines_are_shown() {
        for line in [
            "    tls.key_file /etc/key.pem",
            "    tag_key $a['b']",
            "    Empty_Shared_Key on",
            "    Regex log password .*",
            "    Header X-Team logs",
            "    uri http://host/a@b",
            r#"    "secretOptions": [{"name": "x"}]"#,
            "    Match *",
            "    shared_key ${KEY}",
            r#"{"name": "TOKEN", "valueFrom": "arn:aws:ssm:r:1:parameter/x"}"#,
            "Splunk_Token: '{{resolve:secretsmanager:x}}'",
            "ValueFrom: 'arn:aws:secretsmanager:r:1:secret:x-AbCdEf'",
            "    key_name log",
            "    port 24224",
            "",
        ] {
            check(line, line);
        }
    }

    #[test]
    fn places_follow() {
        let shown = line("password: hunter2");
        assert_eq!(shown.place(0, 8), (0, 8), "the key");
        assert_eq!(shown.place(10, 7), (10, 3), "the value");
        assert_eq!(shown.place(0, 17), (0, 13), "all");
        let shown = line(r#"{"token": "hunter2", "a": 1}"#);
        assert_eq!(shown.place(21, 3), (17, 3), "behind it");
    }

    #[test]
    fn any_line_is_survived() {
        let parts = [
            "password", ":", "=", "\"", "'", " ", "://", "@", "ä", "header", "\\",
        ];
        let count = parts.len();
        for n in 0..count.pow(4) {
            let text: String = (0..4).map(|digit| parts[n / count.pow(digit) % count]).collect();
            let shown = line(&text);
            let _ = (shown.place(n % 9, n % 7), value("a", &text), super::text(&text));
        }
    }
}
