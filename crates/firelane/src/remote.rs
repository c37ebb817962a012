//! What commands fetch from outside before a router runs: pages, objects of S3, secrets. Each call
//! blocks, has a deadline, and may be made from any thread.

use std::future::Future;
use std::time::Duration;

use firelane_net::aws::Sources;
use firelane_net::page;

/// Time for one page.
const PAGE_LIMIT: Duration = Duration::from_secs(5);
/// How often something is asked for.
const TRIES: usize = 3;

/// Gets a page; an error for every status but success.
pub(crate) fn get(url: &str) -> Result<Vec<u8>, String> {
    match fetch(url, PAGE_LIMIT)? {
        (200..=299, body) => Ok(body),
        (status, body) => {
            let text = String::from_utf8_lossy(&body);
            Err(format!("{url} answered {status} {}", text.trim()))
        }
    }
}

/// Gets a page, whatever its status.
pub(crate) fn fetch(url: &str, limit: Duration) -> Result<(u16, Vec<u8>), String> {
    let url = match url.contains("://") {
        true => url.to_owned(),
        // As curl does.
        false => format!("http://{url}"),
    };
    let answer = wait(page::get(&url, limit))??;
    Ok((answer.status, answer.body.to_vec()))
}

/// Runs a future to its end on a thread of its own: the caller may be one of a runtime.
fn wait<F>(future: F) -> Result<F::Output, String>
where
    F: Future + Send,
    F::Output: Send,
{
    std::thread::scope(|scope| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime
                .map(|runtime| runtime.block_on(future))
                .map_err(|error| error.to_string())
        };
        scope
            .spawn(run)
            .join()
            .unwrap_or_else(|_| Err("a bug: the call panicked".to_owned()))
    })
}

/// The bytes of an object of S3; asked in `region` first.
pub(crate) fn object(bucket: &str, key: &str, region: Option<&str>) -> Result<Vec<u8>, String> {
    let sources = Sources::new(region)?;
    let object = wait(persistent(|| sources.object(bucket, key)))??;
    Ok(object.to_vec())
}

/// The value of a secret of Secrets Manager.
pub(crate) fn secret(id: &str) -> Result<String, String> {
    let sources = Sources::new(None)?;
    wait(persistent(|| sources.secret(id)))?
}

/// The value of a parameter of Parameter Store.
pub(crate) fn parameter(name: &str) -> Result<String, String> {
    let sources = Sources::new(None)?;
    let names = [name];
    let mut values = wait(persistent(|| sources.parameters(&names)))??;
    values.pop().ok_or_else(|| format!("{name}: no value"))
}

/// Asks up to three times, a second apart: at the start of a task credentials and network may be a moment
/// late.
async fn persistent<T, F: Future<Output = Result<T, String>>>(ask: impl Fn() -> F) -> Result<T, String> {
    for _ in 1..TRIES {
        if let Ok(found) = ask().await {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    ask().await
}
