//! Delivers a chunk: makes sure of its stream, sends its requests one after the other, and adds up what
//! became of its records.

use std::time::Duration;

use firelane_core::{Cause, CauseKind, Chunk, DeliverCx, Judgement, Outcome};
use firelane_record::set::RecordSet;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Logs;
use super::api::{Answer, Operation, Rejected, ask};
use super::encode::{self, Plan, Put};
use super::names::Place;

/// After this time no further request of the chunk is begun: what is done must be settled before the engine
/// takes the delivery for hung. A chunk has many requests only if its times are far apart.
const ROUND_MAX: Duration = Duration::from_secs(240);

/// How far a record got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Done,
    Refused,
}

/// What became of the records of a chunk.
struct Tally {
    states: Vec<State>,
    refusal: Option<Cause>,
    failure: Option<(Option<Duration>, Cause)>,
}

impl Tally {
    fn new(total: u32, plan: &Plan, log_key: &str) -> Self {
        let mut tally = Self {
            states: vec![State::Open; total as usize],
            refusal: None,
            failure: None,
        };
        plan.blank.iter().for_each(|&index| tally.set(index, State::Done));
        let cause = |text| Cause::new(CauseKind::Refused, text);
        if !plan.without_key.is_empty() {
            let count = plan.without_key.len();
            tally.refuse(
                &plan.without_key,
                cause(format!("{count} records have no key `{log_key}` to send")),
            );
        }
        if !plan.timeless.is_empty() {
            let count = plan.timeless.len();
            let text = format!("{count} records are from before 1970, which the service cannot store");
            tally.refuse(&plan.timeless, cause(text));
        }
        tally
    }

    fn set(&mut self, index: u32, state: State) {
        if let Some(slot) = self.states.get_mut(index as usize) {
            *slot = state;
        }
    }

    fn refuse(&mut self, records: &[u32], why: Cause) {
        records.iter().for_each(|&index| self.set(index, State::Refused));
        self.refusal.get_or_insert(why);
    }

    /// A request was taken, but for some events. A record is done with its last part.
    fn taken(&mut self, put: &Put, rejected: Rejected, place: &Place) {
        let open = put.records.last().filter(|_| put.goes_on);
        let mut left_out = Vec::new();
        for (at, &record) in put.records.iter().enumerate() {
            if rejected.holds(at) {
                left_out.push(record);
            } else if Some(&record) != open && self.states.get(record as usize) == Some(&State::Open) {
                self.set(record, State::Done);
            }
        }
        if !left_out.is_empty() {
            let text = rejection(rejected, put.records.len());
            self.refuse(
                &left_out,
                Cause::new(CauseKind::Refused, format!("{place}: {text}")),
            );
        }
    }

    fn outcome(self) -> Outcome {
        let all = |state| {
            let records = (0..).zip(&self.states).filter(move |(_, now)| **now == state);
            records.map(|(index, _)| index).collect::<RecordSet>()
        };
        let refused = all(State::Refused);
        match (self.failure.clone(), self.refusal.clone()) {
            (Some((after, why)), _) => Outcome::Retry {
                done: all(State::Done),
                refused,
                after,
                why,
            },
            (None, Some(why)) => Outcome::Discard {
                records: refused,
                why,
            },
            (None, None) => Outcome::Delivered,
        }
    }
}

/// How many events were left out, and why.
fn rejection(rejected: Rejected, events: usize) -> String {
    let expired = rejected.expired.min(events);
    let old = rejected.old.min(events).saturating_sub(expired);
    let new = events.saturating_sub(rejected.new);
    let counts = [
        (old, "older than 14 days or than the group"),
        (expired, "older than the group keeps them"),
        (new, "more than two hours ahead"),
    ];
    let parts: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, why)| format!("{count} {why}"))
        .collect();
    format!(
        "of {events} events the service takes none that are too old or too new: {}",
        parts.join(", ")
    )
}

impl Logs {
    /// Delivers a chunk, whose records all go to one stream.
    pub(super) async fn send(&self, chunk: Chunk, cx: DeliverCx) -> Outcome {
        let place = match self.names.of(&chunk, &cx.name).await {
            Ok(Some(place)) => place,
            Ok(None) => return Outcome::Delivered,
            Err(why) => return Outcome::retry(why),
        };
        let job = {
            let (messages, place) = (self.messages.clone(), place.clone());
            move |chunk: &Chunk| encode::plan(&messages, &place, chunk)
        };
        let Some(mut plan) = cx.encode(&chunk, job).await else {
            return Outcome::retry(Cause::new(CauseKind::Panic, "the encoder panicked"));
        };
        let mut tally = Tally::new(chunk.records(), &plan, &self.log_key);
        let begun = Instant::now();
        // Each request's memory is given back when it is through.
        for put in std::mem::take(&mut plan.puts) {
            if begun.elapsed() > ROUND_MAX {
                let text = "the chunk has more requests than can be sent in one go, the rest follows";
                tally.failure = Some((Some(Duration::ZERO), Cause::new(CauseKind::Timeout, text)));
                break;
            }
            match self.put(&place, &put, &cx).await {
                Ok(rejected) => {
                    if let Some(first) = (0..put.records.len()).find(|&at| rejected.holds(at)) {
                        let reason = rejection(rejected, put.records.len());
                        warn!(target: "output", instance = %cx.name, stream = %place, first, reason, "events left out");
                    }
                    tally.taken(&put, rejected, &place);
                }
                Err(Judgement::Refused(why)) => tally.refuse(&put.records, why),
                Err(Judgement::Throttled { after, why }) => {
                    tally.failure = Some((after, why));
                    break;
                }
                Err(Judgement::Unavailable(why) | Judgement::Partial { why, .. }) => {
                    tally.failure = Some((None, why));
                    break;
                }
                Err(Judgement::Accepted) => tally.taken(&put, Rejected::NONE, &place),
            }
        }
        tally.outcome()
    }

    /// Sends one request. A stream that has gone meanwhile is created again, once.
    async fn put(&self, place: &Place, put: &Put, cx: &DeliverCx) -> Result<Rejected, Judgement> {
        let mut again = true;
        loop {
            self.streams.ensure(&*self.api, place).await?;
            let bytes = put.body.bytes.len();
            let answer = ask(&*self.api, Operation::PutLogEvents, put.body.clone()).await;
            debug!(target: "output", instance = %cx.name, stream = %place, bytes, events = put.records.len(), ?answer, "answered");
            match answer {
                Answer::Done(rejected) => return Ok(rejected),
                Answer::Missing(why) => {
                    self.streams.missing(place, why.clone()).await?;
                    if !std::mem::take(&mut again) {
                        return Err(Judgement::Unavailable(why));
                    }
                }
                Answer::Denied(why) => return Err(Judgement::Unavailable(why)),
                Answer::Other(judgement) => return Err(judgement),
                // Nothing is created here; whatever says so is not understood.
                Answer::Exists => {
                    let text = "the answer makes no sense: it says that something exists already";
                    return Err(Judgement::Unavailable(Cause::ambiguous(
                        CauseKind::Protocol,
                        text,
                    )));
                }
            }
        }
    }
}
