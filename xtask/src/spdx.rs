//! License expressions (SPDX): `MIT OR (Apache-2.0 AND ISC)`.

/// Whether the licenses that `allowed` takes are enough; the error says what cannot be read.
pub(crate) fn satisfied(expression: &str, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let expression = normal(expression)?;
    let spaced = expression.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader {
        words: &words,
        allowed,
    };
    let result = reader.any()?;
    match reader.words {
        [] => Ok(result),
        [rest, ..] => Err(format!("`{rest}` of `{expression}` is out of place")),
    }
}

/// The expression with the old spelling `MIT/Apache-2.0` written as `MIT OR Apache-2.0`.
pub(crate) fn normal(expression: &str) -> Result<String, String> {
    if expression.trim().is_empty() {
        return Err("its manifest names no license".to_owned());
    }
    Ok(expression
        .split('/')
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(" OR "))
}

struct Reader<'a> {
    words: &'a [&'a str],
    allowed: &'a dyn Fn(&str) -> bool,
}

impl Reader<'_> {
    fn skip(&mut self, word: &str) -> bool {
        let found = self.words.first() == Some(&word);
        if found {
            self.words = &self.words[1..];
        }
        found
    }

    fn any(&mut self) -> Result<bool, String> {
        let mut result = self.all()?;
        while self.skip("OR") {
            result |= self.all()?;
        }
        Ok(result)
    }

    fn all(&mut self) -> Result<bool, String> {
        let mut result = self.one()?;
        while self.skip("AND") {
            result &= self.one()?;
        }
        Ok(result)
    }

    fn one(&mut self) -> Result<bool, String> {
        if self.skip("(") {
            let result = self.any()?;
            return match self.skip(")") {
                true => Ok(result),
                false => Err("a parenthesis is not closed".to_owned()),
            };
        }
        let is_name = |word: &&&str| !["AND", "OR", "WITH", "(", ")"].contains(*word);
        let name = self.words.first().filter(is_name).ok_or("a license is missing")?;
        self.words = &self.words[1..];
        if !self.skip("WITH") {
            return Ok((self.allowed)(name));
        }
        let exception = self
            .words
            .first()
            .filter(is_name)
            .ok_or("an exception is missing")?;
        self.words = &self.words[1..];
        Ok((self.allowed)(&format!("{name} WITH {exception}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_says() {
        let allowed = |name: &str| ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].contains(&name);
        for (expression, want) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT/GPL-3.0", true),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("GPL-3.0 AND ISC OR MIT", true),
            ("GPL-3.0 AND (ISC OR MIT)", false),
            ("(GPL-3.0 OR ISC) AND MIT", true),
            ("Apache-2.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
        ] {
            assert_eq!(satisfied(expression, &allowed), Ok(want), "{expression}");
        }
        for bad in ["", "MIT MIT", "MIT OR", "(MIT", "MIT)", "MIT WITH", "AND"] {
            assert!(satisfied(bad, &allowed).is_err(), "{bad}");
        }
    }
}
