//! The commands: arguments to requests, answers to text and exit code.

use std::io::IsTerminal;

use dmnode_model::api::{
    CheckTaskRequest, ConfigKind as ApiConfigKind, CtlRequest, DecryptRequest, EncryptRequest, ErrorOp,
    GetConfigRequest, HandleErrorRequest, ListCreatedRequest, ListMemberRequest, OperateSourceRequest,
    OperateTableRequest, OperateTaskRequest, QueryStatusRequest, SourceOp, StartTaskRequest, TaskOp,
    TransferSourceRequest, UpdateTaskRequest,
};
use dmnode_model::tables::TableOp;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::args::{
    BinlogArgs, BinlogOperation, BinlogSchemaOperation, CheckTaskArgs, Command, ConfigArgs, ConfigKind,
    HandleErrorArgs, ListMemberArgs, OperateSourceArgs, OperateTaskArgs, QueryStatusArgs, SourceOperation,
    StartTaskArgs, TableArgs, TransferSourceArgs, UpdateTaskArgs,
};
use crate::client::{Answer, Client, Intent};
use crate::exit::{CtlError, Exit};
use crate::files;
use crate::json::EmptyList;
use crate::output::{Output, flag, list, text};
use crate::{diff, explain, sample, schema, status, tables, watch};

/// One invocation: where to send commands, how to print, which sources were named.
pub struct Session {
    /// The cluster.
    pub client: Client,
    /// How to print.
    pub output: Output,
    /// `-s`.
    pub sources: Vec<String>,
}

impl Session {
    /// Carries out one command.
    pub async fn run(&self, command: &Command) -> Result<Exit, CtlError> {
        match command {
            Command::OperateSource(args) => self.operate_source(args).await,
            Command::CheckTask(args) => self.check_task(args).await,
            Command::StartTask(args) => self.start_task(args).await,
            Command::UpdateTask(args) => self.update_task(args).await,
            Command::StopTask(args) => self.operate_task(TaskOp::Delete, args).await,
            Command::PauseTask(args) => self.operate_task(TaskOp::Pause, args).await,
            Command::ResumeTask(args) => self.operate_task(TaskOp::Resume, args).await,
            Command::AddTable(args) => self.operate_table(TableOp::Add, args).await,
            Command::RemoveTable(args) => self.operate_table(TableOp::Remove, args).await,
            Command::ResyncTable(args) => self.operate_table(TableOp::Resync, args).await,
            Command::Binlog(args) => self.binlog(args).await,
            Command::HandleError(args) => self.handle_error_old(args).await,
            Command::QueryStatus(args) => self.query_status(args).await,
            Command::ListMember(args) => self.list_member(args).await,
            Command::Config(args) => self.config(args).await,
            Command::GetConfig(args) => {
                self.config(&ConfigArgs { kind: args.kind, name: args.name.clone(), path: args.file.clone() })
                    .await
            }
            Command::GetTaskConfig(args) => {
                self.config(&ConfigArgs {
                    kind: ConfigKind::Task,
                    name: args.name.clone(),
                    path: args.file.clone(),
                })
                .await
            }
            Command::TransferSource(args) => self.transfer_source(args).await,
            Command::BinlogSchema(args) => self.binlog_schema(&args.operation).await,
            Command::OperateSchema(args) => self.binlog_schema(&schema::new_spelling(args)).await,
            Command::Encrypt(args) => {
                let plaintext = argument_or_stdin(&args.plaintext)?;
                self.cipher(&EncryptRequest { plaintext }, "ciphertext").await
            }
            Command::Decrypt(args) => {
                let ciphertext = argument_or_stdin(&args.ciphertext)?;
                self.cipher(&DecryptRequest { ciphertext }, "plaintext").await
            }
            Command::Explain(args) => explain::run(self.output, args),
            Command::Diff(args) => diff::run(&self.client, self.output, self.sources.clone(), args).await,
        }
    }

    /// Prints for people; when there are errors in it, says where to read about them.
    fn show(&self, shown: &str) {
        self.output.line(shown);
        if let Some(pointer) = explain::pointer(shown) {
            self.output.note(&pointer);
        }
    }

