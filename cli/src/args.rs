//! The command line: dmctl's commands and flags as they are, and what dmnode adds in the same manner.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

/// Everything after `dmnode ctl`.
#[derive(Debug, Parser)]
#[command(
    name = "dmnode ctl",
    about = "Control a dmnode cluster",
    after_help = "Any node takes any command.\nExit codes: 0 done, 1 refused, 2 wrong usage, 3 no node reachable or outcome unknown, 4 done but something is unhealthy or different.",
    disable_version_flag = true,
    arg_required_else_help = true
)]
pub struct CtlArgs {
    /// Addresses of nodes, HOST:PORT separated by commas; the first that answers is used.
    #[arg(long, env = "DM_MASTER_ADDR", value_delimiter = ',', global = true, value_name = "HOST:PORT")]
    pub master_addr: Vec<String>,

    /// Read `master-addr` and `rpc-timeout` from this TOML file (dmctl's).
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Wait at most this long for the answer to a command, such as `30s` or `10m` [default: 10m].
    #[arg(long, global = true, value_name = "DURATION", value_parser = parse_duration)]
    pub rpc_timeout: Option<Duration>,

    /// Output format [default: a table on a terminal, else JSON].
    #[arg(short = 'o', long = "output", global = true, value_enum)]
    pub output: Option<OutputFormat>,

    /// Reach the cluster through this HTTP proxy. Proxy variables of the environment are ignored.
    #[arg(long, global = true, value_name = "URL")]
    pub proxy: Option<String>,

    /// Sources the command is about; repeat it or separate by commas.
    #[arg(short = 's', long = "source", value_delimiter = ',', global = true, value_name = "SOURCE")]
    pub source: Vec<String>,

    /// Print the version.
    #[arg(short = 'V', long = "version")]
    pub version: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Table,
    /// The cluster's answer as dmctl prints it.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create, update, stop or show sources.
    OperateSource(OperateSourceArgs),
    /// Check a task file and the servers it names, without starting anything.
    CheckTask(CheckTaskArgs),
    /// Check and start a task, or the subtasks of it that are missing.
    StartTask(StartTaskArgs),
    /// Change the settings of a paused task that can be changed without starting it anew.
    UpdateTask(UpdateTaskArgs),
    /// Stop a task, or all tasks of one source (-s).
    StopTask(OperateTaskArgs),
    /// Pause a running task, or all tasks of one source (-s).
    PauseTask(OperateTaskArgs),
    /// Resume a paused task, or all tasks of one source (-s).
    ResumeTask(OperateTaskArgs),
    /// Copy tables of the source and let them join the stream of a task that has begun.
    AddTable(TableArgs),
    /// Take tables out of a task; the target keeps their rows.
    RemoveTable(TableArgs),
    /// Empty the target's tables and copy them again, while the stream of the others goes on.
    ResyncTable(TableArgs),
    /// Decide what becomes of an event that a task cannot pass.
    Binlog(BinlogArgs),
    /// Decide what becomes of an event that a task cannot pass (old spelling of `binlog`).
    #[command(hide = true)]
    HandleError(HandleErrorArgs),
    /// Show how tasks are doing.
    QueryStatus(QueryStatusArgs),
    /// Show leader, masters and workers (every node is both).
    ListMember(ListMemberArgs),
    /// Show the configuration of a task, source or node.
    Config(ConfigArgs),
    /// Show the configuration of a task, source or node (old spelling of `config`).
    #[command(hide = true)]
    GetConfig(GetConfigArgs),
    /// Show the configuration of a task (old spelling of `config task`).
    #[command(hide = true)]
    GetTaskConfig(GetTaskConfigArgs),
    /// Move a source to another node.
    TransferSource(TransferSourceArgs),
    /// Show, correct or forget the definition of a source table that a task follows.
    BinlogSchema(BinlogSchemaArgs),
    /// Old spelling of `binlog-schema`.
    #[command(hide = true)]
    OperateSchema(OperateSchemaArgs),
    /// Encrypt a password with the key of the cluster.
    Encrypt(EncryptArgs),
    /// Decrypt a password with the key of the cluster.
    Decrypt(DecryptArgs),
    /// Compare source and target of a task, table by table; exits with 4 when they differ.
    Diff(DiffArgs),
    /// Explain error codes: meaning, causes, what to do. Needs no node.
    Explain(ExplainArgs),
}

