//! Settings of a DDL's session that the event alone does not tell.

use dmnode_model::Flavor;
use dmnode_model::codes;
use dmnode_model::config::Endpoint;
use dmnode_model::error::CodedError;
use dmnode_mysql::{Connection, QueryEvent, SessionOptions, SqlError};

use crate::progress::text_literal;

/// In MariaDB's flags of a statement's session: `explicit_defaults_for_timestamp`.
const EXPLICIT_DEFAULTS: u32 = 1 << 24;
/// Time zones change their offset only at such times.
const OFFSET_SECONDS: u32 = 900;
/// Error 1193: no such variable.
const UNKNOWN_VARIABLE: u16 = 1193;

/// What was found out so far.
#[derive(Debug, Default)]
pub struct DdlSession {
    /// The source's system time zone at a quarter of an hour.
    offset: Option<(u32, String)>,
}

impl DdlSession {
    /// The setting for a statement whose session had `time_zone = SYSTEM`: that is the source's system, not the
    /// target's.
    pub async fn system_zone(
        &mut self,
        query: &QueryEvent,
        timestamp: u32,
        source: &Endpoint,
    ) -> Result<Option<String>, CodedError> {
        if query.time_zone.as_deref() != Some("SYSTEM") {
            return Ok(None);
        }
        let quarter = timestamp / OFFSET_SECONDS;
        let zone = match &self.offset {
            Some((known, zone)) if *known == quarter => zone.clone(),
            _ => {
                let seconds = system_offset(source, timestamp).await.map_err(|error| {
                    CodedError::new(codes::SOURCE_CONNECTION, "the source cannot be asked for its time zone")
                        .object(format!("{}:{}", source.host, source.port))
                        .cause(error)
                })?;
                let zone = zone_name(seconds);
                self.offset = Some((quarter, zone.clone()));
                zone
            }
        };
        Ok(Some(format!("SET SESSION time_zone = '{zone}'")))
    }
}

/// The value of `explicit_defaults_for_timestamp` under which a statement ran, where the event tells it and the
/// statement depends on it.
pub fn explicit_defaults(query: &QueryEvent, source: Flavor, statements: &[String]) -> Option<bool> {
    let depends = statements.iter().any(|sql| sql.to_ascii_lowercase().contains("timestamp"));
    if !depends {
        return None;
    }
    match source {
        Flavor::Mysql => query.explicit_defaults_for_timestamp,
        Flavor::Mariadb => query.flags2.map(|flags| flags & EXPLICIT_DEFAULTS != 0),
    }
}

/// The setting, if the target's sessions are not like that by themselves. A target that refuses it stops the DDL.
pub async fn explicit_defaults_setting(
    target: &mut Connection,
    wanted: bool,
) -> Result<Option<String>, SqlError> {
    let own = match target.query_one("SELECT @@SESSION.explicit_defaults_for_timestamp").await {
        Ok(row) => row.and_then(|row| row.u64(0)) == Some(1),
        // Servers before it: the first TIMESTAMP column is special.
        Err(error) if error.code() == Some(UNKNOWN_VARIABLE) => false,
        Err(error) => return Err(error),
    };
    let setting = format!("SET SESSION explicit_defaults_for_timestamp = {}", u8::from(wanted));
    Ok((own != wanted).then_some(setting))
}

/// What `CHARACTER SET utf8mb4` means to MySQL before 8.0, whose statements do not tell it.
pub const UTF8MB4_BEFORE_8: &str = "utf8mb4_general_ci";

/// The collation that `CHARACTER SET utf8mb4` meant to a statement's session; MariaDB's statements do not tell.
pub fn meant_by_utf8mb4(told: Option<&str>, flavor: Flavor) -> Option<&str> {
    told.or((flavor == Flavor::Mysql).then_some(UTF8MB4_BEFORE_8))
}

/// [`meant_by_utf8mb4`] where the statement depends on it.
pub fn utf8mb4_collation<'q>(
    query: &'q QueryEvent,
    flavor: Flavor,
    statements: &[String],
) -> Option<&'q str> {
    let depends = statements.iter().any(|sql| sql.to_ascii_lowercase().contains("utf8mb4"));
    let told = query.default_collation_for_utf8mb4.as_ref().map(|collation| collation.name.as_ref());
    meant_by_utf8mb4(told, flavor).filter(|_| depends)
}

/// The setting, if the target's sessions are not like that by themselves. It takes a privilege, so it is left out
/// where it changes nothing.
pub async fn utf8mb4_collation_setting(
    target: &mut Connection,
    wanted: &str,
) -> Result<Option<String>, SqlError> {
    match target.query_one("SELECT @@SESSION.default_collation_for_utf8mb4").await {
        Ok(row) => {
            let own = row.and_then(|row| row.string(0));
            let setting = format!("SET SESSION default_collation_for_utf8mb4 = {}", text_literal(wanted));
            Ok((own.as_deref() != Some(wanted)).then_some(setting))
        }
        // Another flavour, or servers before it: the translated statement names the collation.
        Err(error) if error.code() == Some(UNKNOWN_VARIABLE) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn system_offset(source: &Endpoint, timestamp: u32) -> Result<i64, SqlError> {
    let mut conn = Connection::connect(source, &SessionOptions::default()).await?;
    conn.execute("SET SESSION time_zone = SYSTEM").await?;
    let sql = format!(
        "SELECT TIMESTAMPDIFF(SECOND, '1970-01-01 00:00:00', FROM_UNIXTIME({timestamp})) - {timestamp}"
    );
    let row = conn.query_one(sql).await?;
    conn.close().await;
    row.and_then(|row| row.str(0)?.parse().ok())
        .ok_or_else(|| SqlError::protocol("no answer to the question for the time zone"))
}

fn zone_name(seconds: i64) -> String {
    let minutes = (seconds.abs() + 30) / 60;
    let sign = if seconds < 0 && minutes > 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_servers_have_another_default_collation() {
        assert_eq!(meant_by_utf8mb4(Some("utf8mb4_0900_ai_ci"), Flavor::Mysql), Some("utf8mb4_0900_ai_ci"));
        assert_eq!(meant_by_utf8mb4(None, Flavor::Mysql), Some("utf8mb4_general_ci"));
        assert_eq!(meant_by_utf8mb4(None, Flavor::Mariadb), None);
    }

    #[test]
    fn offsets_have_names() {
        for (seconds, name) in
            [(0, "+00:00"), (19_800, "+05:30"), (-12_600, "-03:30"), (50_400, "+14:00"), (-10, "+00:00")]
        {
            assert_eq!(zone_name(seconds), name);
        }
    }
}
