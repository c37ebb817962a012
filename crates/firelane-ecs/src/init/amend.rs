//! Amends a text: which containers, which changes, and a last look at what came out.

use firelane_conf::{Diagnostic, SourceId};
use serde_json::{Value as Json, json};

use super::edit::{Change, Editor, Step, says};
use super::output::{self, Chosen};
use super::place::{Container, Place, Task, is_intrinsic};
use super::{Request, Written, fault, shape, spelled};
use crate::firelens::Dialect;
use crate::source::{Grammar, Node, Value};

type Edit = (Vec<Step>, Change);

pub(super) fn amend(
    request: &Request,
    file: SourceId,
    text: &str,
    grammar: Grammar,
) -> Result<Written, Vec<Diagnostic>> {
    let one = |fault: Box<Diagnostic>| vec![*fault];
    let mut editor = Editor::new(file, text, grammar).map_err(one)?;
    let place = Place::find(editor.root(), request.resource.as_deref()).map_err(one)?;
    let plan = Plan::make(request, &editor, &place)?;
    for (path, change) in &plan.edits {
        editor.apply(path, change).map_err(one)?;
    }
    let text = editor.into_text();
    let users: Vec<&str> = plan.users.iter().map(String::as_str).collect();
    super::check(&text, grammar, place.resource.as_deref(), &plan.router, &users).map_err(one)?;
    Ok(Written {
        text,
        notes: plan.notes,
    })
}

/// What is to be done.
struct Plan {
    edits: Vec<Edit>,
    notes: Vec<String>,
    /// The router's name.
    router: String,
    /// The names of the containers that send to it, where they are known.
    users: Vec<String>,
}

/// The router that others are pointed to.
struct Router<'a> {
    name: &'a str,
    /// Whether others may wait for it to be healthy.
    healthy: bool,
    /// Whether it stands there already.
    old: bool,
}

impl Plan {
    fn make(request: &Request, editor: &Editor, place: &Place) -> Result<Self, Vec<Diagnostic>> {
        let Some(list) = editor.at(&place.containers) else {
            return Err(vec![fault::internal("the containers are gone")]);
        };
        let node = place.task().and_then(|path| editor.at(path));
        let task = Task::read(node, list, place.form);
        let template = place.resource.is_some();
        let mode = task.mode(request.launch_type);
        let mut faults = Vec::new();
        let router = router(
            &task,
            request,
            shape::has_health_check(request.kind, mode),
            &mut faults,
        );
        let users = match &router {
            Some(router) => users(&task, request, list, router, &mut faults),
            None => Vec::new(),
        };
        let facts = task.facts(request, template, users.len());
        let chosen = output::choose(request, &facts).unwrap_or_else(|more| {
            faults.extend(more);
            Chosen::default()
        });
        let Some(router) = router.filter(|_| faults.is_empty()) else {
            return Err(faults);
        };
        let mut plan = Self {
            edits: Vec::new(),
            notes: Vec::new(),
            router: router.name.to_string(),
            users: users
                .iter()
                .filter_map(|user| user.name.map(str::to_string))
                .collect(),
        };
        let log = spelled(&shape::log_configuration(&chosen), place.form);
        for user in &users {
            plan.log(&task, place, user, &log)?;
            plan.wait(&task, place, user, &router);
        }
        if !router.old {
            let stop = task.stop_timeout(&users);
            let new = spelled(&shape::router(request.kind, mode, &facts, stop), place.form);
            plan.edits.push((place.containers.clone(), Change::Prepend(new)));
            plan.new_router(request, &task, mode);
        }
        plan.notes.extend(chosen.notes.iter().cloned());
        plan.notes.extend(output::execution_note(!router.old, &chosen));
        plan.finish(&task);
        Ok(plan)
    }

