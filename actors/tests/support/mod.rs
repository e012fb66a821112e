//! Throw-away servers for the tests of this room, each in its own directory on its own port.

#![allow(dead_code, reason = "not every test binary uses everything")]

pub mod rig;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dmnode_model::Endpoint;
use dmnode_mysql::{Connection, SessionOptions};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Mysql,
    Mariadb,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
        }
    }
}

/// A running server; killed and removed when dropped.
pub struct Server {
    pub kind: Kind,
    pub port: u16,
    dir: PathBuf,
    process: Child,
    pub arguments: Vec<String>,
}

/// The tree made by `scripts/fetch-mysql`. A test that needs MySQL and has none has failed.
fn mysqld() -> PathBuf {
    let tree = std::env::var_os("DMNODE_MYSQL_TREE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/mysql"), PathBuf::from);
    let program = tree.join("bin/mysqld");
    assert!(
        program.is_file(),
        "no MySQL at {}; run scripts/fetch-mysql, or set DMNODE_MYSQL_TREE",
        tree.display()
    );
    program
}

fn template(kind: Kind) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _turn = MAKING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("template-{}", kind.name()));
    if kept.exists() {
        return kept;
    }
    let dir = kept.with_extension(std::process::id().to_string());
    let mut command = match kind {
        Kind::Mysql => {
            let mut command = Command::new(mysqld());
            command.arg("--initialize-insecure");
            command
        }
        Kind::Mariadb => {
            let mut command = Command::new("mariadb-install-db");
            command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
            command
        }
    };
    let output = command.arg(format!("--datadir={}", dir.display())).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The identity of a server must not be shared.
    let _ = std::fs::remove_file(dir.join("auto.cnf"));
    // Another process may have been faster.
    if std::fs::rename(&dir, &kept).is_err() {
        let _ = std::fs::remove_dir_all(&dir);
    }
    kept
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Copies the files of a server that is not running.
pub fn copy_data(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    let copied = Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

impl Server {
    pub async fn start(kind: Kind, arguments: &[&str]) -> Self {
        let template = template(kind);
        let dir =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{}", kind.name(), uuid::Uuid::new_v4()));
        std::fs::create_dir_all(dir.join("tmp")).unwrap();
        let copied =
            Command::new("cp").args(["-a", "--reflink=auto"]).arg(template).arg(dir.join("data")).status();
        assert!(copied.unwrap().success());
        Self::launch(kind, dir, free_port(), arguments).await
    }

    async fn launch(kind: Kind, dir: PathBuf, port: u16, arguments: &[&str]) -> Self {
        let mut command = match kind {
            Kind::Mysql => {
                let mut command = Command::new(mysqld());
                command.args(["--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--performance-schema=OFF"]);
                command
            }
            Kind::Mariadb => {
                let mut command = Command::new("mariadbd");
                command.args([
                    "--no-defaults",
                    "--user=root",
                    "--binlog-format=ROW",
                    "--character-set-server=utf8mb4",
                ]);
                command
            }
        };
        let path = |name: &str| dir.join(name).display().to_string();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let process = command
            .arg(format!("--datadir={}", path("data")))
            .arg(format!("--tmpdir={}", path("tmp")))
            .arg(format!("--socket={}", path("s")))
            .arg(format!("--pid-file={}", path("pid")))
            .arg(format!("--port={port}"))
            .arg(format!("--server-id={port}"))
            .args(["--bind-address=127.0.0.1", "--log-bin=bin", "--innodb-buffer-pool-size=64M"])
            .args(["--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0", "--local-infile=1"])
            .args(arguments.iter().filter(|argument| !argument.starts_with("TZ=")))
            // `TZ=` among the arguments is the system's time zone.
            .envs(arguments.iter().filter_map(|argument| Some(("TZ", argument.strip_prefix("TZ=")?))))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let mut server = Self { kind, port, dir, process, arguments };
        let deadline = Instant::now() + Duration::from_secs(90);
        while server.try_connect("utf8mb4").await.is_err() {
            let ended = server.process.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{} did not start: {}",
                kind.name(),
                server.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        server
    }

    /// Kills it and starts it again, after its files were given to `change`.
    pub async fn restart_after(mut self, change: impl FnOnce(&Path)) -> Self {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let kept = self.dir.with_extension("kept");
        std::fs::rename(&self.dir, &kept).unwrap();
        let (kind, port, arguments) = (self.kind, self.port, std::mem::take(&mut self.arguments));
        let dir = self.dir.clone();
        drop(self);
        std::fs::rename(&kept, &dir).unwrap();
        change(&dir.join("data"));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Self::launch(kind, dir, port, &arguments).await
    }

    /// Another server with a copy of a data directory.
    pub async fn start_from(kind: Kind, data: &Path) -> Self {
        let dir =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{}", kind.name(), uuid::Uuid::new_v4()));
        std::fs::create_dir_all(dir.join("tmp")).unwrap();
        copy_data(data, &dir.join("data"));
        Self::launch(kind, dir, free_port(), &[]).await
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    pub fn endpoint(&self) -> Endpoint {
        self.endpoint_of("root")
    }

    pub fn endpoint_of(&self, user: &str) -> Endpoint {
        Endpoint {
            host: "127.0.0.1".into(),
            port: self.port,
            user: user.into(),
            password: dmnode_model::Secret::new(if user == "root" { "" } else { "secret" }),
            session: Default::default(),
            security: None,
        }
    }

    async fn try_connect(&self, charset: &'static str) -> Result<Connection, dmnode_mysql::SqlError> {
        let options = SessionOptions {
            time_zone: Some("+00:00".into()),
            sql_mode: Some(String::new()),
            charset,
            connect_timeout: Duration::from_secs(5),
            ..SessionOptions::default()
        };
        Connection::connect(&self.endpoint(), &options).await
    }

    /// A session of root that speaks utf8mb4.
    pub async fn connect(&self) -> Connection {
        self.try_connect("utf8mb4").await.unwrap()
    }

    /// A session of root that is given raw bytes.
    pub async fn connect_raw(&self) -> Connection {
        self.try_connect("binary").await.unwrap()
    }

    /// Runs statements.
    pub async fn execute(&self, statements: &[&str]) {
        let mut conn = self.connect().await;
        for sql in statements {
            if let Err(error) = conn.execute(sql).await {
                panic!("{} refused {sql}: {error}", self.kind.name());
            }
        }
        conn.close().await;
    }

    /// The rows of a query, values as text.
    pub async fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let mut conn = self.connect().await;
        let rows = conn.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        conn.close().await;
        rows.iter().map(|row| (0..row.len()).map(|index| row.string(index)).collect()).collect()
    }

    /// One number.
    pub async fn number(&self, sql: &str) -> u64 {
        self.query(sql).await[0][0].as_ref().unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
