//! Bad input: each a clear coded error from `check-task` and from `start-task`, an exit code, and nothing left half made.

use std::time::Duration;

use anyhow::{Result, ensure};
use dmnode_tests::cluster::{Cluster, CtlOutput};
use dmnode_tests::files::{SourceFile, StartAt, TaskFile};
use dmnode_tests::process;
use dmnode_tests::server::{Flavor, Server, shared_source, shared_target};
use dmnode_tests::workspace;

/// Refused, with a code, and with every one of `words` in the text.
fn assert_refused(output: &CtlOutput, words: &[&str]) -> Result<()> {
    let text = output.text();
    ensure!(output.code == 1, "exit code 1 was expected: {output}");
    ensure!(
        text.contains("code=") || text.contains("ErrCode") || text.contains("error "),
        "no code: {output}"
    );
    for word in words {
        ensure!(text.contains(word), "`{word}` is not in the answer: {output}");
    }
    Ok(())
}

/// Both `check-task` and `start-task` refuse; afterwards no task and no meta schema exists.
async fn assert_task_refused(
    cluster: &Cluster,
    target: Option<&Server>,
    task: &TaskFile,
    words: &[&str],
) -> Result<()> {
    assert_refused(&cluster.check_task(task).await?, words)?;
    assert_refused(&cluster.try_start_task(task).await?, words)?;
    let status = cluster.ctl(&["query-status", &task.name]).await?;
    ensure!(status.code == 1, "a task was left behind: {status}");
    if let Some(target) = target {
        let left: u64 = target
            .query_one(&format!(
                "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = '{}'",
                task.meta_schema()
            ))
            .await?;
        ensure!(left == 0, "a meta schema was left behind");
    }
    Ok(())
}

/// No source is left behind by a refused `operate-source create`.
async fn assert_source_refused(cluster: &Cluster, source: &SourceFile, words: &[&str]) -> Result<()> {
    assert_refused(&cluster.try_create_source(source).await?, words)?;
    let shown = cluster.ctl(&["operate-source", "show"]).await?.json()?;
    ensure!(!shown.to_string().contains(&format!("\"{}\"", source.id)), "a source was left behind: {shown}");
    Ok(())
}

/// Wrong YAML: unknown keys with line, column and a suggestion; wrong values; unknown names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_inputs_files() -> Result<()> {
    let (source, target) = (shared_source(Flavor::Mysql).await?, shared_target(Flavor::Mysql).await?);
    let cluster = Cluster::start("bad_files", 1).await?;
    let good = SourceFile::new("bad", source, true);
    for (name, text, words) in [
        (
            "unknown-key.yaml",
            good.yaml().replace("enable-gtid", "enable-gtidd"),
            &["20003", "line 2", "enable-gtid"][..],
        ),
        ("no-id.yaml", good.yaml().replace("source-id: \"bad\"\n", ""), &["40005"][..]),
        ("no-yaml.yaml", "source-id: [".to_owned(), &["20003"][..]),
        ("twice.yaml", format!("{}enable-gtid: true\n", good.yaml()), &["20003", "enable-gtid"][..]),
    ] {
        let file = cluster.write(name, &text)?;
        assert_refused(&cluster.ctl(&["operate-source", "create", &file]).await?, words)?;
    }
    cluster.create_source(&good).await?;
    let again = cluster.try_create_source(&good).await?;
    assert_refused(&again, &["46007"])?;

    let good = TaskFile::new("bad_files", "all", target, "bad", "bad_files");
    let changed = |from: &str, to: &str| good.yaml().replace(from, to);
    for (name, text, words) in [
        ("t-key.yaml", changed("task-mode:", "task-mod:"), &["20003", "line 2", "task-mode"][..]),
        ("t-mode.yaml", changed("task-mode: all", "task-mode: some"), &["20020"][..]),
        (
            "t-rule.yaml",
            changed("block-allow-list: scope", "block-allow-list: scoop"),
            &["20026", "scoop"][..],
        ),
        ("t-source.yaml", changed("source-id: \"bad\"", "source-id: \"nobody\""), &["20031", "nobody"][..]),
        ("t-zone.yaml", format!("timezone: Mars/North\n{}", good.yaml()), &["20008"][..]),
    ] {
        let file = cluster.write(name, &text)?;
        for command in ["check-task", "start-task"] {
            assert_refused(&cluster.ctl(&[command, &file]).await?, words)?;
        }
    }
    let missing = cluster.ctl(&["start-task", "/does/not/exist.yaml"]).await?;
    ensure!(missing.code != 0 && missing.text().contains("/does/not/exist.yaml"), "{missing}");
    let usage = cluster.ctl(&["start-tusk"]).await?;
    ensure!(usage.code == 2, "{usage}");
    let nobody = cluster.ctl_at("127.0.0.1:1", &["query-status"], &[]).await?;
    ensure!(nobody.code == 3, "{nobody}");
    let status = cluster.ctl(&["query-status"]).await?.json()?;
    ensure!(!status.to_string().contains("bad_files"), "{status}");
    cluster.finish().await
}

