//! `es` and `opensearch`: documents for `_bulk`.
//!
//! Body: for each record an action line (`create`, `index` or `update`, with index, type and id), then the
//! document: the time first, the tag if asked for, then the record. A record's own key of the same name wins.
//!
//! On failure: of an answer with `errors` only what may pass another time is sent again (429, 5xx). What
//! exists already (409) counts as delivered, other refusals are refused for good, with Elasticsearch's
//! words. Fluent Bit sends everything again, or loses what was refused. Without an id a lost answer
//! repeats documents; with `generate_id on` it cannot.
//!
//! With `aws_auth on` requests are signed (Amazon OpenSearch Service: `es`, Serverless: `aoss`).
//!
//! Deliberately not here: upstream files; Fluent Bit's very hash for `generate_id` (ours is SHA-256, cut).

mod config;
mod encode;
pub(crate) mod judge;

use firelane_core::{
    ChunkView, GroupBy, HttpOutput, HttpRequest, HttpResponse, Judgement, Limits, OutputPlugin, Stability,
};

pub use config::{Elasticsearch, Opensearch};
use encode::Encoder;

/// `[OUTPUT] Name es`
pub static ES: OutputPlugin =
    OutputPlugin::new::<Elasticsearch>("es", "sends records to Elasticsearch", Stability::Beta)
        .aliases(&["elasticsearch"])
        .network();

/// `[OUTPUT] Name opensearch`
pub static OPENSEARCH: OutputPlugin = OutputPlugin::new::<Opensearch>(
    "opensearch",
    "sends records to OpenSearch, also Amazon's, with signed requests",
    Stability::Beta,
)
.network();

/// The output, without its connections.
struct Bulk {
    limits: Limits,
    encoder: Encoder,
    /// Where to, for messages.
    place: String,
}

impl HttpOutput for Bulk {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn group_by(&self) -> GroupBy {
        GroupBy::All
    }

    fn encode(&self, chunk: ChunkView<'_>) -> Vec<HttpRequest> {
        self.encoder.requests(chunk)
    }

    fn judge(&self, request: &HttpRequest, response: &HttpResponse<'_>) -> Judgement {
        judge::judge(&self.place, request, response)
    }
}
