//! What an answer of `PutRecordBatch` or `PutRecords` means.
//!
//! ```text
//! {"FailedPutCount":1,"RequestResponses":[{"RecordId":"…"},{"ErrorCode":"…","ErrorMessage":"…"}]}
//! {"FailedRecordCount":1,"Records":[{"SequenceNumber":"…","ShardId":"…"},{"ErrorCode":"…","ErrorMessage":"…"}]}
//! ```

use firelane_core::{Cause, CauseKind, HttpRequest, HttpResponse, Judgement};
use firelane_net::aws::{Class, Failure};
use firelane_record::json::{Lexer, Number, Token, to_msgpack};
use firelane_record::msgpack::{self, Reader};
use firelane_record::set::RecordSet;

use super::{ENTRIES_MAX, Target};
use crate::aws;

/// Codes of whole answers that somebody may mend, however the status reads: keys of KMS that are disabled or
/// gone, a stream that has another source.
const MENDABLE: [&str; 3] = ["KMS", "InvalidKMS", "InvalidSource"];

/// Judges an answer.
pub(crate) fn judge(target: Target, request: &HttpRequest, response: &HttpResponse<'_>) -> Judgement {
    if let Some(mut failure) = aws::failure(response) {
        let is_mendable = MENDABLE.iter().any(|start| failure.code.starts_with(start));
        if failure.class == Class::Refused && is_mendable {
            failure.class = Class::Unavailable;
        }
        return aws::judgement(&target.service(), &failure);
    }
    let title = target.service().title;
    let Some(count) = failed_count(target, response.body) else {
        // A proxy, perhaps. The service may have seen the request or not.
        let text = format!(
            "{title}: an answer with status {} says nothing about the records",
            response.status
        );
        return Judgement::Unavailable(Cause::ambiguous(CauseKind::Protocol, text));
    };
    if count == 0 {
        return Judgement::Accepted;
    }
    let Some(failed) = Failed::read(target, request, response.body) else {
        let text = format!("{title}: {count} records failed, the answer does not say which");
        return Judgement::Unavailable(Cause::ambiguous(CauseKind::Protocol, text));
    };
    failed.judgement(title)
}

/// `FailedPutCount` or `FailedRecordCount`. It stands in front, so the rest is mostly not read.
fn failed_count(target: Target, body: &[u8]) -> Option<u64> {
    let name: &[u8] = match target {
        Target::Firehose => b"FailedPutCount",
        Target::Kinesis => b"FailedRecordCount",
    };
    let mut lexer = Lexer::new(body);
    let mut depth = 0_u32;
    loop {
        match lexer.token().ok()?? {
            Token::ObjectStart | Token::ArrayStart => depth += 1,
            Token::ObjectEnd | Token::ArrayEnd => depth = depth.checked_sub(1)?,
            Token::String(text) if depth == 1 && text.raw == name => {
                return match (lexer.token().ok()??, lexer.token().ok()??) {
                    (Token::Colon, Token::Number(Number::Int(count))) => u64::try_from(count).ok(),
                    _ => None,
                };
            }
            _ => {}
        }
    }
}

/// The entries that failed.
struct Failed {
    records: RecordSet,
    failed: usize,
    entries: usize,
    /// The first of them, and of those that were throttled.
    first: Failure,
    throttled: Option<Failure>,
}

impl Failed {
    /// `None` where the answer names no failed entry, or is not about as many entries as were sent.
    fn read(target: Target, request: &HttpRequest, body: &[u8]) -> Option<Self> {
        let mut raw = Vec::new();
        to_msgpack(body, &mut raw).ok()?;
        let list: &[u8] = match target {
            Target::Firehose => b"RequestResponses",
            Target::Kinesis => b"Records",
        };
        let mut reader = Reader::new(field(&raw, list)?);
        let msgpack::Token::Array(entries) = reader.token()? else {
            return None;
        };
        if entries as usize > ENTRIES_MAX {
            return None;
        }
        let single = match request.units.is_empty() {
            true => indexes(&request.covers),
            false => Vec::new(),
        };
        if entries as usize != single.len() + request.units.len() {
            return None;
        }
        let mut records = RecordSet::none();
        let (mut failed, mut first, mut throttled) = (0, None, None);
        for entry in 0..entries as usize {
            let answer = reader.value()?;
            let text = |name| field(answer, name).and_then(msgpack::text);
            let Some(code) = text(&b"ErrorCode"[..]).filter(|code| !code.is_empty()) else {
                continue;
            };
            failed += 1;
            match (single.get(entry), request.units.get(entry)) {
                (Some(&index), _) => records.insert(index),
                (None, Some(unit)) => records = records.union(unit),
                (None, None) => return None,
            }
            if first.is_some() && throttled.is_some() {
                continue;
            }
            let message = text(b"ErrorMessage").unwrap_or_default();
            let failure =
                Failure::of_record(&String::from_utf8_lossy(code), &String::from_utf8_lossy(message));
            if failure.class == Class::Throttled {
                throttled.get_or_insert(failure.clone());
            }
            first.get_or_insert(failure);
        }
        Some(Self {
            records,
            failed,
            entries: entries as usize,
            first: first?,
            throttled,
        })
    }

    /// Only what failed is sent again. Where that is all of it, what follows would fail too.
    fn judgement(self, title: &str) -> Judgement {
        let (kind, failure) = match &self.throttled {
            Some(failure) => (CauseKind::Throttled, failure),
            None => (CauseKind::Unavailable, &self.first),
        };
        let (failed, entries) = (self.failed, self.entries);
        let mut text = format!(
            "{title} took {} of {entries} entries: {}",
            entries - failed,
            failure.code
        );
        if !failure.message.is_empty() {
            text.push_str(": ");
            text.push_str(&failure.message);
        }
        let why = Cause::new(kind, text);
        match (failed == entries, kind) {
            (true, CauseKind::Throttled) => Judgement::Throttled { after: None, why },
            (true, _) => Judgement::Unavailable(why),
            (false, _) => Judgement::Partial {
                again: self.records,
                refused: RecordSet::none(),
                why,
            },
        }
    }
}

/// The records of a call, each an entry.
fn indexes(covers: &RecordSet) -> Vec<u32> {
    let runs = covers.runs(0, u32::MAX).filter(|run| run.2);
    runs.flat_map(|(from, to, _)| from..to)
        .take(ENTRIES_MAX + 1)
        .collect()
}

/// The raw value of a key.
fn field<'r>(raw: &'r [u8], name: &[u8]) -> Option<&'r [u8]> {
    let mut pairs = msgpack::pairs(raw);
    pairs
        .find(|(key, _)| msgpack::text(key) == Some(name))
        .map(|(_, value)| value)
}