/// Servers that are not there, and passwords that are wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_inputs_unreachable_and_wrong_password() -> Result<()> {
    let (source, target) = (shared_source(Flavor::Mariadb).await?, shared_target(Flavor::Mysql).await?);
    let cluster = Cluster::start("bad_servers", 1).await?;
    let good = SourceFile::new("reach", source, true);
    let port = workspace::free_port()?;
    assert_source_refused(&cluster, &SourceFile { port, ..good.clone() }, &[&port.to_string()]).await?;
    let wrong = SourceFile { password: "wrong-Canary".to_owned(), ..good.clone() };
    assert_source_refused(&cluster, &wrong, &["Access denied"]).await?;
    cluster.create_source(&good).await?;
    source
        .execute(&["CREATE DATABASE bad_servers", "CREATE TABLE bad_servers.t (id INT PRIMARY KEY)"])
        .await?;
    let task = TaskFile::new("bad_servers", "all", target, "reach", "bad_servers");
    let unreachable = TaskFile { target_port: port, ..task.clone() };
    assert_task_refused(&cluster, None, &unreachable, &[&port.to_string()]).await?;
    let wrong = TaskFile { target_password: "wrong-Canary".to_owned(), ..task };
    assert_task_refused(&cluster, Some(target), &wrong, &["Access denied"]).await?;
    for index in 0..cluster.nodes.len() {
        let log = dmnode_tests::cluster::read_log(&cluster.log(index));
        ensure!(!log.contains("wrong-Canary"), "the log shows a password");
    }
    cluster.finish().await
}

/// Each missing grant is named, for the replication and for the copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_inputs_missing_grants() -> Result<()> {
    for flavor in [Flavor::Mysql, Flavor::Mariadb] {
        let (source, target) = (shared_source(flavor).await?, shared_target(flavor).await?);
        let tag = format!("grants_{}", flavor.name());
        let client = if flavor == Flavor::Mysql { "REPLICATION CLIENT" } else { "BINLOG MONITOR" };
        source
            .execute(&[
                &format!("CREATE DATABASE {tag}"),
                &format!("CREATE TABLE {tag}.t (id INT PRIMARY KEY)"),
                &format!("CREATE USER '{tag}'@'%' IDENTIFIED BY 'Poor-1'"),
                &format!("GRANT SELECT ON {tag}.* TO '{tag}'@'%'"),
                &format!("GRANT RELOAD, {client} ON *.* TO '{tag}'@'%'"),
            ])
            .await?;
        let cluster = Cluster::start(&tag, 1).await?;
        let mut file = SourceFile::new(&tag, source, true);
        file.user.clone_from(&tag);
        "Poor-1".clone_into(&mut file.password);
        cluster.create_source(&file).await?;
        let task = TaskFile::new(&tag, "all", target, &tag, &tag);
        assert_task_refused(&cluster, Some(target), &task, &["26005", "REPLICATION SLAVE"]).await?;
        source
            .execute(&[
                &format!("GRANT REPLICATION SLAVE ON *.* TO '{tag}'@'%'"),
                &format!("REVOKE SELECT ON {tag}.* FROM '{tag}'@'%'"),
                &format!("CREATE TABLE {tag}.seen (id INT PRIMARY KEY)"),
                &format!("GRANT SELECT ON {tag}.seen TO '{tag}'@'%'"),
                &format!("GRANT INSERT ON {tag}.t TO '{tag}'@'%'"),
            ])
            .await?;
        assert_task_refused(&cluster, Some(target), &task, &["26005", "SELECT"]).await?;
        // With the grants that the text asked for, it goes.
        source.execute(&[&format!("GRANT SELECT ON {tag}.* TO '{tag}'@'%'")]).await?;
        cluster.start_task(&task).await?;
        cluster.wait_stage(&tag, &tag, "Running", Some("Sync"), Duration::from_secs(60)).await?;
        // The target's account is looked at as well.
        target
            .execute(&[
                &format!("CREATE USER '{tag}'@'%' IDENTIFIED BY 'Poor-1'"),
                &format!("GRANT SELECT ON *.* TO '{tag}'@'%'"),
            ])
            .await?;
        let poor = TaskFile {
            target_user: tag.clone(),
            target_password: "Poor-1".to_owned(),
            ..TaskFile::new(&format!("{tag}_poor"), "all", target, &tag, &tag)
        };
        let checked = cluster.check_task(&poor).await?;
        ensure!(checked.text().contains("INSERT") && checked.text().contains("CREATE"), "{checked}");
        cluster.finish().await?;
    }
    Ok(())
}

