//! Where in a file the task definition is, and what it says that matters here.

use firelane_conf::{Diagnostic, Span};
use serde_json::{Value as Json, json};

use super::edit::Step;
use super::output::Facts;
use super::shape::Mode;
use super::{Request, fault};
use crate::context::{LaunchType, arn_part};
use crate::firelens::Dialect;
use crate::source::{Node, Value};
use crate::taskdef::Form;

/// The type of a task definition in a template.
const TYPE: &str = "AWS::ECS::TaskDefinition";

/// The place of a task definition in a tree.
#[derive(Debug)]
pub(super) struct Place {
    /// The way to the list of containers.
    pub(super) containers: Vec<Step>,
    /// The way to the map around it; none where the file is the list alone.
    task: Option<Vec<Step>>,
    /// How it is spelled.
    pub(super) form: Form,
    /// The logical id in a template.
    pub(super) resource: Option<String>,
}

impl Place {
    /// Finds the task definition that is meant.
    pub(super) fn find(root: &Node, wanted: Option<&str>) -> Result<Self, Box<Diagnostic>> {
        if let Some(resources) = root.get("Resources") {
            return Self::in_template(resources, wanted);
        }
        if let Some(wanted) = wanted {
            let message =
                format!("`--resource {wanted}` is given, but the file is no CloudFormation template");
            return Err(Box::new(fault::place(message, root.span).help("leave it out")));
        }
        let wrapper = root.get("taskDefinition");
        let task: Vec<Step> = wrapper.iter().map(|_| Step::key("taskDefinition")).collect();
        let inner = wrapper.unwrap_or(root);
        if let Value::List(_) = inner.value {
            return Ok(Self {
                containers: task,
                task: None,
                form: Form::Cli,
                resource: None,
            });
        }
        let pascal = inner.get("ContainerDefinitions").is_some();
        let form = if pascal { Form::Cfn } else { Form::Cli };
        Self::below(inner, task, form, None)
    }

    fn in_template(resources: &Node, wanted: Option<&str>) -> Result<Self, Box<Diagnostic>> {
        let pairs = resources.pairs().iter();
        let typed = |node: &Node| node.get("Type").and_then(Node::scalar) == Some(TYPE);
        let all: Vec<_> = pairs.filter(|pair| typed(&pair.value)).collect();
        let names = || {
            let names: Vec<_> = all.iter().map(|pair| pair.key.value.as_str()).collect();
            names.join(", ")
        };
        let pair = match (wanted, all.as_slice()) {
            (_, []) => {
                let message = "the template has no task definition";
                let help = format!("a resource of the type `{TYPE}` is amended");
                return Err(Box::new(fault::place(message, resources.span).help(help)));
            }
            (Some(wanted), all) => match all.iter().find(|pair| pair.key.value == wanted) {
                Some(pair) => *pair,
                None => {
                    let message = format!("the template has no task definition `{wanted}`");
                    let help = format!("it has {}", names());
                    return Err(Box::new(fault::place(message, resources.span).help(help)));
                }
            },
            (None, [pair]) => *pair,
            (None, [pair, ..]) => {
                let message = format!("the template has {} task definitions", all.len());
                let help = format!("choose one with `--resource`: {}", names());
                return Err(Box::new(fault::place(message, pair.key.span).help(help)));
            }
        };
        let id = &pair.key.value;
        let Some(properties) = pair.value.get("Properties") else {
            let message = format!("`{id}` has no properties");
            return Err(Box::new(
                fault::place(message, pair.key.span).help("it needs `ContainerDefinitions`"),
            ));
        };
        let path = ["Resources", id, "Properties"].map(Step::key).to_vec();
        Self::below(properties, path, Form::Cfn, Some(id.clone()))
    }

    fn below(
        task: &Node,
        path: Vec<Step>,
        form: Form,
        resource: Option<String>,
    ) -> Result<Self, Box<Diagnostic>> {
        let key = form.written("containerDefinitions");
        let Some(list) = task.get(&key) else {
            let message = match &resource {
                Some(id) => format!("`{id}` has no `{key}`"),
                None => "this is neither a task definition nor a CloudFormation template".to_string(),
            };
            let help = format!("a task definition has `{key}`; a template has `Resources`");
            return Err(Box::new(fault::place(message, task.span).help(help)));
        };
        if !matches!(list.value, Value::List(_)) {
            let message = format!("`{key}` is {}, a list of containers is expected", list.kind());
            let help = "an intrinsic in its place cannot be amended: do it by hand";
            return Err(Box::new(fault::place(message, list.span).help(help)));
        }
        let containers = path.iter().cloned().chain([Step::Key(key)]).collect();
        Ok(Self {
            containers,
            task: Some(path),
            form,
            resource,
        })
    }

