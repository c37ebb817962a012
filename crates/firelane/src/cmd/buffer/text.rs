//! Numbers, times and tables for people.

/// `1 record`, `2 records`.
pub(super) fn number(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Bytes with the unit that leaves one to four digits.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let (mut tenths, mut unit) = (n.saturating_mul(10) / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A time span by its two largest units.
pub(super) fn span(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

/// A text from outside without what a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    let escaped = text.chars().map(|c| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    });
    escaped.collect()
}

/// A table whose columns are as wide as needed. A heading that begins with `>` stands at the right, with its
/// column.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let wide = |text: &str| text.chars().count();
    let right = |column: usize| heads[column].starts_with('>');
    let heads_row: Vec<String> = heads
        .iter()
        .map(|head| head.trim_start_matches('>').into())
        .collect();
    let all: Vec<&Vec<String>> = std::iter::once(&heads_row).chain(rows).collect();
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| all.iter().map(|row| wide(&row[column])).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in all {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[column] - wide(cell));
            let (before, behind) = if right(column) { (&*pad, "") } else { ("", &*pad) };
            let gap = if column == 0 { "" } else { "  " };
            line.push_str(&format!("{gap}{before}{cell}{behind}"));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            (bytes(1023), bytes(1024), bytes(1_572_864)),
            ("1023 B".into(), "1.0 KiB".into(), "1.5 MiB".into())
        );
        assert_eq!(bytes(1024 * 1024 - 1), "1023.9 KiB");
        assert!(bytes(u64::MAX).ends_with(" TiB"));
        assert_eq!(
            [59_999, 60_000, 3_700_000, 90_000_000].map(span),
            ["59 s", "1 min 0 s", "1 h 1 min", "1 d 1 h"]
        );
        assert_eq!(plain("a\x1b[2Jb\u{e9}"), "a\\u{1b}[2Jb\u{e9}");
    }
}
