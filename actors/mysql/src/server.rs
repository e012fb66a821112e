//! What a server is and can do, and where its binlog stands.

use dmnode_model::{BinlogPosition, Flavor, GtidSet, Location};

use crate::{
    charset::Collations,
    connection::Connection,
    error::{SqlError, SqlErrorKind},
};

/// Facts about a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// MySQL or MariaDB.
    pub flavor: Flavor,
    /// Major, minor, patch.
    pub version: (u16, u16, u16),
    /// `@@version`.
    pub version_string: String,
    /// `@@server_uuid` (MySQL).
    pub server_uuid: Option<String>,
    /// `@@server_id`.
    pub server_id: u32,
    /// The server writes a binlog.
    pub log_bin: bool,
    /// `@@binlog_format`; servers that no longer have the variable write rows.
    pub binlog_format: String,
    /// `@@binlog_row_image`.
    pub binlog_row_image: String,
    /// `@@gtid_mode`; always `ON` for MariaDB.
    pub gtid_mode: String,
    /// `@@lower_case_table_names`.
    pub lower_case_table_names: u8,
    /// LOAD DATA LOCAL is allowed.
    pub local_infile: bool,
    /// `@@max_allowed_packet`.
    pub max_allowed_packet: u64,
    /// `@@wait_timeout` in seconds.
    pub wait_timeout: u64,
    /// `@@GLOBAL.time_zone`.
    pub time_zone: String,
    /// `@@GLOBAL.sql_mode`.
    pub sql_mode: String,
    /// `@@GLOBAL.read_only`.
    pub read_only: bool,
    /// `@@GLOBAL.binlog_row_value_options` asks for partial JSON updates (MySQL).
    pub partial_json: bool,
    /// `@@innodb_lock_wait_timeout`-like settings aside: the server's default collation.
    pub collation_server: String,
    /// MariaDB: statements of rows are logged too. MySQL: `binlog_rows_query_log_events`.
    pub rows_query: bool,
}

impl ServerInfo {
    /// Asks the server.
    ///
    /// # Errors
    /// The connection is lost, or the answer has no version.
    pub async fn probe(connection: &mut Connection) -> Result<Self, SqlError> {
        let rows = connection
            .query(
                "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version','version_comment','server_uuid','server_id',\
                 'log_bin','binlog_format','binlog_row_image','gtid_mode','lower_case_table_names','local_infile',\
                 'max_allowed_packet','wait_timeout','time_zone','sql_mode','read_only',\
                 'binlog_row_value_options','collation_server','binlog_annotate_row_events',\
                 'binlog_rows_query_log_events')",
            )
            .await?;
        let get = |name: &str| {
            let row = rows.iter().find(|row| row.str(0).is_some_and(|key| key.eq_ignore_ascii_case(name)))?;
            row.string(1)
        };
        let on = |name: &str| get(name).is_some_and(|value| value.eq_ignore_ascii_case("ON") || value == "1");
        let text = |name: &str| get(name).unwrap_or_default();
        let number = |name: &str| text(name).parse::<u64>().unwrap_or(0);
        let version_string = text("version");
        let version = parse_version(&version_string)
            .ok_or_else(|| SqlError::protocol(format!("server version {version_string:?}")))?;
        let mariadb = version_string.to_ascii_lowercase().contains("mariadb")
            || text("version_comment").to_ascii_lowercase().contains("mariadb");
        Ok(Self {
            flavor: if mariadb { Flavor::Mariadb } else { Flavor::Mysql },
            version,
            server_uuid: get("server_uuid"),
            server_id: u32::try_from(number("server_id")).unwrap_or(0),
            log_bin: on("log_bin"),
            binlog_format: get("binlog_format").unwrap_or_else(|| "ROW".to_owned()),
            binlog_row_image: get("binlog_row_image").unwrap_or_else(|| "FULL".to_owned()),
            gtid_mode: if mariadb {
                "ON".to_owned()
            } else {
                get("gtid_mode").unwrap_or_else(|| "OFF".to_owned())
            },
            lower_case_table_names: u8::try_from(number("lower_case_table_names")).unwrap_or(0),
            local_infile: on("local_infile"),
            max_allowed_packet: number("max_allowed_packet"),
            wait_timeout: number("wait_timeout"),
            time_zone: text("time_zone"),
            sql_mode: text("sql_mode"),
            // MariaDB 11.8 and later say which of several degrees; all but OFF refuse our writes.
            read_only: get("read_only")
                .is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("OFF")),
            partial_json: text("binlog_row_value_options").to_ascii_uppercase().contains("PARTIAL_JSON"),
            collation_server: text("collation_server"),
            rows_query: on("binlog_annotate_row_events") || on("binlog_rows_query_log_events"),
            version_string,
        })
    }

    /// True for MariaDB.
    pub fn is_mariadb(&self) -> bool {
        self.flavor == Flavor::Mariadb
    }

    /// True when transactions in the binlog have GTIDs.
    pub fn has_gtids(&self) -> bool {
        self.is_mariadb() || matches!(self.gtid_mode.as_str(), "ON" | "1")
    }
}

