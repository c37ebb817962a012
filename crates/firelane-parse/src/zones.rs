//! Names of time zones as they stand in logs, and their distance from UTC.

/// Names and minutes east of UTC, sorted by name. Where a name means several zones it is the one that
/// Fluent Bit takes.
const NAMES: &[(&str, i32)] = &[
    ("A", 60),
    ("ACDT", 630),
    ("ACST", 570),
    ("ADT", -180),
    ("AEDT", 660),
    ("AEST", 600),
    ("AKDT", -480),
    ("AKST", -540),
    ("ART", -180),
    ("AST", -240),
    ("AWST", 480),
    ("B", 120),
    ("BDT", 360),
    ("BRST", -120),
    ("BRT", -180),
    ("C", 180),
    ("CAT", 120),
    ("CDT", -300),
    ("CEST", 120),
    ("CET", 60),
    ("CLST", -180),
    ("CLT", -240),
    ("CST", -360),
    ("D", 240),
    ("E", 300),
    ("EAT", 180),
    ("EDT", -240),
    ("EEST", 180),
    ("EET", 120),
    ("EST", -300),
    ("F", 360),
    ("G", 420),
    ("GMT", 0),
    ("GST", 240),
    ("H", 480),
    ("HADT", -540),
    ("HST", -600),
    ("I", 540),
    ("ICT", 420),
    ("IST", 330),
    ("JST", 540),
    ("K", 600),
    ("KST", 540),
    ("L", 660),
    ("M", 720),
    ("MDT", -360),
    ("MSK", 180),
    ("MST", -420),
    ("MYT", 480),
    ("N", -60),
    ("NDT", -150),
    ("NPT", 345),
    ("NST", -210),
    ("NZDT", 780),
    ("NZST", 720),
    ("O", -120),
    ("P", -180),
    ("PDT", -420),
    ("PST", -480),
    ("Q", -240),
    ("R", -300),
    ("S", -360),
    ("SAST", 120),
    ("SGT", 480),
    ("T", -420),
    ("U", -480),
    ("UT", 0),
    ("UTC", 0),
    ("V", -540),
    ("W", -600),
    ("WAT", 60),
    ("WEST", 60),
    ("WET", 0),
    ("WIB", 420),
    ("WIT", 540),
    ("WITA", 480),
    ("X", -660),
    ("Y", -720),
    ("Z", 0),
];

/// Longest name.
const LONGEST: usize = 4;

/// Seconds east of UTC of a name, in any case.
pub(crate) fn by_name(name: &[u8]) -> Option<i32> {
    if name.len() > LONGEST {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    let found = NAMES
        .binary_search_by(|(known, _)| known.as_bytes().cmp(&upper))
        .ok()?;
    Some(NAMES.get(found)?.1 * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_found() {
        assert!(NAMES.is_sorted_by_key(|(name, _)| *name));
        assert!(NAMES.iter().all(|(name, _)| name.len() <= LONGEST));
        assert_eq!(by_name(b"cest"), Some(7200));
        assert_eq!(by_name(b"NPT"), Some(5 * 3600 + 45 * 60));
        assert_eq!(by_name(b"XYZ"), None);
        assert_eq!(by_name(b"EUROPE"), None);
    }
}