/// What to do with sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SourceOperation {
    /// Add sources.
    Create,
    /// Replace the configuration of sources that no running task uses.
    Update,
    /// Remove sources that no task uses.
    Stop,
    /// Show sources and who owns them.
    Show,
}

/// `operate-source`.
#[derive(Debug, Args)]
pub struct OperateSourceArgs {
    /// create, update, stop or show.
    #[arg(value_enum, required_unless_present = "print_sample_config")]
    pub operation: Option<SourceOperation>,
    /// Source files; `stop` and `show` take source ids too.
    #[arg(value_name = "FILE|SOURCE")]
    pub names: Vec<String>,
    /// Let this node own the new source (one file only).
    #[arg(short = 'w', long)]
    pub worker: Option<String>,
    /// Print a sample source file.
    #[arg(short = 'p', long)]
    pub print_sample_config: bool,
}

/// `check-task`.
#[derive(Debug, Args)]
pub struct CheckTaskArgs {
    /// Task file.
    pub file: PathBuf,
    /// Show at most this many errors.
    #[arg(short = 'e', long, default_value_t = 10)]
    pub error: i64,
    /// Show at most this many warnings.
    #[arg(short = 'w', long, default_value_t = 10)]
    pub warn: i64,
    /// Time the task is meant to start from, `2006-01-02 15:04:05` or `2006-01-02T15:04:05`.
    #[arg(long, value_name = "TIME")]
    pub start_time: Option<String>,
}

/// `start-task`.
#[derive(Debug, Args)]
pub struct StartTaskArgs {
    /// Task file.
    pub file: PathBuf,
    /// Forget the progress of an earlier run of this task: drops its rows in the meta schema of the target.
    #[arg(long)]
    pub remove_meta: bool,
    /// With --remove-meta: also drop what the task has created in the target, after listing it and asking.
    #[arg(long, requires = "remove_meta")]
    pub clean_target: bool,
    /// Do not ask.
    #[arg(short = 'y', long)]
    pub yes: bool,
    /// Start replication at this time of the source's binlog, `2006-01-02 15:04:05` or `2006-01-02T15:04:05`; with
    /// `Z` or `+08:00` behind it if it is not meant in the source's time zone.
    #[arg(long, value_name = "TIME")]
    pub start_time: Option<String>,
    /// Begin replication in safe mode, for transactions of so long a time after the first one, such as 60s.
    #[arg(long, value_name = "DURATION")]
    pub safe_mode_duration: Option<String>,
}

/// `update-task`.
#[derive(Debug, Args)]
pub struct UpdateTaskArgs {
    /// Task file with the new settings.
    pub file: PathBuf,
}

/// `stop-task`, `pause-task`, `resume-task`.
#[derive(Debug, Args)]
pub struct OperateTaskArgs {
    /// Task name or task file; without it all tasks of the one source given by -s.
    #[arg(value_name = "TASK|FILE")]
    pub task: Option<String>,
    /// Without a task: operate on this many tasks at a time.
    #[arg(long, default_value_t = 5)]
    pub batch_size: usize,
}

/// `add-table`, `remove-table`, `resync-table`.
#[derive(Debug, Args)]
pub struct TableArgs {
    /// Task name or task file.
    #[arg(value_name = "TASK|FILE")]
    pub task: String,
    /// The source's tables; those that belong together in one command.
    #[arg(value_name = "SCHEMA.TABLE", required = true)]
    pub tables: Vec<String>,
}

