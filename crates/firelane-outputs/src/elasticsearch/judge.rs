//! What an answer of `_bulk` means.

use std::borrow::Cow;
use std::fmt::Write as _;

use firelane_core::{Cause, CauseKind, HttpRequest, HttpResponse, Judgement};
use firelane_record::set::RecordSet;
use serde::Deserialize;

use crate::aws;

/// Bytes of an answer that go into a message.
const SHOWN: usize = 300;

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    errors: bool,
    #[serde(default, borrow)]
    items: Vec<Item<'a>>,
}

/// One of them is there, by the operation.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, alias = "index", alias = "update", alias = "delete")]
    create: Done<'a>,
}

#[derive(Deserialize)]
struct Done<'a> {
    status: u16,
    #[serde(default, borrow)]
    error: Option<Failure<'a>>,
}

#[derive(Deserialize)]
struct Failure<'a> {
    #[serde(default, borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default, borrow)]
    reason: Option<Cow<'a, str>>,
}

/// Judges an answer.
pub(crate) fn judge(place: &str, request: &HttpRequest, response: &HttpResponse<'_>) -> Judgement {
    if !matches!(response.status, 200 | 201) {
        return by_status(place, response);
    }
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(response.body) else {
        let text = format!(
            "{place} answered {} with {}",
            response.status,
            shown(response.body)
        );
        return Judgement::Unavailable(Cause::ambiguous(CauseKind::Protocol, text));
    };
    if !answer.errors {
        return Judgement::Accepted;
    }
    by_item(place, request, &answer.items)
}

fn by_status(place: &str, response: &HttpResponse<'_>) -> Judgement {
    let text = match aws::failure(response) {
        Some(failure) if !failure.message.is_empty() => format!("{place} answered {failure}"),
        _ => format!("{place} answered {}: {}", response.status, shown(response.body)),
    };
    let cause = |kind| Cause::new(kind, text.clone());
    match response.status {
        429 => Judgement::Throttled {
            after: None,
            why: cause(CauseKind::Throttled),
        },
        // Somebody may mend that: a password, a role, a path.
        401 | 403 => Judgement::Unavailable(cause(CauseKind::Auth)),
        404 | 408 => Judgement::Unavailable(cause(CauseKind::Unavailable)),
        400..=499 => Judgement::Refused(cause(CauseKind::Refused)),
        _ => Judgement::Unavailable(cause(CauseKind::Unavailable)),
    }
}

fn by_item(place: &str, request: &HttpRequest, items: &[Item<'_>]) -> Judgement {
    let (mut again, mut refused) = (RecordSet::none(), RecordSet::none());
    let mut why: Option<Cause> = None;
    let mut refusal: Option<Cause> = None;
    let mut records = indexes(&request.covers);
    for item in items {
        let Some(at) = records.next() else { break };
        let result = &item.create;
        match result.status {
            // A document of that id is there already.
            200..=299 | 409 => {}
            429 | 500..=599 => {
                again.insert_range(at..at + 1);
                why.get_or_insert_with(|| cause(place, result, CauseKind::Unavailable));
            }
            _ => {
                refused.insert_range(at..at + 1);
                refusal.get_or_insert_with(|| cause(place, result, CauseKind::Refused));
            }
        }
    }
    // An answer that is silent about some of them: they may be there.
    for at in records {
        again.insert_range(at..at + 1);
        why.get_or_insert_with(|| {
            let text = format!("{place} did not answer for all documents");
            Cause::ambiguous(CauseKind::Protocol, text)
        });
    }
    match why.or(refusal) {
        None => Judgement::Accepted,
        Some(why) => Judgement::Partial { again, refused, why },
    }
}

/// The indexes of the records in a request's order.
fn indexes(covers: &RecordSet) -> impl Iterator<Item = u32> {
    let runs = covers.runs(0, u32::MAX).filter(|(_, _, inside)| *inside);
    runs.flat_map(|(from, to, _)| from..to)
}

fn cause(place: &str, result: &Done<'_>, kind: CauseKind) -> Cause {
    let mut text = format!("{place} answered {} for a document", result.status);
    if let Some(error) = &result.error {
        let reason = error.reason.as_deref().unwrap_or_default();
        let _ = write!(text, ": {} {}", error.kind, shown(reason.as_bytes()));
    }
    Cause::new(kind, text)
}

fn shown(body: &[u8]) -> String {
    let shown = body.get(..SHOWN).unwrap_or(body);
    String::from_utf8_lossy(shown).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn answer(status: u16, body: &str) -> Judgement {
        let mut covers = RecordSet::range(0, 2);
        covers.insert_range(4..6);
        let request = HttpRequest {
            method: "POST",
            target: "/_bulk".to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            covers,
            units: Vec::new(),
        };
        let response = HttpResponse {
            status,
            headers: &[],
            body: body.as_bytes(),
        };
        judge("host:9200", &request, &response)
    }

    #[test]
    fn items_are_judged_one_by_one() {
        let body = r#"{"took":1,"errors":true,"items":[{"create":{"_index":"a","status":201}},
            {"create":{"status":409}},
            {"create":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"bad \"date\""}}},
            {"create":{"status":429,"error":{"type":"es_rejected_execution_exception"}}}]}"#;
        let Judgement::Partial { again, refused, why } = answer(200, body) else {
            panic!("some failed");
        };
        assert_eq!((again, refused), (RecordSet::range(5, 6), RecordSet::range(4, 5)));
        assert_eq!(why.kind, CauseKind::Unavailable);
        let only = body.replace("429", "200");
        let Judgement::Partial { again, why, .. } = answer(200, &only) else {
            panic!("one was refused");
        };
        assert!(again.is_none());
        assert_eq!(
            why.text,
            "host:9200 answered 400 for a document: mapper_parsing_exception bad \"date\""
        );
    }

    #[test]
    fn silence_about_a_document_is_ambiguous() {
        let Judgement::Partial { again, why, .. } =
            answer(200, r#"{"errors":true,"items":[{"index":{"status":200}}]}"#)
        else {
            panic!("three are missing");
        };
        assert_eq!(again.count(10), 3);
        assert!(why.ambiguous);
    }

    #[test]
    fn statuses() {
        assert_eq!(
            answer(200, r#"{"took":3,"errors":false,"items":[]}"#),
            Judgement::Accepted
        );
        assert!(matches!(answer(200, "<html>"), Judgement::Unavailable(why) if why.ambiguous));
        assert!(matches!(answer(429, ""), Judgement::Throttled { .. }));
        assert!(matches!(answer(503, ""), Judgement::Unavailable(_)));
        assert!(matches!(answer(413, "too large"), Judgement::Refused(_)));
        let denied = r#"{"message":"User: x is not authorized to perform: es:ESHttpPost"}"#;
        let Judgement::Unavailable(why) = answer(403, denied) else {
            panic!("a role can be mended");
        };
        assert_eq!(why.kind, CauseKind::Auth);
        assert!(why.text.contains("es:ESHttpPost"), "{}", why.text);
    }
}
