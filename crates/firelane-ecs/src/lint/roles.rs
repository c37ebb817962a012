//! Roles that the task lacks, and roles of its template that may not do what it needs.

use firelane_conf::{Class, Diagnostic, Span};

use super::{Subject, shared};
use crate::cfn::{Resource, Template};
use crate::context::LaunchType;
use crate::firelens::refuse::Stage;
use crate::firelens::{External, external};
use crate::iam::{self, Needs, Policy, Role};
use crate::source::Node;
use crate::taskdef::TaskDefinition;

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let task = subject.task;
    let needs = iam::needs(task, subject.context, subject.config, &iam::Options::default());
    let whole = !shared::is_fragment(task);
    if whole && task.execution_role_arn.is_none() {
        execution(subject, &needs, found);
    }
    if whole && task.task_role_arn.is_none() && !needs.task.statements.is_empty() {
        found.push(no_task_role(subject, &needs.task));
    }
    let Some((template, id)) = subject.template else {
        return;
    };
    for (key, role, whose) in [
        (
            "TaskRoleArn",
            &needs.task,
            "the call is denied when the output makes it, and its logs are not delivered",
        ),
        (
            "ExecutionRoleArn",
            &needs.execution,
            "the task stops before it starts: what it needs cannot be fetched",
        ),
    ] {
        let node = template.raw(id).and_then(|properties| properties.get(key));
        if let Some(resource) = node.and_then(|node| template.referenced_as(node, "AWS::IAM::Role")) {
            judge(template, resource, role, whose, found);
        }
    }
}

/// The actions of a role, for a message: at most four.
fn actions(role: &Role) -> String {
    let mut all: Vec<_> = role
        .statements
        .iter()
        .flat_map(|statement| &statement.actions)
        .copied()
        .collect();
    all.sort_unstable();
    all.dedup();
    list(&all)
}

fn list(all: &[&str]) -> String {
    let shown: Vec<_> = all.iter().take(4).map(|action| format!("`{action}`")).collect();
    let more = all.len().saturating_sub(4);
    let rest = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    shown.join(", ") + &rest
}

fn first_span(role: &Role) -> Option<Span> {
    role.statements
        .iter()
        .flat_map(|statement| &statement.reasons)
        .find_map(|reason| reason.span)
}

fn no_task_role(subject: &Subject<'_>, role: &Role) -> Diagnostic {
    let field = subject.field("taskRoleArn");
    let message = format!(
        "the task has no `{field}`, but its outputs need {}",
        actions(role)
    );
    let fargate = subject.is_fargate();
    let (diagnostic, outcome) = match fargate {
        true => (
            Diagnostic::error("FL0801", Class::Missing, message),
            "the outputs find no credentials and deliver nothing",
        ),
        false => (
            Diagnostic::warning("FL0801", message),
            "the outputs fall back on the role of the instance, if the instance lets containers reach it",
        ),
    };
    let span = first_span(role).unwrap_or(subject.task.span);
    let help = format!("add `{field}`; `firelane iam` prints the policy");
    diagnostic.at(span).outcome(outcome).help(help)
}

/// Why a task needs an execution role: code, place, what needs it, when and how ECS says so.
struct Reason {
    code: &'static str,
    span: Span,
    what: String,
    outcome: String,
}

fn execution(subject: &Subject<'_>, needs: &Needs, found: &mut Vec<Diagnostic>) {
    if needs.execution.statements.is_empty() {
        return;
    }
    let field = subject.field("executionRoleArn");
    for reason in reasons(subject) {
        let message = format!("the task has no `{field}`, but {}", reason.what);
        let help = format!("add `{field}`; `firelane iam` prints the policy");
        let diagnostic = Diagnostic::error(reason.code, Class::Missing, message).at(reason.span);
        found.push(diagnostic.outcome(reason.outcome).help(help));
    }
}

