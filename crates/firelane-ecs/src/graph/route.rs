//! Follows every tag through the filters to the outputs.

use std::collections::HashMap;

use firelane_conf::{Config, Section};
use firelane_record::Match;

use super::rewrite::{Fit, Matching, Rule, Tag, rules};
use super::{Edge, Graph, Kind, Node, label};
use crate::context::Context;
use crate::firelens::{self, Dialect, External, Generated, HEALTH_TAG, Mode};
use crate::taskdef::{Container, TaskDefinition};

/// How often a record is followed from one `rewrite_tag` to the next.
const REWRITES_MAX: usize = 3;
/// Most tags that are followed.
const TAGS_MAX: usize = 1000;

/// A filter.
struct Filter {
    matching: Matching,
    line: String,
    rules: Vec<Rule>,
}

/// An output.
struct Sink {
    matching: Matching,
    lines: Vec<String>,
}

/// What makes two boxes of filters one: depth, lines, ends, faint or not.
type Chain = (usize, Vec<String>, Vec<End>, bool);

/// Where a chain leads to: box, whether surely, which records.
type End = (usize, bool, Option<String>);

struct Route {
    dialect: Dialect,
    filters: Vec<Filter>,
    sinks: Vec<Sink>,
    /// The file that was not read.
    file: Option<Vec<String>>,
    graph: Graph,
    /// Boxes by kind and text, for those that are drawn once.
    ends: HashMap<(Kind, Vec<String>), usize>,
    tags: HashMap<(usize, Tag), usize>,
    chains: HashMap<Chain, usize>,
}

pub(super) fn build(
    task: &TaskDefinition,
    context: &Context,
    generated: &Generated,
    config: Option<&Config>,
) -> Graph {
    let config = config.filter(|_| generated.dialect == Dialect::FluentBit);
    let mut route = Route {
        dialect: generated.dialect,
        filters: filters(generated, config),
        sinks: sinks(context, generated, config),
        file: file(task, generated).filter(|_| config.is_none()),
        graph: Graph {
            title: task
                .family
                .as_ref()
                .map_or_else(String::new, |family| family.value.clone()),
            router: router(task, context, generated),
            ..Graph::default()
        },
        ends: HashMap::new(),
        tags: HashMap::new(),
        chains: HashMap::new(),
    };
    for container in &task.containers {
        route.container(container, context);
    }
    for (index, section) in config.iter().flat_map(|config| config.inputs.iter().enumerate()) {
        route.input(section, generated.inputs.len() + index);
    }
    for section in &generated.inputs {
        if let Some(tag) = &section.tag {
            let option = |name: &str| option(section, name);
            let mut lines = label::input(&section.plugin, &option);
            lines[0] = match tag.as_str() {
                HEALTH_TAG => "health check".to_string(),
                _ => section.plugin.clone(),
            };
            let node = route.node(Kind::Input, lines, true);
            route.tagged(node, Tag::new(tag.as_str()), true);
        }
    }
    route.finish();
    route.graph
}

/// The last value of an option, in any case: what counts where it repeats.
fn option(section: &firelens::Section, name: &str) -> Option<String> {
    let mut all = section.options.iter().rev();
    all.find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.clone())
}

fn get(section: &Section, name: &str) -> Option<String> {
    section.get(name).map(|entry| entry.value.value.clone())
}

/// All filters in the order in which they run.
fn filters(generated: &Generated, config: Option<&Config>) -> Vec<Filter> {
    let written = |pattern: &str, line: String| Filter {
        matching: Matching::pattern(pattern),
        line,
        rules: Vec::new(),
    };
    let keep = generated
        .includes
        .iter()
        .map(|grep| written(&grep.tag, label::grep("keep", grep)));
    let drop = generated
        .excludes
        .iter()
        .map(|grep| written(&grep.tag, label::grep("drop", grep)));
    let metadata = (!generated.metadata.is_empty()).then(|| written("*", "ECS metadata".to_string()));
    let own = config.into_iter().flat_map(|config| &config.filters);
    let own = own.map(|section| Filter {
        matching: Matching::of(section),
        line: label::filter(section),
        rules: rules(section),
    });
    keep.chain(drop).chain(metadata).chain(own).collect()
}

