//! Starting the application's containers in the sandbox, and waiting until they are up.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_core::progress::{Progress, Unit};
use lifeboat_docker::definitions::{ContainerParts, Definitions, as_typed, secrets_within};
use lifeboat_docker::order::{Depends, starting_order};
use lifeboat_docker::scratch::sanitise::{Limits, Sanitised, Setting, sanitise};
use lifeboat_docker::scratch::{NotReady, Ready, ResolvedImage, Sandbox};
use lifeboat_docker::selection::Condition;
use lifeboat_docker::{Engine, EngineError};
use lifeboat_report::drill::{DrilledImage, DrilledService};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::checks::Target;
use super::plan::{Action, Plan};
use super::stop::cancellable;

/// The containers that a drill starts, in starting order, each with its image.
pub(super) struct Containers {
    pub(super) members: Vec<Member>,
    /// Captured containers that are not started, in words.
    pub(super) left_out: Vec<String>,
    /// The values that no report may show.
    secrets: Vec<String>,
}

/// One container to start.
pub(super) struct Member {
    pub(super) parts: ContainerParts,
    pub(super) image: ResolvedImage,
    /// Whether others depend on it running to completion.
    completes: bool,
}

/// Chooses which containers to start: those that ran when the definitions were captured, and those that had run to
/// completion for others.
fn chosen(all: Vec<ContainerParts>) -> (Vec<(ContainerParts, bool)>, Vec<String>) {
    let expected_to_complete: BTreeSet<String> = all
        .iter()
        .filter_map(|c| c.service.as_ref().map(|service| (service, c)))
        .flat_map(|(service, c)| {
            c.depends_on
                .iter()
                .filter(|d| d.condition == Condition::CompletedSuccessfully)
                .map(|d| format!("service {}/{}", service.project, d.service))
        })
        .collect();
    let completes = |c: &ContainerParts| c.names().iter().any(|name| expected_to_complete.contains(name));
    let any_ran = all.iter().any(|c| c.running);
    let mut left_out = Vec::new();
    let mut chosen = Vec::new();
    for container in all {
        let completes = completes(&container);
        if container.running || completes || !any_ran {
            chosen.push((container, completes));
        } else {
            left_out.push(format!(
                "{} did not run when the snapshot was taken, and was not started",
                container.name
            ));
        }
    }
    let parts: Vec<ContainerParts> = chosen.iter().map(|(parts, _)| parts.clone()).collect();
    let mut places: Vec<Option<(ContainerParts, bool)>> = chosen.into_iter().map(Some).collect();
    let ordered = starting_order(&parts).into_iter().filter_map(|place| places[place].take()).collect();
    (ordered, left_out)
}

impl Containers {
    /// Chooses the containers of `definitions` and finds their images on this host.
    pub(super) async fn select(engine: &Engine, definitions: &Definitions) -> Result<Self, EngineError> {
        let all = definitions.container_parts()?;
        // Includes those that are not started, because the volumes may contain their settings.
        let of =
            |parts: &ContainerParts| parts.secret_values(definitions.image_parts(&parts.image_id).as_ref());
        let secrets = all.iter().flat_map(of).collect();
        let (chosen, left_out) = chosen(all);
        let mut members = Vec::new();
        for (parts, completes) in chosen {
            let captured = definitions.image_parts(&parts.image_id);
            let image = engine.resolve_image(&parts, captured.as_ref()).await?;
            members.push(Member { parts, image, completes });
        }
        Ok(Self { members, left_out, secrets })
    }

    /// The values that no report may show.
    pub(super) fn secrets(&self, plan: &Plan) -> Vec<String> {
        let changed = plan.env.values().flat_map(|env| env.values()).filter(|value| value.len() >= 4);
        let changed = changed.flat_map(|value| {
            secrets_within(value).map(str::to_owned).chain([value.clone()]).collect::<Vec<_>>()
        });
        let asked = plan.checks.iter().flat_map(|check| {
            let said = match &check.action {
                Action::Exec { command, .. } => as_typed(command),
                Action::Sql { query, .. } => query.clone(),
                Action::Tcp { .. } => String::new(),
            };
            secrets_within(&said).map(str::to_owned).filter(|value| value.len() >= 4).collect::<Vec<_>>()
        });
        self.secrets.iter().cloned().chain(changed).chain(asked).collect()
    }

