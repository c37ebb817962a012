//! Formats that people use, over texts that servers write.

use proptest::prelude::*;

use super::*;

fn today() -> Civil {
    Civil::from_epoch(1_731_000_000)
}

#[track_caller]
fn check(format: &str, text: &str, want: Option<&str>) {
    let format = TimeFormat::new(format).unwrap();
    let got = format.parse(text.as_bytes(), today, true);
    let print = |civil: Civil| format!("{}.{:09}", civil.epoch(civil.offset), civil.nanos);
    assert_eq!(got.map(print).as_deref(), want, "{text}");
}

#[test]
fn usual_formats() {
    let seven = Some("1714979289.000000000");
    check("%Y-%m-%d %H:%M:%S", "2024-05-06 07:08:09", seven);
    check("%d/%b/%Y:%H:%M:%S %z", "06/May/2024:07:08:09 +0000", seven);
    check("%a, %d %b %Y %H:%M:%S %Z", "Mon, 06 May 2024 07:08:09 GMT", seven);
    check("%Y%m%d%H%M%S", "20240506070809", seven);
    check("%FT%T", "2024-05-06T07:08:09", seven);
    check("%e %B %Y %H:%M:%S", " 6 May 2024   07:08:09", seven);
    check("%c", "Mon May  6 07:08:09 2024", seven);
    check("%D %r", "05/06/24 07:08:09 AM", seven);
    check("%Y-%j %T", "2024-127 07:08:09", seven);
    check(
        "%Y-%m-%d %I:%M:%S %p",
        "2024-05-06 07:08:09 PM",
        Some("1715022489.000000000"),
    );
    check("%C%y-%m-%d %T", "2024-05-06 07:08:09", seven);
    check("%s", "1714979289", seven);
    check("%G-W%V-%u %F %T", "2024-W19-1 2024-05-06 07:08:09", seven);
}

#[test]
fn fractions_and_zones() {
    check("%s.%L", "1700000123.75", Some("1700000123.750000000"));
    check(
        "%FT%T.%LZ",
        "2024-05-06T07:08:09.1234567891Z",
        Some("1714979289.123456789"),
    );
    check(
        "%FT%T.%L%z",
        "2024-05-06T07:08:09.5+01:30",
        Some("1714973889.500000000"),
    );
    check(
        "%T %z %F",
        "07:08:09 -08 2024-05-06",
        Some("1715008089.000000000"),
    );
    check(
        "%F %T %Z",
        "2024-05-06 07:08:09 CEST tail",
        Some("1714972089.000000000"),
    );
    check(
        "%F %T %z",
        "2024-05-06 07:08:09 PDT",
        Some("1715004489.000000000"),
    );
    check("%FT%T.%LZ", "2024-05-06T07:08:09.Z", None);
    check("%F %T %Z", "2024-05-06 07:08:09 Nowhere", None);
}

#[test]
fn what_does_not_fit() {
    check("%Y-%m-%d", "2024-13-01", None);
    check("%Y-%m-%d", "2024-05", None);
    check("%H:%M:%S", "24:00:00", None);
    check("%H %p", "13 PM", None);
    check("%Y-%m-%d", "2024-05-06 and more", Some("1714953600.000000000"));
    check("%Y-%m-%d", "2024-02-31", Some("1709337600.000000000"));
    let format = TimeFormat::new("%Y-%m-%d %H:%M").unwrap();
    let loose = format.parse(b"2024-05-06", today, false).unwrap();
    assert_eq!((loose.year, loose.month, loose.day, loose.hour), (2024, 5, 6, 0));
}

#[test]
fn a_format_without_year_takes_the_present_one() {
    check("%b %d %H:%M:%S", "May  6 07:08:09", Some("1714979289.000000000"));
    check("%H:%M:%S", "17:20:00", Some("1731000000.000000000"));
    let format = TimeFormat::new("%b %d").unwrap();
    let year = |now: i64, text: &str| {
        let today = || Civil::from_epoch(now);
        format.parse(text.as_bytes(), today, true).unwrap().year
    };
    assert_eq!(
        year(1_735_700_000, "Dec 31"),
        2024,
        "read on the first of January 2025"
    );
    assert_eq!(
        year(1_735_600_000, "Jan 1"),
        2025,
        "read on the last of December 2024"
    );
}

#[test]
fn bad_formats_are_named() {
    for (format, want) in [
        ("%Q", "there is no conversion `%Q`"),
        ("%H:%", "ends in a lone `%`"),
        ("%L%L", "`%L` may stand once"),
    ] {
        assert_eq!(TimeFormat::new(format).unwrap_err().to_string(), want);
    }
}

proptest! {
    /// Guarantees: civil time and seconds go back and forth.
    #[test]
    fn civil_and_back(secs in -60_000_000_000i64..200_000_000_000) {
        prop_assert_eq!(Civil::from_epoch(secs).epoch(0), secs);
    }

    /// Guarantees: what is printed is read; any text is read without a panic.
    #[test]
    fn printed_and_read(secs in 0i64..253_402_300_799, nanos in 0u32..1_000_000_000, junk in ".{0,20}") {
        let civil = Civil::from_epoch(secs);
        let text = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{nanos:09}Z",
            civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second,
        );
        let format = TimeFormat::new("%Y-%m-%dT%H:%M:%S.%L%z").unwrap();
        let read = format.parse(text.as_bytes(), today, true).unwrap();
        prop_assert_eq!((read.epoch(read.offset), read.nanos), (secs, nanos));
        for format in ["%c %Z", "%s.%L %z", "%G %u %e%p%j"] {
            let _ = TimeFormat::new(format).unwrap().parse(junk.as_bytes(), today, false);
        }
    }
}
