//! This task, by the ECS metadata endpoint: `ECS_CONTAINER_METADATA_URI_V4` or `…_URI`, `/task`.
//!
//! Asked at the first use, with a deadline. Without the variable this is no task of ECS. An endpoint that
//! does not answer makes the delivery wait: it must not go to another stream for that.

use std::time::Duration;

use firelane_core::{Cause, CauseKind};
use firelane_net::page;
use firelane_record::accessor::Accessor;
use firelane_record::json;
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// Longest time for the answer.
const LIMIT: Duration = Duration::from_secs(5);

/// What names are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    /// The cluster's name.
    pub(super) cluster: String,
    /// The task's ARN.
    pub(super) arn: String,
}

impl Task {
    /// The last part of its ARN.
    pub(super) fn id(&self) -> &str {
        last(&self.arn)
    }

    /// From the endpoint's answer, whose cluster may be a name or an ARN.
    fn read(body: &[u8]) -> Option<Self> {
        let mut raw = Vec::new();
        json::to_msgpack(body, &mut raw).ok()?;
        let text = |key: &str| {
            let text = Accessor::key(key).lookup_str(raw.as_slice())?;
            std::str::from_utf8(text).ok().map(ToOwned::to_owned)
        };
        Some(Self {
            cluster: last(&text("Cluster")?).to_owned(),
            arn: text("TaskARN")?,
        })
    }
}

fn last(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// Where to learn about the task.
#[derive(Debug, Default)]
pub(super) struct TaskSource {
    uri: Option<String>,
    known: OnceCell<Task>,
}

impl TaskSource {
    /// By the variables of the container.
    pub(super) fn of_process() -> Self {
        let uri = ["ECS_CONTAINER_METADATA_URI_V4", "ECS_CONTAINER_METADATA_URI"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|uri| !uri.is_empty()));
        Self::new(uri)
    }

    /// By the metadata endpoint of the container; `None`: no task.
    pub(super) fn new(uri: Option<String>) -> Self {
        Self {
            uri,
            known: OnceCell::new(),
        }
    }

    /// The task; `None` where there is none.
    ///
    /// # Errors
    /// The endpoint is there and did not tell.
    pub(super) async fn get(&self) -> Result<Option<&Task>, Cause> {
        let Some(uri) = &self.uri else {
            return Ok(None);
        };
        let cause = |kind, text| Cause::new(kind, format!("the task's metadata endpoint `{uri}`: {text}"));
        let fetch = || async {
            let asked = timeout(LIMIT, ask(uri)).await;
            let late = |_| {
                cause(
                    CauseKind::Timeout,
                    format!("no answer within {} s", LIMIT.as_secs()),
                )
            };
            asked
                .map_err(late)?
                .map_err(|text| cause(CauseKind::Unavailable, text))
        };
        self.known.get_or_try_init(fetch).await.map(Some)
    }
}

async fn ask(uri: &str) -> Result<Task, String> {
    let answer = page::get(&format!("{}/task", uri.trim_end_matches('/')), LIMIT).await?;
    match answer.status {
        200 => Task::read(&answer.body).ok_or_else(|| "the answer names no task".to_owned()),
        status => Err(format!("answered {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const ARN: &str = "arn:aws:ecs:us-east-1:123456789012:task/demo/0f1e2d";

    /// Answers each request with the next of `answers`, then closes; gives the paths asked for.
    async fn endpoint(answers: Vec<String>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/v4/abc", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let mut paths = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).await.unwrap();
                let text = String::from_utf8_lossy(&head[..read]).into_owned();
                paths.push(text.split(' ').nth(1).unwrap().to_owned());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            paths
        });
        (uri, server)
    }

    fn answer(status: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    #[tokio::test]
    async fn the_endpoint_is_asked_until_it_tells_and_then_no_more() {
        let body = format!(r#"{{"Cluster":"arn:aws:ecs:us-east-1:1:cluster/demo","TaskARN":"{ARN}"}}"#);
        let (uri, server) = endpoint(vec![answer("500 No", "{}"), answer("200 OK", &body)]).await;
        let source = TaskSource::new(Some(uri.clone()));
        let why = source.get().await.unwrap_err();
        assert_eq!(
            why.text,
            format!("the task's metadata endpoint `{uri}`: answered 500")
        );
        for _ in 0..2 {
            let task = source.get().await.unwrap().unwrap();
            assert_eq!(
                (task.cluster.as_str(), task.id(), task.arn.as_str()),
                ("demo", "0f1e2d", ARN)
            );
        }
        assert_eq!(server.await.unwrap(), ["/v4/abc/task", "/v4/abc/task"]);
    }

    #[tokio::test]
    async fn without_an_endpoint_there_is_no_task() {
        assert_eq!(TaskSource::new(None).get().await, Ok(None));
        let why = TaskSource::new(Some("ftp://x".to_owned()))
            .get()
            .await
            .unwrap_err();
        assert!(why.text.ends_with("use http:// or https://"), "{}", why.text);
    }

    #[test]
    fn an_answer_needs_both_names() {
        assert_eq!(Task::read(br#"{"Cluster":"c"}"#), None);
        assert_eq!(Task::read(b"<html>"), None);
        let task = Task::read(br#"{"Cluster":"c","TaskARN":"t"}"#).unwrap();
        assert_eq!((task.cluster.as_str(), task.id()), ("c", "t"));
    }
}