/// The binlog is off, or not ROW.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_inputs_binlog_off_or_not_row() -> Result<()> {
    let target = shared_target(Flavor::Mariadb).await?;
    let cluster = Cluster::start("bad_binlog", 1).await?;
    for (tag, arguments, words) in [
        ("binlog_off", &["--skip-log-bin"][..], &["log_bin"][..]),
        ("binlog_statement", &["--binlog-format=STATEMENT"][..], &["26005", "binlog_format"][..]),
        ("binlog_minimal", &["--binlog-row-image=MINIMAL"][..], &["26005", "binlog_row_image"][..]),
    ] {
        let source = Server::start(Flavor::Mariadb, arguments).await?;
        source
            .execute(&["CREATE DATABASE bad_binlog", "CREATE TABLE bad_binlog.t (id INT PRIMARY KEY)"])
            .await?;
        let created = cluster.try_create_source(&SourceFile::new(tag, &source, false)).await?;
        if created.code != 0 {
            // Refused right away is as good.
            assert_refused(&created, &words[words.len() - 1..])?;
            continue;
        }
        let task = TaskFile::new(tag, "all", target, tag, "bad_binlog");
        assert_task_refused(&cluster, Some(target), &task, words).await?;
    }
    cluster.finish().await
}

/// A target table that cannot take part in a transaction is refused by name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_inputs_non_transactional_target_table() -> Result<()> {
    for flavor in [Flavor::Mysql, Flavor::Mariadb] {
        let (source, target) = (shared_source(flavor).await?, shared_target(flavor).await?);
        let tag = format!("engine_{}", flavor.name());
        source
            .execute(&[
                &format!("CREATE DATABASE {tag}"),
                &format!("CREATE TABLE {tag}.slow (id INT PRIMARY KEY)"),
            ])
            .await?;
        target
            .execute(&[
                &format!("CREATE DATABASE {tag}"),
                &format!("CREATE TABLE {tag}.slow (id INT PRIMARY KEY) ENGINE=MyISAM"),
            ])
            .await?;
        let cluster = Cluster::start(&tag, 1).await?;
        cluster.create_source(&SourceFile::new(&tag, source, true)).await?;
        let task = TaskFile::new(&tag, "all", target, &tag, &tag);
        assert_task_refused(&cluster, Some(target), &task, &["slow", "MyISAM"]).await?;
        cluster.finish().await?;
    }
    Ok(())
}

/// The binlogs from the start position on are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_inputs_purged_position() -> Result<()> {
    for flavor in [Flavor::Mysql, Flavor::Mariadb] {
        let (source, target) = (Server::start(flavor, &[]).await?, shared_target(flavor).await?);
        let start = StartAt::now(&source).await?;
        source
            .execute(&[
                "CREATE DATABASE purged",
                "CREATE TABLE purged.t (id INT PRIMARY KEY)",
                "FLUSH BINARY LOGS",
                "FLUSH BINARY LOGS",
            ])
            .await?;
        let (file, _) = source.binlog_position().await?;
        source.execute(&[&format!("PURGE BINARY LOGS TO '{file}'")]).await?;
        let cluster = Cluster::start("bad_purged", 1).await?;
        for gtid in [true, false] {
            let tag = format!("purged_{}_{gtid}", flavor.name());
            cluster.create_source(&SourceFile::new(&tag, &source, gtid)).await?;
            let mut task = TaskFile::new(&tag, "incremental", target, &tag, "purged");
            task.sources = vec![(tag.clone(), Some(start.clone()))];
            assert_task_refused(&cluster, Some(target), &task, &["purged"]).await?;
        }
        cluster.finish().await?;
    }
    Ok(())
}

/// A node with one bad flag or file says which, and exits 2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_inputs_node_flags_and_file() -> Result<()> {
    let dir = workspace::fresh_dir("bad_node")?;
    let file = dir.join("node.toml");
    std::fs::write(&file, "name = \"n1\"\ndata-dri = \"x\"\n")?;
    let file = file.to_string_lossy().into_owned();
    let absent = dir.join("absent.toml").to_string_lossy().into_owned();
    for (arguments, word) in [
        (vec!["--addr", "no-port"], "addr"),
        (vec!["--addr", "127.0.0.1:99999"], "addr"),
        (vec!["--initial-cluster", "n1"], "initial-cluster"),
        (vec!["--log-level", "loud"], "log-level"),
        (vec!["--no-such-flag"], "no-such-flag"),
        (vec!["--config", file.as_str()], "data-dir"),
        (vec!["--config", absent.as_str()], "absent.toml"),
    ] {
        let mut command = process::command(workspace::binary("dmnode")?);
        command.arg("start").args(&arguments).current_dir(&dir);
        let log = dir.join("log");
        let mut node = process::OwnedProcess::start("node", command, &log)?;
        let status = node.wait(Duration::from_secs(20)).await?;
        let text = dmnode_tests::cluster::read_log(&log);
        ensure!(status.code() == Some(2), "{arguments:?}: {status}: {text}");
        ensure!(text.contains(word), "{arguments:?} is not named: {text}");
        std::fs::remove_file(&log)?;
    }
    Ok(())
}
