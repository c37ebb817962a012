//! Where the log of each container goes: containers, tags, filters, destinations; as Mermaid or SVG.
//!
//! ```text
//! container ──▶ tag ──▶ filters that apply to it, in order ──▶ every output that matches
//!     └──▶ the destination of another log driver
//! ```
//!
//! Filters stand in one box for each tag, not as shared boxes: behind a shared one nobody could tell which
//! tag leads to which output. Boxes with equal filters and equal ends are one. A dashed edge is a perhaps:
//! a `Match_Regex`, a tag that only the running task knows, a file that was not read. Not here: whether a
//! plugin exists, `processors` of YAML, `[STREAM_TASK]`. Values of secret options never stand in a graph.

mod label;
mod layout;
mod measure;
mod mermaid;
mod rewrite;
mod route;
mod svg;

#[cfg(test)]
mod tests;

use crate::context::Context;
use crate::firelens::Generated;
use crate::taskdef::TaskDefinition;

pub use mermaid::mermaid;
pub use svg::svg;

/// A route map. Texts are as the user wrote them, of any length; only drawing cuts and escapes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// The task's family.
    pub title: String,
    /// The router's name, language and listeners; around tags and filters.
    pub router: Vec<String>,
    /// The boxes.
    pub nodes: Vec<Node>,
    /// The arrows.
    pub edges: Vec<Edge>,
}

/// What a box stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A container and its log driver.
    Container,
    /// Another input of the router.
    Input,
    /// A tag.
    Tag,
    /// The filters of a tag, one a line.
    Filters,
    /// What an output sends to.
    Output,
    /// A file of the router that was not read, or is in a language that is not read.
    File,
    /// The end of records that no output matches.
    Lost,
    /// Where a log driver sends to without the router.
    Driver,
}

/// A box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it stands for.
    pub kind: Kind,
    /// Its text, a title first.
    pub lines: Vec<String>,
    /// Beside the point: health messages.
    pub faint: bool,
}

/// An arrow between two boxes, by their index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Edge {
    /// Where it starts.
    pub from: usize,
    /// Where it ends.
    pub to: usize,
    /// Whether records surely go this way.
    pub sure: bool,
    /// Which records do.
    pub label: Option<String>,
}

/// Draws up the route map of a task.
///
/// `config` is the file that the generated configuration includes, read; without it the file is a box of
/// its own. A file for Fluentd always is.
pub fn build(
    task: &TaskDefinition,
    context: &Context,
    generated: &Generated,
    config: Option<&firelane_conf::Config>,
) -> Graph {
    route::build(task, context, generated, config)
}

impl Kind {
    /// All kinds with their names: of CSS classes, and of ids by their first letter.
    const NAMES: [(Self, &'static str); 8] = [
        (Self::Container, "container"),
        (Self::Input, "input"),
        (Self::Tag, "tag"),
        (Self::Filters, "filters"),
        (Self::Output, "output"),
        (Self::File, "unread"),
        (Self::Lost, "lost"),
        (Self::Driver, "driver"),
    ];

    fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("", |(_, name)| name)
    }

    /// Whether records end there.
    fn is_end(self) -> bool {
        matches!(self, Self::Output | Self::File | Self::Lost | Self::Driver)
    }
}

impl Graph {
    /// The edges whose ends exist.
    fn edges(&self) -> impl Iterator<Item = &Edge> {
        let fits = |edge: &&Edge| edge.from < self.nodes.len() && edge.to < self.nodes.len();
        self.edges.iter().filter(fits)
    }

    /// Whether an edge carries only what is beside the point.
    fn is_faint(&self, edge: &Edge) -> bool {
        self.nodes[edge.from].faint || self.nodes[edge.to].faint
    }
}

/// A line of text without what a terminal, XML or a reader's eye could trip over: control characters and
/// marks of writing direction become blanks; what is longer than `most` characters loses its middle.
fn shown(text: &str, most: usize) -> String {
    cut(text, most, most.saturating_sub(1) / 2)
}

/// The same, but of a text that is too long the last `tail` characters are kept.
fn cut(text: &str, most: usize, tail: usize) -> String {
    let odd = |c: char| {
        let direction =
            matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let line_end = matches!(c, '\u{2028}' | '\u{2029}');
        c.is_control() || direction || line_end || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    let clean = |c: char| if odd(c) { ' ' } else { c };
    let length = text.chars().count();
    if length <= most {
        return text.chars().map(clean).collect();
    }
    let head = text.chars().take(most.saturating_sub(tail + 1));
    let tail = text.chars().skip(length - tail.min(length));
    head.chain(['…']).chain(tail).map(clean).collect()
}