    /// Points the log of a container to the router.
    fn log(
        &mut self,
        task: &Task<'_>,
        place: &Place,
        user: &Container<'_>,
        log: &Json,
    ) -> Result<(), Vec<Diagnostic>> {
        let old = task.field(user.node, "logConfiguration");
        if old.is_some_and(|old| says(old, log)) {
            return Ok(());
        }
        let title = title(user);
        if let Some(old) = old {
            if is_intrinsic(old) || !matches!(old.value, Value::Map(_)) {
                let message = format!("the log configuration of {title} is made by an intrinsic");
                let help = "write it out, or point it to `awsfirelens` by hand";
                return Err(vec![fault::place(message, old.span).help(help)]);
            }
            let driver = task.field(old, "logDriver").and_then(Node::known);
            let driver = driver.unwrap_or("another driver");
            self.notes
                .push(format!("{title} sends to the router; before it was `{driver}`"));
        } else {
            self.notes.push(format!("{title} sends to the router"));
        }
        let key = place.form.written("logConfiguration");
        self.edits
            .push((place.container(user.index), Change::Set(key, log.clone())));
        Ok(())
    }

    /// Lets a container wait for the router.
    fn wait(&mut self, task: &Task<'_>, place: &Place, user: &Container<'_>, router: &Router<'_>) {
        let title = title(user);
        let circle = user
            .name
            .is_some_and(|name| router.old && task.waits(router.name, name));
        if circle {
            let name = router.name;
            self.notes.push(format!(
                "{title} cannot wait for `{name}`, which waits for it: it may lose first lines"
            ));
            return;
        }
        let condition = if router.healthy { "HEALTHY" } else { "START" };
        let new = spelled(&shape::dependency(router.name, condition), place.form);
        let key = place.form.written("dependsOn");
        let path = place.container(user.index);
        let Some(old) = task.field(user.node, "dependsOn") else {
            self.edits.push((path, Change::Set(key, json!([new]))));
            return;
        };
        if !matches!(old.value, Value::List(_)) {
            self.notes.push(format!(
                "the dependencies of {title} are made by an intrinsic: add `{}` by hand",
                router.name
            ));
            return;
        }
        let path: Vec<_> = path.into_iter().chain([Step::Key(key)]).collect();
        let named =
            |item: &Node| task.field(item, "containerName").and_then(Node::known) == Some(router.name);
        let Some(index) = old.items().iter().position(named) else {
            self.edits.push((path, Change::Append(new)));
            return;
        };
        let known = task.field(&old.items()[index], "condition").map(Node::known);
        let fits = match known {
            Some(Some("START") | None) => true,
            Some(Some("HEALTHY")) => router.healthy,
            _ => false,
        };
        if !fits {
            let path = path.into_iter().chain([Step::Item(index)]).collect();
            let key = place.form.written("condition");
            self.edits.push((path, Change::Set(key, condition.into())));
        }
    }

    /// What a new router brings.
    fn new_router(&mut self, request: &Request, task: &Task<'_>, mode: shape::Mode) {
        self.notes.push(format!("`{}` is the new router", self.router));
        if request.kind == Dialect::FluentBit && !shape::has_health_check(request.kind, mode) {
            let note = "the router has no health check: the agent writes an input for it in the network \
                        modes awsvpc and bridge only";
            self.notes.push(note.to_string());
        }
        if let Some((all, taken)) = task.room()
            && taken + shape::RESERVATION > all
        {
            let router = shape::RESERVATION;
            self.notes.push(format!(
                "the task has {all} MiB of memory, its containers ask for {taken}, the router for {router}: \
                 raise it, or ECS refuses the definition"
            ));
        }
    }

    /// What is left to say of the task.
    fn finish(&mut self, task: &Task<'_>) {
        if self.edits.is_empty() {
            self.notes.insert(0, "nothing is to be changed".to_string());
        }
        for span in &task.hidden {
            self.notes.push(format!(
                "line {}: a container made by an intrinsic is left as it is",
                span.line
            ));
        }
        let roles = [("executionRoleArn", "execution"), ("taskRoleArn", "task")];
        for (key, name) in roles {
            if task.node.is_some() && !task.has_role(key) {
                self.notes
                    .push(format!("the task definition names no {name} role"));
            }
        }
    }
}

