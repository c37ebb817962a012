//! Ruby's syntax (Onigmo) to that of the engines.
//!
//! Differences that are bridged: `/…/imx`; `m` means "dot matches newline"; `^` and `$` match at every line;
//! `\d`, `\w` and `\s` are ASCII; `\h`, `\Z`, `\R`, `\e`; any escaped punctuation is literal (`\<` too); a
//! `{` that starts no repetition is literal; group names repeat and hold any character.

/// A pattern for the engines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Translated {
    /// The pattern.
    pub(super) pattern: String,
    /// Named groups: name and number, in order.
    pub(super) names: Vec<(String, usize)>,
    /// Needs look-around, backreferences, atomic groups or possessive repetition.
    pub(super) fancy: bool,
    /// Holds characters beyond ASCII or Unicode classes.
    pub(super) unicode: bool,
}

/// Splits `/pattern/imx`: the pattern and the engines' flags. Anything else is a pattern as it stands.
fn split_flags(text: &str) -> (&str, String) {
    let plain = (text, String::from("m"));
    let Some(inner) = text.strip_prefix('/') else {
        return plain;
    };
    let Some(end) = inner.rfind('/') else { return plain };
    let mut flags = String::from("m");
    for letter in inner[end + 1..].chars() {
        match letter {
            'i' | 'x' => flags.push(letter),
            'm' => flags.push('s'),
            'o' => {}
            _ => return plain,
        }
    }
    (&inner[..end], flags)
}

/// Translates a whole pattern.
pub(super) fn translate(text: &str) -> Translated {
    let (body, flags) = split_flags(text);
    let chars: Vec<char> = body.chars().collect();
    let mut out = Translator {
        chars: &chars,
        at: 0,
        out: String::new(),
        ..Translator::default()
    };
    out.run();
    let Translator {
        out,
        names,
        fancy,
        unicode,
        ..
    } = out;
    Translated {
        pattern: format!("(?{flags}){out}"),
        names,
        fancy,
        unicode,
    }
}

#[derive(Default)]
struct Translator<'a> {
    chars: &'a [char],
    at: usize,
    out: String,
    groups: usize,
    names: Vec<(String, usize)>,
    fancy: bool,
    unicode: bool,
}

