//! The application of the story: a database in a named volume, and a client that uses it over the network.

use super::call::Call;
use super::narrator::Narrator;
use super::work::{CONTAINERS, LABEL, Work, random};
use crate::problem::Problem;
use crate::setup::POSTGRES;

/// How many orders the database holds at the first snapshot.
pub(super) const ORDERS: u32 = 100_000;

/// The client's loop: twice a second it writes a visit, and counts the orders.
const CLIENT: &str = "\
trap 'exit 0' INT
while sleep 0.5; do
  psql --quiet --no-align --tuples-only <<'END'
    insert into visits default values;
    select count(*) || ' orders on sale' from orders;
END
done
";

pub(super) struct Shop<'a> {
    narrator: &'a Narrator<'a>,
    work: &'a Work,
}

impl<'a> Shop<'a> {
    pub(super) fn new(narrator: &'a Narrator<'a>, work: &'a Work) -> Self {
        Self { narrator, work }
    }

    /// Starts both containers and fills the database.
    pub(super) fn open(&self) -> Result<(), Problem> {
        let name = self.work.name();
        let password = random()?;
        self.work.write_private("db.env", &format!("POSTGRES_PASSWORD={password}\n"))?;
        self.work.write_private(
            "client.env",
            &format!("PGHOST=db\nPGUSER=postgres\nPGPASSWORD={password}\nPGCONNECT_TIMEOUT=2\n"),
        )?;
        self.work.make_dir(CONTAINERS)?;
        self.work.write("labels/db", &self.labels("db", ""))?;
        self.work.write("labels/client", &self.labels("client", "db:service_healthy:false"))?;

        let label = format!("--label {LABEL}={}", self.work.id());
        let project = format!("--label com.docker.compose.project={name}");
        self.run(&Call::new(&format!("docker network create {label} {name}")))?;
        self.run(&Call::new(&format!("docker volume create {label} {project} {name}-data")))?;
        self.run(&Call::new(&format!(
            "docker run --detach --name {name}-db --network {name} --network-alias db \
             --volume {name}-data:/var/lib/postgresql/data --env-file db.env --label-file labels/db {POSTGRES}"
        )))?;
        self.wait_until_healthy("db")?;
        self.psql(
            "open.sql",
            &format!(
                "\
create table visits (at timestamptz not null default now());
create table orders (number int primary key, customer text, cents int);
insert into orders
  select n, 'customer ' || n % 5000, n * 7919 % 90000
  from generate_series(1, {ORDERS}) n;
"
            ),
        )?;
        self.show_file("client.sh", CLIENT)?;
        self.run(&Call::script(&format!(
            "docker run --detach --name {name}-client \\\n--network {name} \\\n\
             --env-file client.env --label-file labels/client \\\n\
             --health-cmd \"psql --command 'select from visits limit 1'\" \\\n\
             {POSTGRES} sh -c \"$(cat client.sh)\""
        )))?;
        self.wait_until_healthy("client")?;
        self.run(&Call::new(&format!("docker logs --tail 1 {name}-client"))).map(drop)
    }

    /// Deletes half of the orders and changes others.
    pub(super) fn change(&self) -> Result<(), Problem> {
        let (from, to) = (ORDERS + 1, ORDERS + 20_000);
        self.psql(
            "change.sql",
            &format!(
                "\
delete from orders where number % 2 = 0;
insert into orders
  select n, 'new customer', 100 from generate_series({from}, {to}) n;
"
            ),
        )?;
        self.count()
    }

    /// Shows how many orders there are today.
    pub(super) fn count(&self) -> Result<(), Problem> {
        let name = self.work.name();
        let count = Call::new(&format!("docker exec {name}-db psql --no-align --tuples-only --command"));
        self.run(&count.arg("select count(*) from orders")).map(drop)
    }

    fn labels(&self, service: &str, depends_on: &str) -> String {
        let mut lines = vec![
            format!("{LABEL}={}", self.work.id()),
            format!("com.docker.compose.project={}", self.work.name()),
            format!("com.docker.compose.service={service}"),
            "com.docker.compose.container-number=1".to_owned(),
            String::new(),
        ];
        if !depends_on.is_empty() {
            lines.insert(3, format!("com.docker.compose.depends_on={depends_on}"));
        }
        lines.join("\n")
    }

    fn wait_until_healthy(&self, service: &str) -> Result<(), Problem> {
        let name = self.work.name();
        let inspect = Call::new("docker inspect --format").arg("{{.State.Health.Status}}");
        self.narrator.run_until(self.work, &inspect.arg(&format!("{name}-{service}")), "healthy")
    }

    /// Runs a file of statements.
    fn psql(&self, file: &str, statements: &str) -> Result<(), Problem> {
        self.show_file(file, statements)?;
        let name = self.work.name();
        let psql = format!("docker exec --interactive {name}-db psql <{file}");
        self.run(&Call::script(&psql)).map(drop)
    }

    fn show_file(&self, name: &str, text: &str) -> Result<(), Problem> {
        self.work.write(name, text)?;
        self.run(&Call::new(&format!("cat {name}"))).map(drop)
    }

    fn run(&self, call: &Call) -> Result<String, Problem> {
        self.narrator.run(self.work, call)
    }
}