    /// The images, each once.
    pub(super) fn images(&self) -> Vec<DrilledImage> {
        let mut seen = BTreeSet::new();
        self.members
            .iter()
            .filter(|member| seen.insert(member.image.parts.id.clone()))
            .map(|member| DrilledImage {
                reference: member.image.reference.clone(),
                id: member.image.parts.id.clone(),
                digest: member.image.digest.clone(),
                signature: match &member.image.digest {
                    Some(_) => "not checked".to_owned(),
                    None => "unsigned (image id only)".to_owned(),
                },
            })
            .collect()
    }

    /// The application's networks, all replaced by one scratch network.
    pub(super) fn networks(&self) -> BTreeSet<&str> {
        self.members.iter().flat_map(|member| member.parts.networks.keys().map(String::as_str)).collect()
    }

    /// Services that the plan changes or checks and that are not among these containers.
    pub(super) fn unknown_services<'a>(&self, plan: &'a Plan) -> BTreeSet<&'a str> {
        let known =
            |name: &str| self.members.iter().any(|m| m.parts.service_name() == name || m.parts.name == name);
        let changed = plan.env.keys().chain(&plan.may_win_rights).map(String::as_str);
        let asked = plan.checks.iter().map(|check| check.service.as_str());
        changed.chain(asked).filter(|name| !known(name)).collect()
    }

    /// The engine's request for each container, in order.
    pub(super) fn sanitised(
        &self,
        sandbox: &Sandbox,
        restored: &BTreeMap<String, String>,
        limits: Limits,
        plan: &Plan,
    ) -> Vec<Sanitised> {
        let owner = sandbox.owner();
        let mut containers = BTreeMap::new();
        for member in &self.members {
            let scratch = owner.container_name(&member.parts.name);
            containers.insert(member.parts.id.clone(), scratch.clone());
            containers.insert(member.parts.name.clone(), scratch);
        }
        let (unchanged, walls) = (BTreeMap::new(), sandbox.walls(plan.runtime.as_deref()));
        self.members
            .iter()
            .map(|member| {
                let names = [member.parts.service_name(), &member.parts.name];
                let env = names.iter().find_map(|name| plan.env.get(*name));
                let setting = Setting {
                    owner,
                    network: sandbox.network(),
                    restored,
                    containers: &containers,
                    limits,
                    walls: &walls,
                    is_alone: self.members.len() == 1,
                    may_win_rights: names.iter().any(|name| plan.may_win_rights.contains(*name)),
                    env: env.unwrap_or(&unchanged),
                };
                sanitise(&member.parts, &member.image, &setting)
            })
            .collect()
    }
}

/// The result of starting the containers.
pub(super) struct Booted {
    pub(super) services: Vec<DrilledService>,
    pub(super) targets: BTreeMap<String, Target>,
    /// The containers that came up: index among the services, id, and how they were ready.
    standing: Vec<(usize, String, Ready)>,
}

impl Booted {
    /// Checks once more that everything that came up is still up.
    pub(super) async fn look_again(
        &mut self,
        sandbox: &Sandbox,
        secrets: &[String],
        cancel: &CancellationToken,
    ) -> Result<(), EngineError> {
        for (place, id, ready) in &self.standing {
            if let Err(fallen) = cancellable(cancel, sandbox.still_up(id, *ready, secrets)).await?? {
                let service = &mut self.services[*place];
                "not up".clone_into(&mut service.state);
                service.problem = Some(format!("it did not stay up until the end: {}", fallen.reason));
                service.log = Some(fallen.log);
            }
        }
        Ok(())
    }
}

/// One started container.
struct Started {
    place: usize,
    id: String,
    since: Instant,
    outcome: Option<(Result<Ready, NotReady>, f64)>,
}