impl Translator<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        Some(c)
    }

    /// Takes one character as it is.
    fn copy(&mut self) {
        if let Some(c) = self.take() {
            self.out.push(c);
        }
    }

    fn rest_starts(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(i, c)| self.peek(i) == Some(c))
    }

    fn run(&mut self) {
        while let Some(c) = self.take() {
            match c {
                '\\' => self.escape(false),
                '[' => self.class(),
                '(' => self.group(),
                '{' => self.brace(),
                '}' => self.out.push_str("\\}"),
                '*' | '+' | '?' => self.repeat(c),
                c => self.literal(c),
            }
        }
    }

    fn literal(&mut self, c: char) {
        self.unicode |= !c.is_ascii();
        self.out.push(c);
    }

    /// A repetition; `+` behind it makes it possessive.
    fn repeat(&mut self, c: char) {
        self.out.push(c);
        if self.peek(0) == Some('+') {
            self.fancy = true;
        }
        if matches!(self.peek(0), Some('+' | '?')) {
            self.copy();
        }
    }

    /// `{n}`, `{n,}`, `{n,m}`, `{,m}`; else a literal brace.
    fn brace(&mut self) {
        let inner: String = self.chars[self.at..].iter().take_while(|c| **c != '}').collect();
        let closed = self.peek(inner.chars().count()) == Some('}');
        let (low, high) = inner.split_once(',').unwrap_or((&inner, &inner));
        let number =
            |text: &str| !text.is_empty() && text.len() < 7 && text.chars().all(|c| c.is_ascii_digit());
        let valid = match inner.contains(',') {
            true => (number(low) || low.is_empty()) && (number(high) || high.is_empty()) && inner != ",",
            false => number(low),
        };
        if !closed || !valid {
            self.out.push_str("\\{");
            return;
        }
        self.at += inner.chars().count() + 1;
        let low = if low.is_empty() { "0" } else { low };
        match inner.contains(',') {
            true => self.out.push_str(&format!("{{{low},{high}}}")),
            false => self.out.push_str(&format!("{{{low}}}")),
        }
        if self.peek(0) == Some('?') {
            self.copy();
        }
    }

    fn group(&mut self) {
        if self.peek(0) != Some('?') {
            self.groups += 1;
            self.out.push('(');
            return;
        }
        self.at += 1;
        for look in ["=", "!", "<=", "<!", ">"] {
            if self.rest_starts(look) {
                self.at += look.len();
                self.fancy = true;
                self.out.push_str(&format!("(?{look}"));
                return;
            }
        }
        match self.peek(0) {
            Some('<' | '\'') => self.named('>'),
            Some('P') if self.peek(1) == Some('<') => {
                self.at += 1;
                self.named('>');
            }
            Some('#') => while self.take().is_some_and(|c| c != ')') {},
            _ => self.inline_flags(),
        }
    }

    fn named(&mut self, close: char) {
        let close = if self.take() == Some('\'') { '\'' } else { close };
        let mut name = String::new();
        while let Some(c) = self.take().filter(|&c| c != close) {
            name.push(c);
        }
        self.groups += 1;
        self.names.push((name, self.groups));
        self.out.push('(');
    }

    /// `(?imx-imx)` and `(?imx-imx:`; Ruby's `m` is the engines' `s`.
    fn inline_flags(&mut self) {
        self.out.push_str("(?");
        while let Some(c) = self.peek(0).filter(|c| c.is_ascii_alphabetic() || *c == '-') {
            self.at += 1;
            match c {
                'm' => self.out.push('s'),
                // Ruby's character-set flags: what they choose is what is done anyway.
                'a' | 'd' | 'u' => {}
                c => self.out.push(c),
            }
        }
        if self.out.ends_with("(?") && self.peek(0) == Some(')') {
            self.out.truncate(self.out.len() - 2);
            self.at += 1;
        }
    }

    fn escape(&mut self, in_class: bool) {
        let Some(c) = self.take() else {
            self.out.push_str("\\\\");
            return;
        };
        let wrap = |inner: &str, negated: bool| match (in_class, negated) {
            (true, false) => inner.to_string(),
            (false, false) => format!("[{inner}]"),
            (_, true) => format!("[^{inner}]"),
        };
        match c {
            'd' => self.out.push_str(&wrap("0-9", false)),
            'D' => self.out.push_str(&wrap("0-9", true)),
            'w' => self.out.push_str(&wrap("a-zA-Z0-9_", false)),
            'W' => self.out.push_str(&wrap("a-zA-Z0-9_", true)),
            's' => self.out.push_str(&wrap("\\t\\n\\x0B\\f\\r ", false)),
            'S' => self.out.push_str(&wrap("\\t\\n\\x0B\\f\\r ", true)),
            'h' => self.out.push_str(&wrap("0-9a-fA-F", false)),
            'H' => self.out.push_str(&wrap("0-9a-fA-F", true)),
            'n' | 't' | 'r' | 'f' | 'a' => self.out.extend(['\\', c]),
            'v' => self.out.push_str("\\x0B"),
            'e' => self.out.push_str("\\x1B"),
            'x' => self.hex(),
            'u' => self.unicode_escape(),
            'b' if in_class => self.out.push_str("\\x08"),
            'A' | 'z' | 'b' | 'B' if !in_class => self.out.extend(['\\', c]),
            'Z' if !in_class => self.out.push_str("(?:\\n?\\z)"),
            'R' if !in_class => self.out.push_str("(?:\\r\\n|[\\n\\x0B\\f\\r])"),
            'K' if !in_class => {
                self.fancy = true;
                self.out.push_str("\\K");
            }
            'k' if !in_class => self.named_back(),
            '1'..='9' if !in_class => {
                self.fancy = true;
                self.out.extend(['\\', c]);
            }
            '0' => self.out.push_str("\\x00"),
            'p' | 'P' => self.property(c),
            c if c.is_ascii_punctuation() => self.out.extend(escaped(c)),
            c => self.literal(c),
        }
    }

    fn hex(&mut self) {
        let digits: String = self.chars[self.at..]
            .iter()
            .take(2)
            .take_while(|c| c.is_ascii_hexdigit())
            .collect();
        self.at += digits.len();
        let value = u8::from_str_radix(&digits, 16).unwrap_or(0);
        self.out.push_str(&format!("\\x{value:02X}"));
    }

    fn unicode_escape(&mut self) {
        let digits: String = self.chars[self.at..]
            .iter()
            .take(4)
            .take_while(|c| c.is_ascii_hexdigit())
            .collect();
        self.at += digits.len();
        self.unicode = true;
        self.out.push_str(&format!(
            "\\x{{{}}}",
            if digits.is_empty() { "0" } else { &digits }
        ));
    }

    fn named_back(&mut self) {
        let name: String = self.chars[self.at..]
            .iter()
            .skip(1)
            .take_while(|c| **c != '>')
            .collect();
        self.at += name.chars().count() + 2;
        self.fancy = true;
        let number = self
            .names
            .iter()
            .rev()
            .find(|(known, _)| *known == name)
            .map(|(_, number)| *number);
        let number = number.or_else(|| name.parse().ok()).unwrap_or(0);
        self.out.push_str(&format!("\\{number}"));
    }

    fn property(&mut self, c: char) {
        self.unicode = true;
        self.out.extend(['\\', c]);
        if self.peek(0) == Some('{') {
            while let Some(c) = self.take() {
                self.out.push(c);
                if c == '}' {
                    return;
                }
            }
        }
    }

    /// A bracket expression, nested ones and `&&` included.
    fn class(&mut self) {
        self.out.push('[');
        if self.peek(0) == Some('^') {
            self.copy();
        }
        let mut first = true;
        while let Some(c) = self.take() {
            match c {
                ']' if !first => {
                    self.out.push(']');
                    return;
                }
                ']' => self.out.push_str("\\]"),
                '[' if self.peek(0) == Some(':') => self.posix(),
                '[' => self.class(),
                '\\' => {
                    let set = matches!(self.peek(0), Some('d' | 'D' | 'w' | 'W' | 's' | 'S' | 'h' | 'H'));
                    self.escape(true);
                    // Behind a set a `-` cannot make a range.
                    if set && self.peek(0) == Some('-') {
                        self.at += 1;
                        self.out.push_str("\\-");
                    }
                }
                '&' if self.peek(0) == Some('&') => {
                    self.at += 1;
                    self.out.push_str("&&");
                }
                '-' if first || self.peek(0) == Some(']') => self.out.push_str("\\-"),
                '~' | '&' | '#' => self.out.extend(escaped(c)),
                ' ' => self.out.push_str("\\x20"),
                c => self.literal(c),
            }
            first = false;
        }
    }

    fn posix(&mut self) {
        self.out.push('[');
        while let Some(c) = self.take() {
            self.out.push(c);
            if c == ']' {
                return;
            }
        }
    }
}

