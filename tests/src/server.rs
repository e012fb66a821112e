//! Throw-away database servers, each in its own directory on its own port.
//!
//! Data directories are copied from a template that is made once and kept between runs. Servers are private to a test or
//! shared by the tests of one run; tests that share one keep to schemas of their own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, OptsBuilder};
use nix::sys::signal::Signal;
use tokio::sync::{Mutex, OnceCell};

use crate::process::{self, OwnedProcess};
use crate::wait::wait_until;
use crate::workspace;

/// The account the nodes use.
pub const USER: &str = "dm";
/// Its password; nothing that dmnode writes may ever contain it.
pub const PASSWORD: &str = "cAnary'7\\Qx";

/// How long a server may take to start on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(90);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// MySQL, from the tree made by `scripts/fetch-mysql`.
    Mysql,
    /// MariaDB, as installed.
    Mariadb,
}

impl Flavor {
    /// The name, as a source file has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
        }
    }
}

/// A running server.
pub struct Server {
    /// Which server it is.
    pub flavor: Flavor,
    /// Its port on 127.0.0.1.
    pub port: u16,
    dir: PathBuf,
    arguments: Vec<String>,
    process: Mutex<OwnedProcess>,
}

impl Server {
    /// Starts a server; `arguments` come after the usual ones and win.
    pub async fn start(flavor: Flavor, arguments: &[&str]) -> Result<Self> {
        let dir = workspace::fresh_dir(flavor.name())?;
        let template = template(flavor).await?;
        let copied = tokio::process::Command::new("cp")
            .arg("-a")
            .arg("--reflink=auto")
            .arg(template)
            .arg(dir.join("data"))
            .status();
        if !copied.await?.success() {
            bail!("cannot copy the template of a {} data directory", flavor.name());
        }
        // The identity of a MySQL server must not be shared.
        let _ = std::fs::remove_file(dir.join("data/auto.cnf"));
        std::fs::create_dir_all(dir.join("tmp"))?;
        let port = workspace::free_port()?;
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let process = spawn(flavor, &dir, port, &arguments)?;
        let server = Self { flavor, port, dir, arguments, process: Mutex::new(process) };
        server.wait_ready().await?;
        let mut root = server.root().await?;
        let password = PASSWORD.replace('\\', "\\\\").replace('\'', "''");
        root.query_drop(format!("CREATE USER '{USER}'@'%' IDENTIFIED BY '{password}'")).await?;
        root.query_drop(format!("GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%' WITH GRANT OPTION")).await?;
        root.disconnect().await?;
        Ok(server)
    }

    /// Connects as root, with the session settings that comparisons rely on.
    pub async fn root(&self) -> Result<Conn> {
        self.connect("root", None).await
    }

    /// Connects as any user.
    pub async fn connect(&self, user: &str, password: Option<&str>) -> Result<Conn> {
        let options = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .user(Some(user))
            .pass(password)
            .prefer_socket(false)
            .setup(vec![
                "SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = 'STRICT_TRANS_TABLES'".to_owned(),
            ]);
        Conn::new(options)
            .await
            .with_context(|| format!("cannot connect to {} on port {}", self.flavor.name(), self.port))
    }

    /// Runs statements as root, on one connection.
    pub async fn execute(&self, statements: &[&str]) -> Result<()> {
        let mut root = self.root().await?;
        for statement in statements {
            let start: String = statement.chars().take(200).collect();
            root.query_drop(*statement)
                .await
                .with_context(|| format!("{} refused: {start}", self.flavor.name()))?;
        }
        root.disconnect().await?;
        Ok(())
    }

