//! Throw-away servers: started for a test, gone with it.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use dmnode_model::{Endpoint, Flavor, Secret};
use dmnode_mysql::{Connection, SessionOptions};

/// A server of our own.
pub struct Server {
    pub flavor: Flavor,
    pub endpoint: Endpoint,
    child: Child,
    dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A data directory of its own for a server, copied from one that is made once and kept.
fn fresh_data(name: &str, mut install: Command) -> (tempfile::TempDir, PathBuf) {
    static MAKING: Mutex<()> = Mutex::new(());
    let turn = MAKING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("data-{name}"));
    if !kept.exists() {
        let made = kept.with_extension(std::process::id().to_string());
        let output = install
            .arg(format!("--datadir={}", made.display()))
            .output()
            .unwrap_or_else(|error| panic!("{install:?}: {error}; scripts/test installs what it needs"));
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{install:?}\n{out}\n{err}");
        // The identity of a server is its own.
        let _ = std::fs::remove_file(made.join("auto.cnf"));
        std::fs::rename(&made, &kept).unwrap();
    }
    drop(turn);
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let copied = Command::new("cp").args(["-a", "--reflink=auto"]).arg(&kept).arg(&data).status();
    assert!(copied.unwrap().success());
    (dir, data)
}

const START_LIMIT: Duration = Duration::from_secs(120);

impl Server {
    /// Starts a MariaDB server, which must be installed.
    pub async fn mariadb() -> Self {
        let mut install = Command::new("mariadb-install-db");
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        let (dir, data) = fresh_data("mariadb", install);
        let mut command = Command::new("mariadbd");
        command.arg("--no-defaults").arg(format!("--tmpdir={}", dir.path().display()));
        Self::start(Flavor::Mariadb, command, dir, &data).await
    }

    /// Starts a MySQL server from the tree that `DMNODE_MYSQL_TREE` names (else `target/mysql`); `None` if
    /// `DMNODE_SKIP_MYSQL` is set.
    pub async fn mysql() -> Option<Self> {
        if std::env::var_os("DMNODE_SKIP_MYSQL").is_some() {
            eprintln!("DMNODE_SKIP_MYSQL is set: NOT tested against MySQL");
            return None;
        }
        let tree = std::env::var_os("DMNODE_MYSQL_TREE")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/mysql"), PathBuf::from);
        let mysqld = tree.join("bin/mysqld");
        assert!(
            mysqld.exists(),
            "no MySQL at {}: run scripts/fetch-mysql, or set DMNODE_MYSQL_TREE or DMNODE_SKIP_MYSQL",
            tree.display()
        );
        // The tree's start script adds what the tree needs.
        let mut install = Command::new(&mysqld);
        install.arg("--initialize-insecure");
        let (dir, data) = fresh_data("mysql", install);
        let mut command = Command::new(&mysqld);
        command.args(["--gtid-mode=ON", "--enforce-gtid-consistency=ON"]);
        Some(Self::start(Flavor::Mysql, command, dir, &data).await)
    }

    async fn start(flavor: Flavor, mut command: Command, dir: tempfile::TempDir, data: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = dir.path().join("server.log");
        if flavor == Flavor::Mariadb
            && std::fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0)
        {
            command.arg("--user=root");
        }
        let child = command
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", dir.path().join("sock").display()))
            .arg(format!("--pid-file={}", dir.path().join("pid").display()))
            .arg(format!("--log-error={}", log.display()))
            .arg(format!("--port={port}"))
            .args([
                "--bind-address=127.0.0.1",
                "--server-id=1",
                "--log-bin=binlog",
                "--binlog-format=ROW",
                "--sync-binlog=0",
                "--innodb-flush-log-at-trx-commit=2",
                "--innodb-buffer-pool-size=64M",
                "--max-allowed-packet=256M",
                "--local-infile=ON",
                "--character-set-server=utf8mb4",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let endpoint = Endpoint {
            host: "127.0.0.1".into(),
            port,
            user: "root".into(),
            password: Secret::new(""),
            session: Default::default(),
            security: None,
        };
        let mut server = Self { flavor, endpoint, child, dir };
        let begun = Instant::now();
        loop {
            match Connection::connect(&server.endpoint, &SessionOptions::default()).await {
                Ok(mut connection) => {
                    // Over the network, and with a password: as our users connect.
                    connection.execute("SET sql_log_bin = 0").await.unwrap();
                    connection.execute("CREATE USER 'dm'@'%' IDENTIFIED BY 'pass''word'").await.unwrap();
                    connection.execute("GRANT ALL ON *.* TO 'dm'@'%' WITH GRANT OPTION").await.unwrap();
                    break;
                }
                Err(error) => {
                    let ended = server.child.try_wait().unwrap();
                    if ended.is_some() || begun.elapsed() > START_LIMIT {
                        let log = std::fs::read_to_string(server.dir.path().join("server.log"));
                        panic!("server does not start: {error}\n{}", log.unwrap_or_default());
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        server.endpoint.user = "dm".into();
        server.endpoint.password = Secret::new("pass'word");
        server
    }

    /// A session with defaults.
    pub async fn connect(&self) -> Connection {
        self.connect_with(&SessionOptions::default()).await
    }

    pub async fn connect_with(&self, options: &SessionOptions) -> Connection {
        Connection::connect(&self.endpoint, options).await.unwrap()
    }
}

/// Runs a statement that must succeed.
pub async fn run(connection: &mut Connection, sql: &str) {
    if let Err(error) = connection.execute(sql).await {
        let shown: String = sql.chars().take(300).collect();
        panic!("{error}\n{shown}");
    }
}

/// The first value of a query.
pub async fn value(connection: &mut Connection, sql: &str) -> Option<String> {
    match connection.query_one(sql).await {
        Ok(row) => row.and_then(|row| row.string(0)),
        Err(error) => panic!("{error}\n{sql}"),
    }
}
