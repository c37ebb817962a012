//! Mounts that meet those which ECS makes in the router, and volumes that are not there.

use firelane_conf::{Diagnostic, Span, suggest};

use super::Subject;
use super::shared::{clean, error, is_below, is_fragment, list, warning};
use crate::firelens::refuse::Stage;
use crate::firelens::{Dialect, External, external};
use crate::taskdef::{Container, FirelensConfiguration, Form};

/// The folder of the router's socket: what ECS mounts, and what it is in many images.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run", "/run"];

pub(super) fn check(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    undeclared(subject, found);
    let Some((router, dialect)) = subject.router() else {
        return;
    };
    let Some(firelens) = &router.firelens_configuration else {
        return;
    };
    let masks = masks(dialect, firelens);
    for mount in &router.mount_points {
        if let Some(path) = mount
            .path
            .as_ref()
            .and_then(|path| Some((path.known()?, path.span)))
        {
            own(router, &masks, path, found);
        }
    }
    for from in router
        .volumes_from
        .iter()
        .filter_map(|from| from.container.as_ref())
    {
        let source = from.known().and_then(|name| subject.task.container(name));
        let mounts = source.iter().flat_map(|source| &source.mount_points);
        for path in mounts.filter_map(|mount| mount.path.as_ref()?.known()) {
            borrowed(router, &masks, from.as_str(), (path, from.span), found);
        }
    }
    masked_file(router, dialect, firelens, found);
}

/// Where ECS mounts something in the router.
fn masks(dialect: Dialect, firelens: &FirelensConfiguration) -> Vec<&'static str> {
    let mut masks = vec![SOCKET_FOLDERS[0], dialect.config_path()];
    if let Some(External::S3(_)) = external(firelens) {
        masks.push(dialect.external_path());
    }
    masks
}

