//! The console blocks of docs/control-side.md and docs/local-aws.md are what the binary says.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{binary, root};

/// A fenced block: what stands behind the fence's language, and its lines.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut out = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```").filter(|info| !info.is_empty()) else {
            continue;
        };
        let inner: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        if let Some(rest) = info.strip_prefix(language) {
            out.push((rest.trim(), inner));
        }
    }
    out
}

/// Whether what was said is what is written; a line `…` stands for any number of lines.
fn fits(written: &[&str], said: &[&str]) -> bool {
    match written {
        [] => said.is_empty(),
        ["…", rest @ ..] => (0..=said.len()).any(|skip| fits(rest, &said[skip..])),
        [first, rest @ ..] => {
            said.first().is_some_and(|line| line_fits(first, line)) && fits(rest, &said[1..])
        }
    }
}

/// Whether a line is what is written; a `…` in it stands for any text.
fn line_fits(written: &str, said: &str) -> bool {
    match written.split_once('…') {
        None => written == said,
        Some((before, after)) => said
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .is_some(),
    }
}

/// The commands of the console blocks, without `$ firelane `, and what is written below each.
fn commands(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut out: Vec<(&str, Vec<&str>)> = Vec::new();
    for (_, lines) in blocks(text, "console") {
        for line in lines {
            match line.strip_prefix("$ ") {
                Some(command) => {
                    let command = command.strip_prefix("firelane ").expect("a command of ours");
                    out.push((command, Vec::new()));
                }
                None => out.last_mut().expect("a command before its answer").1.push(line),
            }
        }
    }
    out
}

#[test]
fn the_control_side() {
    let text = fs::read_to_string(root().join("docs/control-side.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, lines) in blocks(&text, "json") {
        fs::write(folder.path().join(name), lines.join("\n") + "\n").unwrap();
    }
    let commands = commands(&text);
    assert!(commands.len() >= 7, "{} commands", commands.len());
    for (command, written) in commands {
        let (arguments, file) = command.split_once(" > ").unwrap_or((command, ""));
        let (stdout, stderr) = run(arguments, folder.path(), "");
        let mut said = stderr;
        match file {
            "" => said.push_str(&stdout),
            file => fs::write(folder.path().join(file), &stdout).unwrap(),
        }
        check(command, &written, &said);
    }
}

/// What a command of ours says on both streams.
fn run(arguments: &str, folder: &Path, endpoint: &str) -> (String, String) {
    let ended = Command::new(binary())
        .args(arguments.split(' '))
        .current_dir(folder)
        .env("AWS_ENDPOINT_URL", endpoint)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (
        String::from_utf8(ended.stdout).unwrap(),
        String::from_utf8(ended.stderr).unwrap(),
    )
}

#[track_caller]
fn check(command: &str, written: &[&str], said: &str) {
    let said: Vec<_> = said.trim_end().lines().collect();
    assert!(fits(written, &said), "{command} says:\n{}", said.join("\n"));
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Scenario: the page's endpoint, on a free port, with what the page's `sh` block puts into it.
#[test]
fn the_local_endpoint() {
    let text = fs::read_to_string(root().join("docs/local-aws.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let commands = commands(&text);
    assert!(commands.len() >= 6, "{} commands", commands.len());
    let (first, written) = &commands[0];
    let mut child = Command::new(binary())
        .args(first.split(' '))
        .args(["--listen", "127.0.0.1:0"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let _running = Running(child);
    let lines = BufReader::new(stdout).lines().take(written.len());
    let said: Vec<_> = lines.map(Result::unwrap).collect();
    let url = said[1]
        .strip_prefix("export AWS_ENDPOINT_URL=")
        .unwrap()
        .to_owned();
    let shown = said.join("\n").replace(&url, "http://127.0.0.1:4566");
    check(first, written, &shown);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let events = format!(
        r#"{{"logGroupName":"/ecs/web","logStreamName":"web-1","logEvents":[{{"timestamp":{now},"message":"GET /health 200"}},{{"timestamp":{now},"message":"GET /cart 500"}}]}}"#
    );
    send(
        &url,
        "POST",
        "/",
        "logs",
        "x-amz-target: Logs_20140328.PutLogEvents\r\n",
        &events,
    );
    send(
        &url,
        "PUT",
        "/archive/2026/app.log",
        "s3",
        "",
        "first line\nsecond\n\n\n",
    );
    for (command, written) in &commands[1..] {
        let (stdout, stderr) = run(command, folder.path(), &url);
        check(command, written, &(stderr + &stdout));
    }
}

/// A request that the endpoint must take.
fn send(url: &str, method: &str, path: &str, service: &str, headers: &str, body: &str) {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let length = body.len();
    let scope = format!("Credential=test/20260101/us-east-1/{service}/aws4_request");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-amz-date: 20260101T000000Z\r\n{headers}\
         authorization: AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