    /// Prints an answer and judges it.
    fn finish(
        &self,
        answer: &Answer,
        is_change: bool,
        render: impl FnOnce(&Value) -> String,
    ) -> Result<Exit, CtlError> {
        if self.output.is_table() {
            self.show(&render(&answer.body));
        } else {
            self.output.json(&answer.body, EmptyList::TwoLines)?;
        }
        if let (true, Some(index)) = (is_change && answer.is_ok(), answer.log_index) {
            self.output.note(&format!("applied at log index {index}"));
        }
        Ok(judge(&answer.body))
    }

    async fn operate_source(&self, args: &OperateSourceArgs) -> Result<Exit, CtlError> {
        if args.print_sample_config {
            self.output.line(sample::SOURCE_YAML);
            return Ok(Exit::Done);
        }
        let Some(operation) = args.operation else {
            return Err(CtlError::Usage("operate-source needs create, update, stop or show".to_owned()));
        };
        let (op, needs_names, takes_files) = match operation {
            SourceOperation::Create => (SourceOp::StartSource, true, true),
            SourceOperation::Update => (SourceOp::UpdateSource, true, true),
            SourceOperation::Stop => (SourceOp::StopSource, true, false),
            SourceOperation::Show => (SourceOp::ShowSource, false, false),
        };
        if needs_names && args.names.is_empty() && self.sources.is_empty() {
            return Err(CtlError::Usage(
                "operate-source: name at least one source file or source id".to_owned(),
            ));
        }
        if args.worker.is_some() && (operation != SourceOperation::Create || args.names.len() != 1) {
            return Err(CtlError::Usage(
                "operate-source: --worker goes with `create` and exactly one file".to_owned(),
            ));
        }
        let mut config = Vec::new();
        let mut source_ids = Vec::new();
        if takes_files {
            for name in &args.names {
                let (text, warnings) = files::read_config(name.as_ref())?;
                warnings.iter().for_each(|warning| self.output.note(&format!("warning: {name}: {warning}")));
                config.push(text);
            }
        } else {
            for name in &args.names {
                source_ids.push(files::source_id(name)?);
            }
            source_ids.extend(self.sources.iter().cloned());
        }
        let worker_name = args.worker.clone().unwrap_or_default();
        let request = OperateSourceRequest { op, config, source_id: source_ids, worker_name };
        let is_change = operation != SourceOperation::Show;
        let intent = if is_change { Intent::change() } else { Intent::Read };
        let answer = self.client.call(&intent, &request).await?;
        self.finish(&answer, is_change, tables::workers)
    }

    async fn check_task(&self, args: &CheckTaskArgs) -> Result<Exit, CtlError> {
        let (task, warnings) = files::read_config(&args.file)?;
        warnings.iter().for_each(|warning| self.output.note(&format!("warning: {warning}")));
        let start_time = args.start_time.clone().unwrap_or_default();
        let request = CheckTaskRequest { task, err_cnt: args.error, warn_cnt: args.warn, start_time };
        let answer = self.client.call(&Intent::Read, &request).await?;
        self.finish(&answer, false, tables::checked)
    }

    async fn start_task(&self, args: &StartTaskArgs) -> Result<Exit, CtlError> {
        let (task, warnings) = files::read_config(&args.file)?;
        warnings.iter().for_each(|warning| self.output.note(&format!("warning: {warning}")));
        let clean_target = if args.clean_target {
            match self.confirmed(&task, args.yes).await? {
                Ok(objects) => objects,
                Err(exit) => return Ok(exit),
            }
        } else {
            Vec::new()
        };
        let request = StartTaskRequest {
            task,
            clean_target,
            sources: self.sources.clone(),
            remove_meta: args.remove_meta,
            start_time: args.start_time.clone().unwrap_or_default(),
            safe_mode_duration: args.safe_mode_duration.clone().unwrap_or_default(),
        };
        let answer = self.client.call(&Intent::change(), &request).await?;
        self.finish_start(&answer)
    }

    async fn update_task(&self, args: &UpdateTaskArgs) -> Result<Exit, CtlError> {
        let (task, warnings) = files::read_config(&args.file)?;
        warnings.iter().for_each(|warning| self.output.note(&format!("warning: {warning}")));
        let answer = self.client.call(&Intent::change(), &UpdateTaskRequest { task }).await?;
        self.finish_start(&answer)
    }

