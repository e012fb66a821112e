//! Sample files that commands print.

/// `operate-source -p`.
pub const SOURCE_YAML: &str = r#"# Name of the source, up to 32 characters.
source-id: mysql-replica-01

# Read the binlog by GTID. MySQL needs gtid_mode = ON for it.
enable-gtid: true

# Server id to use as a replica; 0 chooses a free one.
# server-id: 429523137

# Session variables, passwords and TLS of the connection to the source. `dmnode ctl encrypt` encrypts a password.
from:
  host: 127.0.0.1
  port: 3306
  user: root
  password: ""
  # security:
  #   ssl-ca: /path/to/ca.pem
  #   ssl-cert: /path/to/cert.pem
  #   ssl-key: /path/to/key.pem"#;