/// The router's own mounts.
fn own(router: &Container, masks: &[&'static str], (path, span): (&str, Span), found: &mut Vec<Diagnostic>) {
    let (name, cleaned) = (router.name(), clean(path));
    let message = format!("the router `{name}` mounts a volume at `{path}`");
    if masks.contains(&cleaned.as_str()) {
        let text = format!(
            "CannotCreateContainerError: Error response from daemon: Duplicate mount point: {cleaned}"
        );
        let message = format!("{message}, where ECS mounts {}", what(&cleaned));
        found.push(
            error("FL0761", span, message)
                .outcome(Stage::ContainerCreate.says(&text))
                .help(elsewhere(&cleaned)),
        );
    } else if let Some((outcome, help)) = hides(&cleaned, masks) {
        found.push(warning("FL0761", span, message).outcome(outcome).help(help));
    }
}

/// Mounts that come with the volumes of another container.
fn borrowed(
    router: &Container,
    masks: &[&'static str],
    source: &str,
    (path, span): (&str, Span),
    found: &mut Vec<Diagnostic>,
) {
    let cleaned = clean(path);
    let message = format!(
        "the router `{}` takes the volumes of `{source}`, one of them at `{path}`",
        router.name()
    );
    let (outcome, help) = match hides(&cleaned, masks) {
        _ if masks.contains(&cleaned.as_str()) => (
            format!(
                "ECS mounts {} there: the router does not see the volume",
                what(&cleaned)
            ),
            elsewhere(&cleaned),
        ),
        Some(found) => found,
        None => return,
    };
    found.push(warning("FL0761", span, message).outcome(outcome).help(help));
}

fn what(mask: &str) -> &'static str {
    match mask {
        "/var/run" => "the folder of the router's socket",
        mask if mask.ends_with("external.conf") => "the file from S3",
        _ => "the generated configuration",
    }
}

fn elsewhere(mask: &str) -> String {
    match mask {
        "/var/run" => "mount it elsewhere; a single file or folder inside, for example `/var/run/app`, is possible".into(),
        _ => "mount your file elsewhere, for example in `/fluent-bit/custom`, and name it in the router's options: \
              `config-file-type: file` and `config-file-value`"
            .to_string(),
    }
}

/// What a mount hides, though it is not refused, and the cure.
fn hides(path: &str, masks: &[&'static str]) -> Option<(String, String)> {
    if path == SOCKET_FOLDERS[1] {
        return Some((
            "in most images `/var/run` leads to `/run`, where ECS mounts the folder of the router's socket: the \
             router does not see the volume there"
                .to_string(),
            "mount it elsewhere".to_string(),
        ));
    }
    let covers: Vec<_> = masks
        .iter()
        .copied()
        .filter(|mask| is_below(mask, path))
        .collect();
    let shipped = covers.iter().find(|mask| **mask != SOCKET_FOLDERS[0])?;
    let parent = shipped.rsplit_once('/').map_or("/", |(parent, _)| parent);
    let (lost, better) = match path == parent {
        true => (
            "what the image has there, its parsers for example, is hidden by the volume",
            "/fluent-bit/custom",
        ),
        false => (
            "what the image has there, its programs and parsers, is hidden by the volume",
            "/custom",
        ),
    };
    Some((
        format!(
            "{lost}; only {} stays, which ECS mounts over it",
            list(covers.iter().copied())
        ),
        format!(
            "mount it elsewhere, for example at `{better}`; shipped parsers are in `/fluent-bit/parsers`, too"
        ),
    ))
}

/// A file of the user's own that the generated one hides, or that is none.
fn masked_file(
    router: &Container,
    dialect: Dialect,
    firelens: &FirelensConfiguration,
    found: &mut Vec<Diagnostic>,
) {
    let Some(External::File(value)) = external(firelens) else {
        return;
    };
    let Some(path) = value.known().filter(|path| path.starts_with('/')) else {
        return;
    };
    let (name, cleaned) = (router.name(), clean(path));
    let file = cleaned.rsplit('/').next().unwrap_or_default();
    if cleaned == dialect.config_path() {
        let message =
            format!("`config-file-value` of the router `{name}` is `{path}`, the generated file itself");
        let outcome = "ECS mounts the generated file there and lets it include this path, that is, itself: the router does \
                       not start";
        let help = "give your file another path in the image, for example `/fluent-bit/custom/extra.conf`";
        found.push(error("FL0748", value.span, message).outcome(outcome).help(help));
    } else if dialect == Dialect::FluentBit && file.starts_with("parsers") {
        let message =
            format!("`config-file-value` of the router `{name}` is `{path}`, by its name a file of parsers");
        let outcome = "ECS includes it in the main configuration, where Fluent Bit refuses `[PARSER]` sections: the router \
                       does not start";
        let help =
            format!("write a file with `[SERVICE]` and `Parsers_File {path}` in it, and name that one");
        found.push(warning("FL0748", value.span, message).outcome(outcome).help(help));
    }
}

/// Mounts of volumes that the task does not declare.
fn undeclared(subject: &Subject<'_>, found: &mut Vec<Diagnostic>) {
    let task = subject.task;
    let volumes = task.volumes.iter().filter_map(|volume| volume.name.as_ref());
    // In a template the list may come from an intrinsic.
    let unclear = task.volumes.is_empty() && subject.form == Form::Cfn;
    if is_fragment(task) || unclear || volumes.clone().any(|name| name.open) {
        return;
    }
    let names: Vec<_> = volumes.map(|name| name.as_str()).collect();
    for container in &task.containers {
        for volume in container
            .mount_points
            .iter()
            .filter_map(|mount| mount.volume.as_ref())
        {
            let Some(name) = volume.known().filter(|name| !names.contains(name)) else {
                continue;
            };
            let message = format!(
                "container `{}` mounts the volume `{name}`, which the task does not have",
                container.name()
            );
            let help = match suggest::nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "add it to `{}`: `{{{}: {name}}}`",
                    subject.field("volumes"),
                    subject.field("name")
                ),
            };
            let text = format!("Unknown volume '{name}'.");
            found.push(
                error("FL0762", volume.span, message)
                    .outcome(Stage::Register.says(&text))
                    .help(help),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::lint;

    fn task(options: &str, router: &str) -> String {
        format!(
            "family: web
volumes: [{{name: data}}]
containerDefinitions:
  - name: log_router
    image: x
    firelensConfiguration: {{type: fluentbit{options}}}
    {router}
  - name: app
    image: y
    mountPoints: [{{sourceVolume: data, containerPath: /fluent-bit/etc}}]
    logConfiguration: {{logDriver: awsfirelens, options: {{Name: stdout}}}}
"
        )
    }

    fn mounted(path: &str) -> String {
        let router = format!("mountPoints: [{{sourceVolume: data, containerPath: {path}}}]");
        lint(&task("", &router), &["FL0761"])
    }

    #[test]
    fn what_ecs_mounts_is_taken() {
        insta::assert_snapshot!(mounted("/var/run/"));
        insta::assert_snapshot!(mounted("/fluent-bit/etc/fluent-bit.conf"));
        let s3 = ", options: {config-file-type: s3, config-file-value: 'arn:aws:s3:::b/k'}";
        let router = "mountPoints: [{sourceVolume: data, containerPath: /fluent-bit/etc/external.conf}]";
        insta::assert_snapshot!(lint(&task(s3, router), &["FL0761"]));
        assert_eq!(lint(&task("", router), &["FL0761"]), "");
    }

    #[test]
    fn parents_hide_what_the_image_has() {
        insta::assert_snapshot!(mounted("/fluent-bit/etc/"));
        insta::assert_snapshot!(mounted("/fluent-bit"));
        insta::assert_snapshot!(mounted("/run"));
    }

    #[test]
    fn other_paths_are_free() {
        for path in [
            "/var/log",
            "/var",
            "/var/run/app",
            "/fluent-bit/etc/extra.conf",
            "/fluent-bit/custom",
        ] {
            assert_eq!(mounted(path), "", "{path}");
        }
    }

    #[test]
    fn volumes_of_others_count() {
        let router = "volumesFrom: [{sourceContainer: app}]";
        insta::assert_snapshot!(lint(&task("", router), &["FL0761"]));
        let exact = task("", router).replace("Path: /fluent-bit/etc", "Path: /var/run");
        insta::assert_snapshot!(lint(&exact, &["FL0761"]));
    }

    #[test]
    fn the_generated_file_is_not_the_user_s() {
        let options =
            |path: &str| format!(", options: {{config-file-type: file, config-file-value: {path}}}");
        insta::assert_snapshot!(lint(
            &task(&options("/fluent-bit/etc/fluent-bit.conf"), ""),
            &["FL0748"]
        ));
        insta::assert_snapshot!(lint(
            &task(&options("/fluent-bit/etc/parsers.conf"), ""),
            &["FL0748"]
        ));
        assert_eq!(
            lint(
                &task(&options("/fluent-bit/configs/parse-json.conf"), ""),
                &["FL0748"]
            ),
            ""
        );
        assert_eq!(
            lint(&task(&options("/fluentd/etc/fluent.conf"), ""), &["FL0748"]),
            ""
        );
    }

    #[test]
    fn volumes_are_declared() {
        let task = "
family: web
volumes: [{name: data}]
containerDefinitions:
  - name: app
    image: y
    mountPoints:
      - {sourceVolume: dat, containerPath: /a}
      - {sourceVolume: config, containerPath: /b}
      - {sourceVolume: data, containerPath: /c}
";
        insta::assert_snapshot!(lint(task, &["FL0762"]));
        let fragment =
            "[{\"name\": \"app\", \"image\": \"y\", \"mountPoints\": [{\"sourceVolume\": \"v\"}]}]";
        assert_eq!(lint(fragment, &["FL0762"]), "");
    }
}