impl Started {
    /// A container that was not started before the time for all ran out.
    fn too_late(place: usize) -> Self {
        let reason = "the time for all services was up before it was started".to_owned();
        let outcome = Some((Err(NotReady { reason, log: String::new() }), 0.0));
        Self { place, id: String::new(), since: Instant::now(), outcome }
    }
}

/// The state of a boot.
pub(super) struct Boot<'a> {
    pub(super) sandbox: &'a Sandbox,
    pub(super) containers: &'a Containers,
    pub(super) plan: &'a Plan,
    pub(super) secrets: &'a [String],
    pub(super) cancel: &'a CancellationToken,
    pub(super) progress: &'a dyn Progress,
}

impl Boot<'_> {
    /// Creates all containers, then starts each one once its dependencies are ready, and waits until all are up and
    /// have stayed up. If a service does not come up, the boot ends, and the service's report says why.
    ///
    /// All are created before the first one starts, because the engine works on their volumes by path at that point,
    /// and a running container could redirect it. `look` is awaited during the time in which the containers must stay
    /// up.
    pub(super) async fn run<T>(
        &self,
        sanitised: Vec<Sanitised>,
        look: impl Future<Output = T>,
    ) -> Result<(Booted, T), EngineError> {
        let deadline = Instant::now() + self.plan.boot_timeout;
        self.progress.phase("boot", Unit::Items, Some(sanitised.len() as u64));
        let mut started: Vec<Started> = Vec::new();
        let mut whole = true;
        let mut made = Vec::new();
        for container in sanitised {
            made.push(cancellable(self.cancel, self.sandbox.create_container(container)).await??);
        }
        for (place, id) in made.into_iter().enumerate() {
            whole = self.await_needs(place, &mut started, deadline).await?;
            if !whole {
                break;
            }
            if Instant::now() >= deadline {
                started.push(Started::too_late(place));
                whole = false;
                break;
            }
            let one = self.start(place, id).await?;
            whole = one.outcome.is_none();
            started.push(one);
            if !whole {
                break;
            }
        }
        if whole {
            for one in &mut started {
                whole &= self.settle(one, deadline).await?;
                self.progress.advance(1);
                if !whole {
                    break;
                }
            }
        }
        let stays = async {
            if whole {
                cancellable(self.cancel, tokio::time::sleep(self.plan.stability)).await
            } else {
                Ok(())
            }
        };
        let (stayed, looked) = tokio::join!(stays, look);
        stayed?;
        if whole {
            for one in &mut started {
                self.look_again(one).await?;
            }
        }
        Ok((self.booted(started), looked))
    }

    async fn start(&self, place: usize, id: String) -> Result<Started, EngineError> {
        let since = Instant::now();
        let outcome = match cancellable(self.cancel, self.sandbox.start(&id)).await? {
            Ok(()) => None,
            // The engine could not start it: its command is missing, or its data is not what it needs.
            Err(EngineError::Answer { message, .. }) => {
                Some((Err(NotReady { reason: message, log: String::new() }), since.elapsed().as_secs_f64()))
            }
            Err(error) => return Err(error),
        };
        Ok(Started { place, id, since, outcome })
    }

    /// Waits until the dependencies of the container at `place` are healthy or have completed.
    async fn await_needs(
        &self,
        place: usize,
        started: &mut [Started],
        deadline: Instant,
    ) -> Result<bool, EngineError> {
        let parts = &self.containers.members[place].parts;
        let Some(service) = &parts.service else { return Ok(true) };
        for need in parts.depends_on.iter().filter(|need| need.condition != Condition::Started) {
            for one in started.iter_mut() {
                let other = self.containers.members[one.place].parts.service.as_ref();
                if other.is_some_and(|o| o.project == service.project && o.service == need.service)
                    && !self.settle(one, deadline).await?
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Waits until one container is up, and returns whether it is.
    async fn settle(&self, one: &mut Started, deadline: Instant) -> Result<bool, EngineError> {
        if one.outcome.is_none() {
            let completes = self.containers.members[one.place].completes;
            let wait = self.sandbox.wait_ready(&one.id, completes, deadline, self.secrets);
            let ready = cancellable(self.cancel, wait).await??;
            one.outcome = Some((ready, one.since.elapsed().as_secs_f64()));
        }
        Ok(one.outcome.as_ref().is_some_and(|(ready, _)| ready.is_ok()))
    }

    async fn look_again(&self, one: &mut Started) -> Result<(), EngineError> {
        let Some((Ok(ready), seconds)) = one.outcome else { return Ok(()) };
        let look = self.sandbox.still_up(&one.id, ready, self.secrets);
        if let Err(mut fallen) = cancellable(self.cancel, look).await?? {
            fallen.reason = format!("it came up and did not stay up: {}", fallen.reason);
            one.outcome = Some((Err(fallen), seconds));
        }
        Ok(())
    }

    fn booted(&self, started: Vec<Started>) -> Booted {
        let mut booted = Booted { services: Vec::new(), targets: BTreeMap::new(), standing: Vec::new() };
        for one in started {
            let member = &self.containers.members[one.place];
            let name = member.parts.service_name().to_owned();
            let image = member.image.reference.clone();
            if let Some((Ok(ready), _)) = &one.outcome {
                booted.standing.push((booted.services.len(), one.id.clone(), *ready));
            }
            let (state, seconds, problem, log) = match one.outcome {
                Some((Ok(ready), seconds)) => (state(ready), seconds, None, None),
                Some((Err(not), seconds)) => ("not up", seconds, Some(not.reason), Some(not.log)),
                // Another container failed to come up before this one was waited for.
                None => ("started", one.since.elapsed().as_secs_f64(), None, None),
            };
            let env = member.parts.env.iter().filter_map(|pair| pair.split_once('='));
            let mut env: BTreeMap<String, String> = env.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            env.extend(self.plan.env.get(&name).into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
            let target = Target { id: one.id, env };
            booted.targets.entry(member.parts.name.clone()).or_insert_with(|| target.clone());
            booted.targets.entry(name.clone()).or_insert(target);
            booted.services.push(DrilledService {
                name,
                image,
                state: state.to_owned(),
                elapsed_seconds: seconds,
                problem,
                log,
            });
        }
        booted
    }
}

fn state(ready: Ready) -> &'static str {
    match ready {
        Ready::Healthy => "healthy",
        Ready::Running => "running",
        Ready::Completed => "completed",
    }
}

#[cfg(test)]
mod tests {
    use lifeboat_docker::selection::{Dependency, Service};

    use super::*;

    fn container(service: &str, running: bool, needs: &[(&str, Condition)]) -> ContainerParts {
        ContainerParts {
            id: format!("{service:0>64}"),
            name: format!("shop-{service}-1"),
            running,
            service: Some(Service { project: "shop".into(), service: service.into(), number: 1 }),
            depends_on: needs
                .iter()
                .map(|(name, condition)| Dependency { service: (*name).into(), condition: *condition })
                .collect(),
            ..ContainerParts::default()
        }
    }

    #[test]
    fn what_ran_is_started_in_order_and_jobs_that_others_need_too() {
        let all = vec![
            container(
                "web",
                true,
                &[("migrate", Condition::CompletedSuccessfully), ("db", Condition::Healthy)],
            ),
            container("db", true, &[]),
            container("migrate", false, &[("db", Condition::Healthy)]),
            container("report", false, &[]),
        ];
        let (chosen, left_out) = chosen(all);
        let order: Vec<(&str, bool)> =
            chosen.iter().map(|(c, completes)| (c.service_name(), *completes)).collect();
        assert_eq!(order, [("db", false), ("migrate", true), ("web", false)]);
        assert_eq!(left_out.len(), 1);
        assert!(left_out[0].contains("report"));
    }

    #[test]
    fn where_nothing_ran_everything_is_started() {
        let (chosen, left_out) = chosen(vec![container("a", false, &[]), container("b", false, &[])]);
        assert_eq!((chosen.len(), left_out.len()), (2, 0));
    }
}
