//! The execution role: what ECS fetches before a container runs, and the log driver `awslogs`.

use firelane_conf::Span;

use crate::context::LaunchType;
use crate::taskdef::{Container, TaskDefinition};
use crate::text::Text;

use super::arn::{REGION, Scope, cut, split};
use super::build::{Builder, Grant, To};
use super::router::fetch;
use super::{Reason, notes};

/// Everything of every container.
pub(super) fn all(builder: &mut Builder<'_>, task: &TaskDefinition) {
    for container in &task.containers {
        image(builder, container);
        secrets(builder, container);
        files(builder, container);
        awslogs(builder, container);
    }
    keys(builder, task);
}

fn grant(
    builder: &mut Builder<'_>,
    sid: &'static str,
    actions: &'static [&'static str],
    resource: String,
    reason: (String, Span),
) {
    let wildcard = (resource == "*").then_some("the action knows no resource: the token is for the registry");
    let (text, span) = reason;
    let reason = Reason {
        text,
        span: Some(span),
    };
    let grant = Grant {
        sid,
        actions,
        resource,
        reason,
        wildcard,
    };
    builder.grant(To::Execution, grant);
}

/// Why a permission that on EC2 is the instance's stands in the execution role.
fn whose(builder: &Builder<'_>) -> &'static str {
    match builder.known.context.launch_type {
        LaunchType::Ec2 => "; on EC2 the instance's role does it unless the execution role is used",
        _ => "",
    }
}

/// Images of a private registry of ECR. Public ones, and other registries, need no permission of IAM.
fn image(builder: &mut Builder<'_>, container: &Container) {
    const PULL: &[&str] = &[
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
    ];
    let Some(image) = &container.image else { return };
    let Some(repository) = repository(image.as_str()) else {
        return;
    };
    let text = format!("image of container `{}`{}", container.name(), whose(builder));
    grant(
        builder,
        "PullImages",
        PULL,
        repository,
        (text.clone(), image.span),
    );
    let token: &[&str] = &["ecr:GetAuthorizationToken"];
    grant(builder, "LogInToRegistry", token, "*".into(), (text, image.span));
}

/// The repository's ARN of `ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:TAG`, of the dual-stack
/// `ACCOUNT.dkr-ecr.REGION.on.aws`, or of `${Repository.RepositoryUri}:TAG` of a template.
fn repository(image: &str) -> Option<String> {
    if let Some((id, _)) = image
        .strip_prefix("${")
        .and_then(|rest| rest.split_once(".RepositoryUri}"))
    {
        return Some(format!("${{{id}.Arn}}"));
    }
    let (host, name) = image.split_once('/')?;
    let heads = [".dkr.ecr.", ".dkr.ecr-fips.", ".dkr-ecr.", ".dkr-ecr-fips."];
    let (account, rest) = heads.into_iter().find_map(|head| host.split_once(head))?;
    let region = rest.split('.').next().filter(|region| !region.is_empty())?;
    let name = name.split('@').next()?;
    // The tag stands behind the last colon that is in no placeholder.
    let name = cut(name, usize::MAX).first().copied()?;
    let mut scope = Scope::task().region(region);
    scope.account = account.to_string();
    Some(scope.arn("ecr", &format!("repository/{name}")))
}

fn secrets(builder: &mut Builder<'_>, container: &Container) {
    let name = container.name();
    let log = container.log_configuration.iter();
    let options = log
        .flat_map(|log| &log.secret_options)
        .map(|secret| (secret, "log option"));
    let variables = container.secrets.iter().map(|secret| (secret, "variable"));
    for (secret, what) in options.chain(variables) {
        let Some(from) = &secret.value_from else { continue };
        let label = secret.name.as_ref().map_or("", Text::as_str);
        let text = format!("secret {what} `{label}` of container `{name}`");
        one_secret(builder, from, text);
    }
    let credentials = container.repository_credentials.as_ref();
    if let Some(from) = credentials.and_then(|credentials| credentials.parameter.as_ref()) {
        one_secret(
            builder,
            from,
            format!("registry credentials of container `{name}`"),
        );
    }
}

/// A secret by its `valueFrom`: the ARN of a secret with or without its tail, the ARN of a parameter, or the
/// name of one (`docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html`).
fn one_secret(builder: &mut Builder<'_>, from: &Text, text: String) {
    const SECRET: &[&str] = &["secretsmanager:GetSecretValue"];
    const PARAMETER: &[&str] = &["ssm:GetParameters"];
    let value = from.as_str();
    let reason = (text, from.span);
    let fields = split(value);
    match fields.as_slice() {
        ["arn", _, "secretsmanager", _, _, _] => {
            grant(builder, "ReadSecrets", SECRET, whole_secret(value), reason);
        }
        ["arn", _, "ssm", _, _, name] if name.starts_with("parameter/") => {
            grant(builder, "ReadParameters", PARAMETER, value.to_string(), reason);
        }
        [first, ..] if first.starts_with("${") && first.ends_with('}') && !first[2..].contains("${") => {
            // A secret's `Ref` is its ARN, a parameter's is its name: of the two the secret is usual.
            grant(builder, "ReadSecrets", SECRET, (*first).to_string(), reason);
        }
        [name] if !name.is_empty() => {
            let name = name.trim_start_matches('/');
            let resource = Scope::task()
                .region(REGION)
                .arn("ssm", &format!("parameter/{name}"));
            grant(builder, "ReadParameters", PARAMETER, resource, reason);
        }
        _ => {
            let wanted = "the ARN of a secret or parameter, or a parameter's name";
            let note = notes::bad_arn("the secret", value, wanted, Some(from.span));
            builder.diagnostics.push(note);
        }
    }
}

/// Without `:json-key:stage:version`; a name without the six characters that Secrets Manager adds gets any
/// six.
fn whole_secret(arn: &str) -> String {
    let fields = cut(arn, usize::MAX);
    let arn = fields[..fields.len().min(7)].join(":");
    let tail = arn.rsplit_once('-').map_or("", |(_, tail)| tail);
    let complete = tail.len() == 6 && tail.bytes().all(|b| b.is_ascii_alphanumeric());
    match complete || arn.ends_with('}') {
        true => arn,
        false => arn + "-??????",
    }
}

/// Environment files, and the router's own file on S3.
fn files(builder: &mut Builder<'_>, container: &Container) {
    let name = container.name();
    for file in &container.environment_files {
        if let Some(arn) = &file.value {
            fetch(
                builder,
                To::Execution,
                arn,
                format!("environment file of container `{name}`"),
            );
        }
    }
    let Some(firelens) = &container.firelens_configuration else {
        return;
    };
    let s3 = firelens
        .options
        .get("config-file-type")
        .is_some_and(|kind| kind.is("s3"));
    if let Some(arn) = firelens.options.get("config-file-value").filter(|_| s3) {
        fetch(
            builder,
            To::Execution,
            arn,
            format!("configuration of the router `{name}`"),
        );
    }
}

/// Streams of `awslogs` are called `PREFIX/CONTAINER/TASK`; without a prefix, on EC2, by the container's id.
fn awslogs(builder: &mut Builder<'_>, container: &Container) {
    let Some(log) = &container.log_configuration else {
        return;
    };
    if !log.driver.as_ref().is_some_and(|driver| driver.is("awslogs")) {
        return;
    }
    let Some(group) = log.options.get("awslogs-group") else {
        return;
    };
    let region = log.options.get("awslogs-region").map_or(REGION, Text::as_str);
    let name = container.name();
    let log_group = format!("log-group:{}", group.as_str());
    let log_group = Scope::task().region(region).arn("logs", &log_group);
    let stream = log.options.get("awslogs-stream-prefix");
    let stream = stream.map_or("*".into(), |prefix| format!("{}/{name}/*", prefix.as_str()));
    let text = format!("log driver `awslogs` of container `{name}`{}", whose(builder));
    let reason = (text, group.span);
    let events = format!("{log_group}:log-stream:{stream}");
    grant(
        builder,
        "WriteLogEvents",
        &["logs:PutLogEvents"],
        events,
        reason.clone(),
    );
    let every = format!("{log_group}:*");
    let create: &[&str] = &["logs:CreateLogStream"];
    grant(builder, "PrepareLogGroup", create, every.clone(), reason.clone());
    let switch = log.options.get("awslogs-create-group");
    let creates = |on: &Text| on.open || on.as_str().eq_ignore_ascii_case("true");
    if switch.is_some_and(creates) {
        grant(
            builder,
            "PrepareLogGroup",
            &["logs:CreateLogGroup"],
            every,
            reason,
        );
    }
}

/// Keys of the customer's own are not told by a task definition.
fn keys(builder: &mut Builder<'_>, task: &TaskDefinition) {
    let secrets = task.containers.iter().flat_map(|container| {
        let log = container.log_configuration.iter();
        container
            .secrets
            .iter()
            .chain(log.flat_map(|log| &log.secret_options))
    });
    let Some(span) = secrets
        .filter_map(|secret| secret.value_from.as_ref())
        .map(|from| from.span)
        .next()
    else {
        return;
    };
    if builder.options.secret_keys.is_empty() {
        let note = notes::keys("secrets may be", "`kms:Decrypt`", Some(span));
        builder.diagnostics.push(note);
    }
    for key in &builder.options.secret_keys {
        let text = "secrets are encrypted with it".to_string();
        grant(
            builder,
            "DecryptSecrets",
            &["kms:Decrypt"],
            key.clone(),
            (text, span),
        );
    }
}
