//! The `dmnode` binary: a node of the cluster (`start`) and the tool to control it (`ctl`).

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use dmnode::{StartArgs, VERSION};

#[derive(Parser)]
#[command(
    name = "dmnode",
    version = VERSION,
    about = "Migrate live MySQL and MariaDB databases, every transaction exactly once",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node in the foreground; without arguments it is a cluster of one.
    Start(Box<StartArgs>),
    /// Control a cluster; see `dmnode ctl --help`.
    #[command(disable_help_flag = true)]
    Ctl {
        /// Arguments of the control tool.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    // The control tool has a parser of its own, which knows dmctl's spellings.
    if args.get(1).is_some_and(|arg| arg == "ctl") {
        return ExitCode::from(dmnode_cli::run(args.into_iter().skip(2), VERSION));
    }
    match Cli::parse_from(args).command {
        Command::Start(start) => ExitCode::from(dmnode::start(&start)),
        Command::Ctl { args } => ExitCode::from(dmnode_cli::run(args, VERSION)),
    }
}