/// Texts of the API as users have published them.
fn reasons(subject: &Subject<'_>) -> Vec<Reason> {
    let task = subject.task;
    let mut all = Vec::new();
    if let Some(span) = secret(task) {
        let text = "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.";
        all.push(Reason {
            code: "FL0802",
            span,
            what: "ECS must fetch secrets for it".into(),
            outcome: Stage::Register.says(text),
        });
    }
    if let Some(span) = s3_config(task) {
        let text = "unable to download firelens s3 config file: unable to get execution role credentials";
        all.push(Reason {
            code: "FL0803",
            span,
            what: "ECS must fetch the router's file from S3".into(),
            outcome: Stage::ResourceCreate.says(text),
        });
    }
    let files = task
        .containers
        .iter()
        .flat_map(|container| &container.environment_files);
    if let Some(file) = files.into_iter().next() {
        all.push(Reason {
            code: "FL0804",
            span: file.span,
            what: "ECS must fetch an environment file from S3".into(),
            outcome: "the task stops before it starts: the file cannot be fetched".into(),
        });
    }
    if subject.context.launch_type == LaunchType::Fargate {
        all.extend(fargate(task));
    }
    all
}

fn secret(task: &TaskDefinition) -> Option<Span> {
    task.containers.iter().find_map(|container| {
        let log = container
            .log_configuration
            .iter()
            .flat_map(|log| &log.secret_options);
        container
            .secrets
            .iter()
            .chain(log)
            .map(|secret| secret.span)
            .next()
    })
}

fn s3_config(task: &TaskDefinition) -> Option<Span> {
    let firelens = task.router()?.1.firelens_configuration.as_ref()?;
    match external(firelens)? {
        External::S3(value) => Some(value.span),
        External::File(_) => None,
    }
}

/// On instances these are the instance's matter.
fn fargate(task: &TaskDefinition) -> Vec<Reason> {
    let mut all = Vec::new();
    let images = task
        .containers
        .iter()
        .filter_map(|container| container.image.as_ref());
    if let Some(image) = images
        .into_iter()
        .find(|image| image.as_str().contains(".dkr.ecr."))
    {
        let text = "Fargate requires task definition to have execution role ARN to support ECR images.";
        all.push(Reason {
            code: "FL0805",
            span: image.span,
            what: "ECS must pull an image from ECR".into(),
            outcome: Stage::Register.says(text),
        });
    }
    let drivers = task.containers.iter().filter_map(|container| container.driver());
    if let Some(driver) = drivers.into_iter().find(|driver| driver.is("awslogs")) {
        let text =
            "Fargate requires task definition to have execution role ARN to support log driver awslogs.";
        all.push(Reason {
            code: "FL0806",
            span: driver.span,
            what: "a container logs to `awslogs`".into(),
            outcome: Stage::Register.says(text),
        });
    }
    all
}

/// Compares a role of the template with what the task needs.
fn judge(template: &Template, role: Resource<'_>, needs: &Role, outcome: &str, found: &mut Vec<Diagnostic>) {
    let mut policy = Policy::default();
    let mut unknown = Vec::new();
    let mut broken = Vec::new();
    for document in documents(template, role, &mut policy, &mut unknown) {
        if let Err(mut faults) = policy.add(&document) {
            broken.append(&mut faults);
        }
    }
    if !broken.is_empty() {
        found.append(&mut broken);
        return;
    }
    let missing = iam::diff(&policy, needs).missing;
    if missing.is_empty() {
        return;
    }
    let mut denied: Vec<_> = missing.iter().map(|missing| missing.action).collect();
    denied.sort_unstable();
    denied.dedup();
    if !unknown.is_empty() {
        let message = format!(
            "role `{}` has the policy `{}`, which is not known here: whether it allows {} cannot be told",
            role.id,
            unknown.join("`, `"),
            list(&denied)
        );
        found.push(Diagnostic::note("FL0808", message).at(role.span));
        return;
    }
    let first = missing
        .first()
        .map(|missing| missing.resource.as_str())
        .unwrap_or_default();
    let because = missing
        .iter()
        .flat_map(|missing| &missing.reasons)
        .map(|reason| reason.text.as_str())
        .next();
    let message = format!("role `{}` does not allow {} on `{first}`", role.id, list(&denied));
    let help = format!(
        "add a statement for it ({}); `firelane iam --format cloudformation` prints the whole policy",
        because.unwrap_or("the task needs it")
    );
    let diagnostic = Diagnostic::error("FL0807", Class::Missing, message).at(role.span);
    found.push(diagnostic.outcome(outcome).help(help));
}