    /// Lists what the task has created in the target, and asks.
    async fn confirmed(&self, task: &str, yes: bool) -> Result<Result<Vec<String>, Exit>, CtlError> {
        let request = ListCreatedRequest { task: task.to_owned() };
        let answer = self.client.call(&Intent::Read, &request).await?;
        if !answer.is_ok() {
            return self.finish(&answer, false, tables::workers).map(Err);
        }
        let objects: Vec<String> =
            list(&answer.body, "objects").iter().filter_map(Value::as_str).map(str::to_owned).collect();
        if objects.is_empty() {
            self.output.note("the task has created nothing in the target that is still there");
            return Ok(Ok(objects));
        }
        self.output.note(&format!("to be dropped in the target: {}", objects.join(", ")));
        if yes {
            return Ok(Ok(objects));
        }
        if !std::io::stdin().is_terminal() {
            return Err(CtlError::Usage(
                "--clean-target asks before it drops anything: add --yes where nobody can answer".to_owned(),
            ));
        }
        self.output.note(&format!("drop these {} objects? [y/N]", objects.len()));
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        if read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes") {
            return Ok(Ok(objects));
        }
        self.output.note("nothing was dropped, nothing was started");
        Ok(Err(Exit::Refused))
    }

    fn finish_start(&self, answer: &Answer) -> Result<Exit, CtlError> {
        self.finish(answer, true, |body| {
            let check = text(body, "checkResult");
            let mut out = tables::workers(body);
            if !check.is_empty() {
                let is_only_check = text(body, "msg").is_empty() && list(body, "sources").is_empty();
                let shown = tables::check(check);
                out = if is_only_check { shown } else { format!("{shown}\n{out}") };
            }
            out
        })
    }

    async fn operate_task(&self, op: TaskOp, args: &OperateTaskArgs) -> Result<Exit, CtlError> {
        let Some(task) = &args.task else { return self.operate_tasks_of_source(op, args.batch_size).await };
        let request = OperateTaskRequest { op, name: files::task_name(task), sources: self.sources.clone() };
        let answer = self.client.call(&Intent::change(), &request).await?;
        self.finish(&answer, true, tables::workers)
    }

    async fn binlog(&self, args: &BinlogArgs) -> Result<Exit, CtlError> {
        let (op, task, sqls) = match &args.operation {
            BinlogOperation::Skip { task } => (ErrorOp::Skip, task, &[][..]),
            BinlogOperation::Replace { task, sql } => (ErrorOp::Replace, task, sql.as_slice()),
            BinlogOperation::Inject { task, sql } => (ErrorOp::Inject, task, sql.as_slice()),
            BinlogOperation::Revert { task } => (ErrorOp::Revert, task, &[][..]),
            BinlogOperation::List { task } => (ErrorOp::List, task, &[][..]),
        };
        self.handle_error(op, task, args.binlog_pos.as_deref(), sqls).await
    }

    async fn operate_table(&self, op: TableOp, args: &TableArgs) -> Result<Exit, CtlError> {
        let request = OperateTableRequest {
            op,
            task: files::task_name(&args.task),
            sources: self.sources.clone(),
            tables: args.tables.clone(),
        };
        let answer = self.client.call(&Intent::change(), &request).await?;
        self.finish(&answer, true, tables::workers)
    }

    async fn handle_error_old(&self, args: &HandleErrorArgs) -> Result<Exit, CtlError> {
        let op = match args.operation.to_ascii_lowercase().as_str() {
            "skip" => ErrorOp::Skip,
            "replace" => ErrorOp::Replace,
            "revert" => ErrorOp::Revert,
            "inject" => ErrorOp::Inject,
            "list" => ErrorOp::List,
            other => {
                return Err(CtlError::Usage(format!(
                    "invalid operation '{other}', please use `skip`, `replace` or `revert`"
                )));
            }
        };
        self.handle_error(op, &args.task, args.binlog_pos.as_deref(), &args.sql).await
    }

    async fn handle_error(
        &self,
        op: ErrorOp,
        task: &str,
        binlog_pos: Option<&str>,
        sqls: &[String],
    ) -> Result<Exit, CtlError> {
        let takes_sql = matches!(op, ErrorOp::Replace | ErrorOp::Inject);
        if takes_sql == sqls.is_empty() {
            return Err(CtlError::Usage(
                if takes_sql { "give the statements" } else { "this operation takes no statements" }
                    .to_owned(),
            ));
        }
        let request = HandleErrorRequest {
            op,
            task: files::task_name(task),
            sources: self.sources.clone(),
            binlog_pos: binlog_pos.unwrap_or_default().to_owned(),
            sqls: sqls.iter().map(|sql| unquoted(sql)).collect(),
        };
        let is_change = op != ErrorOp::List;
        let intent = if is_change { Intent::change() } else { Intent::Read };
        let answer = self.client.call(&intent, &request).await?;
        self.finish(&answer, is_change, tables::workers)
    }

    async fn operate_tasks_of_source(&self, op: TaskOp, batch_size: usize) -> Result<Exit, CtlError> {
        let [source] = self.sources.as_slice() else {
            return Err(CtlError::Usage(
                "name a task, or exactly one source with -s to mean all its tasks".to_owned(),
            ));
        };
        let query = QueryStatusRequest { name: String::new(), sources: vec![source.clone()] };
        let status = self.client.call(&Intent::Read, &query).await?;
        if !status.is_ok() {
            return self.finish(&status, false, tables::workers);
        }
        let mut names: Vec<String> = list(&status.body, "sources")
            .iter()
            .flat_map(|one| list(one, "subTaskStatus"))
            .map(|subtask| text(subtask, "name").to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        names.sort();
        names.dedup();
        let mut results: Vec<Value> = stream::iter(names)
            .map(|name| async move {
                let request = OperateTaskRequest { op, name: name.clone(), sources: vec![source.clone()] };
                let body = match self.client.call(&Intent::change(), &request).await {
                    Ok(answer) => answer.body,
                    Err(err) => json!({"result": false, "msg": err.to_string(), "sources": []}),
                };
                json!({"task": name, "op": op.as_str(), "result": flag(&body, "result"), "msg": text(&body, "msg"), "sources": body["sources"]})
            })
            .buffer_unordered(batch_size.max(1))
            .collect()
            .await;
        results.sort_by(|a, b| text(a, "task").cmp(text(b, "task")));
        let answer = json!({"result": true, "msg": "", "tasks": results});
        if self.output.is_table() {
            self.show(&tables::batch(&answer));
        } else {
            self.output.json(&answer, EmptyList::OneLine)?;
        }
        let is_well = results.iter().all(|one| judge(one) == Exit::Done);
        Ok(if is_well { Exit::Done } else { Exit::Unhealthy })
    }

    async fn query_status(&self, args: &QueryStatusArgs) -> Result<Exit, CtlError> {
        let name = args.task.as_deref().map(files::task_name).unwrap_or_default();
        let wants_details = args.more || !name.is_empty() || !self.sources.is_empty();
        let request = QueryStatusRequest { name, sources: self.sources.clone() };
        if args.watch {
            return watch::run(&self.client, self.output, &request).await;
        }
        let answer = self.client.call(&Intent::Read, &request).await?;
        let exit = match judge(&answer.body) {
            Exit::Done if status::is_unhealthy(&answer.body) => Exit::Unhealthy,
            other => other,
        };
        if self.output.is_table() {
            let shown =
                if answer.is_ok() { status::render(&answer.body) } else { tables::workers(&answer.body) };
            self.show(&shown);
            return Ok(exit);
        }
        match status::summary(&answer.body).filter(|_| !wants_details) {
            Some(summary) => self.output.json(&summary, EmptyList::OneLine)?,
            None => self.output.json(&answer.body, EmptyList::TwoLines)?,
        }
        Ok(exit)
    }

    async fn list_member(&self, args: &ListMemberArgs) -> Result<Exit, CtlError> {
        let all = !args.leader && !args.master && !args.worker;
        let request = ListMemberRequest {
            leader: all || args.leader,
            master: all || args.master,
            worker: all || args.worker,
            names: args.name.clone(),
        };
        let answer = self.client.call(&Intent::Read, &request).await?;
        self.finish(&answer, false, tables::members)
    }

    async fn config(&self, args: &ConfigArgs) -> Result<Exit, CtlError> {
        let kind = match args.kind {
            ConfigKind::Task => ApiConfigKind::Task,
            ConfigKind::Source => ApiConfigKind::Source,
            ConfigKind::Master => ApiConfigKind::Master,
            ConfigKind::Worker => ApiConfigKind::Worker,
        };
        let name =
            if args.kind == ConfigKind::Task { files::task_name(&args.name) } else { args.name.clone() };
        let mut answer = self.client.call(&Intent::Read, &GetConfigRequest { kind, name }).await?;
        if let (Some(path), true) = (&args.path, answer.is_ok()) {
            write_private(path, text(&answer.body, "cfg"))?;
            let shown = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            answer.body["msg"] = json!(format!("write config to file {} succeed", shown.display()));
            answer.body["cfg"] = json!("");
        }
        self.finish(&answer, false, |body| match text(body, "cfg") {
            "" => text(body, "msg").to_owned(),
            cfg => cfg.trim_end().to_owned(),
        })
    }

    async fn transfer_source(&self, args: &TransferSourceArgs) -> Result<Exit, CtlError> {
        let request = TransferSourceRequest { source: args.source_id.clone(), worker: args.worker.clone() };
        let answer = self.client.call(&Intent::change(), &request).await?;
        self.finish(&answer, true, |body| match (flag(body, "result"), text(body, "msg")) {
            (true, "") => format!("`{}` belongs to {}", args.source_id, args.worker),
            (_, msg) => msg.to_owned(),
        })
    }

    async fn binlog_schema(&self, operation: &BinlogSchemaOperation) -> Result<Exit, CtlError> {
        let (request, is_change) = schema::request(operation, &self.sources)?;
        let intent = if is_change { Intent::change() } else { Intent::Read };
        let answer = self.client.call(&intent, &request).await?;
        self.finish(&answer, is_change, tables::workers)
    }

    /// Prints the bare text, as dmctl does, unless JSON was asked for.
    async fn cipher<R: CtlRequest>(&self, request: &R, answer_field: &str) -> Result<Exit, CtlError> {
        let answer = self.client.call(&Intent::Read, request).await?;
        if self.output.is_explicit_json() {
            self.output.json(&answer.body, EmptyList::TwoLines)?;
        } else if answer.is_ok() {
            self.output.line(text(&answer.body, answer_field));
        } else {
            return Err(CtlError::Refused(text(&answer.body, "msg").to_owned()));
        }
        Ok(judge(&answer.body))
    }
}