/// `binlog`.
#[derive(Debug, Args)]
pub struct BinlogArgs {
    /// What to decide.
    #[command(subcommand)]
    pub operation: BinlogOperation,
    /// Start of the event in the source's binlog, such as `mysql-bin.000001:1155`; without it the event of the
    /// present error.
    #[arg(short = 'b', long, global = true, value_name = "FILE:POS")]
    pub binlog_pos: Option<String>,
}

/// The decisions.
#[derive(Debug, Subcommand)]
pub enum BinlogOperation {
    /// Drop the event.
    Skip {
        /// Task name or task file.
        #[arg(value_name = "TASK|FILE")]
        task: String,
    },
    /// Execute other statements in its place.
    Replace {
        /// Task name or task file.
        #[arg(value_name = "TASK|FILE")]
        task: String,
        /// DDL with schema-qualified names.
        #[arg(required = true)]
        sql: Vec<String>,
    },
    /// Execute other statements before it.
    Inject {
        /// Task name or task file.
        #[arg(value_name = "TASK|FILE")]
        task: String,
        /// DDL with schema-qualified names.
        #[arg(required = true)]
        sql: Vec<String>,
    },
    /// Take a decision back.
    Revert {
        /// Task name or task file.
        #[arg(value_name = "TASK|FILE")]
        task: String,
    },
    /// Show the decisions that wait for their events.
    List {
        /// Task name or task file.
        #[arg(value_name = "TASK|FILE")]
        task: String,
    },
}

/// `handle-error`.
#[derive(Debug, Args)]
pub struct HandleErrorArgs {
    /// Task name or task file.
    #[arg(value_name = "TASK|FILE")]
    pub task: String,
    /// skip, replace, revert, inject or list.
    pub operation: String,
    /// DDL with schema-qualified names.
    pub sql: Vec<String>,
    /// Start of the event in the source's binlog, such as `mysql-bin.000001:1155`.
    #[arg(short = 'b', long, value_name = "FILE:POS")]
    pub binlog_pos: Option<String>,
}

/// `query-status`.
#[derive(Debug, Args)]
pub struct QueryStatusArgs {
    /// Task name or task file; without it all tasks.
    #[arg(value_name = "TASK|FILE")]
    pub task: Option<String>,
    /// Show all details even without a task.
    #[arg(long)]
    pub more: bool,
    /// Keep showing the status, once a second, until every task shown is finished.
    #[arg(long)]
    pub watch: bool,
}

/// `list-member`.
#[derive(Debug, Args)]
pub struct ListMemberArgs {
    /// Only the leader.
    #[arg(short = 'l', long)]
    pub leader: bool,
    /// Only the masters.
    #[arg(short = 'm', long)]
    pub master: bool,
    /// Only the workers.
    #[arg(short = 'w', long)]
    pub worker: bool,
    /// Only these names; repeat it or separate by commas.
    #[arg(short = 'n', long, value_delimiter = ',')]
    pub name: Vec<String>,
}

/// What a configuration belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConfigKind {
    /// A task that was started.
    Task,
    /// A source.
    Source,
    /// A node.
    Master,
    /// A node.
    Worker,
}

/// `config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// task, source, master or worker.
    #[arg(value_enum)]
    pub kind: ConfigKind,
    /// Name of it.
    pub name: String,
    /// Write it to this file instead.
    #[arg(short = 'p', long, value_name = "FILE")]
    pub path: Option<PathBuf>,
}