    /// The way to a container.
    pub(super) fn container(&self, index: usize) -> Vec<Step> {
        let item = Step::Item(index);
        self.containers.iter().cloned().chain([item]).collect()
    }

    /// The way to the map around the list of containers.
    pub(super) fn task(&self) -> Option<&[Step]> {
        self.task.as_deref()
    }
}

/// A container as far as it matters.
#[derive(Debug)]
pub(super) struct Container<'a> {
    /// Its place in the list.
    pub(super) index: usize,
    /// Its name, if the file says it.
    pub(super) name: Option<&'a str>,
    /// All of it.
    pub(super) node: &'a Node,
}

/// What a file says.
#[derive(Debug)]
pub(super) struct Task<'a> {
    form: Form,
    /// The map around the list of containers.
    pub(super) node: Option<&'a Node>,
    /// The containers that are written out.
    pub(super) containers: Vec<Container<'a>>,
    /// Elements that an intrinsic stands for.
    pub(super) hidden: Vec<Span>,
}

impl<'a> Task<'a> {
    pub(super) fn read(node: Option<&'a Node>, list: &'a Node, form: Form) -> Self {
        let mut task = Self {
            form,
            node,
            containers: Vec::new(),
            hidden: Vec::new(),
        };
        for (index, node) in list.items().iter().enumerate() {
            if !matches!(node.value, Value::Map(_)) || is_intrinsic(node) {
                task.hidden.push(node.span);
                continue;
            }
            let name = node.get(&form.written("name")).and_then(Node::known);
            task.containers.push(Container { index, name, node });
        }
        task
    }

    /// A field of a container or of the task, by its name in the API.
    pub(super) fn field(&self, node: &'a Node, key: &str) -> Option<&'a Node> {
        node.get(&self.form.written(key))
            .filter(|node| node.value != Value::Null)
    }

    fn own(&self, key: &str) -> Option<&'a Node> {
        self.field(self.node?, key)
    }

