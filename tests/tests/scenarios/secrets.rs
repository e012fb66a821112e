//! Passwords and keys are seen by nobody: not in logs, answers, meta tables, and not in the data directory of a node that has
//! a key. The accounts of the servers have a password that occurs nowhere else.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use dmnode_tests::cluster::Cluster;
use dmnode_tests::compare;
use dmnode_tests::files::{SourceFile, StartAt, TaskFile};
use dmnode_tests::server::{Flavor, PASSWORD, Server, shared_source, shared_target};
use dmnode_tests::workspace;

const LIMIT: Duration = Duration::from_secs(90);
/// A part of every password of these tests, which no way of quoting changes.
const CANARY: &str = "cAnary";
/// A key file; its digits are as secret as the passwords.
const KEY: &str = "5ec7e7ca11a7105ec7e7ca11a7105ec7e7ca11a7105ec7e7ca11a7105ec7e7ff";

/// What was seen, and where.
#[derive(Default)]
struct Seen(Vec<(String, Vec<u8>)>);

impl Seen {
    fn add(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.into(), bytes.into()));
    }

    /// All files below a directory but those that the test wrote itself.
    fn add_files(&mut self, dir: &Path) -> Result<()> {
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                self.add_files(&path)?;
            } else if !path.extension().is_some_and(|end| end == "yaml" || end == "key") {
                self.add(path.display().to_string(), std::fs::read(&path)?);
            }
        }
        Ok(())
    }

    /// All rows of the task's meta tables.
    async fn add_meta(&mut self, target: &Server, schema: &str) -> Result<()> {
        for table in target.tables(schema).await? {
            let rows: Vec<mysql_async::Row> =
                target.query(&format!("SELECT * FROM `{schema}`.`{table}`")).await?;
            for row in rows {
                let bytes = row.unwrap().into_iter().flat_map(|value| match value {
                    mysql_async::Value::Bytes(bytes) => bytes,
                    _ => b"|".to_vec(),
                });
                self.add(format!("table {table}"), bytes.collect::<Vec<u8>>());
            }
        }
        Ok(())
    }

    /// A command and its answer, as JSON and as a table.
    async fn ask(&mut self, cluster: &Cluster, arguments: &[&str]) -> Result<()> {
        let json = cluster.ctl(arguments).await?;
        self.add(format!("answer to {arguments:?}"), json.text());
        let table = tokio::process::Command::new(workspace::binary("dmnode")?)
            .args(["ctl", "--master-addr", &cluster.addresses(), "-o", "table"])
            .args(arguments)
            .kill_on_drop(true)
            .output();
        let table = tokio::time::timeout(LIMIT, table).await??;
        self.add(format!("table of {arguments:?}"), [table.stdout, table.stderr].concat());
        Ok(())
    }

    /// Places that show a secret.
    fn leaks(&self) -> Vec<&str> {
        let has =
            |bytes: &[u8], secret: &str| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
        let leaking = self.0.iter().filter(|(_, bytes)| has(bytes, CANARY) || has(bytes, KEY));
        leaking.map(|(place, _)| place.as_str()).collect()
    }
}