    /// All rows of a query, as root.
    pub async fn query<T: FromRow + Send + 'static>(&self, sql: &str) -> Result<Vec<T>> {
        let mut root = self.root().await?;
        let rows = root.query(sql).await.with_context(|| format!("{} refused: {sql}", self.flavor.name()))?;
        root.disconnect().await?;
        Ok(rows)
    }

    /// The first row of a query, as root.
    pub async fn query_one<T: FromRow + Send + 'static>(&self, sql: &str) -> Result<T> {
        self.query(sql).await?.into_iter().next().with_context(|| format!("no row: {sql}"))
    }

    /// The names of all tables of a schema.
    pub async fn tables(&self, schema: &str) -> Result<Vec<String>> {
        self.query(&format!(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}' AND table_type = 'BASE TABLE' \
             ORDER BY table_name"
        ))
        .await
    }

    /// The binlog file and position now.
    pub async fn binlog_position(&self) -> Result<(String, u64)> {
        let sql = match self.flavor {
            Flavor::Mysql => "SHOW BINARY LOG STATUS",
            Flavor::Mariadb => "SHOW MASTER STATUS",
        };
        let row: mysql_async::Row = self.query_one(sql).await?;
        Ok((row.get(0).context("no file")?, row.get(1).context("no position")?))
    }

    /// The GTID set executed so far.
    pub async fn gtid_set(&self) -> Result<String> {
        let sql = match self.flavor {
            Flavor::Mysql => "SELECT @@GLOBAL.gtid_executed",
            Flavor::Mariadb => "SELECT @@GLOBAL.gtid_binlog_pos",
        };
        Ok(self.query_one::<String>(sql).await?.replace('\n', ""))
    }

    /// `USER:PASSWORD@HOST:PORT` or `USER@HOST:PORT`, as `dmnode-chaos` takes it; root has no password.
    pub fn chaos_address(&self) -> String {
        format!("root@127.0.0.1:{}", self.port)
    }

    /// Kills the server as a crash would, and starts it again on its data.
    pub async fn crash_and_restart(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        process.kill()?;
        *process = spawn(self.flavor, &self.dir, self.port, &self.arguments)?;
        drop(process);
        self.wait_ready().await
    }

    /// The process id of the server.
    pub async fn id(&self) -> u32 {
        self.process.lock().await.id()
    }

    /// Whether the server has ended by itself; `None` while it runs.
    pub async fn ended(&self) -> Option<String> {
        self.process.lock().await.ensure_running().err().map(|error| format!("{error:#}"))
    }

    /// Stops the server for good.
    pub async fn stop(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        process.signal(Signal::SIGTERM)?;
        process.wait(START_LIMIT).await?;
        Ok(())
    }

    async fn wait_ready(&self) -> Result<()> {
        wait_until(&format!("{} accepts connections", self.flavor.name()), START_LIMIT, async || {
            self.process.lock().await.ensure_running()?;
            match self.root().await {
                Ok(connection) => {
                    connection.disconnect().await?;
                    Ok(Ok(()))
                }
                Err(err) => Ok(Err(format!("{err:#}"))),
            }
        })
        .await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(mut process) = self.process.try_lock() {
            let _ = process.kill();
        }
        // `DMNODE_KEEP_DATA` keeps what a failed run leaves, binlogs included, until the next run starts.
        if std::env::var_os("DMNODE_KEEP_DATA").is_none() {
            let _ = std::fs::remove_dir_all(self.dir.join("data"));
        }
    }
}

/// The shared source of a flavor: ROW binlog, GTIDs on.
pub async fn shared_source(flavor: Flavor) -> Result<&'static Server> {
    static MYSQL: OnceCell<Server> = OnceCell::const_new();
    static MARIADB: OnceCell<Server> = OnceCell::const_new();
    let cell = match flavor {
        Flavor::Mysql => &MYSQL,
        Flavor::Mariadb => &MARIADB,
    };
    cell.get_or_try_init(|| Server::start(flavor, &[])).await
}

/// The shared target of a flavor.
pub async fn shared_target(flavor: Flavor) -> Result<&'static Server> {
    static MYSQL: OnceCell<Server> = OnceCell::const_new();
    static MARIADB: OnceCell<Server> = OnceCell::const_new();
    let cell = match flavor {
        Flavor::Mysql => &MYSQL,
        Flavor::Mariadb => &MARIADB,
    };
    cell.get_or_try_init(|| Server::start(flavor, &["--local-infile=1"])).await
}