/// The argument, or a line of standard input for `-`.
fn argument_or_stdin(argument: &str) -> Result<String, CtlError> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|err| CtlError::Refused(format!("read standard input: {err}")))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Without the quotes that a shell has left around the statement.
fn unquoted(sql: &str) -> String {
    let sql = sql.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = sql.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner.to_owned();
        }
    }
    sql.to_owned()
}

/// Refused, done, or done with a part that failed.
fn judge(answer: &Value) -> Exit {
    if !flag(answer, "result") {
        return Exit::Refused;
    }
    let has_failed_part = list(answer, "sources").iter().any(|source| !flag(source, "result"));
    if has_failed_part { Exit::Unhealthy } else { Exit::Done }
}

/// Writes a file that only its owner can read.
fn write_private(path: &std::path::Path, text: &str) -> Result<(), CtlError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let refused = |err: std::io::Error| CtlError::Refused(format!("write `{}`: {err}", path.display()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(refused)?;
    file.write_all(text.as_bytes()).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_part_is_told_from_a_refusal() {
        assert_eq!(judge(&json!({"result": false, "msg": "x", "sources": []})), Exit::Refused);
        assert_eq!(judge(&json!({"result": true, "sources": [{"result": false}]})), Exit::Unhealthy);
        assert_eq!(judge(&json!({"result": true, "sources": [{"result": true}]})), Exit::Done);
        assert_eq!(judge(&json!({"result": true, "msg": ""})), Exit::Done);
    }
}
