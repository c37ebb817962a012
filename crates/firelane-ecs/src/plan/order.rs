//! Who waits for whom: the agent's explicit and implicit dependencies, start order, circles.

use std::collections::{BTreeSet, HashMap};

use crate::taskdef::{Container, TaskDefinition, link_target};
use crate::text::Text;

/// Waits until another container has come so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The other container.
    pub container: String,
    /// `CREATE`, `START`, `HEALTHY`, `SUCCESS`, `COMPLETE`.
    pub condition: String,
}

/// What a container waits for by its definition: `dependsOn`, then volumes (`CREATE`), then links (`START`).
pub fn explicit(container: &Container) -> Vec<Wait> {
    let wait = |name: &str, condition: &str| Wait {
        container: name.to_string(),
        condition: condition.to_string(),
    };
    let written = container.depends_on.iter().filter_map(|dep| {
        let condition = dep.condition.as_ref().map_or("", Text::as_str);
        Some(wait(dep.container.as_ref()?.as_str(), condition))
    });
    let volumes = container
        .volumes_from
        .iter()
        .filter_map(|from| from.container.as_ref());
    let volumes = volumes.map(|name| wait(name.as_str(), "CREATE"));
    let links = container
        .links
        .iter()
        .map(|link| wait(link_target(link.as_str()), "START"));
    written.chain(volumes).chain(links).collect()
}

/// What the agent adds: every user of the router waits for its start, unless the router itself waits for
/// anything.
///
/// With several routers the agent takes the last one here (and the first one for the configuration).
pub fn implicit(task: &TaskDefinition, container: &Container) -> Vec<Wait> {
    let mut backwards = task.containers.iter().rev();
    let Some(router) = backwards.find(|other| other.firelens_configuration.is_some()) else {
        return Vec::new();
    };
    let free = router.predecessors().next().is_none();
    let other = container.name() != router.name();
    if !(free && other && container.uses_firelens()) || container.waits_for(router.name()) {
        return Vec::new();
    }
    vec![Wait {
        container: router.name().to_string(),
        condition: "START".to_string(),
    }]
}

/// Indices of the containers in an order in which they can start: as written, but behind what they wait for.
/// Containers in a circle, and those behind them, come last.
pub fn start(task: &TaskDefinition) -> Vec<usize> {
    let (mut order, stuck) = sorted(&graph(task));
    order.extend(stuck);
    order
}

/// Indices of the containers that wait for each other in a circle, in its order.
pub fn circle(task: &TaskDefinition) -> Option<Vec<usize>> {
    let graph = graph(task);
    let (_, stuck) = sorted(&graph);
    // Each stuck container waits for a stuck one: following them must come back somewhere.
    let mut path: Vec<usize> = Vec::new();
    let mut seen = HashMap::new();
    let mut at = *stuck.first()?;
    while !seen.contains_key(&at) {
        seen.insert(at, path.len());
        path.push(at);
        at = *graph.get(at)?.iter().find(|other| stuck.contains(other))?;
    }
    Some(path.split_off(*seen.get(&at)?))
}

/// For every container the indices of those it waits for.
fn graph(task: &TaskDefinition) -> Vec<Vec<usize>> {
    let names = task.containers.iter().enumerate().rev();
    let names: HashMap<_, _> = names
        .map(|(index, container)| (container.name(), index))
        .collect();
    let before = |container: &Container| {
        let waits = explicit(container).into_iter().chain(implicit(task, container));
        waits
            .filter_map(|wait| names.get(wait.container.as_str()).copied())
            .collect()
    };
    task.containers.iter().map(before).collect()
}

/// What can be ordered, always the first as written that is free; and what cannot.
fn sorted(graph: &[Vec<usize>]) -> (Vec<usize>, BTreeSet<usize>) {
    let mut missing: Vec<usize> = graph.iter().map(Vec::len).collect();
    let mut followers = vec![Vec::new(); graph.len()];
    for (index, before) in graph.iter().enumerate() {
        for other in before {
            followers[*other].push(index);
        }
    }
    let mut left: BTreeSet<usize> = (0..graph.len()).collect();
    let mut ready: BTreeSet<usize> = left
        .iter()
        .copied()
        .filter(|index| missing[*index] == 0)
        .collect();
    let mut order = Vec::new();
    while let Some(next) = ready.pop_first() {
        left.remove(&next);
        order.push(next);
        for follower in &followers[next] {
            missing[*follower] -= 1;
            if missing[*follower] == 0 {
                ready.insert(*follower);
            }
        }
    }
    (order, left)
}