/// The policy documents of a role, its own and those attached to it; what is known of AWS's own policies goes
/// straight into `policy`, the others' names into `unknown`.
fn documents(
    template: &Template,
    role: Resource<'_>,
    policy: &mut Policy,
    unknown: &mut Vec<String>,
) -> Vec<Node> {
    let mut quiet = Vec::new();
    let mut all = Vec::new();
    let properties = template.properties(role.id, &mut quiet);
    let policies = properties.get("Policies").map(Node::items).unwrap_or_default();
    all.extend(
        policies
            .iter()
            .filter_map(|one| one.get("PolicyDocument").cloned()),
    );
    let raw = template.raw(role.id).and_then(|raw| raw.get("ManagedPolicyArns"));
    let attached = properties
        .get("ManagedPolicyArns")
        .map(Node::items)
        .unwrap_or_default();
    let raw = raw.map(Node::items).unwrap_or_default();
    for (index, arn) in attached.iter().enumerate() {
        let own = raw
            .get(index)
            .and_then(|node| template.referenced_as(node, "AWS::IAM::ManagedPolicy"));
        let text = arn.scalar().unwrap_or_default();
        match (own, managed(text)) {
            (Some(own), _) => all.extend(document_of(template, own.id)),
            (None, Some(actions)) => policy.allow(actions, arn.span),
            (None, None) => unknown.push(text.rsplit('/').next().unwrap_or(text).to_string()),
        }
    }
    for resource in template
        .resources()
        .filter(|resource| resource.made != Some(false))
    {
        if attaches(template, resource, role) {
            all.extend(document_of(template, resource.id));
        }
    }
    all
}

fn document_of(template: &Template, id: &str) -> Option<Node> {
    // What cannot be resolved is said where the task definition needs it.
    template
        .properties(id, &mut Vec::new())
        .get("PolicyDocument")
        .cloned()
}

/// Whether a resource is a policy that names a role.
fn attaches(template: &Template, resource: Resource<'_>, role: Resource<'_>) -> bool {
    let Some(properties) = resource.properties else {
        return false;
    };
    let names = |node: &Node| {
        let named = template.referenced_as(node, "AWS::IAM::Role");
        named.is_some_and(|named| named.id == role.id)
    };
    match resource.kind {
        "AWS::IAM::Policy" | "AWS::IAM::ManagedPolicy" => properties
            .get("Roles")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .any(names),
        "AWS::IAM::RolePolicy" => properties.get("RoleName").is_some_and(names),
        _ => false,
    }
}