/// The tree made by `scripts/fetch-mysql`.
fn mysql_tree() -> Result<PathBuf> {
    let tree = std::env::var_os("DMNODE_MYSQL_TREE")
        .map_or_else(|| workspace::root().join("target/mysql"), PathBuf::from);
    if !tree.join(".complete").is_file() {
        // Loud on purpose: a test that needs MySQL and has none has failed.
        bail!("no MySQL at {}; run scripts/fetch-mysql, or name a tree in DMNODE_MYSQL_TREE", tree.display());
    }
    Ok(tree)
}

fn program(flavor: Flavor) -> Result<PathBuf> {
    match flavor {
        Flavor::Mysql => Ok(mysql_tree()?.join("bin/mysqld")),
        Flavor::Mariadb => ["/usr/sbin/mariadbd", "/usr/libexec/mariadbd"]
            .iter()
            .map(PathBuf::from)
            .find(|path| path.is_file())
            .context("mariadbd is not installed; run scripts/test, or apt-get install mariadb-server"),
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn spawn(flavor: Flavor, dir: &Path, port: u16, arguments: &[String]) -> Result<OwnedProcess> {
    let mut command = process::command(program(flavor)?);
    if flavor == Flavor::Mariadb {
        command.arg("--no-defaults");
        if is_root() {
            command.arg("--user=root");
        }
    }
    command
        .arg(format!("--datadir={}", dir.join("data").display()))
        .arg(format!("--tmpdir={}", dir.join("tmp").display()))
        .arg(format!("--socket={}", dir.join("sock").display()))
        .arg(format!("--pid-file={}", dir.join("pid").display()))
        .arg(format!("--port={port}"))
        .arg(format!("--server-id={port}"))
        .args([
            "--bind-address=127.0.0.1",
            "--log-bin=mysql-bin",
            "--binlog-format=ROW",
            "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-doublewrite=0",
            "--sync-binlog=0",
            "--max-connections=300",
            "--max-allowed-packet=64M",
        ]);
    match flavor {
        Flavor::Mysql => {
            command.args([
                "--gtid-mode=ON",
                "--enforce-gtid-consistency=ON",
                "--innodb-redo-log-capacity=256M",
            ]);
        }
        Flavor::Mariadb => {
            command.args(["--innodb-log-file-size=128M", "--character-set-server=utf8mb4"]);
        }
    }
    command.args(arguments);
    OwnedProcess::start(flavor.name(), command, &dir.join("log"))
}

/// The template data directory of a flavor; made on first use, kept between runs, never half made.
async fn template(flavor: Flavor) -> Result<PathBuf> {
    static MAKING: Mutex<()> = Mutex::const_new(());
    let _making = MAKING.lock().await;
    let program = program(flavor)?;
    let version = tokio::process::Command::new(&program).arg("--version").output().await?;
    let version: String = String::from_utf8_lossy(&version.stdout)
        .split_whitespace()
        .skip_while(|word| *word != "Ver")
        .nth(1)
        .unwrap_or("unknown")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
        .collect();
    let template = workspace::cache_dir()?.join(format!("{}-{version}", flavor.name()));
    if template.is_dir() {
        return Ok(template);
    }
    let unfinished = workspace::fresh_dir("template")?.join("data");
    let datadir = format!("--datadir={}", unfinished.display());
    let mut command = match flavor {
        Flavor::Mysql => {
            let mut command = tokio::process::Command::new(&program);
            command.args(["--initialize-insecure", "--innodb-redo-log-capacity=8M"]);
            command
        }
        Flavor::Mariadb => {
            let mut command = tokio::process::Command::new("mariadb-install-db");
            command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
            if is_root() {
                command.arg("--user=root");
            }
            command
        }
    };
    let output = command.arg(datadir).output().await?;
    if !output.status.success() {
        bail!("cannot make a {} data directory: {}", flavor.name(), String::from_utf8_lossy(&output.stderr));
    }
    std::fs::rename(&unfinished, &template)?;
    Ok(template)
}