/// `get-config`.
#[derive(Debug, Args)]
pub struct GetConfigArgs {
    /// task, source, master or worker.
    #[arg(value_enum)]
    pub kind: ConfigKind,
    /// Name of it.
    pub name: String,
    /// Write it to this file instead.
    #[arg(short = 'f', long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `get-task-config`.
#[derive(Debug, Args)]
pub struct GetTaskConfigArgs {
    /// Name of the task.
    pub name: String,
    /// Write it to this file instead.
    #[arg(short = 'f', long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `transfer-source`.
#[derive(Debug, Args)]
pub struct TransferSourceArgs {
    /// The source.
    pub source_id: String,
    /// The node that is to own it.
    pub worker: String,
}

/// `binlog-schema`.
#[derive(Debug, Args)]
pub struct BinlogSchemaArgs {
    /// What to do.
    #[command(subcommand)]
    pub operation: BinlogSchemaOperation,
}

/// The table of `binlog-schema`.
#[derive(Debug, Args)]
pub struct SchemaTableArgs {
    /// Task.
    pub task: String,
    /// Database of the source's table.
    pub database: String,
    /// The source's table.
    pub table: String,
}

/// What `binlog-schema` does.
#[derive(Debug, Subcommand)]
pub enum BinlogSchemaOperation {
    /// Print the definition that the task follows.
    List(SchemaTableArgs),
    /// Set the definition; the task must be paused.
    Update(SchemaUpdateArgs),
    /// Forget the definition, so that it is derived again; the task must be paused.
    Delete(SchemaTableArgs),
}

/// `binlog-schema update`.
#[derive(Debug, Args)]
pub struct SchemaUpdateArgs {
    /// The table.
    #[command(flatten)]
    pub of: SchemaTableArgs,
    /// File with a CREATE TABLE statement.
    pub file: Option<PathBuf>,
    /// Take the table as the source has it now.
    #[arg(long, conflicts_with_all = ["file", "from_target"])]
    pub from_source: bool,
    /// Take the target's table.
    #[arg(long, conflicts_with = "file")]
    pub from_target: bool,
}

/// `operate-schema`.
#[derive(Debug, Args)]
pub struct OperateSchemaArgs {
    /// What to do.
    #[arg(value_enum)]
    pub operation: OldSchemaOperation,
    /// Task.
    pub task: String,
    /// Database of the source's table.
    #[arg(short = 'd', long)]
    pub database: String,
    /// The source's table.
    #[arg(short = 't', long)]
    pub table: String,
    /// File with a CREATE TABLE statement, for `set`.
    pub file: Option<PathBuf>,
}

/// What `operate-schema` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OldSchemaOperation {
    /// `list`.
    Get,
    /// `update`.
    Set,
    /// `delete`.
    Remove,
}

/// `encrypt`.
#[derive(Debug, Args)]
pub struct EncryptArgs {
    /// The password. `-` reads it from standard input, which keeps it out of the shell's history.
    pub plaintext: String,
}

/// `decrypt`.
#[derive(Debug, Args)]
pub struct DecryptArgs {
    /// What `encrypt` printed. `-` reads it from standard input.
    pub ciphertext: String,
}

/// `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Task name or task file.
    #[arg(value_name = "TASK|FILE")]
    pub task: String,
    /// Only these target tables, as `db.table`; repeat it or separate by commas.
    #[arg(short = 't', long = "table", value_delimiter = ',', value_name = "DB.TABLE")]
    pub table: Vec<String>,
    /// Rows compared at a time; 0 lets dmnode choose.
    #[arg(long, default_value_t = 0)]
    pub chunk_size: u64,
    /// Differences to print; all are counted. 0 lets dmnode choose.
    #[arg(long, default_value_t = 0)]
    pub max_differences: u64,
    /// How long the task may take to catch up with a difference before it counts; 0 lets dmnode choose.
    #[arg(long, default_value_t = 0)]
    pub recheck_seconds: u64,
}

/// `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Codes such as 60206, their names, or whole error texts; without any, all codes are listed.
    #[arg(value_name = "CODE")]
    pub code: Vec<String>,
    /// List only codes whose page has this word.
    #[arg(long, value_name = "WORD", conflicts_with = "code")]
    pub search: Option<String>,
}

