//! Which server to talk to, as given on the command line.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use mysql_async::{Conn, OptsBuilder};

/// A server and the account to use on it, written `USER[:PASSWORD]@HOST:PORT`.
#[derive(Clone)]
pub struct ServerAddress {
    user: String,
    password: Option<String>,
    host: String,
    port: u16,
}

impl ServerAddress {
    /// Opens a connection with the settings the writers rely on: UTC, strict mode, utf8mb4.
    pub async fn connect(&self) -> Result<Conn> {
        let options = OptsBuilder::default()
            .ip_or_hostname(self.host.clone())
            .tcp_port(self.port)
            .user(Some(self.user.clone()))
            .pass(self.password.clone())
            .prefer_socket(false)
            .setup(vec![
                "SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = 'STRICT_TRANS_TABLES'".to_owned(),
            ]);
        Conn::new(options).await.with_context(|| format!("cannot connect to {self}"))
    }
}

impl FromStr for ServerAddress {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((account, endpoint)) = text.rsplit_once('@') else {
            bail!("a server is written USER[:PASSWORD]@HOST:PORT");
        };
        let Some((host, port)) = endpoint.rsplit_once(':') else {
            bail!("a server is written USER[:PASSWORD]@HOST:PORT");
        };
        let (user, password) = match account.split_once(':') {
            Some((user, password)) => (user, Some(password.to_owned())),
            None => (account, None),
        };
        Ok(Self {
            user: user.to_owned(),
            password,
            host: host.to_owned(),
            port: port.parse().with_context(|| format!("`{port}` is no port"))?,
        })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.user, self.host, self.port)
    }
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
