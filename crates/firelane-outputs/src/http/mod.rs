//! `http`: one request per chunk to any HTTP server.
//!
//! Body: JSON (one array), JSON lines, JSON objects behind each other, or MessagePack as Fluent Bit stores
//! it; gzip, zstd or snappy on demand. Chunks have at most about 2 MB of raw records. With `body_key` and
//! `headers_key` each record is a request of its own, made of two of its fields.
//!
//! On failure: 200–205 is taken; 4xx but 408 and 429 is refused for good; everything else, and no answer, is
//! sent again, not before `Retry-After` where there is one.
//!
//! With `aws_auth on` requests are signed (AWS Signature Version 4).
//!
//! Deliberately not here: redirects, OAuth 2 (later work, refused by name), `gelf`, `otlp_json`.

mod config;
mod encode;
mod judge;

use firelane_core::{
    ChunkView, GroupBy, HttpOutput, HttpRequest, HttpResponse, Judgement, Limits, OutputPlugin, Stability,
};

pub use config::Config;
use encode::Encoder;

/// `[OUTPUT] Name http`
pub static PLUGIN: OutputPlugin =
    OutputPlugin::new::<Config>("http", "sends records to an HTTP server", Stability::Beta).network();

/// The output, without its connections.
struct HttpPost {
    limits: Limits,
    encoder: Encoder,
    /// Where to, for messages.
    place: String,
    log_payload: bool,
}

impl HttpOutput for HttpPost {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn group_by(&self) -> GroupBy {
        if self.encoder.needs_one_tag() {
            GroupBy::Tag
        } else {
            GroupBy::All
        }
    }

    fn encode(&self, chunk: ChunkView<'_>) -> Vec<HttpRequest> {
        self.encoder.requests(chunk)
    }

    fn judge(&self, _request: &HttpRequest, response: &HttpResponse<'_>) -> Judgement {
        judge::judge(&self.place, response, self.log_payload)
    }
}
