//! The whole control side on bytes from outside.

use firelane_conf::{Severity, SourceId};

use crate::context::{Context, Given};
use crate::init::{self, Request};
use crate::lint::{self, Subject};
use crate::source::Grammar;
use crate::taskdef::{Loaded, Options, TaskDefinition, UNKNOWN_FIELD, load};
use crate::{firelens, graph, plan, render};

fn loaded(text: &str, grammar: Grammar) -> Loaded {
    load(SourceId(1), text, grammar, &Options::default())
}

/// Reads bytes as a definition in both grammars and does everything with it that the commands do.
///
/// # Panics
/// If a definition that passes the checks does not render, or if printing and reading it again changes it.
#[doc(hidden)]
pub fn fuzz_taskdef(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for grammar in [Grammar::Json, Grammar::Yaml] {
        let loaded = loaded(text, grammar);
        if let Some(task) = &loaded.task {
            everything(&loaded, task);
        }
        amended(text, grammar);
    }
}

fn everything(loaded: &Loaded, task: &TaskDefinition) {
    let context = Context::new(&Given::default(), task);
    let found = lint::check(&Subject {
        task,
        context: &context,
        form: loaded.form,
        template: loaded.template.as_ref().zip(loaded.resource.as_deref()),
        config: None,
        quota: false,
    });
    let passes = !loaded.failed() && found.iter().all(|d| d.severity != Severity::Error);
    let generated = firelens::generate(task, &context);
    let nothing_to_do = task.router().is_none() && task.users().next().is_none();
    assert!(
        !passes || nothing_to_do || generated.is_ok(),
        "passes, but does not render"
    );
    if let Ok(generated) = generated {
        let text = render::text(&generated);
        assert!(text.starts_with('\n') && text.ends_with('\n'));
        let graph = graph::build(task, &context, &generated, None);
        graph::svg(&graph);
        graph::mermaid(&graph);
        if let Ok(Some(plan)) = plan::plan(task, &context) {
            plan.to_json();
        }
    }
    // A field in the wrong spelling is kept as it is written, and may be a known one in the other.
    if loaded
        .diagnostics
        .iter()
        .all(|diagnostic| diagnostic.code != UNKNOWN_FIELD)
    {
        reads_back(task);
    }
}

/// A router put in is there, and putting it in again changes nothing.
fn amended(text: &str, grammar: Grammar) {
    let request = Request {
        to: "stdout".into(),
        ..Request::default()
    };
    match init::amend(&request, SourceId(1), text, grammar) {
        Ok(once) => {
            let twice = init::amend(&request, SourceId(1), &once.text, grammar).map(|written| written.text);
            assert_eq!(twice.as_ref(), Ok(&once.text), "a second time changes it");
        }
        Err(errors) => assert!(errors.iter().all(|error| !init::is_internal(error)), "{errors:?}"),
    }
}

/// What is printed reads back as the same model.
pub(crate) fn reads_back(task: &TaskDefinition) {
    let printed = task.to_json();
    // Texts that only the deployment can fill stand where numbers belong.
    let again = load(
        SourceId(1),
        &printed.to_string(),
        Grammar::Json,
        &Options::default(),
    );
    if let (Some(again), false) = (&again.task, again.failed()) {
        assert_eq!(
            again.to_json(),
            printed,
            "reading back what was printed changes it"
        );
    }
}