/// With a key nothing shows a password; without one only the data directory does, which shows that the search can find it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_shown_nowhere() -> Result<()> {
    ensure!(PASSWORD.contains(CANARY), "the accounts' password is looked for");
    let (source, target) = (shared_source(Flavor::Mariadb).await?, shared_target(Flavor::Mysql).await?);
    let key = workspace::fresh_dir("secrets_key")?.join("secret.key");
    std::fs::write(&key, KEY)?;
    for key in [Some(key.as_path()), None] {
        let name = if key.is_some() { "secrets_key_set" } else { "secrets_no_key" };
        let mut cluster = Cluster::start_with_key(name, 1, key).await?;
        let mut seen = Seen::default();
        let good = SourceFile::new(name, source, true);
        let wrong = SourceFile { password: format!("wrong-{CANARY}"), ..good.clone() };
        seen.add("refused source", cluster.try_create_source(&wrong).await?.text());
        let nobody = SourceFile { port: workspace::free_port()?, ..good.clone() };
        seen.add("source that is not there", cluster.try_create_source(&nobody).await?.text());
        let broken = cluster.write("broken.yaml", &good.yaml().replace("password:", "passwort:"))?;
        seen.ask(&cluster, &["operate-source", "create", &broken]).await?;
        cluster.create_source(&good).await?;

        source
            .execute(&[
                &format!("CREATE DATABASE {name}"),
                &format!("CREATE TABLE {name}.t (id INT PRIMARY KEY)"),
            ])
            .await?;
        let mut task = TaskFile::new(name, "incremental", target, name, name);
        task.sources = vec![(name.to_owned(), Some(StartAt::now(source).await?))];
        target
            .execute(&[
                &format!("CREATE DATABASE {name}"),
                &format!("CREATE TABLE {name}.t (id INT PRIMARY KEY)"),
            ])
            .await?;
        for (file, text) in [
            ("wrong.yaml", TaskFile { target_password: format!("wrong-{CANARY}"), ..task.clone() }.yaml()),
            ("unknown.yaml", task.yaml().replace("password:", "passwort:")),
            ("good.yaml", task.yaml()),
        ] {
            let file = cluster.write(file, &text)?;
            seen.ask(&cluster, &["check-task", &file]).await?;
            // The good one is started below.
            if text != task.yaml() {
                seen.ask(&cluster, &["start-task", &file]).await?;
            }
        }
        cluster.start_task(&task).await?;
        source.execute(&[&format!("INSERT INTO {name}.t VALUES (1), (2)")]).await?;
        compare::wait_equal(source, name, target, name, LIMIT).await?;
        // An error with all that is said about it.
        target.execute(&[&format!("INSERT INTO {name}.t VALUES (3)")]).await?;
        source.execute(&[&format!("INSERT INTO {name}.t VALUES (3)")]).await?;
        let error = cluster.wait_error(name, name, LIMIT).await?.to_string();
        for arguments in [
            &["query-status", name][..],
            &["query-status"],
            &["get-config", "task", name],
            &["get-config", "source", name],
            &["operate-source", "show"],
            &["list-member"],
            &["explain", &error],
            &["pause-task", name],
            &["resume-task", name],
            &["binlog", "list", name],
            &["binlog-schema", "list", name, name, "t"],
        ] {
            seen.ask(&cluster, arguments).await?;
        }
        seen.add_meta(target, &task.meta_schema()).await?;
        cluster.terminate(0).await?;
        let data_dir = cluster.nodes[0].data_dir.clone();
        seen.add_files(&cluster.dir)?;
        let (places, leaks) = (seen.0.len(), seen.leaks());
        ensure!(places > 50, "{places} places were looked at");
        match key {
            Some(_) => ensure!(leaks.is_empty(), "secrets are shown in {leaks:?}"),
            None => {
                let of_data = data_dir.display().to_string();
                ensure!(!leaks.is_empty(), "the search finds nothing in plain text");
                ensure!(
                    leaks.iter().all(|place| place.starts_with(&of_data)),
                    "secrets are shown in {leaks:?}"
                );
            }
        }
        // The search finds what is planted in an answer, a table and a file.
        target
            .execute(&[
                &format!("CREATE TABLE {}.planted (a TEXT)", task.meta_schema()),
                &format!("INSERT INTO {}.planted VALUES ('x{CANARY}y')", task.meta_schema()),
            ])
            .await?;
        std::fs::write(cluster.dir.join("planted.log"), KEY)?;
        let mut planted = Seen::default();
        planted.add("planted answer", format!("password: {PASSWORD}"));
        planted.add_meta(target, &task.meta_schema()).await?;
        planted.add_files(&cluster.dir)?;
        let found = planted.leaks();
        for place in ["planted answer", "table planted", "planted.log"] {
            ensure!(found.iter().any(|one| one.ends_with(place)), "{place} is not among {found:?}");
        }
        cluster.finish().await?;
    }
    Ok(())
}
