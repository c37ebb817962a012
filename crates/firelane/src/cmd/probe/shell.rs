//! A line of simple commands with `|`, `||`, `&&` and `;`, words in quotes, and output thrown away. No
//! variables, no files, no patterns: a character that would ask for one is refused.

use super::{Done, command};

/// Runs `sh -c LINE`.
pub(super) fn main(args: &[String]) -> Done {
    match args {
        [flag, line, ..] if flag == "-c" => run(line),
        _ => Done::failed(
            127,
            "sh: this image has no shell, only enough of one for health checks: sh -c 'curl -f URL || exit 1'",
        ),
    }
}

/// A word, or what stands between commands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Word(String),
    Pipe,
    Or,
    And,
    Then,
}

/// What ends the line before its end.
enum Flow {
    Go(Done),
    Exit(u8),
}

fn run(line: &str) -> Done {
    let pieces = match read(line) {
        Ok(pieces) => pieces,
        Err(reason) => return Done::failed(2, &format!("sh: {reason}: `{line}`")),
    };
    let mut out = Vec::new();
    let mut code = 0;
    let mut skips = false;
    for part in pieces.split_inclusive(|piece| matches!(piece, Piece::Or | Piece::And | Piece::Then)) {
        let (commands, then) = match part.split_last() {
            Some((last @ (Piece::Or | Piece::And | Piece::Then), before)) => (before, Some(last)),
            _ => (part, None),
        };
        if !skips {
            match pipeline(commands) {
                Flow::Go(done) => {
                    code = done.code;
                    out.extend(done.out);
                }
                Flow::Exit(code) => return Done { code, out },
            }
        }
        skips = match then {
            Some(Piece::Or) => code == 0,
            Some(Piece::And) => code != 0,
            _ => false,
        };
    }
    Done { code, out }
}

/// Commands that feed each other.
fn pipeline(pieces: &[Piece]) -> Flow {
    let mut done = Done::default();
    for part in pieces.split(|piece| *piece == Piece::Pipe) {
        let words: Vec<String> = part
            .iter()
            .filter_map(|piece| match piece {
                Piece::Word(word) => Some(word.clone()),
                _ => None,
            })
            .collect();
        let Some((name, args)) = words.split_first() else {
            return Flow::Go(Done::failed(2, "sh: a command is missing"));
        };
        if name == "exit" {
            let code = args.first().map_or(Some(done.code), |code| code.parse().ok());
            return Flow::Exit(code.unwrap_or(2));
        }
        done = command(name, args, &done.out);
    }
    Flow::Go(done)
}

fn read(line: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("a quote is open".to_owned()),
                    }
                }
            }
            '"' => quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().extend(chars.next()),
            '|' | '&' | ';' | '\n' | ' ' | '\t' | '>' => {
                // `2>/dev/null`: the digit belongs to the sign.
                if c == '>' && word.as_deref().is_some_and(|word| matches!(word, "1" | "2")) {
                    word = None;
                }
                pieces.extend(word.take().map(Piece::Word));
                match c {
                    '|' if chars.next_if_eq(&'|').is_some() => pieces.push(Piece::Or),
                    '|' => pieces.push(Piece::Pipe),
                    '&' if chars.next_if_eq(&'&').is_some() => pieces.push(Piece::And),
                    '&' => return Err("`&` is not supported".to_owned()),
                    ';' | '\n' => pieces.push(Piece::Then),
                    '>' => thrown_away(&mut chars)?,
                    _ => {}
                }
            }
            '$' | '`' | '<' | '(' | ')' | '*' | '?' | '[' | '~' | '#'
                if word.is_none() || matches!(c, '$' | '`' | '<' | '(') =>
            {
                return Err(format!("`{c}` is not supported"));
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    pieces.extend(word.take().map(Piece::Word));
    while pieces.last() == Some(&Piece::Then) {
        pieces.pop();
    }
    Ok(pieces)
}

fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, word: &mut String) -> Result<(), String> {
    loop {
        match chars.next() {
            Some('"') => return Ok(()),
            Some('\\') => match chars.next() {
                Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                Some(c) => word.extend(['\\', c]),
                None => return Err("a quote is open".to_owned()),
            },
            Some(c @ ('$' | '`')) => return Err(format!("`{c}` is not supported")),
            Some(c) => word.push(c),
            None => return Err("a quote is open".to_owned()),
        }
    }
}

/// Behind a `>`: only `/dev/null` and `&1`, `&2`.
fn thrown_away(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<(), String> {
    while chars.next_if(|c| matches!(c, '>' | ' ')).is_some() {}
    let mut target = String::new();
    while let Some(c) = chars.next_if(|c| !" \t|;\n".contains(*c)) {
        target.push(c);
    }
    match target.as_str() {
        "/dev/null" | "&1" | "&2" => Ok(()),
        _ => Err(format!("output cannot go to `{target}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    #[track_caller]
    fn check(line: &str, code: u8, out: &str) {
        let done = run(line);
        assert_eq!(
            (done.code, String::from_utf8_lossy(&done.out).as_ref()),
            (code, out),
            "{line}"
        );
    }

    #[test]
    fn lists_go_by_exit_codes() {
        check("echo a b", 0, "a b\n");
        check("false || exit 3; echo no", 3, "");
        check("true && echo yes || echo no", 0, "yes\n");
        check("false && echo yes || echo no", 0, "no\n");
        check(
            "echo 'it''s  \"x\"' \"a\\\"b\" c\\ d;",
            0,
            "its  \"x\" a\"b c d\n",
        );
        check("true 2>/dev/null >/dev/null 2>&1 && echo on", 0, "on\n");
        check("exit", 0, "");
    }

    #[test]
    fn what_is_no_health_check_is_refused() {
        check("ls /", 127, "");
        for line in [
            "echo $HOME",
            "echo `id`",
            "echo a > /tmp/x",
            "echo a &",
            "cat <x",
            "echo 'open",
        ] {
            check(line, 2, "");
        }
        assert_eq!(main(&["script.sh".to_owned()]).code, 127);
    }

    /// A server for one connection; what it was sent comes back.
    fn server(answer: &'static str) -> (u16, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut got = [0; 1024];
            let count = stream.read(&mut got).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&got[..count]).into_owned()
        });
        (port, thread)
    }

    #[test]
    fn the_checks_of_task_definitions_work() {
        let (port, got) = server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        check(
            &format!("curl -f http://127.0.0.1:{port}/api/v1/uptime || exit 1"),
            0,
            "ok",
        );
        assert!(got.join().unwrap().starts_with("GET /api/v1/uptime HTTP/1.1\r\n"));
        let (port, got) = server("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
        check(
            &format!("curl -sf -o /dev/null http://127.0.0.1:{port}/ || exit 1"),
            1,
            "",
        );
        got.join().unwrap();
        let (port, got) = server("");
        check(
            &format!("echo '{{\"health\": \"check\"}}' | nc 127.0.0.1 {port} || exit 1"),
            0,
            "",
        );
        assert_eq!(got.join().unwrap(), "{\"health\": \"check\"}\n");
        // Nobody listens there any more.
        check(&format!("echo x | nc 127.0.0.1 {port} || exit 1"), 1, "");
        check(&format!("curl -s http://127.0.0.1:{port}/ || exit 1"), 1, "");
    }
}
