//! How much room a text takes. There is no font here to ask, so a little more than most fonts need.

use super::{Kind, Node, cut, shown};

/// Size of the text.
pub(super) const FONT: f64 = 13.0;
/// From one line of text to the next.
pub(super) const LINE: f64 = 18.0;
/// Between text and border.
pub(super) const PADDING: f64 = 12.0;

const LINES_MAX: usize = 16;
const CHARS_MAX: usize = 46;
/// A tag ends in the id of the task, of which little is enough.
const TAG_MAX: usize = 36;
const TAG_TAIL: usize = 4;

/// The lines that stand in a box.
pub(super) fn lines(node: &Node) -> Vec<String> {
    let drawn = |line: &String| match node.kind {
        Kind::Tag => cut(line, TAG_MAX, TAG_TAIL),
        _ => shown(line, CHARS_MAX),
    };
    let mut lines: Vec<_> = node.lines.iter().take(LINES_MAX).map(drawn).collect();
    if node.lines.len() > LINES_MAX {
        lines.push(format!("… and {} more", node.lines.len() - LINES_MAX));
    }
    lines
}

/// Width and height of a box with these lines.
pub(super) fn size(node: &Node, lines: &[String]) -> (f64, f64) {
    let of = |(index, line): (usize, &String)| match (node.kind, index) {
        // Of one width, in a smaller size.
        (Kind::Tag, _) => {
            line.chars()
                .map(|c| if c < '\u{1100}' { 0.58 } else { 1.1 })
                .sum::<f64>()
                * FONT
        }
        (Kind::Filters, _) => width(line),
        // Bold.
        (_, 0) => width(line) * 1.1,
        _ => width(line),
    };
    let widest = lines.iter().enumerate().map(of).fold(48.0, f64::max);
    #[expect(clippy::cast_precision_loss, reason = "at most 17 lines")]
    let height = lines.len().max(1) as f64 * LINE;
    (widest + 2.0 * PADDING, height + 1.5 * PADDING)
}

/// Width of a text.
pub(super) fn width(text: &str) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | '\'' | '|' | '.' | ',' | ':' | ';' | '!' => 0.34,
        ' ' | 'f' | 'r' | 't' | '(' | ')' | '[' | ']' | '/' | '\\' | '-' => 0.43,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '…' | '—' => 1.0,
        'A'..='Z' | '&' | '=' | '+' | '~' | '<' | '>' | '#' => 0.76,
        '\u{1100}'.. => 1.1,
        _ => 0.63,
    };
    text.chars().map(em).sum::<f64>() * FONT
}