    /// The containers that are routers.
    pub(super) fn routers(&self) -> impl Iterator<Item = &Container<'a>> {
        self.containers
            .iter()
            .filter(|container| self.field(container.node, "firelensConfiguration").is_some())
    }

    /// Where it says that it is for Windows.
    pub(super) fn windows(&self) -> Option<Span> {
        let os = self.field(self.own("runtimePlatform")?, "operatingSystemFamily")?;
        let name = os.known()?.to_ascii_uppercase();
        name.starts_with("WINDOWS").then_some(os.span)
    }

    /// Its network.
    pub(super) fn mode(&self, launch: Option<LaunchType>) -> Mode {
        let Some(node) = self.node else {
            return match launch {
                Some(LaunchType::Fargate) => Mode::Awsvpc,
                _ => Mode::Either,
            };
        };
        match self.field(node, "networkMode") {
            Some(mode) => match mode.known() {
                Some("awsvpc") => Mode::Awsvpc,
                Some("bridge") => Mode::Bridge,
                Some("host" | "none") => Mode::Host,
                _ => Mode::Open,
            },
            None if launch == Some(LaunchType::Fargate) || self.is_fargate(node) => Mode::Awsvpc,
            None => Mode::Bridge,
        }
    }

    fn is_fargate(&self, node: &'a Node) -> bool {
        let all = self.field(node, "requiresCompatibilities");
        let mut all = all.into_iter().flat_map(Node::items);
        all.any(|name| name.known() == Some("FARGATE"))
    }

    /// Whether it names an execution role.
    pub(super) fn has_role(&self, key: &str) -> bool {
        self.own(key).is_some()
    }

    /// The longest that one of some containers may take to stop.
    pub(super) fn stop_timeout(&self, containers: &[&Container<'a>]) -> i64 {
        let of = |container: &&Container<'a>| {
            let seconds = self.field(container.node, "stopTimeout").and_then(Node::known);
            seconds.and_then(|seconds| seconds.parse().ok())
        };
        let all = containers.iter().filter_map(of);
        all.chain([super::shape::APP_STOP_TIMEOUT])
            .max()
            .unwrap_or_default()
    }

    fn memory(&self) -> Option<i64> {
        mebibytes(self.own("memory")?.known()?)
    }

    /// MiB of the task, and of its containers together, if all is known.
    pub(super) fn room(&self) -> Option<(i64, i64)> {
        let task = self.memory()?;
        let of = |container: &Container<'a>| {
            let keys = ["memoryReservation", "memory"].iter();
            let mut all =
                keys.filter_map(|key| self.field(container.node, key)?.known()?.parse::<i64>().ok());
            all.next()
        };
        Some((task, self.containers.iter().filter_map(of).sum()))
    }

    /// Whether a container waits for another, at whatever distance.
    pub(super) fn waits(&self, name: &str, other: &str) -> bool {
        let mut open = vec![name];
        let mut seen: Vec<&str> = Vec::new();
        while let Some(name) = open.pop() {
            if name == other {
                return true;
            }
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            let all = self
                .containers
                .iter()
                .filter(|container| container.name == Some(name));
            open.extend(all.flat_map(|container| self.waited(container.node)));
        }
        false
    }

    fn waited(&self, node: &'a Node) -> Vec<&'a str> {
        let items = |key: &str| self.field(node, key).map_or(&[][..], Node::items).iter();
        let named = |key: &'static str| move |item: &'a Node| self.field(item, key)?.known();
        let depends = items("dependsOn").filter_map(named("containerName"));
        let volumes = items("volumesFrom").filter_map(named("sourceContainer"));
        let links = items("links").filter_map(|link| link.known()?.split(':').next());
        depends.chain(volumes).chain(links).collect()
    }

    /// What outputs need to know. In a template the stack says where it is.
    pub(super) fn facts(&self, request: &Request, template: bool, users: usize) -> Facts {
        let family = self.own("family").and_then(Node::known);
        let first = || {
            let router = |container: &&Container<'a>| self.routers().any(|it| it.index == container.index);
            let mut apps = self.containers.iter().filter(|container| !router(container));
            apps.find_map(|container| container.name)
        };
        let group = match (family, template) {
            (Some(family), _) => format!("/ecs/{family}").into(),
            (None, true) => json!({"Fn::Sub": "/ecs/${AWS::StackName}"}),
            (None, false) => format!("/ecs/{}", first().unwrap_or("firelens")).into(),
        };
        let known = request.region.clone().or_else(|| self.region());
        let default_region = known.is_none() && !template;
        let region = match (known, template && request.region.is_none()) {
            (_, true) => json!({"Ref": "AWS::Region"}),
            (Some(region), _) => Json::String(region),
            (None, _) => "us-east-1".into(),
        };
        Facts {
            family: family.map(str::to_string),
            group,
            region,
            default_region,
            memory: self.memory(),
            users,
        }
    }

    /// The region, from the first place that says it.
    fn region(&self) -> Option<String> {
        let arn = self.own("taskDefinitionArn").and_then(Node::known);
        if let Some(region) = arn.and_then(|arn| arn_part(arn, 3)) {
            return Some(region);
        }
        self.containers.iter().find_map(|container| {
            let log = self.field(container.node, "logConfiguration")?;
            let options = self.field(log, "options")?;
            let keys = ["awslogs-region", "region", "aws_region", "s3_region"];
            let mut all = keys.iter().filter_map(|key| options.get(key)?.known());
            all.next().map(str::to_string)
        })
    }

    /// The kind of a router; nothing where only the deployment knows it.
    pub(super) fn kind(&self, router: &Container<'a>) -> Result<Option<Dialect>, Box<Diagnostic>> {
        let firelens = self.field(router.node, "firelensConfiguration");
        let Some(kind) = firelens.and_then(|firelens| self.field(firelens, "type")) else {
            return Ok(None);
        };
        match kind.known() {
            None => Ok(None),
            Some(name) => match Dialect::from_name(name) {
                Some(kind) => Ok(Some(kind)),
                None => {
                    let message = format!("the router has the type `{name}`");
                    let help = "there are `fluentbit` and `fluentd`";
                    Err(Box::new(fault::router(message, kind.span).help(help)))
                }
            },
        }
    }
}

/// The memory of a task: MiB, or with `GB`.
fn mebibytes(text: &str) -> Option<i64> {
    let upper = text.trim().to_ascii_uppercase();
    match upper.strip_suffix("GB") {
        Some(gigabytes) => {
            let gigabytes: f64 = gigabytes.trim().parse().ok()?;
            Some((gigabytes * 1024.0) as i64)
        }
        None => upper.parse().ok(),
    }
}

/// Whether a map is an intrinsic in its long form.
pub(super) fn is_intrinsic(node: &Node) -> bool {
    match node.pairs() {
        [pair] => pair.key.value == "Ref" || pair.key.value.starts_with("Fn::"),
        _ => false,
    }
}
