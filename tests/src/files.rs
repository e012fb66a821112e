//! Source and task files, as a user of DM writes them.

use std::fmt::Write as _;

use crate::server::{PASSWORD, Server, USER};

/// A source file.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// `source-id`.
    pub id: String,
    /// `enable-gtid`.
    pub gtid: bool,
    /// `from.port`.
    pub port: u16,
    /// `from.user`.
    pub user: String,
    /// `from.password`.
    pub password: String,
}

impl SourceFile {
    /// A source on `server`, with the account that may do everything.
    pub fn new(id: &str, server: &Server, gtid: bool) -> Self {
        Self {
            id: id.to_owned(),
            gtid,
            port: server.port,
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
        }
    }

    /// The YAML.
    pub fn yaml(&self) -> String {
        format!(
            "source-id: {}\nenable-gtid: {}\nenable-relay: false\nfrom:\n  host: 127.0.0.1\n  port: {}\n  user: {}\n  password: {}\n",
            quoted(&self.id),
            self.gtid,
            self.port,
            quoted(&self.user),
            quoted(&self.password)
        )
    }
}

/// A task file.
#[derive(Clone, Debug)]
pub struct TaskFile {
    /// `name`.
    pub name: String,
    /// `task-mode`.
    pub mode: String,
    /// `target-database.port`.
    pub target_port: u16,
    /// `target-database.user`.
    pub target_user: String,
    /// `target-database.password`.
    pub target_password: String,
    /// `mysql-instances`: the source and its `meta`, if any.
    pub sources: Vec<(String, Option<StartAt>)>,
    /// `do-dbs` of the block-allow list all instances use.
    pub schemas: Vec<String>,
    /// More lines for the block-allow list, indented by four blanks.
    pub allow_list_extra: String,
    /// `routes`, as YAML flow maps by name; all instances use them all.
    pub routes: Vec<(String, String)>,
    /// `syncers` entry, as lines indented by four blanks.
    pub syncer: String,
    /// `mydumpers` entry, as lines indented by four blanks.
    pub mydumper: String,
    /// `loaders` entry, as lines indented by four blanks.
    pub loader: String,
    /// More top-level lines.
    pub extra: String,
}

/// Where an incremental task starts.
#[derive(Clone, Debug)]
pub struct StartAt {
    /// `binlog-name`.
    pub file: String,
    /// `binlog-pos`.
    pub position: u64,
    /// `binlog-gtid`.
    pub gtid: String,
}

impl StartAt {
    /// Where `server` is now.
    pub async fn now(server: &Server) -> anyhow::Result<Self> {
        let (file, position) = server.binlog_position().await?;
        Ok(Self { file, position, gtid: server.gtid_set().await? })
    }
}

impl TaskFile {
    /// A task into `target` for one schema of one source.
    pub fn new(name: &str, mode: &str, target: &Server, source: &str, schema: &str) -> Self {
        Self {
            name: name.to_owned(),
            mode: mode.to_owned(),
            target_port: target.port,
            target_user: USER.to_owned(),
            target_password: PASSWORD.to_owned(),
            sources: vec![(source.to_owned(), None)],
            schemas: vec![schema.to_owned()],
            allow_list_extra: String::new(),
            routes: Vec::new(),
            syncer: "    worker-count: 4\n    batch: 100\n".to_owned(),
            mydumper: "    threads: 2\n".to_owned(),
            loader: "    pool-size: 2\n".to_owned(),
            extra: String::new(),
        }
    }

    /// The meta schema in the target: one per task, so that tests do not meet.
    pub fn meta_schema(&self) -> String {
        format!("meta_{}", self.name)
    }

    /// The YAML.
    pub fn yaml(&self) -> String {
        let mut text = format!(
            "name: {}\ntask-mode: {}\nmeta-schema: {}\n{}target-database:\n  host: 127.0.0.1\n  port: {}\n  user: {}\n  password: {}\n",
            quoted(&self.name),
            self.mode,
            quoted(&self.meta_schema()),
            self.extra,
            self.target_port,
            quoted(&self.target_user),
            quoted(&self.target_password)
        );
        let schemas: Vec<String> = self.schemas.iter().map(|schema| quoted(schema)).collect();
        let _ = write!(
            text,
            "block-allow-list:\n  scope:\n    do-dbs: [{}]\n{}",
            schemas.join(", "),
            self.allow_list_extra
        );
        if !self.routes.is_empty() {
            text.push_str("routes:\n");
            for (name, rule) in &self.routes {
                let _ = writeln!(text, "  {name}: {rule}");
            }
        }
        let _ = write!(
            text,
            "mydumpers:\n  dump:\n{}loaders:\n  load:\n{}syncers:\n  sync:\n{}mysql-instances:\n",
            self.mydumper, self.loader, self.syncer
        );
        for (source, start) in &self.sources {
            let _ = write!(text, "- source-id: {}\n  block-allow-list: scope\n", quoted(source));
            if !self.routes.is_empty() {
                let names: Vec<&str> = self.routes.iter().map(|(name, _)| name.as_str()).collect();
                let _ = writeln!(text, "  route-rules: [{}]", names.join(", "));
            }
            if let Some(start) = start {
                let _ = write!(
                    text,
                    "  meta:\n    binlog-name: {}\n    binlog-pos: {}\n    binlog-gtid: {}\n",
                    quoted(&start.file),
                    start.position,
                    quoted(&start.gtid)
                );
            }
            text.push_str(
                "  mydumper-config-name: dump\n  loader-config-name: load\n  syncer-config-name: sync\n",
            );
        }
        text
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
