//! The console blocks of docs/control-side.md are what the binary says.

use std::fs;
use std::process::{Command, Stdio};

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
        [first, rest @ ..] => said.first() == Some(first) && fits(rest, &said[1..]),
    }
}

#[test]
fn the_control_side() {
    let text = fs::read_to_string(root().join("docs/control-side.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, lines) in blocks(&text, "json") {
        fs::write(folder.path().join(name), lines.join("\n") + "\n").unwrap();
    }
    let mut count = 0;
    for (_, lines) in blocks(&text, "console") {
        let starts: Vec<_> = (0..lines.len())
            .filter(|at| lines[*at].starts_with("$ "))
            .collect();
        for (index, start) in starts.iter().enumerate() {
            let end = starts.get(index + 1).copied().unwrap_or(lines.len());
            let command = lines[*start]
                .strip_prefix("$ firelane ")
                .expect("a command of ours");
            let (arguments, file) = command.split_once(" > ").unwrap_or((command, ""));
            let ended = Command::new(binary())
                .args(arguments.split(' '))
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let (stdout, stderr) = (
                String::from_utf8(ended.stdout).unwrap(),
                String::from_utf8(ended.stderr).unwrap(),
            );
            let mut said = stderr;
            match file {
                "" => said.push_str(&stdout),
                file => fs::write(folder.path().join(file), &stdout).unwrap(),
            }
            let said: Vec<_> = said.trim_end().lines().collect();
            assert!(
                fits(&lines[start + 1..end], &said),
                "{command} says:\n{}",
                said.join("\n")
            );
            count += 1;
        }
    }
    assert!(count >= 7, "{count} commands");
}
