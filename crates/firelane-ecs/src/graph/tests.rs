use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use firelane_conf::SourceId;
use proptest::prelude::*;

use super::layout::{Layout, Rect, layout};
use super::*;
use crate::context::Given;
use crate::firelens::generate;
use crate::source::Grammar;
use crate::taskdef::{Options, load};

/// Three users of every kind of route, one container aside; the golden case `fluentbit-multi-container`.
const MULTI: &str = "
family: fluentbit-multi-container
networkMode: bridge
requiresCompatibilities: [EC2]
containerDefinitions:
  - name: log_router
    image: public.ecr.aws/aws-observability/aws-for-fluent-bit:stable
    firelensConfiguration: {type: fluentbit}
    memoryReservation: 50
    logConfiguration:
      logDriver: awslogs
      options: {awslogs-group: firelens-container, awslogs-region: us-west-2, awslogs-stream-prefix: firelens}
  - name: web
    image: nginx:1.27
    memoryReservation: 100
    logConfiguration:
      logDriver: awsfirelens
      options:
        Name: cloudwatch_logs
        region: us-west-2
        log_group_name: /ecs/web
        log_stream_prefix: from-fluent-bit-
  - name: worker
    image: worker:7
    memoryReservation: 100
    logConfiguration:
      logDriver: awsfirelens
      options: {Name: kinesis_firehose, region: us-west-2, delivery_stream: my-stream, retry_limit: '2'}
  - name: cron
    image: nginx:1.27
    memoryReservation: 100
    logConfiguration:
      logDriver: awslogs
      options: {awslogs-group: /ecs/cron, awslogs-region: us-west-2, awslogs-stream-prefix: cron}
";

/// A user's own file, patterns, a lost tag, a container without driver.
const OWN_FILE: &str = "
family: shop
networkMode: awsvpc
requiresCompatibilities: [FARGATE]
containerDefinitions:
  - name: log_router
    image: r
    firelensConfiguration:
      type: fluentbit
      options: {config-file-type: file, config-file-value: /extra.conf}
  - name: web
    image: w
    logConfiguration:
      logDriver: awsfirelens
      options:
        Name: http
        Host: logs.example.com
        URI: /v1/in?api_key=0123
        include-pattern: '\"level\":\"(warn|error)\"'
        exclude-pattern: health
  - name: api
    image: a
    logConfiguration: {logDriver: awsfirelens}
  - name: batch
    image: b
    logConfiguration: {logDriver: awsfirelens}
  - name: proxy
    image: p
";