/// All outputs in the order of the file: the included ones stand before the generated ones.
fn sinks(context: &Context, generated: &Generated, config: Option<&Config>) -> Vec<Sink> {
    let own = config
        .into_iter()
        .flat_map(|config| &config.outputs)
        .map(|section| {
            let plugin = get(section, "name").unwrap_or_default();
            Sink {
                matching: Matching::of(section),
                lines: label::output(&plugin, &|name| get(section, name), generated.dialect, context),
            }
        });
    let written = generated.outputs.iter().map(|section| {
        let option = |name: &str| option(section, name);
        let mut matching = Matching::pattern(section.tag.as_deref().unwrap_or_default());
        if generated.dialect == Dialect::FluentBit {
            // A log option of that name stands behind the generated one and replaces it.
            matching.pattern = option("match").as_deref().map(Match::new).or(matching.pattern);
            matching.regex = option("match_regex");
        }
        Sink {
            matching,
            lines: label::output(&section.plugin, &option, generated.dialect, context),
        }
    });
    let mut sinks: Vec<_> = own.chain(written).collect();
    let inputs = generated.inputs.len() + config.map_or(0, |config| config.inputs.len());
    if let ([sink], 1) = (sinks.as_mut_slice(), inputs)
        && sink.matching.is_empty()
    {
        // One input, one output: it needs no `Match`.
        sink.matching = Matching::pattern("*");
    }
    sinks
}

fn file(task: &TaskDefinition, generated: &Generated) -> Option<Vec<String>> {
    let path = generated.external.as_ref()?;
    let mut lines = vec![path.clone()];
    let firelens = task
        .router()
        .and_then(|(_, router)| router.firelens_configuration.as_ref());
    if let Some(External::S3(arn)) = firelens.and_then(firelens::external) {
        lines.push(arn.value.clone());
    }
    lines.push("(not read)".to_string());
    Some(lines)
}

fn router(task: &TaskDefinition, context: &Context, generated: &Generated) -> Vec<String> {
    let name = task.router().map_or("", |(_, router)| router.name());
    let language = match generated.dialect {
        Dialect::FluentBit => "Fluent Bit",
        Dialect::Fluentd => "Fluentd",
    };
    let mode = Mode::of(task);
    let host = match mode {
        Mode::Awsvpc => "127.0.0.1",
        Mode::Bridge => context.firelens_bridge_ip.as_str(),
        Mode::Other(_) => "",
    };
    let socket = format!("socket {}", firelens::SOCKET);
    let mut lines = vec![format!("{name} ({language})"), socket];
    if mode.listen().is_some() {
        let port = firelens::FORWARD_PORT;
        lines.push(format!("Forward clients: FLUENT_HOST={host} FLUENT_PORT={port}"));
    }
    lines
}

impl Route {
    fn node(&mut self, kind: Kind, lines: Vec<String>, faint: bool) -> usize {
        self.graph.nodes.push(Node { kind, lines, faint });
        self.graph.nodes.len() - 1
    }

    /// A box at the end, drawn once however many lead to it.
    fn end(&mut self, kind: Kind, lines: Vec<String>) -> usize {
        if let Some(&known) = self.ends.get(&(kind, lines.clone())) {
            return known;
        }
        let node = self.node(kind, lines.clone(), false);
        self.ends.insert((kind, lines), node);
        node
    }

    fn edge(&mut self, from: usize, (to, sure, label): End) {
        self.graph.edges.push(Edge {
            from,
            to,
            sure,
            label,
        });
    }

    fn container(&mut self, container: &Container, context: &Context) {
        let node = self.node(Kind::Container, label::container(container), false);
        if container.uses_firelens() {
            let text = format!("{}-firelens-{}", container.name(), context.task_id);
            let open = container.name.as_ref().is_some_and(|name| name.open);
            let tag = if open { Tag::open(text) } else { Tag::new(text) };
            self.tagged(node, tag, false);
        } else if !container.name().is_empty() || container.driver().is_some() {
            let end = self.end(Kind::Driver, label::driver(container, context));
            self.edge(node, (end, true, None));
        }
    }

    /// An input of the router's own file, the `index`th of all.
    fn input(&mut self, section: &Section, index: usize) {
        let plugin = get(section, "name").unwrap_or_default();
        let routable = get(section, "routable");
        let off = |text: &str| {
            ["false", "off", "no"]
                .iter()
                .any(|off| text.eq_ignore_ascii_case(off))
        };
        if routable.is_some_and(|text| off(&text)) {
            return;
        }
        let given = get(section, "tag");
        let tag = if plugin.eq_ignore_ascii_case("forward") && given.is_none() {
            let prefix = get(section, "tag_prefix").unwrap_or_default();
            let mut tag = Tag::new(format!("{prefix}*"));
            tag.text = format!("{prefix}<tags of its clients>");
            tag
        } else {
            // `<name>` is filled in by `Tag_Regex`.
            let text = given.unwrap_or_else(|| format!("{plugin}.{index}"));
            let mut tag = Tag::new(text);
            if section.get("tag_regex").is_some() {
                tag.glob = tag.text.replace('<', "${").replace('>', "}");
                tag.glob = Tag::open(tag.glob).glob;
            }
            tag
        };
        let node = self.node(
            Kind::Input,
            label::input(&plugin, &|name| get(section, name)),
            false,
        );
        self.tagged(node, tag, false);
    }

    fn tagged(&mut self, from: usize, tag: Tag, faint: bool) {
        if let Some(to) = self.tag(tag, 0, faint) {
            self.edge(from, (to, true, None));
        }
    }

