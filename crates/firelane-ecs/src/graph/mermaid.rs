//! As Mermaid's `flowchart LR`, for a README or a comment. Mermaid itself stops at 500 arrows.

use std::fmt::Write as _;

use super::{Graph, Kind, shown};

/// Longest line of a label.
const LINE_MAX: usize = 80;

/// Draws a graph as the text of a Mermaid flow chart.
pub fn mermaid(graph: &Graph) -> String {
    let ids = ids(graph);
    let mut out = String::from("flowchart LR\n");
    let inner = |kind| matches!(kind, Kind::Tag | Kind::Filters);
    let line = |out: &mut String, indent: &str, index: usize| {
        let (id, node) = (&ids[index], &graph.nodes[index]);
        let class = if node.faint { "faint" } else { node.kind.name() };
        let (open, close) = brackets(node.kind);
        let _ = writeln!(
            out,
            "{indent}{id}{open}\"{}\"{close}:::{class}",
            text(&node.lines)
        );
    };
    let all = 0..graph.nodes.len();
    let (inside, outside): (Vec<_>, Vec<_>) = all.partition(|&index| inner(graph.nodes[index].kind));
    for index in outside {
        line(&mut out, "  ", index);
    }
    if !inside.is_empty() {
        let _ = writeln!(out, "  subgraph router[\"{}\"]", text(&graph.router));
        for index in inside {
            line(&mut out, "    ", index);
        }
        out.push_str("  end\n");
    }
    let mut lost = Vec::new();
    for (index, edge) in graph.edges().enumerate() {
        let arrow = if edge.sure { "-->" } else { "-.->" };
        let label = edge.label.as_ref().map(|label| escaped(label));
        let label = label.filter(|label| !label.trim().is_empty());
        let label = label.map_or_else(String::new, |label| format!("|\"{label}\"|"));
        let _ = writeln!(out, "  {} {arrow}{label} {}", ids[edge.from], ids[edge.to]);
        if graph.nodes[edge.to].kind == Kind::Lost && !graph.nodes[edge.to].faint {
            lost.push(index.to_string());
        }
    }
    styles(&mut out, graph);
    if !lost.is_empty() {
        let _ = writeln!(
            out,
            "  linkStyle {} stroke:#cf222e,stroke-width:2px",
            lost.join(",")
        );
    }
    out
}

/// An id for each box: the letter of its kind, its number among them.
fn ids(graph: &Graph) -> Vec<String> {
    let mut counts = std::collections::BTreeMap::new();
    let id = |node: &super::Node| {
        let count = counts.entry(node.kind).or_insert(0);
        *count += 1;
        format!("{}{count}", &node.kind.name()[..1])
    };
    graph.nodes.iter().map(id).collect()
}

fn brackets(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Container => ("[", "]"),
        Kind::Input => ("[/", "/]"),
        Kind::Tag => ("([", "])"),
        Kind::Filters => ("[[", "]]"),
        Kind::Output | Kind::Driver => ("[(", ")]"),
        Kind::File => ("[", "]"),
        Kind::Lost => ("{{", "}}"),
    }
}

fn styles(out: &mut String, graph: &Graph) {
    const STYLES: [(&str, &str); 9] = [
        ("container", "fill:#ddf4ff,stroke:#0969da,color:#1f2328"),
        ("driver", "fill:#f6f8fa,stroke:#6e7781,color:#1f2328"),
        ("faint", "fill:none,stroke:#8c959f,color:#8c959f"),
        ("filters", "fill:#fff8c5,stroke:#9a6700,color:#1f2328"),
        ("input", "fill:#ddf4ff,stroke:#0969da,color:#1f2328"),
        ("lost", "fill:#ffebe9,stroke:#cf222e,color:#cf222e"),
        ("output", "fill:#dafbe1,stroke:#1a7f37,color:#1f2328"),
        ("tag", "fill:#fbefff,stroke:#8250df,color:#1f2328"),
        (
            "unread",
            "fill:#f6f8fa,stroke:#6e7781,color:#1f2328,stroke-dasharray:4 3",
        ),
    ];
    for (name, style) in STYLES {
        let is = |node: &super::Node| {
            if node.faint {
                name == "faint"
            } else {
                node.kind.name() == name
            }
        };
        if graph.nodes.iter().any(is) {
            let _ = writeln!(out, "  classDef {name} {style}");
        }
    }
}

fn text(lines: &[String]) -> String {
    let lines = lines.iter().map(|line| escaped(line));
    let lines: Vec<_> = lines.filter(|line| !line.trim().is_empty()).collect();
    let text = lines.join("<br/>");
    // Mermaid takes no empty text.
    if text.is_empty() { " ".to_string() } else { text }
}

/// A text that Mermaid takes as nothing else, in quotes. Beside what ends a quoted text these have a
/// meaning to it: `%%{` opens a directive, a backtick Markdown, `$$` a formula, a leading `-` or `1.` a
/// list; and a `;` gets lost behind `style…:…#`.
fn escaped(text: &str) -> String {
    let text = shown(text, LINE_MAX);
    let wary = text.contains("style") || text.contains("classDef");
    let list_end = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let before_blank = text[at + c.len_utf8()..]
            .chars()
            .next()
            .is_none_or(|next| next == ' ');
        let numbers = at == list_end && at > 0 && matches!(c, '.' | ')');
        let marks_list = before_blank && (numbers || (at == 0 && matches!(c, '-' | '+')));
        match c {
            '"' => out.push_str("#quot;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            '&' => out.push_str("#amp;"),
            '#' | '`' | '%' | '{' | '}' | '$' | '[' | ']' | '|' | ';' | '\\' | '*' => {
                let _ = write!(out, "#{};", u32::from(c));
            }
            ':' if wary => out.push_str("#58;"),
            _ if marks_list => {
                let _ = write!(out, "#{};", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}
