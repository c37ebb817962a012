//! As SVG: one file, no script, nothing loaded, light and dark by the reader's setting.

use std::fmt::Write as _;

use super::layout::{Arrow, Layout, ROUTER_MAX, Rect, layout};
use super::measure::{FONT, LINE, PADDING, width};
use super::{Edge, Graph, Kind, Node, shown};

/// Longest tooltip and longest item of the description.
const TEXT_MAX: usize = 300;
/// Most routes that the description tells.
const ROUTES_MAX: usize = 50;

/// Every class starts with `fl-`: the file may stand within a page beside others.
const STYLE: &str = "\
.fl-text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;fill:#1f2328}
.fl-mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:12px}
.fl-bold{font-weight:600}
.fl-soft{fill:#59636e}
.fl-page{fill:#ffffff}
.fl-router{fill:#f6f8fa;stroke:#d1d9e0}
.fl-box{stroke-width:1.25}
.fl-container,.fl-input{fill:#ddf4ff;stroke:#54aeff}
.fl-tag{fill:#fbefff;stroke:#c297ff}
.fl-filters{fill:#fff8c5;stroke:#d4a72c}
.fl-output{fill:#dafbe1;stroke:#4ac26b}
.fl-driver{fill:#f6f8fa;stroke:#afb8c1}
.fl-unread{fill:#f6f8fa;stroke:#818b98;stroke-dasharray:5 4}
.fl-lost{fill:#ffebe9;stroke:#ff8182}
.fl-alarm{fill:#cf222e}
.fl-edge{fill:none;stroke:#6e7781;stroke-width:1.5}
.fl-edge-lost{stroke:#cf222e}
.fl-perhaps{stroke-dasharray:5 4}
.fl-head{fill:#6e7781}
.fl-head-lost{fill:#cf222e}
.fl-label{font-size:11px}
.fl-plate{fill:#f6f8fa}
.fl-faint{opacity:.45}
@media (prefers-color-scheme:dark){
.fl-text{fill:#f0f6fc}
.fl-soft{fill:#9198a1}
.fl-page{fill:#0d1117}
.fl-router{fill:#151b23;stroke:#3d444d}
.fl-container,.fl-input{fill:#0c2d6b;stroke:#388bfd}
.fl-tag{fill:#3c1e70;stroke:#a371f7}
.fl-filters{fill:#3b2300;stroke:#bb8009}
.fl-output{fill:#033a16;stroke:#2ea043}
.fl-driver,.fl-unread{fill:#212830;stroke:#656c76}
.fl-lost{fill:#67060c;stroke:#f85149}
.fl-alarm{fill:#ffa198}
.fl-edge{stroke:#9198a1}
.fl-edge-lost{stroke:#f85149}
.fl-head{fill:#9198a1}
.fl-head-lost{fill:#f85149}
.fl-plate{fill:#151b23}
}
";

/// Draws a graph as an SVG document.
pub fn svg(graph: &Graph) -> String {
    let layout = layout(graph);
    let mut out = String::new();
    open(&mut out, graph, &layout);
    if let Some(rect) = layout.router {
        router(&mut out, graph, rect);
    }
    for (x, caption) in &layout.captions {
        let _ = writeln!(
            out,
            "<text class=\"fl-text fl-soft\" x=\"{x:.1}\" y=\"34\" text-anchor=\"middle\">{caption}</text>"
        );
    }
    for (edge, arrow) in graph.edges().zip(&layout.arrows) {
        path(&mut out, graph, edge, arrow);
    }
    for (node, (rect, lines)) in graph.nodes.iter().zip(&layout.boxes) {
        shape(&mut out, node, *rect, lines);
    }
    for (edge, arrow) in graph.edges().zip(&layout.arrows) {
        if let Some((middle, label)) = &arrow.label {
            plate(&mut out, *middle, label, graph.is_faint(edge));
        }
    }
    out.push_str("</svg>\n");
    out
}

fn open(out: &mut String, graph: &Graph, layout: &Layout) {
    let (w, h) = (layout.width, layout.height);
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w:.0} {h:.0}\" width=\"{w:.0}\" \
         height=\"{h:.0}\" role=\"img\" aria-labelledby=\"fl-title fl-desc\">"
    );
    let title = match graph.title.trim() {
        "" => "Log routes".to_string(),
        family => format!("Log routes of {family}"),
    };
    let _ = writeln!(
        out,
        "<title id=\"fl-title\">{}</title>",
        escaped(&shown(&title, TEXT_MAX))
    );
    let _ = writeln!(out, "<desc id=\"fl-desc\">{}</desc>", description(graph));
    let _ = writeln!(out, "<style>\n{STYLE}</style>\n<defs>");
    for class in ["head", "head-lost"] {
        let _ = writeln!(
            out,
            "<marker id=\"fl-{class}\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"7\" \
             markerHeight=\"7\" orient=\"auto\"><path class=\"fl-{class}\" d=\"M0 1L10 5L0 9z\"/></marker>"
        );
    }
    out.push_str("</defs>\n");
    let _ = writeln!(out, "<rect class=\"fl-page\" width=\"100%\" height=\"100%\"/>");
}

/// The routes as sentences, for those who do not see them.
fn description(graph: &Graph) -> String {
    let name = |index: usize| graph.nodes[index].lines.join(" ");
    let edges = graph.edges().filter(|edge| !graph.is_faint(edge));
    let all: Vec<_> = edges
        .map(|edge| {
            let verb = if edge.sure { "to" } else { "perhaps to" };
            let route = format!("{} {verb} {}", name(edge.from), name(edge.to));
            escaped(&shown(&route, TEXT_MAX))
        })
        .collect();
    let mut told = all
        .iter()
        .take(ROUTES_MAX)
        .cloned()
        .collect::<Vec<_>>()
        .join("; ");
    if all.len() > ROUTES_MAX {
        let _ = write!(told, "; and {} more", all.len() - ROUTES_MAX);
    }
    told
}

fn router(out: &mut String, graph: &Graph, rect: Rect) {
    let Rect { x, y, w, h } = rect;
    let _ = writeln!(
        out,
        "<rect class=\"fl-router\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" rx=\"10\"/>"
    );
    if let Some((name, listeners)) = graph.router.split_first() {
        text(out, "fl-bold", x + 16.0, y + 22.0, &shown(name, ROUTER_MAX));
        let listeners = shown(&listeners.join("; "), ROUTER_MAX);
        text(out, "fl-soft", x + 16.0, y + 22.0 + LINE, &listeners);
    }
}

fn text(out: &mut String, class: &str, x: f64, y: f64, line: &str) {
    let line = escaped(line);
    let _ = writeln!(
        out,
        "<text class=\"fl-text {class}\" x=\"{x:.1}\" y=\"{y:.1}\">{line}</text>"
    );
}

fn path(out: &mut String, graph: &Graph, edge: &Edge, arrow: &Arrow) {
    let mut d = String::new();
    for (index, [(x1, y1), (x2, y2)]) in arrow.curves.iter().enumerate() {
        let start = if index == 0 { 'M' } else { 'L' };
        let bend = ((x2 - x1).abs() / 2.0).clamp(16.0, 90.0);
        let (a, b) = (x1 + bend, x2 - bend);
        let _ = write!(
            d,
            "{start}{x1:.1} {y1:.1}C{a:.1} {y1:.1} {b:.1} {y2:.1} {x2:.1} {y2:.1}"
        );
    }
    let lost = graph.nodes[edge.to].kind == Kind::Lost;
    let mut class = String::from("fl-edge");
    for (wanted, name) in [
        (lost, " fl-edge-lost"),
        (!edge.sure, " fl-perhaps"),
        (graph.is_faint(edge), " fl-faint"),
    ] {
        if wanted {
            class.push_str(name);
        }
    }
    let head = if lost { "head-lost" } else { "head" };
    let title = edge.label.as_ref().map_or_else(String::new, |label| {
        format!("<title>{}</title>", escaped(&shown(label, TEXT_MAX)))
    });
    let _ = writeln!(
        out,
        "<path class=\"{class}\" marker-end=\"url(#fl-{head})\" d=\"{d}\">{title}</path>"
    );
}

/// A label on its arrow.
fn plate(out: &mut String, (x, y): (f64, f64), label: &str, faint: bool) {
    let w = width(label) * 11.0 / FONT + 8.0;
    let (left, top, baseline) = (x - w / 2.0, y - 8.0, y + 4.0);
    let faint = if faint { " class=\"fl-faint\"" } else { "" };
    let label = escaped(label);
    let _ = writeln!(
        out,
        "<g{faint}><rect class=\"fl-plate\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{w:.1}\" height=\"16\" rx=\"4\"/>\
         <text class=\"fl-text fl-soft fl-label\" x=\"{x:.1}\" y=\"{baseline:.1}\" \
         text-anchor=\"middle\">{label}</text></g>"
    );
}

fn shape(out: &mut String, node: &Node, rect: Rect, lines: &[String]) {
    let Rect { x, y, w, h } = rect;
    let faint = if node.faint { " class=\"fl-faint\"" } else { "" };
    let radius = if node.kind == Kind::Tag { h / 2.0 } else { 6.0 };
    let _ = writeln!(
        out,
        "<g{faint}><title>{}</title>\n<rect class=\"fl-box fl-{}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" \
         height=\"{h:.1}\" rx=\"{radius:.1}\"/>",
        escaped(&shown(&node.lines.join(" · "), TEXT_MAX)),
        node.kind.name()
    );
    let mut baseline = y + 9.0 + FONT;
    for (index, line) in lines.iter().enumerate() {
        let class = match (node.kind, index) {
            (Kind::Tag, _) => "fl-mono",
            (Kind::Filters, _) => "",
            (Kind::Lost, _) => "fl-bold fl-alarm",
            (_, 0) => "fl-bold",
            _ => "fl-soft",
        };
        text(out, class, x + PADDING, baseline, line);
        baseline += LINE;
    }
    out.push_str("</g>\n");
}

/// Text within XML; what XML may not hold is gone already ([`shown`]).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}
