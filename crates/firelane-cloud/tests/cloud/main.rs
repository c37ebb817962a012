//! The endpoint through a real socket, with a client of our own that shares no code with it.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy exempts only the tests themselves"
)]

mod client;
mod faults;
mod hostile;
mod objects;
mod records;
mod restarts;

use firelane_cloud::{Endpoint, Options};

/// An endpoint on a free port.
async fn start(options: Options) -> Endpoint {
    Endpoint::start("127.0.0.1:0", options).await.unwrap()
}

/// Now, in ms since the epoch.
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_millis()).unwrap()
}