fn title(user: &Container<'_>) -> String {
    match user.name {
        Some(name) => format!("`{name}`"),
        None => format!("the container in line {}", user.node.span.line),
    }
}

/// The router that is there, or the one that is to come. `healthy`: whether a new one has a health check.
fn router<'a>(
    task: &Task<'a>,
    request: &Request,
    healthy: bool,
    faults: &mut Vec<Diagnostic>,
) -> Option<Router<'a>> {
    if let Some(span) = task.windows() {
        let message = "FireLens does not run on Windows";
        faults
            .push(fault::router(message, span).help("send from the containers themselves, or use `awslogs`"));
        return None;
    }
    let mut routers = task.routers();
    let Some(first) = routers.next() else {
        let taken = task.containers.iter().find(|it| it.name == Some(shape::ROUTER));
        if let Some(taken) = taken {
            let message = format!("`{}` is no router but has the name of one", shape::ROUTER);
            faults.push(
                fault::router(message, taken.node.span).help("rename it, or give it `firelensConfiguration`"),
            );
            return None;
        }
        return Some(Router {
            name: shape::ROUTER,
            healthy,
            old: false,
        });
    };
    if let Some(second) = routers.next() {
        let message = "the task has more than one router";
        faults.push(fault::router(message, second.node.span).help("leave one `firelensConfiguration`"));
        return None;
    }
    match task.kind(first) {
        Ok(Some(kind)) if kind != request.kind => {
            let message = format!("the router that is there is of the type `{}`", kind.name());
            let help = format!("pass `--type {}`, or delete that router first", kind.name());
            faults.push(fault::router(message, first.node.span).help(help));
            return None;
        }
        Ok(_) => {}
        Err(fault) => {
            faults.push(*fault);
            return None;
        }
    }
    let Some(name) = first.name else {
        let message = "the router's name is not written out";
        faults.push(
            fault::router(message, first.node.span).help("others must name it in `dependsOn`: write it out"),
        );
        return None;
    };
    Some(Router {
        name,
        healthy: task.field(first.node, "healthCheck").is_some(),
        old: true,
    })
}

/// The containers whose logs go to the router.
fn users<'t, 'a>(
    task: &'t Task<'a>,
    request: &Request,
    list: &Node,
    router: &Router<'_>,
    faults: &mut Vec<Diagnostic>,
) -> Vec<&'t Container<'a>> {
    let apps = || task.containers.iter().filter(|it| it.name != Some(router.name));
    if request.containers.is_empty() {
        let all: Vec<_> = apps().collect();
        if all.is_empty() {
            let message = "there is no container whose log could be sent";
            faults.push(fault::place(message, list.span).help("add the application's container first"));
        }
        return all;
    }
    for name in &request.containers {
        let fault = if name == router.name {
            let help = "its own log goes elsewhere, so that one sees why it fails";
            fault::container(format!("`{name}` is the router")).help(help)
        } else if apps().any(|app| app.name == Some(name.as_str())) {
            continue;
        } else {
            let names: Vec<_> = apps().filter_map(|app| app.name).collect();
            let near = firelane_conf::suggest::nearest(name, names.iter().copied());
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => "no name is written out: leave `--container` out".to_string(),
                None => format!("there are {}", names.join(", ")),
            };
            fault::container(format!("there is no container `{name}`")).help(help)
        };
        faults.push(fault.at(list.span));
    }
    let wanted = |app: &&'t Container<'a>| {
        app.name
            .is_some_and(|name| request.containers.iter().any(|wanted| wanted == name))
    };
    apps().filter(wanted).collect()
}