/// A literal punctuation character in the engines' syntax.
fn escaped(c: char) -> Vec<char> {
    if matches!(
        c,
        '<' | '>' | '"' | '\'' | '/' | '%' | ',' | ':' | ';' | '=' | '@' | '!' | '_' | '`'
    ) {
        vec![c]
    } else {
        vec!['\\', c]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ruby: &str, want: &str) {
        assert_eq!(translate(ruby).pattern, want);
    }

    #[test]
    fn ruby_syntax_is_translated() {
        check("^a.b$", "(?m)^a.b$");
        check("/a\\/b/im", "(?mis)a/b");
        check("/a/q", "(?m)/a/q");
        check(r"\d+\s\w", r"(?m)[0-9]+[\t\n\x0B\f\r ][a-zA-Z0-9_]");
        check(r#"[^\"]*\<x\>"#, r#"(?m)[^"]*<x>"#);
        check(r"(?<a-b>x)(y)", "(?m)(x)(y)");
        check(r"{name=[\w-.]+}", r"(?m)\{name=[a-zA-Z0-9_\-.]+\}");
        check(r"a{2}b{,3}c{1,}", "(?m)a{2}b{0,3}c{1,}");
        check(r"(?i:x)(?m)y", "(?m)(?i:x)(?s)y");
        check("a(?#note)b", "(?m)ab");
        check("[]x]", r"(?m)[\]x]");
        check("[[:alpha:]-]", r"(?m)[[:alpha:]\-]");
        check(r"\p{L}+[\P{Lu}]", r"(?m)\p{L}+[\P{Lu}]");
    }

    #[test]
    fn names_keep_their_order_and_may_repeat() {
        let names = translate("(?<a>x)(y)(?<b>z)|(?<a>w)").names;
        assert_eq!(names, [("a".into(), 1), ("b".into(), 3), ("a".into(), 4)]);
    }

    #[test]
    fn what_needs_the_backtracking_engine_is_seen() {
        for pattern in ["a(?=b)", "a(?!b)", "(?<=a)b", "(a)\\1", "a++", "(?>a)"] {
            assert!(translate(pattern).fancy, "{pattern}");
        }
        assert!(!translate("a+?b*?(c)?").fancy);
    }
}