    /// The box of a tag, with all that follows from it.
    fn tag(&mut self, tag: Tag, depth: usize, faint: bool) -> Option<usize> {
        if let Some(&known) = self.tags.get(&(depth, tag.clone())) {
            return Some(known);
        }
        if self.tags.len() >= TAGS_MAX {
            return None;
        }
        let node = self.node(Kind::Tag, vec![tag.text.clone()], faint);
        self.tags.insert((depth, tag.clone()), node);
        let (lines, ends) = self.follow(&tag, depth, faint);
        let from = match lines.is_empty() {
            true => node,
            false => {
                let chain = (depth, lines, ends.clone(), faint);
                if let Some(&known) = self.chains.get(&chain) {
                    self.edge(node, (known, true, None));
                    return Some(node);
                }
                let filters = self.node(Kind::Filters, chain.1.clone(), faint);
                self.chains.insert(chain, filters);
                self.edge(node, (filters, true, None));
                filters
            }
        };
        for end in ends {
            self.edge(from, end);
        }
        Some(node)
    }

    /// The filters that a tag meets and where it ends.
    fn follow(&mut self, tag: &Tag, depth: usize, faint: bool) -> (Vec<String>, Vec<End>) {
        let (mut lines, mut ends) = (Vec::new(), Vec::new());
        let mut given = Vec::new();
        for (index, filter) in self.filters.iter().enumerate() {
            let (condition, sure) = match filter.matching.fits(tag) {
                Fit::No => continue,
                _ if tag.giver == Some(index) => continue,
                Fit::Yes => (String::new(), true),
                Fit::Perhaps(condition) => (format!(" (if {condition})"), false),
            };
            lines.push(format!("{}{condition}", filter.line));
            let rules = filter.rules.iter();
            given.extend(rules.map(|rule| (rule.apply(tag, index), sure, rule.label.clone())));
        }
        let rewritten = !given.is_empty();
        for (tag, sure, label) in given.into_iter().filter(|_| depth < REWRITES_MAX) {
            if let Some(to) = self.tag(tag, depth + 1, faint) {
                ends.push((to, sure, Some(label)));
            }
        }
        self.outputs(tag, &mut ends, rewritten);
        (lines, unique(ends))
    }

    fn outputs(&mut self, tag: &Tag, ends: &mut Vec<End>, rewritten: bool) {
        let before = ends.len();
        let found = self
            .sinks
            .iter()
            .filter_map(|sink| match sink.matching.fits(tag) {
                Fit::No => None,
                Fit::Perhaps(condition) => Some((sink.lines.clone(), false, Some(condition))),
                Fit::Yes => Some((sink.lines.clone(), true, None)),
            });
        // Fluentd gives a record to the first that matches only.
        let most = if self.dialect == Dialect::Fluentd {
            1
        } else {
            usize::MAX
        };
        let found: Vec<_> = found.take(most).collect();
        if let Some(lines) = self.file.clone() {
            let end = self.end(Kind::File, lines);
            ends.push((end, false, None));
        }
        for (lines, sure, label) in found {
            let end = self.end(Kind::Output, lines);
            ends.push((end, sure, label));
        }
        if ends.len() == before {
            let end = self.end(Kind::Lost, vec!["no output: lost".to_string()]);
            ends.push((end, !rewritten, rewritten.then(|| "no rule fits".to_string())));
        }
    }

    /// Puts the edges in the order of their boxes. What only faint boxes lead to is faint itself.
    fn finish(&mut self) {
        let graph = &mut self.graph;
        graph.edges.sort_by_key(|edge| edge.from);
        if self.tags.len() >= TAGS_MAX {
            graph
                .router
                .push(format!("only the first {TAGS_MAX} tags are followed"));
        }
        let mut reached = vec![false; graph.nodes.len()];
        for edge in &graph.edges {
            reached[edge.to] |= !graph.nodes[edge.from].faint;
        }
        let ends = graph.nodes.iter_mut().zip(reached);
        for (node, reached) in ends.filter(|(node, _)| node.kind.is_end()) {
            node.faint |= !reached;
        }
    }
}

/// The same end twice becomes one arrow that says so: the records arrive twice.
fn unique(ends: Vec<End>) -> Vec<End> {
    let mut kept: Vec<(End, usize)> = Vec::new();
    for end in ends {
        match kept.iter_mut().find(|(known, _)| *known == end) {
            Some((_, count)) => *count += 1,
            None => kept.push((end, 1)),
        }
    }
    let named = kept.into_iter().map(|((to, sure, label), count)| {
        let label = match (count, label) {
            (1, label) => label,
            (count, None) => Some(format!("{count} times")),
            (count, Some(label)) => Some(format!("{label} ({count} times)")),
        };
        (to, sure, label)
    });
    named.collect()
}