const EXTRA: &str = "
[INPUT]
    Name tail
    Path /var/log/audit/*.log
    Tag audit.*
[FILTER]
    Name parser
    Match web*
    Key_Name log
    Parser json
[FILTER]
    Name rewrite_tag
    Match api-firelens*
    Rule $log ^ERROR errors.$TAG false
    Rule $level ^debug$ debug true
[OUTPUT]
    Name s3
    Match errors.*
    bucket error-archive
    region eu-central-1
[OUTPUT]
    Name cloudwatch_logs
    Match_Regex ^(web|api)-
    log_group_name /shop/all
    log_stream_prefix x
    region us-east-1
[OUTPUT]
    Name null
    Match debug
[OUTPUT]
    Name opensearch
    Match audit.var.log.audit.*
    Host search.example.com
    Index audit
";

const FLUENTD: &str = "
family: classic
containerDefinitions:
  - name: log_router
    image: fluentd
    memory: 100
    firelensConfiguration:
      type: fluentd
      options: {config-file-type: s3, config-file-value: 'arn:aws:s3:::my-bucket/fluentd.conf'}
  - name: app
    image: a
    memory: 100
    logConfiguration:
      logDriver: awsfirelens
      options: {'@type': kinesis_firehose, delivery_stream_name: my-stream, include-pattern: '/[Ee]rror/'}
  - name: app2
    image: a
    memory: 100
    logConfiguration: {logDriver: awsfirelens}
";

fn graph(task: &str, config: Option<&str>) -> Graph {
    let loaded = load(SourceId(0), task, Grammar::Yaml, &Options::default());
    let task = loaded.task.expect("the definition loads");
    let given = Given {
        region: Some("us-west-2".into()),
        ..Given::default()
    };
    let context = Context::new(&given, &task);
    let generated = generate(&task, &context).expect("the agent takes it");
    let mut files = BTreeMap::new();
    files.insert("extra.conf".into(), config.unwrap_or_default().to_string());
    let config = config.map(|_| {
        let env = HashMap::<String, String>::new();
        firelane_conf::load(Path::new("extra.conf"), &files, &env).expect("the file loads")
    });
    build(
        &task,
        &context,
        &generated,
        config.as_ref().map(|config| &config.config),
    )
}

/// The edges as text: titles of boxes.
fn routes(graph: &Graph) -> Vec<String> {
    let name = |index: usize| graph.nodes[index].lines.join("/");
    let edges = graph.edges.iter().map(|edge| {
        let arrow = if edge.sure { "->" } else { "~>" };
        let label = edge
            .label
            .as_ref()
            .map_or(String::new(), |label| format!(" [{label}]"));
        format!("{} {arrow} {}{label}", name(edge.from), name(edge.to))
    });
    edges.collect()
}

#[test]
fn multi_container() {
    let graph = graph(MULTI, None);
    insta::assert_snapshot!("multi_mermaid", mermaid(&graph));
    insta::assert_snapshot!("multi_svg", svg(&graph));
}

#[test]
fn own_file() {
    let graph = graph(OWN_FILE, Some(EXTRA));
    insta::assert_snapshot!("own_file_routes", routes(&graph).join("\n"));
    insta::assert_snapshot!("own_file_mermaid", mermaid(&graph));
    insta::assert_snapshot!("own_file_svg", svg(&graph));
}

#[test]
fn fluentd() {
    let graph = graph(FLUENTD, None);
    insta::assert_snapshot!("fluentd_mermaid", mermaid(&graph));
}

#[test]
fn a_file_that_was_not_read_is_a_box_and_nothing_is_called_lost() {
    let graph = graph(OWN_FILE, None);
    let routes = routes(&graph);
    let want = "api-firelens-0123456789abcdef0123456789abcdef -> ECS metadata";
    assert!(routes.contains(&want.to_string()), "{routes:#?}");
    assert!(
        routes.contains(&"ECS metadata ~> /extra.conf/(not read)".to_string()),
        "{routes:#?}"
    );
    assert!(graph.nodes.iter().all(|node| node.kind != Kind::Lost));
}

#[test]
fn a_tag_without_output_is_lost_and_drawn_red() {
    let task = MULTI
        .replace("Name: kinesis_firehose, ", "")
        .replace("delivery_stream: my-stream, ", "");
    let task = task.replace("{region: us-west-2, retry_limit: '2'}", "{}");
    let graph = graph(&task, None);
    let lost = |edge: &&Edge| graph.nodes[edge.to].kind == Kind::Lost;
    let lost: Vec<_> = graph.edges.iter().filter(lost).collect();
    assert!(lost.len() == 1 && lost[0].sure, "{:#?}", routes(&graph));
    assert!(svg(&graph).contains("fl-edge-lost\""));
    assert!(mermaid(&graph).contains("linkStyle"));
}

#[test]
fn a_log_option_replaces_the_match_of_its_output() {
    let graph = graph(&MULTI.replace("retry_limit: '2'", "match: 'web*'"), None);
    let routes = routes(&graph);
    let want = "ECS metadata -> Amazon Data Firehose/my-stream";
    assert!(routes.contains(&want.to_string()), "{routes:#?}");
    assert!(
        routes.contains(&"ECS metadata -> no output: lost".to_string()),
        "{routes:#?}"
    );
}

#[test]
fn secrets_do_not_stand_in_a_graph() {
    let graph = graph(OWN_FILE, Some(EXTRA));
    assert!(!svg(&graph).contains("0123</") && !mermaid(&graph).contains("api_key"));
    assert!(
        routes(&graph)
            .iter()
            .any(|route| route.contains("logs.example.com//v1/in?…"))
    );
}

#[test]
fn an_output_of_the_own_file_gets_every_tag_that_fits_also_twice() {
    let config = "[OUTPUT]\n Name stdout\n Match *\n[OUTPUT]\n Name stdout\n Match web-*\n";
    let graph = graph(OWN_FILE, Some(config));
    let twice = graph
        .edges
        .iter()
        .filter(|edge| edge.label.as_deref() == Some("2 times"));
    assert_eq!(twice.count(), 1);
    let health = graph.nodes.iter().filter(|node| node.faint).count();
    assert_eq!(health, 4, "input, tag, filters and `null`, but not `stdout`");
}

#[test]
fn endless_rewriting_ends() {
    let rules: String = ('a'..='m')
        .map(|c| format!(" Rule $log ^{c} {c}.$TAG false\n"))
        .collect();
    let config = format!("[FILTER]\n Name rewrite_tag\n Match *\n{rules}").repeat(2);
    let graph = graph(OWN_FILE, Some(&config));
    assert!(graph.nodes.len() < 5000);
    assert_eq!(
        graph.router.last().unwrap(),
        "only the first 1000 tags are followed"
    );
    check_layout(&graph);
}

#[test]
fn text_is_cut_in_its_middle_and_cleaned() {
    assert_eq!(shown("abcdefghij", 5), "ab…ij");
    assert_eq!(shown("a\nb\u{202e}\u{0}c", 9), "a b  c");
    assert_eq!(shown("", 5), "");
}

fn overlap(a: &Rect, b: &Rect) -> bool {
    a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h
}

/// No two boxes share a place, no arrow goes straight through one, all lies within the picture.
#[track_caller]
fn check_layout(graph: &Graph) {
    let Layout {
        width,
        height,
        boxes,
        arrows,
        router,
        ..
    } = layout(graph);
    for (i, (a, lines)) in boxes.iter().enumerate() {
        for (b, _) in &boxes[..i] {
            assert!(!overlap(a, b), "{a:?} {b:?}");
        }
        assert!(
            a.x >= 0.0 && a.y >= 0.0 && a.x + a.w <= width && a.y + a.h <= height,
            "{a:?}"
        );
        let aside = matches!(graph.nodes[i].kind, Kind::Driver);
        if let Some(router) = router.filter(|_| aside) {
            assert!(!overlap(a, &router), "{lines:?}");
        }
    }
    // Between two curves an arrow runs straight through a column.
    for arrow in &arrows {
        for pair in arrow.curves.windows(2) {
            let ((x1, y1), (x2, y2)) = (pair[0][1], pair[1][0]);
            assert!((y1 - y2).abs() < 0.01);
            let lane = Rect {
                x: x1,
                y: y1,
                w: x2 - x1,
                h: 0.01,
            };
            assert!(boxes.iter().all(|(rect, _)| !overlap(rect, &lane)), "{lane:?}");
        }
    }
}

#[test]
fn two_hundred_containers() {
    let mut task = OWN_FILE.to_string();
    for n in 0..200 {
        let log = match n % 5 {
            0 => format!(
                "{{logDriver: awslogs, options: {{awslogs-group: 'g{}'}}}}",
                n % 30
            ),
            _ => format!(
                "{{logDriver: awsfirelens, options: {{Name: s3, bucket: 'b{}'}}}}",
                n % 30
            ),
        };
        task.push_str(&format!(
            "  - name: c{n}\n    image: i\n    logConfiguration: {log}\n"
        ));
    }
    check_layout(&graph(&task, Some(EXTRA)));
    check_layout(&graph(&task, None));
}

#[test]
fn a_graph_of_nothing() {
    let graph = Graph::default();
    check_layout(&graph);
    check_xml(&svg(&graph));
    assert_eq!(mermaid(&graph), "flowchart LR\n");
}

/// A strict little reader: tags nest, attributes are quoted, entities are known, characters are XML's.
#[track_caller]
fn check_xml(text: &str) {
    let allowed = |c: char| matches!(c, '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    assert!(text.chars().all(allowed));
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        check_entities(before);
        let mut quoted = false;
        let end = after.find(|c| {
            quoted ^= c == '"';
            c == '>' && !quoted
        });
        let (tag, left) = after.split_at(end.expect("the tag ends"));
        assert!(!tag.contains('<'), "{tag}");
        rest = &left[1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
            continue;
        }
        let (inner, closed) = tag.strip_suffix('/').map_or((tag, false), |inner| (inner, true));
        let (name, mut attributes) = inner.split_once(' ').unwrap_or((inner, ""));
        assert!(name.chars().all(|c| c.is_ascii_alphabetic()), "{name}");
        while !attributes.is_empty() {
            let (key, value) = attributes.split_once("=\"").expect("a value in quotes");
            assert!(
                key.trim().chars().all(|c| c.is_ascii_alphabetic() || c == '-'),
                "{key}"
            );
            let (value, left) = value.split_once('"').expect("the value ends");
            check_entities(value);
            attributes = left;
        }
        if !closed {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
}

#[track_caller]
fn check_entities(text: &str) {
    for part in text.split('&').skip(1) {
        assert!(
            ["amp;", "lt;", "gt;", "quot;"]
                .iter()
                .any(|known| part.starts_with(known)),
            "&{part}"
        );
    }
}

/// Every line is one that `mermaid` writes, and between the outer quotes stands nothing with a meaning.
#[track_caller]
fn check_mermaid(text: &str) {
    for line in text.lines().skip(1) {
        assert!(!line.contains("%%") && !line.contains('`'), "{line}");
        let quotes = line.matches('"').count();
        assert!(quotes == 0 || quotes == 2, "{line}");
        let Some((_, label)) = line.split_once('"') else {
            continue;
        };
        let label = label.split('"').next().unwrap().replace("<br/>", "");
        assert!(!label.is_empty());
        assert!(
            !label.contains(['<', '>', '{', '}', '[', ']', '|', '&', '$']),
            "{label}"
        );
        assert!(label.chars().all(|c| !c.is_control()), "{label}");
        for part in label.split('#').skip(1) {
            let name = part.split(';').next().unwrap();
            let known = ["quot", "lt", "gt", "amp"].contains(&name) || name.parse::<u32>().is_ok();
            assert!(known && part.contains(';'), "{label}");
        }
    }
}

fn any_text() -> impl Strategy<Value = String> {
    let hostile = "[\"'<>&#;%{}\\[\\]|`$:a\\\\ \n*_-]{0,12}";
    prop_oneof![
        any::<String>(),
        hostile,
        "[a-z]{0,200}",
        Just("]]>--><script>alert(1)</script>".to_string()),
        Just("%%{init: {}}%%".to_string()),
        Just("style x:y#quot;".to_string()),
    ]
}

fn any_graph() -> impl Strategy<Value = Graph> {
    let kinds = Kind::NAMES.map(|(kind, _)| kind);
    let node = (
        prop::sample::select(kinds.to_vec()),
        prop::collection::vec(any_text(), 0..4),
        any::<bool>(),
    );
    let node = node.prop_map(|(kind, lines, faint)| Node { kind, lines, faint });
    let edge = (
        0..70_usize,
        0..70_usize,
        any::<bool>(),
        prop::option::of(any_text()),
    );
    let edge = edge.prop_map(|(from, to, sure, label)| Edge {
        from,
        to,
        sure,
        label,
    });
    let (nodes, edges) = (
        prop::collection::vec(node, 0..60),
        prop::collection::vec(edge, 0..90),
    );
    let router = prop::collection::vec(any_text(), 0..3);
    (any_text(), router, nodes, edges).prop_map(|(title, router, nodes, edges)| Graph {
        title,
        router,
        nodes,
        edges,
    })
}

/// A random graph of the shape that [`build`] makes: containers and inputs, tags, filters, ends.
fn any_routes() -> impl Strategy<Value = Graph> {
    let kinds = prop::collection::vec(
        prop::sample::select(Kind::NAMES.map(|(kind, _)| kind).to_vec()),
        0..120,
    );
    let edges = prop::collection::vec(
        (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        0..200,
    );
    (kinds, edges, prop::collection::vec(any_text(), 1..9)).prop_map(|(mut kinds, pairs, texts)| {
        kinds.sort_by_key(|kind| (kind.is_end(), *kind));
        let mut graph = Graph::default();
        for (index, kind) in kinds.iter().enumerate() {
            let lines = texts
                .iter()
                .cycle()
                .skip(index)
                .take(index % 4)
                .cloned()
                .collect();
            graph.nodes.push(Node {
                kind: *kind,
                lines,
                faint: index % 7 == 0,
            });
        }
        for (a, b) in pairs.iter().filter(|_| !kinds.is_empty()) {
            let (a, b) = (a.index(kinds.len()), b.index(kinds.len()));
            let (from, to) = (a.min(b), a.max(b));
            if kinds[from] < kinds[to] && !kinds[from].is_end() {
                let label = (to % 3 == 0).then(|| texts[to % texts.len()].clone());
                graph.edges.push(Edge {
                    from,
                    to,
                    sure: from % 2 == 0,
                    label,
                });
            }
        }
        graph
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_text_is_safe(graph in any_graph()) {
        check_xml(&svg(&graph));
        check_mermaid(&mermaid(&graph));
    }

    #[test]
    fn boxes_and_arrows_keep_apart(graph in any_routes()) {
        check_layout(&graph);
    }
}