/// Parses Go-like and human durations: `30s`, `10m`, `1m30s`; a bare number means seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text)
        .map_err(|err| format!("`{text}` is no duration such as `30s` or `10m`: {err}"))
}

/// dmctl takes these long flags with one dash as well.
const SINGLE_DASH_FLAGS: [&str; 6] = ["version", "config", "master-addr", "rpc-timeout", "help", "output"];

/// Turns dmctl's single-dash long flags into the double-dash form.
pub fn normalize(args: impl IntoIterator<Item = String>) -> Vec<String> {
    args.into_iter()
        .map(|arg| {
            let Some(name) = arg.strip_prefix('-') else { return arg };
            let key = name.split('=').next().unwrap_or(name);
            if SINGLE_DASH_FLAGS.contains(&key) { format!("-{arg}") } else { arg }
        })
        .collect()
}

/// The help text of `dmnode ctl`.
pub fn help_text() -> String {
    CtlArgs::command().render_help().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<CtlArgs, clap::Error> {
        let all = std::iter::once("dmnode ctl").chain(args.iter().copied()).map(str::to_owned);
        CtlArgs::try_parse_from(normalize(all))
    }

    #[test]
    fn the_definition_is_consistent() {
        CtlArgs::command().debug_assert();
    }

    #[test]
    fn dmctl_spellings_are_understood() {
        let args = parse(&[
            "-master-addr",
            "a:1,b:2",
            "start-task",
            "--remove-meta",
            "-s",
            "s1,s2",
            "-s",
            "s3",
            "t.yaml",
        ])
        .unwrap();
        assert_eq!(args.master_addr, ["a:1", "b:2"]);
        assert_eq!(args.source, ["s1", "s2", "s3"]);
        let Some(Command::StartTask(start)) = args.command else { panic!("start-task") };
        assert!(start.remove_meta);
        assert_eq!(start.file, PathBuf::from("t.yaml"));

        let args = parse(&["--master-addr=a:1", "query-status", "--more", "task", "--source", "s"]).unwrap();
        let Some(Command::QueryStatus(query)) = args.command else { panic!("query-status") };
        assert!(query.more && query.task.as_deref() == Some("task"));

        let args =
            parse(&["list-member", "-l", "-w", "-n", "n1,n2", "-rpc-timeout=30s", "-o", "json"]).unwrap();
        assert_eq!(args.rpc_timeout, Some(Duration::from_secs(30)));
        assert_eq!(args.output, Some(OutputFormat::Json));
        let Some(Command::ListMember(list)) = args.command else { panic!("list-member") };
        assert!(list.leader && !list.master && list.worker);
        assert_eq!(list.name, ["n1", "n2"]);

        let args = parse(&["check-task", "t.yaml", "-e", "0", "-w", "3"]).unwrap();
        let Some(Command::CheckTask(check)) = args.command else { panic!("check-task") };
        assert_eq!((check.error, check.warn), (0, 3));

        let args = parse(&["operate-source", "create", "a.yaml", "-w", "n1"]).unwrap();
        let Some(Command::OperateSource(source)) = args.command else { panic!("operate-source") };
        assert_eq!(source.operation, Some(SourceOperation::Create));
        assert_eq!(source.worker.as_deref(), Some("n1"));

        let args = parse(&["transfer-source", "s1", "n2"]).unwrap();
        assert!(args.source.is_empty());
        let Some(Command::TransferSource(transfer)) = args.command else { panic!("transfer-source") };
        assert_eq!((transfer.source_id.as_str(), transfer.worker.as_str()), ("s1", "n2"));
    }

    #[test]
    fn wrong_arity_is_a_usage_error() {
        for args in [
            &["start-task"][..],
            &["start-task", "a", "b"],
            &["transfer-source", "s"],
            &["config", "task"],
            &["operate-source", "destroy"],
            &["no-such-command"],
        ] {
            assert_eq!(parse(args).unwrap_err().exit_code(), 2, "{args:?}");
        }
    }
}
