//! Properties of the whole control side on generated task definitions.

use std::path::Path;

use firelane_conf::{Severity, SourceId};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::context::{Context, Given};
use crate::lint::{self, Subject};
use crate::source::Grammar;
use crate::taskdef::{Form, Loaded, Options, load};
use crate::{firelens, graph, plan, render};

fn read(text: &str, name: &str) -> Loaded {
    load(
        SourceId(1),
        text,
        Grammar::of(Path::new(name), text),
        &Options::default(),
    )
}

fn option() -> impl Strategy<Value = (String, String)> {
    let key = prop_oneof![
        Just("Name".to_string()),
        Just("@type".to_string()),
        Just("region".to_string()),
        Just("delivery_stream".to_string()),
        Just("include-pattern".to_string()),
        Just("exclude-pattern".to_string()),
        Just("log-driver-buffer-limit".to_string()),
        "[a-zA-Z_@ .]{1,12}",
    ];
    let value = prop_oneof![
        Just("kinesis_firehose".to_string()),
        Just("stdout".to_string()),
        Just("null".to_string()),
        Just("4096".to_string()),
        ".{0,12}",
    ];
    (key, value)
}

fn log() -> impl Strategy<Value = Json> {
    let driver = prop_oneof![4 => Just("awsfirelens"), 1 => Just("awslogs"), 1 => Just("splunk")];
    let options = proptest::collection::hash_map(".{0,1}", option(), 0..4);
    let secrets = proptest::collection::vec((option(), 0..3usize), 0..2);
    (driver, options, secrets).prop_map(|(driver, options, secrets)| {
        let options: serde_json::Map<_, _> = options
            .into_values()
            .map(|(key, value)| (key, Json::String(value)))
            .collect();
        let from = [
            "arn:aws:secretsmanager:us-east-1:111122223333:secret:k-AbCdEf",
            "/app/key",
            "x",
        ];
        let secrets: Vec<_> = secrets
            .into_iter()
            .map(|((name, _), at)| json!({"name": name, "valueFrom": from[at]}))
            .collect();
        json!({"logDriver": driver, "options": options, "secretOptions": secrets})
    })
}

fn container() -> impl Strategy<Value = Json> {
    let name = prop_oneof![
        Just("app"),
        Just("web"),
        Just("log_router"),
        Just("ünïcode"),
        Just("a b")
    ];
    let waits = proptest::collection::vec(
        (Just("log_router"), prop_oneof![Just("START"), Just("HEALTHY")]),
        0..2,
    );
    let router = proptest::option::weighted(0.4, ("fluentbit|fluentd|other", any::<bool>()));
    let memory = proptest::option::of(0..2000i64);
    let user = proptest::option::weighted(0.2, "[0-9a-z:]{1,6}");
    let logging = proptest::option::of(log());
    (name, waits, router, memory, user, logging).prop_map(|(name, waits, router, memory, user, logging)| {
        let waits: Vec<_> = waits
            .into_iter()
            .map(|(name, condition)| json!({"containerName": name, "condition": condition}))
            .collect();
        let mut container = json!({"name": name, "image": "i", "dependsOn": waits});
        let mut set = |key: &str, value: Option<Json>| {
            if let Some(value) = value {
                container[key] = value;
            }
        };
        set("memoryReservation", memory.map(Json::from));
        set("user", user.map(Json::from));
        set("logConfiguration", logging);
        let options = |off: bool| {
            if off {
                json!({"enable-ecs-log-metadata": "false"})
            } else {
                json!({})
            }
        };
        set(
            "firelensConfiguration",
            router.map(|(kind, off)| json!({"type": kind, "options": options(off)})),
        );
        container
    })
}

prop_compose! {
    fn definition()(
        mode in proptest::option::of("awsvpc|bridge|host|none"),
        containers in proptest::collection::vec(container(), 0..5),
        family in proptest::option::weighted(0.9, "[a-z]{1,8}"),
    ) -> Json {
        let mut task = json!({"containerDefinitions": containers, "memory": "512"});
        if let Some(family) = family {
            task["family"] = family.into();
        }
        if let Some(mode) = mode {
            task["networkMode"] = mode.into();
        }
        task
    }
}

/// The same definition as CloudFormation spells it.
fn pascal(value: &Json, own_words: bool) -> Json {
    match value {
        Json::Object(map) if own_words => Json::Object(map.clone()),
        Json::Object(map) => {
            let pair =
                |(key, value): (&String, &Json)| (Form::Cfn.written(key), pascal(value, key == "options"));
            Json::Object(map.iter().map(pair).collect())
        }
        Json::Array(items) => items.iter().map(|item| pascal(item, false)).collect(),
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// Guarantees: nothing panics; what passes the checks renders; what is printed reads back as the same
    /// model.
    #[test]
    fn what_passes_renders(task in definition()) {
        let loaded = read(&task.to_string(), "t.json");
        let model = loaded.task.as_ref().expect("a definition");
        let context = Context::new(&Given::default(), model);
        let found = lint::check(&Subject {
            task: model,
            context: &context,
            form: loaded.form,
            template: None,
            config: None,
            quota: true,
        });
        let generated = firelens::generate(model, &context);
        let passes = !loaded.failed() && found.iter().all(|d| d.severity != Severity::Error);
        let idle = model.router().is_none() && model.users().next().is_none();
        prop_assert!(!passes || idle || generated.is_ok(), "{:?}", generated);
        if let Ok(generated) = &generated {
            let text = render::text(generated);
            prop_assert!(text.starts_with('\n') && text.ends_with('\n'));
            graph::svg(&graph::build(model, &context, generated, None));
            plan::plan(model, &context).expect("a version").expect("a plan").to_json();
        }
        let again = read(&model.to_json().to_string(), "t.json");
        prop_assert!(!again.failed());
        prop_assert_eq!(again.task.expect("a definition").to_json(), model.to_json());
    }

    /// Guarantees: both spellings and both grammars of one definition are one model, with the same result.
    #[test]
    fn spellings_agree(task in definition()) {
        let plain = read(&task.to_string(), "t.json");
        let template = json!({"Resources": {"T": {
            "Type": "AWS::ECS::TaskDefinition",
            "Properties": pascal(&task, false),
        }}});
        let other = read(&template.to_string(), "t.json");
        let (plain, other) = (plain.task.expect("a definition"), other.task.expect("a definition"));
        prop_assert_eq!(plain.to_json(), other.to_json());
        let context = Context::new(&Given::default(), &plain);
        let texts = [&plain, &other].map(|task| {
            let generated = firelens::generate(task, &context);
            generated.ok().map(|generated| render::text(&generated))
        });
        prop_assert_eq!(&texts[0], &texts[1]);
    }
}
