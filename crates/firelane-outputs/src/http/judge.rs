//! What a status means: 200–205 taken, 408 and 429 and everything else again, other 4xx never (Fluent Bit's
//! table).

use std::time::Duration;

use firelane_core::{Cause, CauseKind, HttpResponse, Judgement};

/// Longest `Retry-After` that is obeyed: a typing error over there must not stop the delivery for a year.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Bytes of an answer that go into a message.
const PAYLOAD_SHOWN: usize = 300;

/// Judges an answer of `place`; `show_payload` puts the beginning of its body into the message.
pub(crate) fn judge(place: &str, response: &HttpResponse<'_>, show_payload: bool) -> Judgement {
    let status = response.status;
    if (200..=205).contains(&status) {
        return Judgement::Accepted;
    }
    let mut text = format!("{place} answered {status}");
    if show_payload && !response.body.is_empty() {
        let shown = response.body.get(..PAYLOAD_SHOWN).unwrap_or(response.body);
        text.push_str(": ");
        text.push_str(String::from_utf8_lossy(shown).trim_end());
    }
    let after = retry_after(response.headers);
    match status {
        429 => Judgement::Throttled {
            after,
            why: Cause::new(CauseKind::Throttled, text),
        },
        408 => again(after, Cause::new(CauseKind::Timeout, text)),
        401 | 403 => Judgement::Refused(Cause::new(CauseKind::Auth, text)),
        400..=499 => Judgement::Refused(Cause::new(CauseKind::Refused, text)),
        _ => again(after, Cause::new(CauseKind::Unavailable, text)),
    }
}

fn again(after: Option<Duration>, why: Cause) -> Judgement {
    match after {
        Some(_) => Judgement::Throttled { after, why },
        None => Judgement::Unavailable(why),
    }
}

/// `Retry-After` as seconds, or as a date minus the answer's own `Date` (so that no clock is needed).
fn retry_after(headers: &[(String, String)]) -> Option<Duration> {
    let get = |name: &str| {
        headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.trim())
    };
    let value = get("retry-after")?;
    let secs = match value.parse::<u64>() {
        Ok(secs) => secs,
        Err(_) => u64::try_from(http_date(value)? - http_date(get("date")?)?).ok()?,
    };
    Some(Duration::from_secs(secs).min(RETRY_AFTER_MAX))
}

/// Seconds since 1970 of an IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`; other forms are obsolete.
fn http_date(text: &str) -> Option<i64> {
    let (_, text) = text.split_once(", ")?;
    let mut words = text.strip_suffix(" GMT")?.split([' ', ':']);
    let mut number = || words.next()?.parse::<i64>().ok();
    let day = number()?;
    let month = words.next()?;
    let month = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]
    .iter()
    .position(|name| *name == month)? as i64;
    let mut number = || words.next()?.parse::<i64>().ok();
    let (year, hour, minute, second) = (number()?, number()?, number()?, number()?);
    if !(1970..=9999).contains(&year) || !(1..=31).contains(&day) {
        return None;
    }
    // Days from civil, with the year beginning in March.
    let year = if month < 2 { year - 1 } else { year };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * ((month + 10) % 12) + 2) / 5 + day - 719_469;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)]) -> Judgement {
        let headers: Vec<_> = headers
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let response = HttpResponse {
            status,
            headers: &headers,
            body: b"no\n",
        };
        judge("host:80", &response, true)
    }

    #[test]
    fn every_status_has_its_meaning() {
        for status in 100..=999 {
            let got = answer(status, &[]);
            let fits = match status {
                200..=205 => got == Judgement::Accepted,
                429 => matches!(got, Judgement::Throttled { after: None, .. }),
                408 => matches!(got, Judgement::Unavailable(_)),
                400..=499 => matches!(got, Judgement::Refused(_)),
                _ => matches!(got, Judgement::Unavailable(_)),
            };
            assert!(fits, "{status}: {got:?}");
        }
    }

    #[test]
    fn the_message_names_place_status_and_answer() {
        let Judgement::Unavailable(why) = answer(503, &[]) else {
            panic!("503 is sent again");
        };
        assert_eq!(why.text, "host:80 answered 503: no");
    }

    #[track_caller]
    fn check_after(status: u16, headers: &[(&str, &str)], want: Option<u64>) {
        let got = match answer(status, headers) {
            Judgement::Throttled { after, .. } => after,
            Judgement::Unavailable(_) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(got.map(|after| after.as_secs()), want);
    }

    #[test]
    fn retry_after_is_read() {
        check_after(429, &[("retry-after", "7")], Some(7));
        check_after(503, &[("retry-after", " 120 ")], Some(120));
        check_after(503, &[("retry-after", "99999999")], Some(3600));
        check_after(503, &[("retry-after", "soon")], None);
        check_after(429, &[("retry-after", "-1")], None);
        let dates = [
            ("retry-after", "Tue, 05 Mar 2024 06:08:00 GMT"),
            ("date", "Tue, 05 Mar 2024 06:07:30 GMT"),
        ];
        check_after(503, &dates, Some(30));
        check_after(503, &dates[..1], None);
    }

    #[test]
    fn dates_count_from_1970() {
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_date("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        assert_eq!(http_date("Sunday, 06-Nov-94 08:49:37 GMT"), None);
    }
}
