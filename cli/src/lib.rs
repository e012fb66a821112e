//! `dmnode ctl`: dmctl's commands against any node of a cluster.
//!
//! Arguments become one JSON request to `/api/ctl/<command>`; the answer prints as a table on a terminal and,
//! when piped or with `-o json`, as the JSON that dmctl prints. Changes carry one request id over all retries
//! and addresses, so a command takes effect once even when nodes die while it is on its way.
//!
//! - [`args`]: the command line; [`commands`]: what each command sends and prints
//! - [`client`]: addresses, time-outs, retries; [`files`]: task and source files of the user
//! - [`json`], [`output`], [`tables`], [`status`], [`watch`], [`diff`]: what is shown
//! - [`explain`]: the pages of the error codes, which need no node
//! - [`exit`]: exit codes, which scripts rely on

pub mod args;
pub mod client;
pub mod commands;
pub mod diff;
pub mod exit;
pub mod explain;
pub mod files;
pub mod json;
pub mod output;
pub mod sample;
mod schema;
pub mod status;
pub mod tables;
pub mod watch;

use std::time::Duration;

use clap::Parser;

use args::CtlArgs;
use client::Client;
use commands::Session;
use exit::{CtlError, Exit};
use output::{BAD, Output, styled};

/// How long a command may take when nothing else is said, as with dmctl.
const DEFAULT_RPC_TIMEOUT: Duration = Duration::from_secs(600);

/// Runs `dmnode ctl` with the arguments after `ctl` and returns the exit code of the process.
pub fn run(args: impl IntoIterator<Item = String>, version: &str) -> u8 {
    let all = std::iter::once("dmnode ctl".to_owned()).chain(args::normalize(args));
    let parsed = match CtlArgs::try_parse_from(all) {
        Ok(parsed) => parsed,
        Err(err) => {
            // Help goes to stdout with 0, usage errors to stderr with 2; a help nobody asked for counts as help.
            let _ = err.print();
            let is_help = err.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
            return if is_help || err.exit_code() == 0 { Exit::Done as u8 } else { Exit::Usage as u8 };
        }
    };
    let output = Output::new(parsed.output);
    if parsed.version {
        output.line(&format!("dmnode {version}"));
        return Exit::Done as u8;
    }
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|err| CtlError::Refused(format!("start: {err}")))
        .and_then(|runtime| runtime.block_on(run_command(parsed, output)));
    match outcome {
        Ok(exit) => exit as u8,
        Err(err) => {
            output.note(&format!("{} {err}", styled(BAD, "Error:")));
            if let Some(pointer) = explain::pointer(&err.to_string()) {
                output.note(&pointer);
            }
            err.exit() as u8
        }
    }
}

async fn run_command(parsed: CtlArgs, output: Output) -> Result<Exit, CtlError> {
    let Some(command) = parsed.command else {
        output.line(&args::help_text());
        return Ok(Exit::Done);
    };
    if let args::Command::OperateSource(args) = &command
        && args.print_sample_config
    {
        output.line(sample::SOURCE_YAML);
        return Ok(Exit::Done);
    }
    if let args::Command::Explain(args) = &command {
        return explain::run(output, args);
    }
    let config = parsed.config.as_deref().map(files::read_ctl_config).transpose()?.unwrap_or_default();
    let mut addresses = parsed.master_addr;
    addresses.retain(|address| !address.trim().is_empty());
    if addresses.is_empty() {
        addresses = config.master_addr;
    }
    if addresses.is_empty() {
        // What `dmnode start` without arguments listens on.
        addresses = vec!["127.0.0.1:8261".to_owned()];
    }
    let ignored = client::proxy_variables();
    if !ignored.is_empty() && parsed.proxy.is_none() {
        output.note(&format!(
            "note: {} is set and ignored for cluster addresses; --proxy URL uses one",
            ignored.join(", ")
        ));
    }
    let timeout = parsed.rpc_timeout.or(config.rpc_timeout).unwrap_or(DEFAULT_RPC_TIMEOUT);
    let client = Client::new(addresses, timeout, parsed.proxy.as_deref())?;
    Session { client, output, sources: parsed.source }.run(&command).await
}