/// What AWS's own policies allow, as far as a task needs it
/// (`docs.aws.amazon.com/aws-managed-policy/latest/reference`); all of them on every resource.
fn managed(arn: &str) -> Option<&'static [&'static str]> {
    let name = arn
        .split_once(":policy/")
        .map(|(_, path)| path.rsplit('/').next().unwrap_or(path))?;
    Some(match name {
        "AdministratorAccess" => &["*"],
        "PowerUserAccess" => &["*"],
        "AmazonECSTaskExecutionRolePolicy" => &[
            "ecr:GetAuthorizationToken",
            "ecr:BatchCheckLayerAvailability",
            "ecr:GetDownloadUrlForLayer",
            "ecr:BatchGetImage",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
        ],
        "AmazonEC2ContainerRegistryReadOnly" | "AmazonEC2ContainerRegistryPullOnly" => &[
            "ecr:GetAuthorizationToken",
            "ecr:BatchCheckLayerAvailability",
            "ecr:GetDownloadUrlForLayer",
            "ecr:BatchGetImage",
        ],
        "CloudWatchFullAccess" | "CloudWatchLogsFullAccess" => &["logs:*"],
        "AmazonKinesisFirehoseFullAccess" => &["firehose:*"],
        "AmazonKinesisFullAccess" => &["kinesis:*"],
        "AmazonS3FullAccess" => &["s3:*"],
        "AmazonS3ReadOnlyAccess" => &["s3:Get*", "s3:List*"],
        "AmazonSSMReadOnlyAccess" => &["ssm:Describe*", "ssm:Get*", "ssm:List*"],
        "AmazonSSMFullAccess" => &["ssm:*"],
        "SecretsManagerReadWrite" => &["secretsmanager:*"],
        "AmazonOpenSearchServiceFullAccess" => &["es:*"],
        "AmazonPrometheusRemoteWriteAccess" => &["aps:RemoteWrite"],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::lint;

    const CODES: &[&str] = &[
        "FL0801", "FL0802", "FL0803", "FL0804", "FL0805", "FL0806", "FL0807", "FL0808",
    ];

    fn task(head: &str, app: &str) -> String {
        let task = format!(
            "family: web\nnetworkMode: awsvpc\n{head}containerDefinitions:\n- name: log_router\n  image: \
             111122223333.dkr.ecr.us-west-2.amazonaws.com/router:1\n  firelensConfiguration:\n    \
             type: fluentbit\n    \
             options: {{config-file-type: s3, config-file-value: 'arn:aws:s3:::b/extra.conf'}}\n  \
             logConfiguration: {{logDriver: awslogs, options: {{awslogs-group: g, awslogs-region: r, \
             awslogs-stream-prefix: p}}}}\n- name: app\n  image: app\n{app}"
        );
        lint(&task, CODES)
    }

    const APP: &str = "  environmentFiles: [{type: s3, value: 'arn:aws:s3:::b/x.env'}]\n  logConfiguration:\n    \
        logDriver: awsfirelens\n    options: {Name: kinesis_firehose, region: us-west-2, \
        delivery_stream: s}\n    \
        secretOptions: [{name: x, valueFrom: '/x'}]\n";

    #[test]
    fn roles_that_are_not_there() {
        insta::assert_snapshot!(task("", APP));
        insta::assert_snapshot!(task(
            "requiresCompatibilities: [FARGATE]\ncpu: 256\nmemory: 512\n",
            APP
        ));
        assert_eq!(task("taskRoleArn: t\nexecutionRoleArn: e\n", APP), "");
    }

    fn template(role: &str) -> String {
        let template = format!(
            "Resources:\n  Stream: {{Type: AWS::KinesisFirehose::DeliveryStream}}\n  Task:\n    Type: \
             AWS::ECS::TaskDefinition\n    Properties:\n      TaskRoleArn: !GetAtt Role.Arn\n      \
             ContainerDefinitions:\n      - {{Name: log_router, Image: r, FirelensConfiguration: {{Type: \
             fluentbit}}}}\n      - Name: app\n        Image: a\n        LogConfiguration: \
             {{LogDriver: awsfirelens, \
             Options: {{Name: kinesis_firehose, region: us-west-2, delivery_stream: !Ref Stream}}}}\n  \
             Role:\n    \
             Type: AWS::IAM::Role\n    Properties:\n{role}"
        );
        lint(&template, CODES)
    }

    #[test]
    fn roles_of_the_template() {
        let allow = |action: &str, resource: &str| {
            format!(
                "      Policies: [{{PolicyName: p, PolicyDocument: {{Statement: {{Effect: Allow, Action: {action}, \
                 Resource: {resource}}}}}}}]\n"
            )
        };
        assert_eq!(
            template(&allow("firehose:PutRecordBatch", "!GetAtt Stream.Arn")),
            ""
        );
        assert_eq!(template(&allow("'firehose:Put*'", "'*'")), "");
        insta::assert_snapshot!(template(&allow("firehose:PutRecord", "!GetAtt Stream.Arn")));
        let managed =
            "      ManagedPolicyArns: ['arn:aws:iam::aws:policy/AmazonKinesisFirehoseFullAccess']\n";
        assert_eq!(template(managed), "");
        insta::assert_snapshot!(template(
            "      ManagedPolicyArns: ['arn:aws:iam::111122223333:policy/own']\n"
        ));
        let beside = "      Path: /\n  Policy:\n    Type: AWS::IAM::Policy\n    Properties:\n      Roles: [!Ref Role]\n      \
            PolicyDocument: {Statement: [{Effect: Allow, Action: ['firehose:*'], Resource: ['*']}]}\n";
        assert_eq!(template(beside), "");
    }
}
