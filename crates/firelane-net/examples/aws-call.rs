//! Calls AWS as the environment and the arguments say, and prints what came of it, a line each: `ok …` or
//! `error …`. The tests of `aws` start it: what depends on the environment of a process needs a process of
//! its own.
//!
//! ```text
//! aws-call [SETTING=VALUE ...] call [COUNT]          COUNT calls of CloudWatch Logs at the same time
//! aws-call [SETTING=VALUE ...] get PATH              an object of S3, its status and body
//! aws-call [region=REGION] object BUCKET KEY | secret ID | parameters NAME ...
//! ```

use firelane_net::aws::{AwsClient, AwsSettings, Failure, Service, Sources, encoded};
use firelane_net::{ClientTls, Method, NetConfig, Request, TlsConfig};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), String> {
    let mut settings = AwsSettings {
        user_agent: "aws-call".to_owned(),
        ..AwsSettings::default()
    };
    let mut arguments = std::env::args().skip(1).peekable();
    while let Some((name, value)) = arguments.peek().and_then(|argument| argument.split_once('=')) {
        let value = Some(value.to_owned());
        match name {
            "region" => settings.region = value,
            "profile" => settings.profile = value,
            "role_arn" => settings.role_arn = value,
            "external_id" => settings.external_id = value,
            "sts_endpoint" => settings.sts_endpoint = value,
            "endpoint" => settings.endpoint = value,
            "credentials_endpoint" => settings.credentials_endpoint = value,
            other => return Err(format!("there is no setting `{other}`")),
        }
        arguments.next();
    }
    let arguments: Vec<String> = arguments.collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let sources = || Sources::new(settings.region.as_deref());
    match words.as_slice() {
        ["call"] => calls(settings, 1).await?,
        ["call", count] => {
            let count = count.parse().map_err(|_| format!("`{count}` is no number"))?;
            calls(settings, count).await?;
        }
        ["get", path] => {
            let client = client(Service::S3, settings)?;
            let request = Request {
                method: Method::GET,
                target: encoded(path),
                headers: Vec::new(),
                body: bytes::Bytes::new(),
            };
            let answer = client.send(request).await;
            print(
                answer
                    .map(|answer| format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)))
                    .map_err(|error| error.to_string()),
            );
        }
        ["object", bucket, key] => {
            let object = sources()?.object(bucket, key).await;
            print(object.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
        }
        ["secret", id] => print(sources()?.secret(id).await),
        ["parameters", names @ ..] => {
            let values = sources()?.parameters(names).await;
            print(values.map(|values| values.join("|")));
        }
        _ => return Err("which call? See the head of examples/aws-call.rs".to_owned()),
    }
    Ok(())
}

fn client(service: Service, settings: AwsSettings) -> Result<AwsClient, String> {
    let tls = TlsConfig {
        tls: true.into(),
        ..TlsConfig::default()
    };
    let tls = ClientTls::build(&tls).map_err(|error| error.to_string())?;
    Ok(AwsClient::new(service, settings, tls, NetConfig::default()))
}

async fn calls(settings: AwsSettings, count: usize) -> Result<(), String> {
    let client = client(Service::LOGS, settings)?;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..count {
        let client = client.clone();
        tasks.spawn(async move {
            let answer = client.call("Logs_20140328.DescribeLogGroups", "{}").await;
            let answer = answer.map_err(|error| error.to_string())?;
            match Failure::of(&answer) {
                None => Ok(format!(
                    "{} {}",
                    answer.status,
                    String::from_utf8_lossy(&answer.body)
                )),
                Some(failure) => Err(format!(
                    "{failure}; {}",
                    client.explain(&failure, None, None).await
                )),
            }
        });
    }
    for result in tasks.join_all().await {
        print(result);
    }
    Ok(())
}

fn print(result: Result<String, String>) {
    match result {
        Ok(text) => println!("ok {text}"),
        Err(text) => println!("error {text}"),
    }
}
