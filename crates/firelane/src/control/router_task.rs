//! `firelane router --task FILE`: the router of a task definition, as ECS would start it. The
//! configuration is the one that ECS generates; what ECS's agent would fetch for the router (its file in
//! S3, the values of `secretOptions`) is fetched here, with the credentials of the caller, on any launch
//! type and on none.

use std::path::{Path, PathBuf};

use firelane_ecs::{firelens, plan, render};

use super::task::{Pseudo, Task, TaskArgs};
use crate::exit::Exit;
use crate::outside::{Given, object};
use crate::{remote, report, say};

/// The configuration's path and everything that it refers to.
pub(crate) fn given(path: &Path, args: &TaskArgs) -> Result<(PathBuf, Given), Exit> {
    let task = Task::read(path, args, Pseudo::Example);
    let definition = task.or_exit()?;
    report::print(&task.diagnostics, &task.sources);
    let refused = |text: &str| {
        say::line(&format!("error: {}: {text}", path.display()));
        Exit::Config
    };
    let plan = match plan::plan(definition, &task.context) {
        Ok(Some(plan)) => plan,
        Ok(None) => return Err(refused("the task has no log router")),
        Err(why) => return Err(refused(&why)),
    };
    let generated = firelens::generate(definition, &task.context).map_err(|found| {
        report::print(&found, &task.sources);
        task.exit(&found)
    })?;
    let name = PathBuf::from(format!("{} (generated)", path.display()));
    let mut given = Given::default();
    given.files.insert(name.clone(), render::text(&generated));
    let all = plan.secrets.iter().chain(&plan.files);
    let own = all.filter(|fetched| fetched.container == plan.router);
    for fetched in own {
        fetch(fetched, &mut given).map_err(|why| {
            say::line(&format!("error: {}: {why}", fetched.from));
            say::line(
                "   help: ECS fetches it with the execution role; here it is done with your credentials",
            );
            Exit::NoInput
        })?;
    }
    Ok((name, given))
}

fn fetch(fetched: &plan::Fetched, given: &mut Given) -> Result<(), String> {
    match fetched.provider {
        "asm" => {
            let value = remote::secret(&fetched.from)?;
            given.env.insert(fetched.to.clone(), value);
        }
        "ssm" => {
            let value = remote::parameter(&fetched.from)?;
            given.env.insert(fetched.to.clone(), value);
        }
        // A file of variables, or of the init process: not the agent's business for the router's
        // configuration.
        _ if !fetched.to.starts_with('/') => {}
        _ => {
            let (bucket, key) = object(&fetched.from).ok_or("it is no ARN of an object")?;
            let text = String::from_utf8(remote::object(bucket, key, None)?);
            let text = text.map_err(|_| "it is not UTF-8 text".to_owned())?;
            given.files.insert(fetched.to.clone().into(), text);
        }
    }
    Ok(())
}