/// The numbers at the start of a version, also behind MariaDB's old replication prefix.
fn parse_version(text: &str) -> Option<(u16, u16, u16)> {
    let text = match text.strip_prefix("5.5.5-") {
        Some(rest) if rest.to_ascii_lowercase().contains("mariadb") => rest,
        _ => text,
    };
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u16>);
    let major = numbers.next()?.ok()?;
    let minor = numbers.next()?.ok()?;
    let patch = numbers.next().and_then(Result::ok).unwrap_or(0);
    Some((major, minor, patch))
}

/// Where the server's binlog ends now.
///
/// # Errors
/// The binlog is off, the privilege (REPLICATION CLIENT or BINLOG MONITOR) is missing, or the connection is lost.
pub async fn current_location(
    connection: &mut Connection,
    server: &ServerInfo,
) -> Result<Location, SqlError> {
    let sql = match server.flavor {
        Flavor::Mysql if server.version >= (8, 2, 0) => "SHOW BINARY LOG STATUS",
        _ => "SHOW MASTER STATUS",
    };
    let off =
        || SqlError::new(SqlErrorKind::Configuration, "the server does not write a binlog (log_bin=OFF)");
    let row = connection.query_one(sql).await?.ok_or_else(off)?;
    let file = row.string(0).filter(|file| !file.is_empty()).ok_or_else(off)?;
    let pos = row.u64(1).ok_or_else(|| SqlError::protocol("binlog status without position"))?;
    let invalid = |error: dmnode_model::CodedError| SqlError::protocol(error.to_string());
    let gtid_set = match server.flavor {
        Flavor::Mysql if server.has_gtids() => {
            Some(GtidSet::parse(Flavor::Mysql, &row.str(4).unwrap_or_default()).map_err(invalid)?)
        }
        Flavor::Mysql => None,
        // The set that belongs to this very position; @@gtid_binlog_pos might be ahead of it by now.
        Flavor::Mariadb => {
            let mut sql = b"SELECT BINLOG_GTID_POS(".to_vec();
            crate::literal::write_string(&file, &mut sql);
            sql.extend_from_slice(format!(", {pos})").as_bytes());
            let answer = connection.query_one(sql).await?;
            match answer.and_then(|row| row.string(0)) {
                Some(set) => Some(GtidSet::parse(Flavor::Mariadb, &set).map_err(invalid)?),
                None => None,
            }
        }
    };
    Ok(Location::new(BinlogPosition::new(file, pos), gtid_set))
}

/// What the account may do, as `SHOW GRANTS` words it.
///
/// # Errors
/// The connection is lost.
pub async fn grants(connection: &mut Connection) -> Result<Vec<String>, SqlError> {
    let rows = connection.query("SHOW GRANTS").await?;
    Ok(rows.iter().filter_map(|row| row.string(0)).collect())
}

/// The server's collations by number.
pub(crate) async fn load_collations(connection: &mut Connection) -> Result<Collations, SqlError> {
    let mut collations = Collations::builtin();
    // MariaDB 10.10 and later list the newer ones, which serve several character sets, only in the second table.
    for sql in [
        "SELECT ID, COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATIONS \
         WHERE ID IS NOT NULL AND CHARACTER_SET_NAME IS NOT NULL",
        "SELECT ID, FULL_COLLATION_NAME, CHARACTER_SET_NAME \
         FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY",
    ] {
        let rows = match connection.query(sql).await {
            Ok(rows) => rows,
            // Unknown column: a server without the second form.
            Err(error) if error.code() == Some(1054) => continue,
            Err(error) => return Err(error),
        };
        for row in rows {
            let id = row.u64(0).and_then(|id| u32::try_from(id).ok());
            if let (Some(id), Some(name), Some(charset)) = (id, row.str(1), row.str(2)) {
                collations.insert(id, &name, &charset);
            }
        }
    }
    Ok(collations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_parse() {
        for (text, want) in [
            ("9.7.4", (9, 7, 4)),
            ("8.0.36-28", (8, 0, 36)),
            ("10.11.19-MariaDB-log", (10, 11, 19)),
            ("5.5.5-10.3.39-MariaDB", (10, 3, 39)),
            ("5.7.44-log", (5, 7, 44)),
        ] {
            assert_eq!(parse_version(text), Some(want), "{text}");
        }
        assert_eq!(parse_version("TiDB"), None);
    }
}
